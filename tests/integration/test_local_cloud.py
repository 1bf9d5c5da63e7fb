"""The storage server as a process, spoken to as clients and recipients do, and as they should not."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import socket
import subprocess
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

import psutil
import pytest

from backends.errors import PermanentError
from backends.local import Local
from backends.suite_doubles import SampleArchive, SampleProgress
from local_cloud.errors import Problem, Refusal
from local_cloud.storage import Storage
from tests.support.local_cloud import COMMAND, KEY, LocalCloud, session
from tests.support.scratch import wait_until

MIB = 1024 * 1024
CONTENT = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def server() -> Iterator[LocalCloud]:
    with LocalCloud() as running:
        yield running
        assert KEY not in running.log
        assert "Traceback" not in running.log


def begin_upload(server: LocalCloud, key: str, *lines: str) -> socket.socket:
    """The head of an upload, by hand."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    head = [
        f"PUT /api/v1/files?key={urllib.parse.quote(key, safe='')} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {server.key}",
        *lines,
    ]
    connection.sendall("".join(f"{line}\r\n" for line in head).encode() + b"\r\n")
    return connection


def raw(server: LocalCloud, request: bytes) -> bytes:
    """What comes back for exactly these bytes, until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


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
    assert server.call("GET", "status").json()["free_bytes"] > 0


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
            return http.put(url, content, headers={"Authorization": f"Bearer {KEY}"}, timeout=60).status_code

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
    with server.http.get(server.link("large"), stream=True, timeout=60) as answer:
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

    answer = server.http.head(server.link("head/run.zip"), timeout=20)

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
    "body", ['{"expires": "2030-01-01T00:00:00"}', '{"expires": 5}', '{"expires": "soon"}', "{}", "[]", "", "{"]
)
def test_an_expiry_that_is_none_is_refused(server: LocalCloud, body: str) -> None:
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


# Names and keys

ODD_NAMES = [
    'a\r\nSet-Cookie: x=1\r\n\r\n<h1>".zip',
    "\"; filename=evil.exe; x='",
    "100% %0d%0a %s.zip",
    "Größe 漢字 \N{RACING CAR}.zip",
    "back\\slash/and/../../slash.zip",
    "\u202egpj.exe",
    "{braces}[brackets]<angles>",
    "name\x00with\x7fnothing\u2028.zip",
    "x" * 3000 + ".zip",
    ".",
    "..",
    " ",
    "//",
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=[ascii(name[:20]) for name in ODD_NAMES])
def test_no_name_gets_out_of_the_header_or_breaks_the_link(server: LocalCloud, name: str) -> None:
    server.call("DELETE", "files", params={"key": "odd"})
    server.put("odd", CONTENT, params={"name": name})

    answer = server.get(server.link("odd"))

    assert answer.content == CONTENT
    assert "Set-Cookie" not in answer.headers
    said = answer.headers["Content-Disposition"]
    matched = re.fullmatch(r"attachment; filename=\"([^\"\\%/\x00-\x1f]+)\"; filename\*=UTF-8''([\w.~%-]+)", said)
    assert matched is not None, said
    real = urllib.parse.unquote(matched[2])
    assert 0 < len(real) <= 255
    assert real.isprintable()
    assert not set(real) & set("/\\")
    assert real.endswith(".zip") == name.endswith(".zip")


def test_a_harmless_name_is_offered_as_it_is(server: LocalCloud) -> None:
    server.put("harmless", CONTENT, params={"name": "Größe 漢字 50%.zip"})

    said = server.get(server.link("harmless")).headers["Content-Disposition"]

    assert urllib.parse.unquote(said.partition("UTF-8''")[2]) == "Größe 漢字 50%.zip"


@pytest.mark.parametrize("key", ["../../../escape", "/etc/escape", "a/../../b", "..", "\\..\\x", "a\nb", "x" * 1024])
def test_no_key_leads_out_of_the_folder(server: LocalCloud, key: str) -> None:
    assert server.put(key, CONTENT).status_code == 201

    assert server.fetch(server.link(key)) == CONTENT
    assert server.call("DELETE", "files", params={"key": key}).status_code == 204
    outside = [path for path in server.folder.rglob("*") if "escape" in path.name]
    assert outside == [] == list(server.folder.parent.glob("escape"))
    assert {path.name for path in server.folder.iterdir()} == {"files", "incoming", "server.lock"}


def test_keys_that_lead_to_one_path_are_different_files(server: LocalCloud) -> None:
    keys = ["p/q", "/p/q", "p//q", "./p/q", "p/q/", "p/x/../q", "P/q", "p/q.", " p/q"]

    for key in keys:
        server.put(key, key.encode())

    assert [server.fetch(server.link(key)) for key in keys] == [key.encode() for key in keys]


@pytest.mark.parametrize("key", ["", "x" * 1025, "a\x00b"])
def test_a_key_that_is_none_is_refused(server: LocalCloud, key: str) -> None:
    answer = server.put(key, CONTENT)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


# Who may upload

CALLS = [("PUT", "files"), ("GET", "files"), ("DELETE", "files"), ("POST", "links"), ("GET", "status")]
WRONG = ["", "Bearer", "Bearer wrong", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", KEY]


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_without_the_key_nothing_can_be_done(server: LocalCloud, method: str, path: str) -> None:
    server.put("guarded", CONTENT)

    for given in WRONG:
        answer = server.call(method, path, params={"key": "guarded"}, headers={"Authorization": given})
        assert (answer.status_code, answer.json()["code"]) == (401, "no_key"), given
        assert KEY not in answer.text + str(answer.headers)

    assert server.fetch(server.link("guarded")) == CONTENT


def test_a_key_of_bytes_that_are_no_text_is_refused(server: LocalCloud) -> None:
    answer = raw(server, b"GET /api/v1/status HTTP/1.0\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")

    assert answer.startswith(b"HTTP/1.0 401 ")


def test_a_wrong_key_is_told_though_the_client_is_still_sending(server: LocalCloud) -> None:
    """Else a worker would take it for a broken connection and try for a day."""
    with session() as http:
        backend = Local(Local.Config.model_validate({"server": server.url, "key": "wrong"}), http)
        with pytest.raises(PermanentError) as caught:
            backend.store(SampleArchive(64 * MIB, key="refused", name="x.zip"), SampleProgress())

    assert caught.value.scope == "backend"


def test_an_unknown_path_is_not_found_and_a_wrong_method_not_allowed(server: LocalCloud) -> None:
    assert [server.get(f"{server.url}{path}").status_code for path in ("/", "/api/v1/nothing", "/f/")] == [404] * 3
    assert server.call("PATCH", "files").status_code == 405


def test_without_a_key_file_this_machine_may_upload_and_the_start_says_so() -> None:
    with LocalCloud(key="") as server:
        assert server.put("open", CONTENT).status_code == 201
        assert server.fetch(server.link("open")) == CONTENT
        assert "accepted from this machine only" in server.log


def test_without_a_key_file_another_machine_may_not_upload() -> None:
    address = _own_address()
    if address is None:
        return  # Nobody can reach this machine from outside.
    with LocalCloud(key="", arguments=("--host", "0.0.0.0")) as server:
        server.put("open", CONTENT)
        link = urllib.parse.urlsplit(server.link("open"))
        outside = f"http://{address}:{server.port}"

        refused = server.http.put(f"{outside}/api/v1/files?key=x", CONTENT, timeout=20)

        assert (refused.status_code, refused.json()["code"]) == (403, "only_loopback")
        assert server.keys() == ["open"]
        assert server.get(f"{outside}{link.path}").content == CONTENT


def test_links_begin_with_the_public_url() -> None:
    with LocalCloud(arguments=("--public-url", "https://files.example.org/cloud/")) as server:
        server.put("public", CONTENT)

        assert server.link("public").startswith("https://files.example.org/cloud/f/")


def test_a_defect_is_logged_without_links_and_told_without_details() -> None:
    with LocalCloud() as server:
        server.put("broken", CONTENT)
        link = server.link("broken")
        (record,) = server.folder.glob("files/*/record.json")
        record.write_text("no record")

        answers = [server.get(link), server.call("GET", "files", params={"key": "broken"})]

        assert [(one.status_code, one.json()["code"]) for one in answers] == [(500, "broken")] * 2
        assert "JSONDecodeError" in server.log
        secret = link.split("/")[-2].partition(".")[2]
        assert [text for text in (KEY, secret) if text in server.log + answers[0].text + answers[1].text] == []


# Starting, stopping, dying


def test_killed_in_the_middle_of_an_upload_it_comes_back_with_what_was_finished() -> None:
    with LocalCloud() as server:
        server.put("finished", CONTENT)
        path = urllib.parse.urlsplit(server.link("finished")).path
        connections = []
        for key in ("finished", "new"):
            connections.append(begin_upload(server, key, "Content-Length: 9000000"))
            connections[-1].sendall(b"n" * 3 * MIB)
        wait_until(lambda: sum(file.stat().st_size for file in server.incoming()) >= 2 * MIB, "both have begun")

        server.kill()
        for connection in connections:
            connection.close()
        server.start()

        assert server.keys() == ["finished"]
        assert server.data() == [CONTENT]
        assert server.fetch(server.url + path) == CONTENT
        assert server.put("new", CONTENT).status_code == 201


def test_a_start_removes_what_a_killed_server_left_and_nothing_that_is_not_its_own() -> None:
    with LocalCloud() as server:
        server.put("kept", CONTENT)
        (record,) = server.folder.glob("files/*/record.json")
        server.kill()
        (record.parent / "record.part").write_text("half a rec")
        (record.parent / ("0" * 64)).write_bytes(b"data without a record")
        without_record = server.folder / "files" / ("a" * 32)
        without_record.mkdir()
        (server.folder / "incoming" / ("b" * 32)).write_bytes(b"half")
        (server.folder / "files" / "Anna's results").mkdir()
        (server.folder / "files" / "Anna's results" / "only copy").write_bytes(b"hers")
        (server.folder / "incoming" / "hers.txt").write_bytes(b"hers too")

        server.start()

        assert server.data() == sorted([CONTENT, b"hers", b"hers too"])
        assert not without_record.exists()
        assert sorted(path.name for path in record.parent.iterdir()) == sorted(
            ["record.json", hashlib.sha256(CONTENT).hexdigest()]
        )


def test_sigterm_ends_it_cleanly_and_its_files_stay() -> None:
    with LocalCloud() as server:
        server.put("stays", CONTENT)
        with socket.create_connection(("127.0.0.1", server.port)):
            assert server.stop() == 0

        assert [json.loads(line)["event"] for line in server.log.splitlines()][-2:] == [
            "local_cloud.stopping",
            "local_cloud.stopped",
        ]
        server.start()
        assert server.fetch(server.link("stays")) == CONTENT


def test_an_upload_that_runs_when_sigterm_comes_is_finished() -> None:
    with LocalCloud() as server, begin_upload(server, "last", f"Content-Length: {len(CONTENT)}") as connection:
        connection.sendall(CONTENT[:5000])
        wait_until(lambda: bool(server.incoming()), "the upload has begun")
        psutil.Process(server.pid).send_signal(signal.SIGTERM)
        wait_until(lambda: "local_cloud.stopping" in server.log, "it stops")

        connection.sendall(CONTENT[5000:])

        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")
        assert server.wait() == 0
        assert server.data() == [CONTENT]


def start_and_fail(*arguments: str) -> str:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done
    assert KEY not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr.strip()


def test_a_second_server_on_the_folder_says_so_in_one_sentence(server: LocalCloud) -> None:
    said = start_and_fail("--port", "0", "--folder", str(server.folder))

    assert said == f"Error: Another local-cloud runs on {server.folder}; choose another --folder."


def test_a_port_that_is_taken_is_told_in_one_sentence(server: LocalCloud, tmp_path: Path) -> None:
    said = start_and_fail("--port", str(server.port), "--folder", str(tmp_path / "other"))

    assert said.startswith(f"Error: Nothing can listen on 127.0.0.1:{server.port}: ")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), ("", "is empty"), ("\n", "is empty")])
def test_a_key_file_that_holds_none_is_told(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)

    assert said in start_and_fail("--folder", str(tmp_path / "cloud"), "--key-file", str(file))


# A full disk


def test_a_disk_that_is_full_is_told_while_the_bytes_arrive(tmp_path: Path) -> None:
    with closing(Storage(tmp_path)) as storage:
        incoming = storage.receive()
        incoming._stream.close()
        with Path("/dev/full").open("wb", buffering=0) as full:
            incoming._stream = cast("BinaryIO", full)

            with pytest.raises(Refusal) as caught:
                incoming.write(b"x" * MIB)
        incoming.discard()

        assert caught.value.problem is Problem.DISK_FULL
        assert list(tmp_path.glob("incoming/*")) == []


def test_a_disk_that_has_no_room_for_the_record_keeps_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    with closing(Storage(tmp_path)) as storage:
        _store(storage, b"old")
        before = sorted(tmp_path.rglob("*"))
        (record,) = tmp_path.glob("files/*/record.json")
        record.with_suffix(".part").symlink_to("/dev/full")

        with pytest.raises(Refusal) as caught:
            _store(storage, b"new")

        assert caught.value.problem is Problem.DISK_FULL
        assert sorted(tmp_path.rglob("*")) == before
        found = storage.find("key")
        assert found is not None
        assert found.size == 3
        assert found.sha256 == hashlib.sha256(b"old").hexdigest()


def _store(storage: Storage, content: bytes) -> None:
    incoming = storage.receive()
    try:
        incoming.write(content)
        storage.commit(incoming, "key", "name")
    except Refusal:
        incoming.discard()
        raise


def test_a_full_disk_is_told_to_the_client_and_the_room_is_free_again(tmp_path: Path) -> None:
    """The server's folder is a file system of 4 MiB."""
    script = 'mkdir -p cloud && mount -t tmpfs -o size=4m none cloud && exec "$@"'
    within = ("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh")
    if subprocess.run([*within, "true"], cwd=tmp_path, capture_output=True, check=False).returncode:
        return  # Not allowed here; the two tests before this one need no file system of their own.
    with LocalCloud(within=within) as server:
        assert server.put("fits", b"f" * MIB).status_code == 201
        for content in (b"x" * 8 * MIB, (b"x" * MIB for _ in range(8))):
            answer = server.put("too large", content)
            assert (answer.status_code, answer.json()["code"]) == (507, "disk_full")

        assert server.fetch(server.link("fits")) == b"f" * MIB
        assert server.call("GET", "files", params={"key": "too large"}).status_code == 404
        assert server.put("fits too", b"g" * 2 * MIB).status_code == 201


# The page on the API

PAGE = Path(__file__).parents[2] / "docs" / "local_cloud_api.md"


def test_the_examples_of_the_page_on_the_api_work(server: LocalCloud, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / "mm1.zip").write_bytes(b"twelve bytes")
    (tmp_path / "key").write_text(server.key)
    text = PAGE.read_text("utf-8").replace("http://10.10.160.10:8976", server.url)
    blocks = re.findall(r"```(sh|json)\n(.*?)```", text.replace("/etc/local-cloud.key", "key"), re.DOTALL)
    assert len(blocks) == 10

    said = ""
    for kind, block in blocks:
        if kind == "sh":
            said = subprocess.run(
                ["sh", "-e"], input=block, cwd=tmp_path, capture_output=True, text=True, timeout=20, check=True
            ).stdout
        else:
            assert _comparable(json.loads(said)) == _comparable(json.loads(block))

    assert "run-17/1/mm1.zip" not in server.keys()  # noqa: SIM118 - a list


def _comparable(answer: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from one time to the next."""
    if "url" in answer:
        answer["url"] = re.sub(r"/f/[0-9a-f]{32}\.[\w-]{32}/", "/f/TOKEN/", answer["url"])
    return answer | {name: "bytes" for name in answer if name == "free_bytes"}


def test_the_page_on_the_api_names_every_error_with_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)

    assert sorted(rows) == sorted((str(problem.status), problem.name.lower()) for problem in Problem)


def _own_address() -> str | None:
    """An address of this machine that is not the loopback's."""
    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            if one.family == socket.AF_INET and not one.address.startswith("127."):
                return one.address
    return None
