"""The rules of tus 1.0.0, as a client sees them."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import socket
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from tests.support.local_cloud import LocalCloud, raw, watched
from tests.support.scratch import wait_until

VERSION = {"Tus-Resumable": "1.0.0"}
BODY = {"Content_Type": "application/offset+octet-stream"}

server = pytest.fixture(scope="module")(watched)


def tus(server: LocalCloud, method: str, url: str = "", data: Any = b"", **headers: str) -> requests.Response:
    """A request of the protocol; a header that is empty is not sent."""
    given = VERSION | {"Authorization": f"Bearer {server.key}"}
    given |= {name.replace("_", "-"): text for name, text in headers.items()}
    sent = {name: text for name, text in given.items() if text}
    return server.http.request(method, url or f"{server.url}/files/", headers=sent, data=data, timeout=120)


def create(server: LocalCloud, length: int, **headers: str) -> str:
    answer = tus(server, "POST", Upload_Length=str(length), **headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def patch(server: LocalCloud, url: str, offset: int, data: Any, **headers: str) -> requests.Response:
    return tus(server, "PATCH", url, **BODY, Upload_Offset=str(offset), data=data, **headers)


def offset(server: LocalCloud, url: str) -> int:
    answer = tus(server, "HEAD", url)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    return int(answer.headers["Upload-Offset"])


def metadata(**pairs: str) -> str:
    return ",".join(f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in pairs.items())


def stored(server: LocalCloud, key: str) -> bytes | None:
    return server.fetch(server.link(key))


# What is offered


def test_options_tell_version_extensions_and_algorithms_without_a_version_or_a_key(server: LocalCloud) -> None:
    answer = server.http.options(f"{server.url}/files/", timeout=120)

    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert set(answer.headers["Tus-Extension"].split(",")) == {
        "creation", "creation-with-upload", "creation-defer-length", "expiration", "termination", "checksum",
    }  # fmt: skip
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"
    assert "Upload-Offset" in answer.headers["Access-Control-Allow-Headers"]


def test_the_largest_file_is_told_and_what_is_larger_is_refused_before_the_first_byte() -> None:
    with LocalCloud(arguments=("--max-file", "1KiB")) as server:
        assert server.http.options(f"{server.url}/files/", timeout=120).headers["Tus-Max-Size"] == "1024"

        answer = tus(server, "POST", Upload_Length="1025")

        assert answer.status_code == 413
        assert "1.0 KiB" in answer.json()["error"]
        assert server.incoming() == []


@pytest.mark.parametrize("version", ["", "0.2.2", "1.0.0, 2.0.0"])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_another_version_is_refused_and_nothing_is_done(server: LocalCloud, method: str, version: str) -> None:
    url = create(server, 3)

    answer = tus(server, method, "" if method == "POST" else url, Tus_Resumable=version, Upload_Length="3",
                 Upload_Offset="0", data=b"abc" if method == "PATCH" else b"", **BODY)  # fmt: skip

    assert (answer.status_code, answer.headers["Tus-Version"]) == (412, "1.0.0")
    assert offset(server, url) == 0


def test_every_answer_has_the_version_and_lets_pages_read_its_headers(server: LocalCloud) -> None:
    url = create(server, 3)
    answers = [
        tus(server, "HEAD", url), patch(server, url, 0, b"a"), patch(server, url, 3, b"a"),
        tus(server, "HEAD", f"{url}x"), tus(server, "POST"), tus(server, "DELETE", url),
    ]  # fmt: skip

    assert [answer.headers["Tus-Resumable"] for answer in answers] == ["1.0.0"] * len(answers)
    assert all("Upload-Offset" in answer.headers["Access-Control-Expose-Headers"] for answer in answers)
    assert all(answer.headers["Access-Control-Allow-Origin"] == "*" for answer in answers)


# Creation


def test_an_upload_goes_in_any_number_of_parts_and_becomes_a_file(server: LocalCloud) -> None:
    content = os.urandom(300_000)
    url = create(server, len(content), Upload_Metadata=metadata(key="in parts", filename="größe 1.zip"))
    at = 0
    for size in (1, 100_000, 0, 150_000, 49_999):
        answer = patch(server, url, at, content[at : at + size])
        at += size
        assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(at))
        assert offset(server, url) == at

    assert stored(server, "in parts") == content
    assert "gr%C3%B6%C3%9Fe%201.zip" in server.link("in parts")
    facts = server.call("GET", "files", params={"key": "in parts"}).json()
    assert facts["sha256"] == hashlib.sha256(content).hexdigest()


def test_nothing_is_visible_before_the_last_byte(server: LocalCloud) -> None:
    url = create(server, 4, Upload_Metadata=metadata(key="half"))
    patch(server, url, 0, b"abc")

    assert server.call("GET", "files", params={"key": "half"}).status_code == 404


def test_an_empty_file_is_whole_at_once(server: LocalCloud) -> None:
    url = create(server, 0, Upload_Metadata=metadata(key="empty"))

    assert stored(server, "empty") == b""
    assert offset(server, url) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Upload_Length": "-1"},
        {"Upload_Length": "3.5"},
        {"Upload_Length": "\uff11"},
        {"Upload_Length": "3", "Upload_Defer_Length": "1"},
        {"Upload_Defer_Length": "2"},
        {"Upload_Length": "3", "Upload_Concat": "partial"},
        {"Upload_Length": "3", "Upload_Metadata": metadata(key="x" * 2000)},
        {"Upload_Length": "3", "Upload_Metadata": metadata(sha256="abc")},
    ],
)
def test_a_creation_that_is_wrong_is_told_what_is_expected(server: LocalCloud, headers: dict[str, str]) -> None:
    encoded = {name: text.encode().decode("latin-1") for name, text in headers.items()}

    answer = tus(server, "POST", **encoded)

    assert answer.status_code == 400
    assert "expected" in answer.json()["error"] or "known" in answer.json()["error"] or "here" in answer.json()["error"]


@pytest.mark.parametrize("text", ["", "key ", "flag", "name !!!,other YWJj", ",,", "a b c,d YQ=="])
def test_metadata_that_cannot_be_read_does_no_harm_and_is_repeated_as_sent(server: LocalCloud, text: str) -> None:
    answer = tus(server, "POST", Upload_Length="1", Upload_Metadata=text)

    assert answer.status_code == 201
    told = tus(server, "HEAD", answer.headers["Location"]).headers.get("Upload-Metadata", "")
    assert told == text.strip()


def test_metadata_that_is_no_text_is_refused_and_leaves_nothing(server: LocalCloud) -> None:
    before = server.incoming()

    answer = raw(
        server,
        f"POST /files/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\nTus-Resumable: 1.0.0\r\n".encode()
        + b"Upload-Length: 3\r\nUpload-Metadata: key \xff\r\nConnection: close\r\n\r\n",
    )

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert server.incoming() == before


def test_an_empty_header_of_metadata_is_accepted(server: LocalCloud) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
        connection.sendall(
            f"POST /files/ HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {server.key}\r\ntus-resumable: 1.0.0\r\n"
            "upload-length: 3\r\nupload-metadata: \r\nconnection: close\r\n\r\n".encode()
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 201 ")


def test_the_address_is_absolute_as_the_client_named_us_or_as_the_operator_says(server: LocalCloud) -> None:
    assert re.fullmatch(rf"{server.url}/files/[0-9a-f]{{32}}", create(server, 1))
    assert create(server, 1, Host="files.example.org").startswith("http://files.example.org/files/")
    with LocalCloud(arguments=("--public-url", "https://files.example.org/cloud")) as other:
        assert create(other, 1, Host="10.0.0.1").startswith("https://files.example.org/cloud/files/")


# Creation with upload


def test_bytes_may_come_with_the_creation(server: LocalCloud) -> None:
    answer = tus(server, "POST", Upload_Length="3", Upload_Metadata=metadata(key="at once"), data=b"abc", **BODY)

    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "3")
    assert stored(server, "at once") == b"abc"


def test_some_bytes_with_the_creation_and_the_rest_later(server: LocalCloud) -> None:
    answer = tus(server, "POST", Upload_Length="5", Upload_Metadata=metadata(key="two steps"), data=b"abc", **BODY)
    assert answer.headers["Upload-Offset"] == "3"

    assert patch(server, answer.headers["Location"], 3, b"de").status_code == 204

    assert stored(server, "two steps") == b"abcde"


def test_more_bytes_than_the_length_are_refused(server: LocalCloud) -> None:
    answer = tus(server, "POST", Upload_Length="3", data=b"abcd", **BODY)

    assert answer.status_code == 413


def test_a_body_of_another_type_is_no_part_of_the_upload(server: LocalCloud) -> None:
    answer = tus(server, "POST", Upload_Length="3", data=b"abc", Content_Type="text/plain")

    assert answer.status_code == 201
    assert "Upload-Offset" not in answer.headers
    assert offset(server, answer.headers["Location"]) == 0


# A length that comes later


def test_the_length_may_come_with_a_later_part(server: LocalCloud) -> None:
    answer = tus(server, "POST", Upload_Defer_Length="1", Upload_Metadata=metadata(key="deferred"))
    url = answer.headers["Location"]
    assert tus(server, "HEAD", url).headers["Upload-Defer-Length"] == "1"
    assert patch(server, url, 0, b"abc").status_code == 204

    assert patch(server, url, 3, b"de", Upload_Length="5").status_code == 204

    head = tus(server, "HEAD", url)
    assert (head.headers["Upload-Length"], "Upload-Defer-Length" in head.headers) == ("5", False)
    assert stored(server, "deferred") == b"abcde"


def test_the_length_alone_ends_an_upload_that_has_all_its_bytes(server: LocalCloud) -> None:
    url = tus(server, "POST", Upload_Defer_Length="1", Upload_Metadata=metadata(key="late")).headers["Location"]
    patch(server, url, 0, b"abc")

    assert patch(server, url, 3, b"", Upload_Length="3").status_code == 204

    assert stored(server, "late") == b"abc"


@pytest.mark.parametrize("length", ["4", "2", "x"])
def test_a_length_that_is_known_cannot_be_changed(server: LocalCloud, length: str) -> None:
    url = create(server, 3)
    patch(server, url, 0, b"ab")

    assert patch(server, url, 2, b"c", Upload_Length=length).status_code == 400
    assert offset(server, url) == 2


# Going on


def test_another_offset_changes_nothing_and_the_right_one_is_told(server: LocalCloud) -> None:
    url = create(server, 6)
    patch(server, url, 0, b"abc")

    for wrong in (0, 2, 4, 6):
        answer = patch(server, url, wrong, b"xyz")
        assert (answer.status_code, answer.headers["Upload-Offset"]) == (409, "3")
    assert patch(server, url, 3, b"def").status_code == 204


@pytest.mark.parametrize("wrong", ["", "-1", "abc", "1e3"])
def test_an_offset_that_is_no_number_is_refused(server: LocalCloud, wrong: str) -> None:
    url = create(server, 3)

    assert tus(server, "PATCH", url, Upload_Offset=wrong, data=b"abc", **BODY).status_code == 400


@pytest.mark.parametrize("kind", ["", "application/octet-stream", "text/plain"])
def test_another_type_of_body_is_refused(server: LocalCloud, kind: str) -> None:
    url = create(server, 3)

    assert tus(server, "PATCH", url, Upload_Offset="0", data=b"abc", Content_Type=kind).status_code == 415


def test_bytes_beyond_the_length_are_refused_and_those_before_are_kept_if_they_came(server: LocalCloud) -> None:
    url = create(server, 5)
    assert patch(server, url, 0, b"abcdef").status_code == 413
    assert offset(server, url) == 0  # the length told before that there are too many

    assert patch(server, url, 0, iter([b"abc", b"def", b"ghi"])).status_code == 413

    assert offset(server, url) == 5


def test_a_part_without_a_length_of_its_own_is_taken(server: LocalCloud) -> None:
    url = create(server, 6, Upload_Metadata=metadata(key="chunked"))

    assert patch(server, url, 0, iter([b"abc", b"def"])).status_code == 204

    assert stored(server, "chunked") == b"abcdef"


def test_more_for_an_upload_that_is_whole_changes_nothing(server: LocalCloud) -> None:
    url = create(server, 3, Upload_Metadata=metadata(key="whole"))
    patch(server, url, 0, b"abc")

    assert patch(server, url, 3, b"").status_code == 204
    assert patch(server, url, 3, b"d").status_code == 413
    assert patch(server, url, 0, b"abc").status_code == 409
    assert stored(server, "whole") == b"abc"


def test_the_method_may_be_named_by_a_header(server: LocalCloud) -> None:
    url = create(server, 3)

    answer = tus(server, "POST", url, X_HTTP_Method_Override="PATCH", Upload_Offset="0", data=b"abc", **BODY)

    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, "3")
    assert tus(server, "POST", url, X_HTTP_Method_Override="DELETE").status_code == 204
    assert tus(server, "HEAD", url).status_code == 404


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
@pytest.mark.parametrize("name", ["0" * 32, "..%2F..%2Fetc%2Fpasswd", "%00", "x", "0" * 5000])
def test_an_upload_that_is_not_there_is_not_found(server: LocalCloud, method: str, name: str) -> None:
    body = b"abc" if method == "PATCH" else b""
    answer = tus(server, method, f"{server.url}/files/{name}", Upload_Offset="0", data=body, **BODY)

    assert answer.status_code == 404
    assert "Upload-Offset" not in answer.headers
    assert method != "HEAD" or answer.content == b""


def test_a_method_that_means_nothing_is_not_allowed(server: LocalCloud) -> None:
    assert tus(server, "PUT", create(server, 1)).status_code == 405
    assert tus(server, "DELETE").status_code == 405


# Checksums


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_part_is_kept_only_if_its_checksum_is_right(server: LocalCloud, algorithm: str) -> None:
    def checksum(content: bytes) -> str:
        return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, content).digest()).decode()}"

    url = create(server, 6, Upload_Metadata=metadata(key=f"checked {algorithm}"))
    assert patch(server, url, 0, b"abc", Upload_Checksum=checksum(b"abc")).status_code == 204

    wrong = patch(server, url, 3, b"dxf", Upload_Checksum=checksum(b"def"))

    assert wrong.status_code == 460
    assert offset(server, url) == 3
    assert patch(server, url, 3, b"def", Upload_Checksum=checksum(b"def")).status_code == 204
    assert stored(server, f"checked {algorithm}") == b"abcdef"


@pytest.mark.parametrize("text", ["md5 abc", "sha1", "sha1 !!", "sha256 YWJj"])
def test_a_checksum_that_cannot_be_read_is_refused(server: LocalCloud, text: str) -> None:
    url = create(server, 3)

    assert patch(server, url, 0, b"abc", Upload_Checksum=text).status_code == 400
    assert offset(server, url) == 0


def test_bytes_that_are_not_those_that_were_announced_become_no_file(server: LocalCloud) -> None:
    sha256 = hashlib.sha256(b"abc").hexdigest()
    url = create(server, 3, Upload_Metadata=metadata(key="announced", sha256=sha256))

    assert patch(server, url, 0, b"abx").status_code == 422

    assert tus(server, "HEAD", url).status_code == 404
    assert server.call("GET", "files", params={"key": "announced"}).status_code == 404
    other = create(server, 3, Upload_Metadata=metadata(key="announced"))
    assert patch(server, other, 0, b"abx", X_Content_SHA256=sha256).status_code == 422


# Expiration and termination


def test_the_end_of_an_unfinished_upload_is_told_and_slides(server: LocalCloud) -> None:
    answer = tus(server, "POST", Upload_Length="3")
    first = parsedate_to_datetime(answer.headers["Upload-Expires"])
    (data,) = [path for path in server.incoming() if path.parent.name in answer.headers["Location"]]
    os.utime(data, (0, data.stat().st_mtime - 3600))
    before = parsedate_to_datetime(tus(server, "HEAD", answer.headers["Location"]).headers["Upload-Expires"])

    after = patch(server, answer.headers["Location"], 0, b"a").headers["Upload-Expires"]

    assert before < first <= parsedate_to_datetime(after)


def test_what_nobody_went_on_with_is_removed_and_told_in_the_log() -> None:
    with LocalCloud() as server:
        old, new = create(server, 3), create(server, 3)
        for url in (old, new):
            patch(server, url, 0, b"a")
        (data,) = [path for path in server.incoming() if path.parent.name in old]
        server.kill()
        os.utime(data, (0, data.stat().st_mtime - 49 * 3600))
        server.start()
        old, new = (f"{server.url}/files/{url.rpartition('/')[2]}" for url in (old, new))

        wait_until(lambda: bool(server.events("audit.expired")), "the sweep")

        assert tus(server, "HEAD", old).status_code == 404
        assert not data.parent.exists()
        assert offset(server, new) == 1
        assert [line["bytes"] for line in server.events("audit.expired")] == [1]


def test_a_file_is_removed_some_days_after_its_link_has_ended_and_the_link_still_says_so() -> None:
    with LocalCloud(arguments=("--remove-after-days", "1")) as server:
        for key, ended in (("long ago", "2026-01-01T00:00:00+00:00"), ("never", None)):
            server.put(key, b"abc")
            server.link(key, ended)
        link = server.link("long ago", "2026-01-01T00:00:00+00:00")
        server.kill()
        path = link.removeprefix(server.url)
        server.start()

        wait_until(lambda: bool(server.events("audit.expired")), "the sweep")

        assert server.get(server.url + path).status_code == 410
        assert server.data() == [b"abc"]


@pytest.mark.parametrize("sent", [b"", b"ab", b"abc"])
def test_an_upload_can_be_ended_by_its_client(server: LocalCloud, sent: bytes) -> None:
    url = create(server, 3, Upload_Metadata=metadata(key="ended"))
    patch(server, url, 0, sent)

    assert tus(server, "DELETE", url).status_code == 204

    assert tus(server, "HEAD", url).status_code == 404
    assert tus(server, "DELETE", url).status_code == 404
    assert server.call("GET", "files", params={"key": "ended"}).status_code == 404


def test_ending_an_old_upload_leaves_the_file_that_came_after_it(server: LocalCloud) -> None:
    old = create(server, 3, Upload_Metadata=metadata(key="twice"))
    patch(server, old, 0, b"old")
    new = create(server, 3, Upload_Metadata=metadata(key="twice"))
    patch(server, new, 0, b"new")

    assert tus(server, "DELETE", old).status_code == 204

    assert stored(server, "twice") == b"new"


# Two at once, and broken connections


def begin_patch(server: LocalCloud, url: str, at: int, length: int, sent: bytes) -> socket.socket:
    """A PATCH that stays in the middle."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=120)
    connection.sendall(
        f"PATCH {url.removeprefix(server.url)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\n"
        f"Tus-Resumable: 1.0.0\r\nUpload-Offset: {at}\r\nContent-Type: application/offset+octet-stream\r\n"
        f"Content-Length: {length}\r\n\r\n".encode()
        + sent
    )
    return connection


def is_cut(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"x")
    except ConnectionError:
        return True
    return False


def test_what_came_before_a_connection_broke_is_kept(server: LocalCloud) -> None:
    content = os.urandom(3_000_000)
    url = create(server, len(content), Upload_Metadata=metadata(key="broken off"))
    data = server.folder / "uploads" / url.rpartition("/")[2] / "data"
    with begin_patch(server, url, 0, len(content), content[:2_000_000]):
        wait_until(lambda: data.stat().st_size > 1_000_000, "the server has taken most of it")

    at = offset(server, url)
    assert 1_000_000 < at <= 2_000_000
    assert patch(server, url, at, content[at:]).status_code == 204
    assert stored(server, "broken off") == content


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_a_newcomer_ends_a_writer_that_has_died_and_no_byte_is_doubled(server: LocalCloud, method: str) -> None:
    content = os.urandom(500_000)
    url = create(server, len(content), Upload_Metadata=metadata(key=f"taken over by {method}"))
    with begin_patch(server, url, 0, len(content), content[:200_000]) as first:
        data = server.folder / "uploads" / url.rpartition("/")[2] / "data"
        wait_until(lambda: data.stat().st_size > 0, "the server has begun to take it")
        if method == "DELETE":
            assert tus(server, "DELETE", url).status_code == 204
            return
        if method == "PATCH":
            assert patch(server, url, 400_000, b"x").status_code == 409
        at = offset(server, url)
        assert at <= 200_000
        wait_until(lambda: is_cut(first), "the first one is cut off")
        assert patch(server, url, at, content[at:]).status_code == 204

    assert stored(server, f"taken over by {method}") == content


def test_what_is_somebody_elses_is_not_found() -> None:
    with LocalCloud(key="") as server:
        url = tus(server, "POST", Upload_Length="3", Authorization="").headers["Location"]

        assert tus(server, "HEAD", url, Authorization="").status_code == 200
        assert (
            tus(server, "POST", Upload_Length="3", Authorization="", Origin="http://evil.example.org").status_code
            == 403
        )


def test_without_the_key_nothing_can_be_done(server: LocalCloud) -> None:
    url = create(server, 3)

    for method, where in (("POST", ""), ("HEAD", url), ("PATCH", url), ("DELETE", url)):
        answer = tus(server, method, where, Authorization="Bearer wrong", Upload_Length="3", Upload_Offset="0",
                     **BODY)  # fmt: skip
        assert answer.status_code == 401


def test_a_key_stored_twice_is_one_file_with_one_link(server: LocalCloud) -> None:
    links = []
    for _ in range(2):
        url = create(server, 3, Upload_Metadata=metadata(key="twice"))
        patch(server, url, 0, b"abc")
        links.append(server.link("twice"))

    assert links[0] == links[1]


@pytest.fixture
def restarted() -> Iterator[LocalCloud]:
    with LocalCloud() as server:
        yield server


def test_a_restart_keeps_every_upload_where_it_is(restarted: LocalCloud) -> None:
    content = os.urandom(100_000)
    url = create(restarted, len(content), Upload_Metadata=metadata(key="over a restart"))
    patch(restarted, url, 0, content[:60_000])
    whole = create(restarted, 3, Upload_Metadata=metadata(key="done"))
    patch(restarted, whole, 0, b"abc")
    restarted.kill()
    restarted.start()
    url, whole = (f"{restarted.url}/files/{one.rpartition('/')[2]}" for one in (url, whole))

    assert offset(restarted, whole) == 3
    assert offset(restarted, url) == 60_000
    assert patch(restarted, url, 60_000, content[60_000:]).status_code == 204
    assert stored(restarted, "over a restart") == content


def test_an_upload_whose_last_byte_came_right_before_a_crash_is_finished_when_it_is_asked_for(
    restarted: LocalCloud,
) -> None:
    url = create(restarted, 6, Upload_Metadata=metadata(key="last byte"))
    patch(restarted, url, 0, b"abc")
    (data,) = restarted.incoming()
    restarted.kill()
    data.write_bytes(b"abcdef")
    restarted.start()

    assert offset(restarted, f"{restarted.url}/files/{url.rpartition('/')[2]}") == 6

    assert stored(restarted, "last byte") == b"abcdef"


def test_a_stop_keeps_what_came_of_an_upload_that_is_not_ending(restarted: LocalCloud) -> None:
    url = create(restarted, 2_000_000)
    with begin_patch(restarted, url, 0, 2_000_000, b"x" * 1_500_000):
        wait_until(lambda: restarted.incoming()[0].stat().st_size >= 1_000_000, "bytes have come")
        restarted.kill()
    restarted.start()

    assert offset(restarted, f"{restarted.url}/files/{url.rpartition('/')[2]}") >= 1_000_000
