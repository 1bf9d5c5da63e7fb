"""Limits of the storage server: how much it takes, how fast, how long it waits, and that nobody waits for others."""

from __future__ import annotations

import hashlib
import os
import resource
import select
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from local_cloud.access import Uploader
from local_cloud.errors import Problem, Refusal
from local_cloud.limits import Limits
from tests.support.local_cloud import CONTENT, KEY, MIB, LocalCloud, added, as_, begin_upload, session
from tests.support.scratch import wait_until

CLIENTS = 200
AUTHORISED = {"Authorization": f"Bearer {KEY}"}


def refused_before_the_first_byte(server: LocalCloud, size: int, key: str = KEY) -> tuple[int, str]:
    """Status and sentence for an upload of which only the head is sent."""
    head = [
        "PUT /api/v1/files?key=large HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {key}",
        f"Content-Length: {size}",
    ]
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
        connection.sendall("".join(f"{line}\r\n" for line in head).encode() + b"\r\n")
        answer = connection.recv(65536).decode()
    assert server.incoming() == []
    return int(answer.split()[1]), answer.partition("\r\n\r\n")[2]


# How much


def test_a_file_that_is_too_large_is_refused_before_its_first_byte() -> None:
    with LocalCloud(arguments=("--max-file", "1MiB")) as server:
        key = added(server.folder, "small", "--max-file", "1000")

        assert refused_before_the_first_byte(server, MIB + 1) == (
            413,
            '{"error": "The file has 1.0 MiB; the largest that is taken has 1.0 MiB.", "code": "too_large"}',
        )
        assert refused_before_the_first_byte(server, 1001, key)[0] == 413
        assert server.put("fits", bytes(MIB)).status_code == 201
        assert server.put("fits", bytes(1000), **as_(key)).status_code == 201


def test_a_client_that_asks_first_is_told_to_send_only_what_will_be_taken() -> None:
    with LocalCloud(arguments=("--max-file", "1000")) as server:
        said = {}
        for size in (1000, 1001):
            with begin_upload(server, "asked", f"Content-Length: {size}", "Expect: 100-continue") as connection:
                said[size] = [connection.recv(65536).split(b"\r\n")[0]]
                if b"100" in said[size][0]:
                    connection.sendall(bytes(size))
                    said[size].append(connection.recv(65536).split(b"\r\n")[0])

        assert said == {
            1000: [b"HTTP/1.1 100 Continue", b"HTTP/1.1 201 Created"],
            1001: [b"HTTP/1.1 413 Request Entity Too Large"],
        }


def test_a_quota_counts_what_is_stored_and_what_is_on_its_way_and_is_free_again_after_a_deletion() -> None:
    with LocalCloud(arguments=("--quota", "10MiB")) as server:
        key = added(server.folder, "anna", "--quota", "3MiB")
        assert server.put("one", bytes(MIB), **as_(key)).status_code == 201
        with begin_upload(server, "half", f"Content-Length: {MIB}", upload_key=key) as connection:
            wait_until(lambda: bool(server.incoming()), "the second has begun")

            answer = server.put("too much", bytes(MIB + 1), **as_(key))
            for_others = server.put("others", bytes(2 * MIB))

            assert (answer.status_code, answer.json()["code"]) == (507, "quota")
            assert "1.0 MiB are left" in answer.json()["error"]
            assert for_others.status_code == 201
            connection.sendall(bytes(MIB))
            assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")
        assert server.put("third", bytes(MIB), **as_(key)).status_code == 201
        assert server.put("fourth", b"x", **as_(key)).status_code == 507
        server.call("DELETE", "files", params={"key": "one"}, **as_(key))
        assert server.put("fourth", bytes(MIB), **as_(key)).status_code == 201
        assert refused_before_the_first_byte(server, 4 * MIB, key)[0] == 413  # never, whatever is deleted
        assert refused_before_the_first_byte(server, 6 * MIB)[0] == 507  # of all keys together


def test_a_file_that_came_by_tus_counts_once() -> None:
    with LocalCloud(arguments=("--quota", "10MiB")) as server:
        headers = {"Authorization": f"Bearer {server.key}", "Tus-Resumable": "1.0.0", "Upload-Length": str(4 * MIB)}
        headers["Content-Type"] = "application/offset+octet-stream"
        made = server.http.post(f"{server.url}/files/", headers=headers, data=bytes(4 * MIB), timeout=120)

        assert (made.status_code, made.headers["Upload-Offset"]) == (201, str(4 * MIB))
        assert server.call("GET", "status").json()["room_bytes"] == 6 * MIB


def test_a_quota_is_known_again_after_a_restart() -> None:
    with LocalCloud(arguments=("--quota", "2MiB")) as server:
        server.put("one", bytes(MIB))
        server.kill()
        server.start()

        assert refused_before_the_first_byte(server, MIB + 1)[0] == 507
        assert server.call("GET", "status").json()["room_bytes"] == MIB


def test_bytes_whose_number_was_not_announced_are_counted_as_they_come() -> None:
    with LocalCloud(arguments=("--max-file", "2MiB")) as server:
        answer = server.put("unknown", (bytes(MIB) for _ in range(4)))

        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert server.put("unknown", (bytes(MIB) for _ in range(2))).status_code == 201


def test_uploads_of_unknown_length_share_the_quota_while_they_arrive() -> None:
    with LocalCloud(arguments=("--quota", "40MiB")) as server, ThreadPoolExecutor(3) as threads:
        http = [session() for _ in range(3)]

        def put(number: int) -> int:
            url, headers = f"{server.url}/api/v1/files?key={number}", {"Authorization": f"Bearer {KEY}"}
            body = (bytes(MIB) for _ in range(22))
            return http[number].put(url, body, headers=headers, timeout=120).status_code

        answers = sorted(threads.map(put, range(3)))
        for one in http:
            one.close()

        assert set(answers) <= {201, 507}
        assert answers.count(201) <= 1
        assert server.call("GET", "status").json()["room_bytes"] == (40 - 22 * answers.count(201)) * MIB


def test_what_must_stay_free_on_the_disk_is_not_used(tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    keep = status.f_bavail * status.f_frsize * 2
    with LocalCloud(arguments=("--keep-free", str(keep))) as server:
        code, told = refused_before_the_first_byte(server, 1000)

        assert code == 507
        assert "The server has no room left" in told


class Disk:
    """Numbers that a test makes up."""

    def __init__(self, free: int, size: int, held: int = 0) -> None:
        self.free, self.size, self.held = free, size, held

    def free_bytes(self) -> int:
        return self.free

    def disk_bytes(self) -> int:
        return self.size

    def held_bytes(self, owner: str) -> int:
        return self.held if owner == "anna" else 0

    def held_bytes_total(self) -> int:
        return self.held


@pytest.mark.parametrize(("size", "kept"), [(1000, 50), (10**15, 1024**3)])
def test_a_twentieth_of_the_disk_stays_free_and_of_a_large_one_a_gibibyte(size: int, kept: int) -> None:
    limits = Limits(Disk(kept + 10, size))

    limits.admit(Uploader("anna"), 10)
    with pytest.raises(Refusal) as caught:
        limits.admit(Uploader("anna"), 11)

    assert caught.value.problem is Problem.DISK_FULL
    assert limits.room(Uploader("anna")) == 10


def test_an_upload_that_would_use_up_what_must_stay_free_ends_in_the_middle() -> None:
    disk = Disk(200 * MIB, 1000 * MIB)
    limits = Limits(disk, keep_free=100 * MIB)
    limits.check(32 * MIB)
    disk.free = 100 * MIB

    with pytest.raises(Refusal) as caught:
        limits.check(32 * MIB)

    assert caught.value.problem is Problem.DISK_FULL


# How fast


def test_the_uploads_of_a_key_share_its_rate() -> None:
    now = [100.0]
    limits = Limits(Disk(10**9, 10**9), clock=lambda: now[0])
    anna, boris = Uploader("anna", bytes_per_second=1000), Uploader("boris", bytes_per_second=1000)

    waits = [limits.delay(anna, 500), limits.delay(anna, 1500), limits.delay(boris, 1000)]
    now[0] += 2
    waits.append(limits.delay(anna, 1000))
    now[0] += 3600  # it may not catch up on an hour of silence
    waits += [limits.delay(anna, 1000), limits.delay(anna, 1000)]

    assert waits == [0.5, 2.0, 1.0, 1.0, 0.0, 1.0]
    assert limits.delay(Uploader("carla"), 10**9) == 0


def test_an_upload_takes_the_time_that_its_key_is_given() -> None:
    with LocalCloud() as server:
        key = added(server.folder, "slow", "--rate", "2MiB/s")

        def took(**arguments: Any) -> float:
            begun = time.monotonic()
            assert server.put("file", bytes(5 * MIB), **arguments).status_code == 201
            return time.monotonic() - begun

        assert took(**as_(key)) > 1.5 > min(took() for _ in range(3)), "a busy machine may be slow once"


# For how long


def test_an_upload_from_which_nothing_comes_any_more_is_ended_and_one_that_is_only_slow_is_not() -> None:
    with LocalCloud(arguments=("--read-timeout", "3")) as server, ExitStack() as stack:
        slow = stack.enter_context(begin_upload(server, "slow", "Content-Length: 1000"))
        silent = stack.enter_context(begin_upload(server, "silent", "Content-Length: 1000"))
        silent.sendall(b"x" * 10)
        sent = 0
        while not select.select([silent], [], [], 0.2)[0]:  # what makes it slow
            slow.sendall(b"y")
            sent += 1
        slow.sendall(b"y" * (1000 - sent))

        assert slow.recv(65536).startswith(b"HTTP/1.1 201 ")
        said = silent.recv(65536)
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b'"code": "stalled"' in said


def test_a_small_body_that_never_ends_is_ended() -> None:
    with LocalCloud(arguments=("--read-timeout", "0.5")) as server:
        server.put("a", CONTENT)
        path = server.link("a", password="right").removeprefix(server.url)
        for head in (f"POST {path}", "POST /api/v1/links?key=a"):
            with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
                lines = f"{head} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 100\r\n\r\npass"
                connection.sendall(lines.encode())

                assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_connections_without_a_whole_request_are_closed_however_slowly_its_head_arrives() -> None:
    with LocalCloud(arguments=("--idle-timeout", "2")) as server, ExitStack() as stack:
        silent, dripping, used = (
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=120)) for _ in range(3)
        )
        used.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert used.recv(65536).startswith(b"HTTP/1.1 200 ")
        dripping.sendall(b"GET /healthz HTTP/1.1\r\n")
        begun = time.monotonic()
        gone = False
        while not gone and time.monotonic() < begun + 60:
            time.sleep(0.2)
            try:
                dripping.sendall(b"X: y\r\n")
            except OSError:
                gone = True

        assert gone
        assert silent.recv(1) == b""
        assert used.recv(1) == b""


def test_the_wait_for_a_request_does_not_end_one_that_is_being_answered() -> None:
    with (
        LocalCloud(arguments=("--idle-timeout", "0.5")) as server,
        begin_upload(server, "long", "Content-Length: 8") as connection,
    ):
        for _ in range(8):
            connection.sendall(b"y")
            time.sleep(0.2)  # what makes it longer

        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")


# For whom


def test_hundreds_of_slow_clients_hold_up_nobody() -> None:
    """Half of them send as slowly as they are allowed to, half of them read so."""
    large = 32 * MIB
    with LocalCloud(lean=True) as server, ExitStack() as stack:
        server.put("large", bytes(large))
        link = server.link("large")
        path = link.removeprefix(server.url)
        for number in range(CLIENTS // 2):
            writer = stack.enter_context(begin_upload(server, f"slow-{number}", "Content-Length: 2000000"))
            writer.sendall(bytes(1_000_000))
            reader = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=120))
            reader.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert reader.recv(1000).startswith(b"HTTP/1.1 200 ")
        wait_until(lambda: len(server.incoming()) == CLIENTS // 2, "all have begun")

        begun = time.monotonic()
        assert server.put("quick", bytes(8 * MIB)).status_code == 201
        assert server.get(link, Range="bytes=0-9999").status_code == 206
        assert server.get(f"{server.url}/healthz").status_code == 200
        took = time.monotonic() - begun

        assert took < 20, "none of those has an end before a minute has passed"
        wait_until(lambda: psutil.Process(server.pid).memory_info().rss < 120 * MIB, "it takes little memory")


def test_the_server_may_have_as_many_files_open_as_the_system_allows() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with LocalCloud(within=("sh", "-c", 'ulimit -S -n 64; exec "$@"', "sh")) as server:
        assert psutil.Process(server.pid).rlimit(psutil.RLIMIT_NOFILE)[0] == hard


# The end


def test_while_it_is_being_stopped_nothing_new_is_begun() -> None:
    with LocalCloud() as server, ExitStack() as stack:
        kept = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=120))
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert kept.recv(65536).startswith(b"HTTP/1.1 200 ")
        running = stack.enter_context(begin_upload(server, "running", "Content-Length: 8"))
        wait_until(lambda: bool(server.incoming()), "an upload has begun")
        psutil.Process(server.pid).terminate()
        wait_until(lambda: "local_cloud.stopping" in server.log, "it stops")

        kept.sendall(b"PUT /api/v1/files?key=new HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
        said = kept.recv(65536)
        running.sendall(b"finished")

        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in said
        assert running.recv(65536).startswith(b"HTTP/1.1 201 ")
        assert server.wait() == 0
        assert server.keys() == ["running"]


def test_sighup_does_not_end_a_server_that_has_nothing_to_read_again() -> None:
    with LocalCloud() as server:
        psutil.Process(server.pid).send_signal(signal.SIGHUP)

        assert server.put("a", CONTENT).status_code == 201
        assert server.stop() == 0


# With uploads that can be gone on with


def begin(server: LocalCloud, size: int) -> str:
    """A new tus upload; its address."""
    headers = AUTHORISED | {"Tus-Resumable": "1.0.0", "Upload-Length": str(size)}
    answer = server.http.post(f"{server.url}/files/", headers=headers, timeout=120)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def offset(server: LocalCloud, url: str) -> int:
    """Bytes that the server has of it."""
    answer = server.http.head(url, headers=AUTHORISED | {"Tus-Resumable": "1.0.0"}, timeout=120)
    return int(answer.headers["Upload-Offset"])


def go_on(server: LocalCloud, url: str, content: bytes) -> requests.Response:
    """Send the rest of it."""
    begin = offset(server, url)
    headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": str(begin), "Content-Type": "application/offset+octet-stream"}
    return server.http.patch(url, content[begin:], headers=AUTHORISED | headers, timeout=120)


def test_a_disk_that_is_full_in_the_middle_keeps_what_came_and_takes_the_rest_once_there_is_room(
    tmp_path: Path,
) -> None:
    """The server's folder is a file system of 8 MiB, and somebody else writes to it, too."""
    script = 'mkdir -p cloud && mount -t tmpfs -o size=8m none cloud && exec "$@"'
    within = ("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh")
    if subprocess.run([*within, "true"], cwd=tmp_path, capture_output=True, check=False).returncode:
        return  # Not allowed here.
    content = os.urandom(6 * MIB)
    with LocalCloud(within=within, arguments=("--keep-free", "0")) as server:
        url = begin(server, len(content))
        filler = Path(f"/proc/{server.pid}/root{server.folder}/of somebody else")
        filler.write_bytes(bytes(5 * MIB))

        refused = go_on(server, url, content)
        kept = offset(server, url)
        still = go_on(server, url, content)
        filler.unlink()
        answer = go_on(server, url, content)

        assert [(one.status_code, one.json()["code"]) for one in (refused, still)] == [(507, "disk_full")] * 2
        assert MIB < kept < 4 * MIB
        assert answer.status_code == 204
        (data,) = filler.parent.glob(f"files/*/{hashlib.sha256(content).hexdigest()}")
        assert data.read_bytes() == content


def test_an_upload_that_is_cut_by_a_stop_goes_on_after_the_start() -> None:
    content = os.urandom(3 * MIB)
    with LocalCloud(arguments=("--grace", "0.3")) as server:
        path = begin(server, len(content)).removeprefix(server.url)
        head = [
            f"PATCH {path} HTTP/1.1",
            "Host: x",
            f"Authorization: Bearer {KEY}",
            "Tus-Resumable: 1.0.0",
            "Upload-Offset: 0",
            "Content-Type: application/offset+octet-stream",
            f"Content-Length: {len(content)}",
        ]
        with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
            connection.sendall("".join(f"{line}\r\n" for line in head).encode() + b"\r\n" + content[: 2 * MIB])
            wait_until(lambda: sum(map(len, server.data())) == 2 * MIB, "all that was sent has come")

            assert server.stop() == 0

        server.start()
        url = f"{server.url}{path}"
        assert offset(server, url) == 2 * MIB
        assert go_on(server, url, content).status_code == 204
        assert server.data() == [content]
