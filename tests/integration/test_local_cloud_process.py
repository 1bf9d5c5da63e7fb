"""The storage server as a process that starts, stops and dies, and whose disk is full or was touched by others."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import threading
import urllib.parse
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from backends.contract import Json
from backends.local import Local
from backends.suite_doubles import SampleArchive, SampleProgress
from local_cloud.errors import Problem, Refusal
from local_cloud.storage import Storage
from tests.support.local_cloud import COMMAND, CONTENT, KEY, MIB, LocalCloud, begin_upload, session, watched
from tests.support.scratch import wait_until

server = pytest.fixture(scope="module")(watched)


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
        unknown = server.folder / "uploads" / ("b" * 32)
        unknown.mkdir()
        (unknown / "data").write_bytes(b"half")
        (server.folder / "files" / "Anna's results").mkdir()
        (server.folder / "files" / "Anna's results" / "only copy").write_bytes(b"hers")
        (server.folder / "uploads" / "hers.txt").write_bytes(b"hers too")

        server.start()

        assert server.data() == sorted([CONTENT, b"hers"])
        assert (server.folder / "uploads" / "hers.txt").exists()
        assert not without_record.exists()
        assert not unknown.exists()
        assert sorted(path.name for path in record.parent.iterdir()) == sorted(
            ["record.json", hashlib.sha256(CONTENT).hexdigest()]
        )


def test_one_record_that_cannot_be_read_does_not_keep_the_server_from_its_other_files() -> None:
    with LocalCloud() as server:
        server.put("damaged", b"one")
        (record,) = server.folder.glob("files/*/record.json")
        server.put("good", b"another")
        server.kill()
        record.write_text('{"a later version": true')
        before = server.data()

        server.start()

        assert server.fetch(server.link("good")) == b"another"
        assert server.data() == before
        assert f'"folder": "{record.parent}"' in server.log


def test_a_file_whose_data_was_taken_away_is_not_there_and_can_be_stored_again(server: LocalCloud) -> None:
    content = b"taken away by hand"
    server.put("taken", content)
    link = server.link("taken")
    (data,) = (file for file in server.folder.glob("files/*/*") if file.read_bytes() == content)
    data.unlink()

    assert server.call("GET", "files", params={"key": "taken"}).status_code == 404
    assert server.call("POST", "links", params={"key": "taken"}, json={"expires": None}).status_code == 404
    assert server.get(link).status_code == 404
    assert server.put("taken", content).status_code == 201
    assert server.fetch(link) == content


def test_a_server_that_takes_nothing_for_a_while_does_not_end_an_upload(
    server: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow disk that catches up does that, for longer than a connection may take to be made."""
    process = psutil.Process(server.pid)
    archive = SampleArchive(32 * MIB, key="stalled", name="x.zip")

    class Halting(SampleProgress):
        def save(self, checkpoint: Json, sent: int) -> None:
            super().save(checkpoint, sent)
            if len(self.saved) == 1:  # of what is asked for afterwards, the answer may take longer on a busy machine
                monkeypatch.setattr("backends.local.TIMEOUT", (0.3, 0.3))
                process.suspend()
                threading.Timer(1, go_on).start()

    def go_on() -> None:
        monkeypatch.undo()
        process.resume()

    with session() as http:
        backend = Local(Local.Config.model_validate({"server": server.url, "key": server.key}), http)
        stored = backend.store(archive, Halting())

    assert stored.size == 32 * MIB


def test_packing_that_pauses_for_longer_than_the_server_waits_does_not_end_an_upload(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Large results are packed long before they are read for the summary."""
    monkeypatch.setattr("backends.local.PAUSE_SECONDS", 0.2)
    goes_on = threading.Event()

    class Pausing(SampleArchive):
        def wait(self, size: int, seconds: float) -> bool:
            return size <= 4 * MIB or goes_on.wait(seconds)

        def piece(self, start: int, length: int) -> bytes:
            assert start < 4 * MIB or goes_on.wait(120)
            return super().piece(start, length)

    archive = Pausing(12 * MIB, key="pausing", name="x.zip", grows=True)
    with LocalCloud(arguments=("--read-timeout", "2")) as server, session() as http:
        backend = Local(Local.Config.model_validate({"server": server.url, "key": server.key}), http)
        timer = threading.Timer(3, goes_on.set)
        timer.start()
        stored = backend.store(archive, SampleProgress())
        timer.join()

        assert (stored.size, server.fetch(server.link("pausing"))) == (12 * MIB, archive.content())


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


def start_and_fail(*arguments: str, env: dict[str, str] | None = None) -> str:
    env = os.environ | (env or {})
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120, check=False, env=env)
    assert done.returncode in {1, 2}, done
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


def test_two_keys_in_the_environment_are_one_too_many(tmp_path: Path) -> None:
    env = {"SIMCOURIER_LOCAL_CLOUD_KEY": KEY, "SIMCOURIER_LOCAL_CLOUD_KEY_FILE": str(tmp_path / "key")}

    assert "keep one of them" in start_and_fail("--folder", str(tmp_path / "cloud"), env=env)


def test_an_address_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    file = tmp_path / "missing" / "address"

    said = start_and_fail("--port", "0", "--folder", str(tmp_path / "cloud"), "--address-file", str(file))

    assert said == f"Error: The address file {file} cannot be written: No such file or directory."


@pytest.mark.parametrize("address", ["files.example.org", "ftp://files.example.org", "https://", "http://[files"])
def test_a_public_url_that_is_none_is_told(tmp_path: Path, address: str) -> None:
    said = start_and_fail("--folder", str(tmp_path / "cloud"), "--public-url", address)

    assert "'--public-url': an address with http:// or https:// is expected" in said


# A full disk


def test_a_disk_that_has_no_room_for_the_record_keeps_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    with closing(Storage(tmp_path)) as storage:
        adopt(storage, tmp_path, b"old")
        before = sorted(tmp_path.rglob("*"))
        (record,) = tmp_path.glob("files/*/record.json")
        record.with_suffix(".part").symlink_to("/dev/full")

        with pytest.raises(Refusal) as caught:
            adopt(storage, tmp_path, b"new")

        assert caught.value.problem is Problem.DISK_FULL
        assert sorted(tmp_path.rglob("*")) == before
        found = storage.find("key")
        assert found is not None
        assert found.size == 3
        assert found.sha256 == hashlib.sha256(b"old").hexdigest()


def adopt(storage: Storage, folder: Path, content: bytes) -> None:
    data = folder / "data"
    data.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        storage.adopt(data, key="key", name="name", owner="default", size=len(content), sha256=sha256)
    finally:
        data.unlink()


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
