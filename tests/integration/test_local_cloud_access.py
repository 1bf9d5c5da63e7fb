"""The storage server as a process: odd names and keys, and who may do what."""

from __future__ import annotations

import json
import re
import socket
import urllib.parse
from pathlib import Path

import psutil
import pytest

from backends.errors import PermanentError
from backends.local import Local
from backends.suite_doubles import SampleArchive, SampleProgress
from tests.support.local_cloud import CONTENT, KEY, MIB, LocalCloud, begin_upload, raw, session, watched
from tests.support.scratch import wait_until

server = pytest.fixture(scope="module")(watched)


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
    assert {path.name for path in server.folder.iterdir()} == {"files", "uploads", "server.lock"}


def test_keys_that_lead_to_one_path_are_different_files(server: LocalCloud) -> None:
    keys = ["p/q", "/p/q", "p//q", "./p/q", "p/q/", "p/x/../q", "P/q", "p/q.", " p/q"]

    for key in keys:
        server.put(key, key.encode())

    assert [server.fetch(server.link(key)) for key in keys] == [key.encode() for key in keys]


@pytest.mark.parametrize("key", ["", "x" * 1025, "a\x00b"])
def test_a_key_that_is_none_is_refused(server: LocalCloud, key: str) -> None:
    answer = server.put(key, CONTENT)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize("query", [b"key=%ff", b"key=%ed%a0%80", b"key=\xff", b"key=a&name=%fe"])
def test_a_key_or_name_that_is_no_utf8_is_refused(server: LocalCloud, query: bytes) -> None:
    """Read leniently, all of these would be one key, and one file replace the other."""
    head = b"HTTP/1.0\r\nAuthorization: Bearer %s\r\nContent-Length: 1\r\n\r\nx" % KEY.encode()

    answer = raw(server, b"PUT /api/v1/files?%s %s" % (query, head))

    assert answer.split(b" ")[1] == b"400"
    assert not [key for key in server.keys() if not key.isascii()]  # noqa: SIM118 - a list


MALFORMED = [
    b"GET /f/secret-of-a-link/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\x00\r\n\r\n" % KEY.encode(),
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n" % (KEY.encode() * 1000),
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


def test_what_is_no_http_is_refused_and_not_quoted_in_the_log() -> None:
    with LocalCloud() as server:
        codes = [raw(server, request).split(b" ")[1] for request in MALFORMED]

        assert codes == [b"400"] * len(MALFORMED)
        events = {json.loads(line)["event"] for line in server.log.splitlines()}
        assert events == {"local_cloud.started", "uploads.allowed", "request.malformed"}
        assert [text for text in (KEY, "secret-of-a-link") if text in server.log] == []


def test_chunks_that_are_none_leave_nothing(server: LocalCloud) -> None:
    before = server.data()
    with begin_upload(server, "no chunks", "Transfer-Encoding: chunked") as connection:
        wait_until(lambda: bool(server.incoming()), "the upload has begun")
        # aiohttp tells a handler that waits for more of a body nothing of this; the client's end is what it notices.
        connection.sendall(b"3\r\nabc\r\nZZ\r\nabc")

    wait_until(lambda: not server.incoming(), "the rest is removed")
    assert server.data() == before


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
        assert "uploads come from this machine only" in server.log


def test_without_a_key_file_another_machine_may_not_upload() -> None:
    address = _own_address()
    if address is None:
        return  # Nobody can reach this machine from outside.
    with LocalCloud(key="", arguments=("--host", "0.0.0.0")) as server:
        server.put("open", CONTENT)
        link = urllib.parse.urlsplit(server.link("open"))
        outside = f"http://{address}:{server.port}"

        refused = server.http.put(f"{outside}/api/v1/files?key=x", CONTENT, timeout=120)

        assert (refused.status_code, refused.json()["code"]) == (403, "only_loopback")
        assert server.keys() == ["open"]
        assert server.get(f"{outside}{link.path}").content == CONTENT


def test_the_key_may_come_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("of the file")
    for setting, key in (
        ("SIMCOURIER_LOCAL_CLOUD_KEY=of the variable", "of the variable"),
        (f"SIMCOURIER_LOCAL_CLOUD_KEY_FILE={tmp_path / 'other'}", "of the file"),
    ):
        with LocalCloud(key="", within=("env", setting)) as server:
            right = server.call("GET", "status", headers={"Authorization": f"Bearer {key}"})
            without = server.call("GET", "status")

            assert (right.status_code, without.status_code) == (200, 401)
            assert key not in server.log


def test_the_key_file_of_the_command_line_comes_before_the_environment() -> None:
    with LocalCloud(within=("env", "SIMCOURIER_LOCAL_CLOUD_KEY=another")) as server:
        assert server.call("GET", "status").status_code == 200


def _own_address() -> str | None:
    """An address of this machine that is not the loopback's."""
    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            if one.family == socket.AF_INET and not one.address.startswith("127."):
                return one.address
    return None
