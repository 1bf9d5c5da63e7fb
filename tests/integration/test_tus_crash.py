"""The server is killed at random moments while uploads are under way; whatever it has confirmed is there afterwards."""

from __future__ import annotations

import base64
import hashlib
import random
import threading
import time
from collections.abc import Iterator

import pytest
import requests

from tests.support.local_cloud import LocalCloud, session

TUS = {"Tus-Resumable": "1.0.0"}
MIB = 1024 * 1024
SENDERS = 4
SIZE = 6 * MIB + 12_345


class Sender:
    """One client with one file: it goes on wherever the server says that it stands."""

    def __init__(self, number: int, seed: int) -> None:
        self.key = f"{seed}/{number}"
        self.content = random.Random(f"{seed}.{number}").randbytes(SIZE)
        self.confirmed = 0
        self.done = False
        self.wrong = ""
        self._number = number
        self._path = ""

    def run(self, server: LocalCloud, stop: threading.Event) -> None:
        """Send until all is there, or nobody answers any more."""
        try:
            self._run(server, stop)
        except requests.RequestException:
            return
        except AssertionError as error:
            self.wrong = str(error)

    def _run(self, server: LocalCloud, stop: threading.Event) -> None:
        with session() as http:
            http.headers.update(TUS | {"Authorization": f"Bearer {server.key}"})
            offset = self._begin(http, server) if not self._path else self._look(http, server)
            while offset < SIZE and not stop.is_set():
                offset = self._send(http, server, offset)
            self.done = offset == SIZE

    def _begin(self, http: requests.Session, server: LocalCloud) -> int:
        metadata = f"key {base64.b64encode(self.key.encode()).decode()}"
        headers = {"Upload-Length": str(SIZE), "Upload-Metadata": metadata}
        answer = http.post(f"{server.url}/files/", headers=headers, timeout=120)
        self._path = answer.headers["Location"].removeprefix(server.url)
        return 0

    def _look(self, http: requests.Session, server: LocalCloud) -> int:
        answer = http.head(server.url + self._path, timeout=120)
        assert answer.status_code == 200, answer.status_code
        offset = int(answer.headers["Upload-Offset"])
        assert offset >= self.confirmed, "what was confirmed is lost"
        return offset

    def _send(self, http: requests.Session, server: LocalCloud, offset: int) -> int:
        # Parts of all sizes, among them one that holds all the rest.
        size = (200_000, MIB, SIZE, 777_777)[self._number % 4]
        headers = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        answer = http.patch(
            server.url + self._path, headers=headers, data=self._pieces(offset, offset + size), timeout=120
        )
        assert answer.status_code == 204, answer.text
        self.confirmed = int(answer.headers["Upload-Offset"])
        return self.confirmed

    def _pieces(self, start: int, stop: int) -> Iterator[bytes]:
        for at in range(start, min(stop, SIZE), 65_536):
            time.sleep(0.002)  # so that a kill finds it under way
            yield self.content[at : min(at + 65_536, stop, SIZE)]


@pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=pytest.mark.full)])
def test_uploads_go_on_after_kills_at_random_moments_and_no_byte_is_lost_or_doubled(rounds: int) -> None:
    chance = random.Random(rounds)
    with LocalCloud() as server:
        waiting: list[Sender] = []
        finished: list[Sender] = []
        for number in range(rounds):
            waiting += [Sender(one, number) for one in range(SENDERS - len(waiting))]
            under_way(server, waiting, chance.uniform(0.01, 0.25))
            finished += [sender for sender in waiting if sender.done]
            waiting = [sender for sender in waiting if not sender.done]
            server.start()
        under_way(server, waiting, None)

        for sender in finished + waiting:
            facts = server.call("GET", "files", params={"key": sender.key}).json()
            assert sender.done, sender.key
            assert facts["sha256"] == hashlib.sha256(sender.content).hexdigest()
            assert server.fetch(server.link(sender.key)) == sender.content
        assert len(server.keys()) == len(finished + waiting)
        # A kill before the answer to a creation leaves an upload that nobody has heard of, until its time is over.
        assert [path for path in server.incoming() if path.stat().st_size] == []
        print(f"{rounds} kills, {len(finished + waiting)} uploads whole")


def test_a_kill_right_after_an_upload_was_noted_as_whole_leaves_no_second_name_of_its_data() -> None:
    with LocalCloud() as server:
        sender = Sender(1, 0)
        under_way(server, [sender], None)
        server.kill()
        (about,) = server.folder.glob("uploads/*/")
        (about / "data").write_bytes(sender.content)
        server.start()

        assert server.incoming() == []
        assert server.fetch(server.link(sender.key)) == sender.content


def under_way(server: LocalCloud, senders: list[Sender], seconds: float | None) -> None:
    """Let them send; kill the server after so many seconds, or let them finish."""
    stop = threading.Event()
    threads = [threading.Thread(target=sender.run, args=(server, stop)) for sender in senders]
    for thread in threads:
        thread.start()
    if seconds is not None:
        time.sleep(seconds)
        server.kill()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert [sender.wrong for sender in senders if sender.wrong] == []
    if seconds is None:
        assert all(sender.done for sender in senders)
