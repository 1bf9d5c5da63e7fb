"""Downloads from the storage server: conditions, single files of an archive, and many readers who are slow."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import urllib.parse
import zipfile
from pathlib import Path

import psutil
import pytest

from tests.support.archives import Forged, zipped
from tests.support.local_cloud import BROWSER, CONTENT, MIB, LocalCloud, raw, watched
from tests.support.scratch import wait_until

server = pytest.fixture(scope="module")(watched)

TAG = f'"{hashlib.sha256(CONTENT).hexdigest()}"'
LONG_AGO, FAR_AHEAD = "Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"


# Conditions (RFC 9110, section 13)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"If-None-Match": TAG}, 304),
        ({"If-None-Match": f'"other", W/{TAG}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-None-Match": '"other"', "If-Modified-Since": FAR_AHEAD}, 200),
        ({"If-Modified-Since": FAR_AHEAD}, 304),
        ({"If-Modified-Since": LONG_AGO}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Match": TAG}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": f"W/{TAG}"}, 412),
        ({"If-Unmodified-Since": FAR_AHEAD}, 200),
        ({"If-Unmodified-Since": LONG_AGO}, 412),
        ({"If-Match": TAG, "If-Unmodified-Since": LONG_AGO}, 200),
        ({"If-Match": TAG, "If-None-Match": TAG}, 304),
        ({"Range": "bytes=0-9", "If-None-Match": TAG}, 304),
        ({"Range": "bytes=0-9", "If-Match": '"other"'}, 412),
        ({"Range": "bytes=0-9", "If-Range": TAG}, 206),
        ({"Range": "bytes=0-9", "If-Range": f"W/{TAG}"}, 200),
        ({"Range": "bytes=0-9", "If-Range": '"other"'}, 200),
        ({"Range": "bytes=0-9", "If-Range": LONG_AGO}, 200),
        ({"Range": "bytes=0-9", "If-Range": "nonsense"}, 200),
        ({"Range": "bytes=9-0"}, 200),
        ({"Range": "bytes=-0"}, 416),
        ({"Range": f"bytes=0-{'9' * 19}"}, 206),
        ({"Range": f"bytes=0-{'9' * 6000}"}, 200),
    ],
    ids=str,
)
@pytest.mark.parametrize("inside", [False, True], ids=["file", "file in an archive"])
def test_a_condition_decides_whether_bytes_come(
    server: LocalCloud, headers: dict[str, str], code: int, inside: bool
) -> None:
    if inside:
        server.put("conditions.zip", zipped({"a.bin": CONTENT}, method=zipfile.ZIP_STORED))
        link = server.link("conditions.zip") + "?file=a.bin"
        tag = server.get(link).headers["ETag"]
        headers = {name: value.replace(TAG, tag) for name, value in headers.items()}
    else:
        server.put("conditions", CONTENT)
        link, tag = server.link("conditions"), TAG

    answer = server.get(link, **headers)

    assert answer.status_code == code
    assert answer.content == {200: CONTENT, 206: CONTENT[:10]}.get(code, b"") or "9" * 19 in headers["Range"]
    if code in {200, 206, 304}:
        assert answer.headers["ETag"] == tag
        assert answer.headers["Vary"] == "Accept"
    head = server.http.head(link, headers=headers, timeout=120)
    assert (head.status_code, head.content) == (code, b"")
    if code in {200, 206}:
        assert head.headers["Content-Length"] == answer.headers["Content-Length"]


def test_the_date_told_is_one_to_go_on_with(server: LocalCloud) -> None:
    server.put("dated", CONTENT)
    link = server.link("dated")
    date = server.get(link).headers["Last-Modified"]

    answers = [
        server.get(link, Range="bytes=5-", **{"If-Range": date}),
        server.get(link, **{"If-Modified-Since": date}),
        server.get(link, **{"If-Unmodified-Since": date}),
    ]

    assert [answer.status_code for answer in answers] == [206, 304, 200]


def test_an_empty_file_is_one_too(server: LocalCloud) -> None:
    server.put("empty", b"")

    whole, part = server.get(server.link("empty")), server.get(server.link("empty"), Range="bytes=0-")

    assert (whole.status_code, whole.content, part.status_code) == (200, b"", 416)


# Who gets the page, and who the file


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("image/png, TEXT/HTML ;q=0.1", True),
        ("*/*", False),
        ("", False),
        ("application/octet-stream", False),
        ("text/html;q=0, */*", False),
        ("text/html; q=0.000", False),
        ("text/html;q=0.001", True),
        ("text/*", False),
        (";;,,=", False),
    ],
)
def test_only_who_names_html_gets_the_page(server: LocalCloud, accept: str, page: bool) -> None:
    server.put("negotiated.zip", CONTENT)
    link = server.link("negotiated.zip")

    plain, asked = server.get(link, Accept=accept), server.get(f"{link}?download=1", Accept=accept)

    assert plain.headers["Content-Type"] == ("text/html; charset=utf-8" if page else "application/zip")
    assert plain.headers["Vary"] == asked.headers["Vary"] == "Accept"
    assert asked.content == CONTENT
    assert asked.headers["Content-Disposition"].startswith("attachment;")
    assert server.get(link, Accept=accept, Range="bytes=0-3").content == CONTENT[:4]


# Single files of an archive


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_a_single_file_comes_alone_with_its_name_and_length(server: LocalCloud, method: int) -> None:
    content = os.urandom(MIB) + bytes(3 * MIB)
    name = 'Größe "1".vec'
    server.put("single.zip", zipped({f"a/{name}": content, "b": b"x"}, method=method))
    link = f"{server.link('single.zip')}?file={urllib.parse.quote(f'a/{name}')}"

    answer = server.get(link)
    again = server.get(link, **{"If-None-Match": answer.headers["ETag"]})
    head = server.http.head(link, timeout=120)

    assert answer.content == content
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert urllib.parse.unquote(answer.headers["Content-Disposition"].partition("UTF-8''")[2]) == name
    assert (again.status_code, again.content) == (304, b"")
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(content)))
    part = server.get(link, Range="bytes=100-199")
    assert (part.status_code, part.content) == (
        (206, content[100:200]) if method == zipfile.ZIP_STORED else (200, content)
    )


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("file=nothing", 404),
        ("file=", 404),
        ("file=folder/", 404),
        ("file=folder", 404),
        ("file=../a.txt", 404),
        ("file=a.txt&copy=2", 404),
        ("file=a.txt&copy=999999", 404),
        ("file=%ff%fe", 404),
        ("file=a%00b", 404),
        ("file=a.txt&copy=x", 200),
        ("file=secret", 422),
        ("file=wrong", 422),
    ],
)
def test_a_file_that_cannot_be_had_is_refused_with_a_sentence(server: LocalCloud, query: str, code: int) -> None:
    forged = Forged().add(b"a.txt", b"x").add(b"folder/b", b"x").add(b"folder/").add(b"secret", b"x", flags=1)
    server.put("refusing.zip", forged.add(b"wrong", b"x", crc=5).whole())

    answer, page = (get(f"{server.link('refusing.zip')}?{query}") for get in (server.get, server.browse))

    assert (answer.status_code, page.status_code) == (code, code)
    if code != 200:
        assert answer.json()["error"] in page.text
        assert answer.json()["code"] == {404: "not_found", 422: "damaged"}[code]


def test_a_file_that_turns_out_damaged_on_the_way_breaks_off(server: LocalCloud) -> None:
    """Whoever downloads it must not take what came for all of it."""
    content = os.urandom(4 * MIB)
    server.put("damaged.zip", Forged().add(b"a", content, crc=1).whole())
    path = urllib.parse.urlsplit(server.link("damaged.zip")).path

    came = raw(server, f"GET {path}?file=a HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    head, _, body = came.partition(b"\r\n\r\n")
    assert b"200 OK" in head
    assert f"Content-Length: {len(content)}".encode() in head
    assert len(body) < len(content)
    wait_until(lambda: bool(server.events("entry.cut")), "the log tells it")
    assert server.events("audit.downloaded")[-1]["complete"] is False


def test_what_is_no_archive_has_no_files_inside(server: LocalCloud) -> None:
    server.put("plain.txt", b"text")

    assert server.get(f"{server.link('plain.txt')}?file=a").status_code == 404
    server.put("plain.zip", Forged().add(b"a").whole(length=10**6))
    assert server.get(f"{server.link('plain.zip')}?file=a").json()["code"] == "damaged"


def test_a_bomb_is_unpacked_no_further_than_it_says_and_in_little_memory(server: LocalCloud) -> None:
    size = 200 * MIB
    server.put("bomb.zip", Forged().add(b"honest", bytes(size)).add(b"liar", bytes(size), size=100).whole())
    link = server.link("bomb.zip")

    with server.http.get(f"{link}?file=honest", stream=True, timeout=120) as answer:
        assert sum(map(len, answer.iter_content(MIB))) == size
    assert server.get(f"{link}?file=liar").status_code == 422
    assert "larger than it says" in server.browse(f"{link}?show=liar").text
    assert server.browse(f"{link}?show=honest").status_code == 200
    assert psutil.Process(server.pid).memory_info().rss < 120 * MIB


# The log


def test_the_log_tells_of_downloads_whether_they_were_complete(server: LocalCloud) -> None:
    server.put("logged", bytes(64 * MIB))
    link = server.link("logged")
    before = len(server.events("audit.downloaded"))

    server.get(link)
    server.get(link, Range="bytes=0-9")
    server.http.head(link, timeout=120)
    with server.http.get(link, stream=True, timeout=120) as answer:
        answer.raw.read(1000)

    wait_until(lambda: len(server.events("audit.downloaded")) == before + 3, "the last download has ended")
    whole, part, cut = server.events("audit.downloaded")[before:]
    assert [(one["bytes"], one["complete"]) for one in (whole, part)] == [(64 * MIB, True), (10, True)]
    assert 1000 < cut["bytes"] < 64 * MIB
    assert cut["complete"] is False
    assert re.search(r"/([0-9a-f]{32})\.", link).group(1) == whole["file"]  # type: ignore[union-attr]
    assert link.rsplit("/", 2)[1] not in server.log


# Many readers


def test_a_reader_who_gives_up_is_no_defect_in_the_log() -> None:
    with LocalCloud() as one:
        one.put("given-up.zip", zipped({"a.bin": os.urandom(20 * MIB)}))
        link = one.link("given-up.zip").removeprefix(one.url)
        for query in ("", "?file=a.bin"):
            with socket.create_connection(("127.0.0.1", one.port), timeout=120) as connection:
                connection.sendall(f"GET {link}{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                connection.recv(1000)
        wait_until(lambda: len(one.events("audit.downloaded")) == 2, "the end of both downloads")
        one.stop()

        assert [told["complete"] for told in one.events("audit.downloaded")] == [False, False]
        assert '"level": "error"' not in one.log


def test_hundreds_of_slow_readers_take_little_memory_and_hold_up_nobody(server: LocalCloud) -> None:
    size = 8 * MIB
    content = os.urandom(size)
    server.put("slow.zip", zipped({"stored": content}, method=zipfile.ZIP_STORED))
    server.put("slow-packed.zip", zipped({"packed": bytes(size)}))
    paths = [
        urllib.parse.urlsplit(server.link("slow.zip")).path,
        urllib.parse.urlsplit(server.link("slow.zip")).path + "?file=stored",
        urllib.parse.urlsplit(server.link("slow-packed.zip")).path + "?file=packed",
    ]
    process = psutil.Process(server.pid)
    readers = [slow_reader(server, paths[number % 3]) for number in range(300)]
    try:
        for reader in readers:
            assert reader.recv(1000).startswith(b"HTTP/1.1 200 OK")
        for _ in range(3):
            for reader in readers:
                assert reader.recv(4096)
            assert server.get(f"{server.url}/healthz").elapsed.total_seconds() < 20  # a reader may take minutes
            assert server.fetch(server.link("slow.zip")) is not None
        assert process.memory_info().rss < 120 * MIB
        rest = b""
        while piece := readers[1].recv(MIB):
            rest += piece
        assert content.endswith(rest[-MIB:])
    finally:
        for reader in readers:
            reader.close()

    wait_until(lambda: len(process.net_connections()) < 20, "the readers that went are forgotten")
    wait_until(lambda: not [f for f in process.open_files() if "files" in Path(f.path).parts], "their files are closed")


def slow_reader(server: LocalCloud, path: str) -> socket.socket:
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(120)
    reader.connect(("127.0.0.1", server.port))
    reader.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return reader
