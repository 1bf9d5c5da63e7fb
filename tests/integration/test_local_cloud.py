"""The storage server as a process: uploads, links and downloads, and the page that describes them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest

from local_cloud.errors import Problem
from tests.support.local_cloud import CONTENT, KEY, MIB, LocalCloud, begin_upload, raw, session, watched
from tests.support.pages import every_block
from tests.support.scratch import wait_until

server = pytest.fixture(scope="module")(watched)


# Uploads


def test_an_upload_tells_what_was_received_and_can_be_asked_for(server: LocalCloud) -> None:
    answer = server.put("d1/1/run.zip", CONTENT)

    facts = {
        "key": "d1/1/run.zip",
        "name": "run.zip",
        "size": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }
    assert (answer.status_code, answer.json()) == (201, facts)
    assert server.call("GET", "files", params={"key": "d1/1/run.zip"}).json() == facts
    assert server.get(f"{server.url}/healthz").json() == {"status": "ok"}
    status = server.call("GET", "status").json()
    assert status["free_bytes"] > 0
    assert status["version"] == version("simcourier")


def test_an_upload_of_unknown_length_is_taken_in_chunks(server: LocalCloud) -> None:
    answer = server.put("chunked", (CONTENT for _ in range(300)))

    assert answer.json()["size"] == 300 * len(CONTENT)
    assert server.fetch(server.link("chunked")) == CONTENT * 300


def test_the_bytes_are_stored_as_they_were_sent_whatever_the_encoding_says(server: LocalCloud) -> None:
    answer = server.put("encoded", b"no gzip at all", headers={"Content-Encoding": "gzip"})

    assert answer.status_code == 201
    assert server.fetch(server.link("encoded")) == b"no gzip at all"


@pytest.mark.parametrize("lines", [("Content-Length: 1000000",), ("Transfer-Encoding: chunked",)])
@pytest.mark.parametrize("half", [False, True], ids=["closed", "half closed"])
def test_an_upload_that_is_cut_leaves_nothing(server: LocalCloud, lines: tuple[str], half: bool) -> None:
    server.put("cut", b"what was there")
    before = server.data()
    body = b"y" * 3000
    with begin_upload(server, "cut", *lines) as connection:
        connection.sendall(b"BB8\r\n%s\r\n" % body if "chunked" in lines[0] else body)
        wait_until(lambda: bool(server.incoming()), "the upload has begun")
        if half:
            connection.shutdown(socket.SHUT_WR)
            assert b" 201 " not in connection.recv(65536)

    wait_until(lambda: not server.incoming(), "the rest is removed")
    assert server.data() == before
    assert server.fetch(server.link("cut")) == b"what was there"


def test_bytes_with_another_digest_than_announced_are_refused(server: LocalCloud) -> None:
    right = hashlib.sha256(CONTENT).hexdigest()

    answer = server.put("digest", CONTENT + b"!", headers={"X-Content-SHA256": right})

    assert (answer.status_code, answer.json()["code"]) == (422, "wrong_digest")
    assert server.call("GET", "files", params={"key": "digest"}).status_code == 404
    assert server.incoming() == []
    assert server.put("digest", CONTENT, headers={"X-Content-SHA256": right.upper()}).status_code == 201


def test_other_bytes_under_a_key_replace_the_old_and_keep_the_link(server: LocalCloud) -> None:
    server.put("replaced", b"one")
    link = server.link("replaced")

    server.put("replaced", b"another")

    assert server.fetch(link) == b"another"
    assert server.link("replaced") == link
    assert b"one" not in server.data()


def test_uploads_at_one_time_under_one_key_leave_one_whole_file(server: LocalCloud) -> None:
    contents = [bytes([number]) * (2 * MIB + number) for number in range(6)]
    before = len(server.data())

    def upload(content: bytes) -> int:
        with session() as http:
            url = f"{server.url}/api/v1/files?key=contended"
            return http.put(url, content, headers={"Authorization": f"Bearer {KEY}"}, timeout=120).status_code

    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(upload, contents))

    assert codes == [201] * 6
    assert server.fetch(server.link("contended")) in contents
    assert len(server.data()) == before + 1


def test_a_large_upload_takes_little_memory(server: LocalCloud) -> None:
    process = psutil.Process(server.pid)
    block = b"z" * MIB
    highest = 0

    def pieces() -> Iterator[bytes]:
        nonlocal highest
        for _ in range(200):
            yield block
            highest = max(highest, process.memory_info().rss)

    assert server.put("large", pieces()).json()["size"] == 200 * MIB

    assert highest < 120 * MIB
    with server.http.get(server.link("large"), stream=True, timeout=120) as answer:
        assert sum(len(piece) for piece in answer.iter_content(MIB)) == 200 * MIB
    assert process.memory_info().rss < 120 * MIB
    server.call("DELETE", "files", params={"key": "large"})


# Downloads


@pytest.mark.parametrize(
    ("asked", "begin", "end"), [("bytes=10-19", 10, 20), ("bytes=10200-", 10200, 10240), ("bytes=-5", 10235, 10240)]
)
def test_a_download_can_go_on_where_it_stopped(server: LocalCloud, asked: str, begin: int, end: int) -> None:
    server.put("ranges.zip", CONTENT)

    answer = server.get(server.link("ranges.zip"), Range=asked)

    assert (answer.status_code, answer.content) == (206, CONTENT[begin:end])
    assert answer.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{len(CONTENT)}"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "lines=1-2", "bytes", "bytes=a-b", "bytes=-"])
def test_what_is_no_single_range_gives_the_whole_file(server: LocalCloud, asked: str) -> None:
    server.put("ranges", CONTENT)

    answer = server.get(server.link("ranges"), Range=asked)

    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_a_range_behind_the_end_is_refused_with_the_size(server: LocalCloud) -> None:
    server.put("ranges.zip", CONTENT)

    answer = server.get(server.link("ranges.zip"), Range="bytes=99999-")

    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{len(CONTENT)}")


def test_a_download_that_goes_on_gets_the_whole_file_if_the_bytes_have_been_replaced(server: LocalCloud) -> None:
    server.put("swapped", b"a" * 100)
    link = server.link("swapped")
    tag = server.get(link).headers["ETag"]
    same = server.get(link, Range="bytes=50-", **{"If-Range": tag})
    server.put("swapped", b"b" * 100)

    other = server.get(link, Range="bytes=50-", **{"If-Range": tag})

    assert (same.status_code, same.content) == (206, b"a" * 50)
    assert (other.status_code, other.content) == (200, b"b" * 100)


def test_a_head_request_tells_about_the_file_without_its_bytes(server: LocalCloud) -> None:
    server.put("head/run.zip", CONTENT)

    answer = server.http.head(server.link("head/run.zip"), timeout=120)

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_link_ends_when_it_was_told_to(server: LocalCloud) -> None:
    server.put("expiring", CONTENT)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    answer = server.call("POST", "links", params={"key": "expiring"}, json={"expires": later})
    assert answer.json()["expires"] == later
    assert server.fetch(answer.json()["url"]) == CONTENT

    link = server.link("expiring", (datetime.now(UTC) - timedelta(seconds=1)).isoformat())

    assert (server.get(link).status_code, server.get(link).json()["code"]) == (410, "gone")
    assert server.fetch(server.link("expiring")) == CONTENT


@pytest.mark.parametrize(
    "body",
    [
        '{"expires": "2030-01-01T00:00:00"}',
        '{"expires": 5}',
        '{"expires": "soon"}',
        '{"expires": "9999-12-31T23:59:59-01:00"}',
        r'{"expires": "2099-12-31\ud80000:00:00+00:00"}',
        r'{"expires": null, "title": "\ud800"}',
        "{}",
        "[]",
        "",
        "{",
        "[" * 100_000,
    ],
)
def test_an_expiry_or_a_title_that_is_none_is_refused(server: LocalCloud, body: str) -> None:
    server.put("expiry", CONTENT)

    answer = server.call("POST", "links", params={"key": "expiry"}, data=body)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_a_deleted_file_is_gone_with_its_link_and_may_be_deleted_again(server: LocalCloud) -> None:
    server.put("deleted", b"soon away")
    link = server.link("deleted")

    codes = [server.call("DELETE", "files", params={"key": "deleted"}).status_code for _ in range(2)]

    assert codes == [204, 204]
    assert server.get(link).status_code == 404
    assert server.call("POST", "links", params={"key": "deleted"}, json={"expires": None}).status_code == 404
    assert server.call("GET", "files", params={"key": "deleted"}).status_code == 404
    assert b"soon away" not in server.data()


def test_a_connect_request_is_refused_as_any_that_makes_no_sense(server: LocalCloud) -> None:
    answer = raw(server, b"CONNECT /files/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ")


def test_what_no_server_can_do_is_refused_wherever_it_is_expected_and_is_no_defect() -> None:
    with LocalCloud() as server:
        for target in (b"GET /healthz", b"GET /nowhere", b"PUT /healthz", b"OPTIONS *"):
            for odd in (b"\xed\xa0\x80", b"\xff", b"tea"):
                head = target + b" HTTP/1.1\r\nHost: x\r\nExpect: " + odd + b"\r\nConnection: close\r\n\r\n"
                assert raw(server, head).startswith(b"HTTP/1.1 417 "), (target, odd)
        assert "exception" not in server.log


def test_a_link_cannot_be_guessed_from_another_one(server: LocalCloud) -> None:
    server.put("secret one", CONTENT)
    base, token, name = server.link("secret one").rsplit("/", 2)
    file_id, secret = token.split(".")
    wrong = [
        f"{file_id}.{secret[:-1]}{'A' if secret[-1] != 'A' else 'B'}",
        f"{file_id}.",
        file_id,
        f"{'0' * 32}.{secret}",
        f"..%2F{token}",
        f"{token}%00",
        f"{token}%0A",
        "%2e%2e",
        "../files",
        "x" * 5000,
    ]

    assert len(secret) >= 32
    assert [server.get(f"{base}/{one}/{name}").status_code for one in wrong] == [404] * len(wrong)
    assert raw(server, b"GET /f/../../../../etc/passwd HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 404 ")


def test_links_begin_with_the_public_url() -> None:
    with LocalCloud(arguments=("--public-url", "https://files.example.org/cloud/")) as server:
        server.put("public", CONTENT)

        assert server.link("public").startswith("https://files.example.org/cloud/f/")


# The page on the API

PAGE = Path(__file__).parents[2] / "docs" / "local_cloud_api.md"


def test_the_examples_of_the_page_on_the_api_work(server: LocalCloud, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / "mm1.zip").write_bytes(b"twelve bytes")
    (tmp_path / "key").write_text(server.key)
    shown = every_block("docs/local_cloud_api.md")
    assert {kind for kind, _ in shown} == {"sh", "json"}

    said = ""
    for kind, text in shown:
        block = text.replace("http://10.10.160.10:8976", server.url).replace("/etc/local-cloud.key", "key")
        if kind == "sh":
            said = subprocess.run(
                ["sh", "-e"], input=block, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
            ).stdout
        else:
            assert _comparable(json.loads(said)) == _comparable(json.loads(block))

    assert "run-17/1/mm1.zip" not in server.keys()  # noqa: SIM118 - a list


def _comparable(answer: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from one time to the next."""
    if "url" in answer:
        answer["url"] = re.sub(r"/f/[0-9a-f]{32}\.[\w-]{32}/", "/f/TOKEN/", answer["url"])
    return answer | {name: "some" for name in answer if name in {"free_bytes", "room_bytes", "version"}}


def test_the_page_on_the_api_names_every_error_with_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)

    assert sorted(rows) == sorted((str(problem.status), problem.name.lower()) for problem in Problem)
