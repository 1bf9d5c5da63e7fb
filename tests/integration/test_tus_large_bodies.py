"""Bodies so large that they take the short way, from their socket to the disk."""

from __future__ import annotations

import hashlib
import random
import socket
from base64 import b64encode
from collections.abc import Iterator

import pytest
import requests

from tests.support.local_cloud import MIB, LocalCloud, session, watched
from tests.support.scratch import wait_until

CONTENT = random.Random(9).randbytes(5 * MIB + 3)
TUS = {"Tus-Resumable": "1.0.0"}

server = pytest.fixture(scope="module")(watched)


@pytest.fixture
def http(server: LocalCloud) -> Iterator[requests.Session]:
    with session() as one:
        one.headers.update(TUS | {"Authorization": f"Bearer {server.key}"})
        yield one


def create(http: requests.Session, server: LocalCloud) -> str:
    answer = http.post(f"{server.url}/files/", headers={"Upload-Length": str(len(CONTENT))}, timeout=120)
    return str(answer.headers["Location"])


def patch(http: requests.Session, url: str, offset: int, data: bytes, **more: str) -> requests.Response:
    headers = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream", **more}
    return http.patch(url, data=data, headers=headers, timeout=120)


def offset(http: requests.Session, url: str) -> int:
    return int(http.head(url, timeout=120).headers["Upload-Offset"])


def stored(server: LocalCloud, url: str) -> bytes | None:
    return server.fetch(server.link(url.rpartition("/")[2]))


def head(server: LocalCloud, url: str) -> bytes:
    return (
        f"PATCH {url.removeprefix(server.url)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\n"
        "Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\n"
        f"Content-Length: {len(CONTENT)}\r\n\r\n"
    ).encode()


def test_a_connection_is_not_used_again_after_a_large_body(server: LocalCloud, http: requests.Session) -> None:
    for _ in range(2):
        url = create(http, server)

        answer = patch(http, url, 0, CONTENT)

        assert (answer.status_code, answer.headers["Connection"]) == (204, "close")
        assert stored(server, url) == CONTENT


def test_what_follows_a_large_body_is_no_part_of_it(server: LocalCloud, http: requests.Session) -> None:
    url = create(http, server)
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
        connection.sendall(head(server, url) + CONTENT + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")

        assert connection.recv(65536).startswith(b"HTTP/1.1 204 ")
    assert stored(server, url) == CONTENT


def test_a_large_body_that_comes_in_drops_arrives(server: LocalCloud, http: requests.Session) -> None:
    url = create(http, server)
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(head(server, url))
        for start in range(200):
            connection.sendall(CONTENT[start : start + 1])
        connection.sendall(CONTENT[200:])

        assert connection.recv(65536).startswith(b"HTTP/1.1 204 ")
    assert stored(server, url) == CONTENT


def test_a_large_body_with_a_wrong_checksum_is_not_kept(server: LocalCloud, http: requests.Session) -> None:
    url = create(http, server)
    right, wrong = (b64encode(hashlib.sha256(data).digest()).decode() for data in (CONTENT, b"other"))

    refused = patch(http, url, 0, CONTENT, **{"Upload-Checksum": f"sha256 {wrong}"})

    assert (refused.status_code, offset(http, url)) == (460, 0)
    assert patch(http, url, 0, CONTENT, **{"Upload-Checksum": f"sha256 {right}"}).status_code == 204
    assert stored(server, url) == CONTENT


def test_what_came_of_a_large_body_is_kept_when_nothing_follows() -> None:
    with LocalCloud(arguments=("--read-timeout", "1.5")) as server, session() as http:
        http.headers.update(TUS | {"Authorization": f"Bearer {server.key}"})
        url = create(http, server)
        with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
            connection.sendall(head(server, url) + CONTENT[: 3 * MIB])

            assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
        assert offset(http, url) == 3 * MIB
        assert patch(http, url, 3 * MIB, CONTENT[3 * MIB :]).status_code == 204
        assert stored(server, url) == CONTENT


def test_what_came_of_a_large_body_is_told_once_a_newcomer_asks(server: LocalCloud, http: requests.Session) -> None:
    url = create(http, server)
    data = server.folder / "uploads" / url.rpartition("/")[2] / "data"
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
        connection.sendall(head(server, url) + CONTENT[: 3 * MIB])
        wait_until(lambda: data.stat().st_size == 3 * MIB, "it has come")

        assert offset(http, url) == 3 * MIB
        assert patch(http, url, 3 * MIB, CONTENT[3 * MIB :]).status_code == 204
    assert stored(server, url) == CONTENT
