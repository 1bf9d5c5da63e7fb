"""The local cloud beside nginx, npm's @tus/server and a bare loop: uploads, downloads, memory.

    python benchmarks/local_cloud.py [--rounds 5] [--quick] [--only uploads|downloads|memory]

All servers run at the same time and are measured in turn, round after round, each time after a sync; what is printed
are medians, and the ratios to which our goals are set. The client is the same for all, and cheap: raw sockets and
sendfile. Needs 4 GB in the folder for temporary files (TMPDIR), which should not be in memory, and nginx and Node.js
for the peers; what is missing is told and left out.

The bare loop and the local cloud hash (SHA-256) and sync every byte before they answer; nginx and @tus/server do
neither.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import peers
from benchmarks.cheap_client import MIB, Connection
from benchmarks.memory import peak
from benchmarks.peers import BODY, TUS, Peer
from tests.support.local_cloud import LocalCloud

SMALL = 200_000
STREAMS = 32
CLIENTS = 200
MEMORY_GOAL = 120
PAUSE_AFTER = MIB - 8 * 1024  # bytes, in each of the many uploads, at which all wait for one another
UPLOAD_OF_MANY = 4 * MIB


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="an eighth of the bytes, three rounds")
    parser.add_argument("--only", choices=["uploads", "downloads", "memory"])
    arguments = parser.parse_args()
    rounds = 3 if arguments.quick else arguments.rounds
    size, count = (128 * MIB, 64) if arguments.quick else (1024 * MIB, 500)
    print(f"{os.cpu_count()} cores, of which others kept {os.getloadavg()[0]:.1f} busy when this began")
    with source(size) as path:
        file = os.open(path, os.O_RDONLY)
        if arguments.only in {None, "uploads"}:
            uploads(file, size, count, rounds)
        if arguments.only in {None, "downloads"}:
            downloads(path, rounds)
        if arguments.only in {None, "memory"}:
            memory(file, size)
        os.close(file)


@contextmanager
def source(size: int) -> Iterator[Path]:
    """A file of that size, random so that nobody saves anything."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "source.bin"
        with path.open("wb") as stream:
            for _ in range(size // MIB):
                stream.write(os.urandom(MIB))
        yield path


# Uploads


def uploads(file: int, size: int, count: int, rounds: int) -> None:
    """Both tables, and the goals."""
    with peers.all_of_them() as found:
        rates = compare(f"upload of {size // MIB} MiB", found, rounds, size, partial(one_large, file=file, size=size))
        goal("1 GiB upload, against the bare loop", rates, "bare loop", 0.9)
        goal("1 GiB upload, against @tus/server", rates, "@tus/server", 1.5)
        told = f"{count} uploads of {SMALL // 1000} kB, one after the other"
        rates = compare(told, found, rounds, count * SMALL, partial(many_small, file=file, count=count))
        for other in rates:
            if other != "local cloud":
                goal(f"small uploads, against {other}", rates, other, None)


def one_large(peer: Peer, *, file: int, size: int) -> Callable[[], None]:
    """Upload; what is to be done afterwards."""
    with Connection(peer.port) as connection:
        what = peer.large(connection, file, size)
    return partial(remove, peer, [what])


def many_small(peer: Peer, *, file: int, count: int) -> Callable[[], None]:
    """Upload on one connection; what is to be done afterwards."""
    with Connection(peer.port) as connection:
        made = [peer.small(connection, file, number * SMALL, SMALL) for number in range(count)]
    return partial(remove, peer, made)


def remove(peer: Peer, made: list[str]) -> None:
    """What the round has stored."""
    with Connection(peer.port) as connection:
        for one in made:
            peer.remove(connection, one)


# Downloads


def downloads(path: Path, rounds: int) -> None:
    """Both tables, and the goals; the file is in the system's cache."""
    size = path.stat().st_size
    with LocalCloud(key="", lean=True) as server, path.open("rb") as stream:
        server.put("source", stream)
        link = urlsplit(server.link("source")).path
        try:
            with peers.nginx(path) as nginx:
                ours = peers.Ours(server.port, server.pid)
                places: dict[str, str] = {ours.name: link, nginx.name: f"/{path.name}"}
                found: list[Peer] = [nginx, ours]
                for streams, told in ((1, "in one stream"), (STREAMS, f"in {STREAMS} Range streams")):
                    work = partial(fetch, places=places, size=size, streams=streams)
                    rates = compare(f"download of {size // MIB} MiB {told}", found, rounds, size, work)
                    goal(f"download {told}, against nginx", rates, "nginx", 1.0 if streams > 1 else None)
        except peers.Missing as reason:
            print(f"not measured: {reason}")


def fetch(peer: Peer, *, places: dict[str, str], size: int, streams: int) -> Callable[[], None]:
    """Download it, a part per connection; nothing is to be done afterwards."""
    part = -(-size // streams)

    def one(number: int) -> int:
        lines = [f"Range: bytes={number * part}-{min(size, (number + 1) * part) - 1}"] if streams > 1 else []
        with Connection(peer.port) as connection:
            answer = connection.ask("GET", places[peer.name], *lines)
        if answer.status not in {200, 206}:
            raise RuntimeError(f"an answer that does not fit: {answer}")
        return answer.size

    if streams == 1:
        got = one(0)
    else:
        with ThreadPoolExecutor(streams) as pool:
            got = sum(pool.map(one, range(streams)))
    if got != size:
        raise RuntimeError(f"{got} of {size} bytes came")
    return lambda: None


# Memory


def memory(file: int, size: int) -> None:
    """The most that a server of ours has used, after each thing in turn."""
    print(f"\n{'memory of the local cloud, MiB':<52}{'peak':>8}")
    with LocalCloud(key="", lean=True) as server:
        peer = peers.Ours(server.port, server.pid)

        def tell(what: str) -> float:
            print(f"{what:<52}{peak(server.pid):>8.0f}", flush=True)
            return peak(server.pid)

        tell("started")
        with Connection(peer.port) as connection:
            where = peer.large(connection, file, size)
        tell(f"after an upload of {size // MIB} MiB")
        together(partial(slow_upload, peer, file))
        tell(f"after {CLIENTS} uploads at once, each with a pause")
        link = urlsplit(server.link(where.rpartition("/")[2])).path
        together(partial(slow_download, peer, link))
        most = tell(f"after {CLIENTS} slow readers at once")
        verdict = "reached" if most <= MEMORY_GOAL else "MISSED"
        print(f"goal: at most {MEMORY_GOAL} MiB: {verdict}")


def together(client: Callable[[threading.Barrier], None]) -> None:
    """Many of them at once, in threads."""
    barrier = threading.Barrier(CLIENTS)
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(client, barrier) for _ in range(CLIENTS)]:
            done.result()


def slow_upload(peer: Peer, file: int, barrier: threading.Barrier) -> None:
    """Wait for the others in the middle, while the server has as much of each as it keeps back."""
    with Connection(peer.port) as connection:
        made = connection.ask("POST", "/files", TUS, f"Upload-Length: {UPLOAD_OF_MANY}")
        where = urlsplit(made.headers["location"]).path
        connection.begin("PATCH", where, TUS, BODY, "Upload-Offset: 0", size=UPLOAD_OF_MANY)
        connection.send(file, 0, PAUSE_AFTER)
        barrier.wait()
        connection.send(file, PAUSE_AFTER, UPLOAD_OF_MANY - PAUSE_AFTER)
        answer = connection.answer()
        if answer.headers.get("upload-offset") != str(UPLOAD_OF_MANY):
            raise RuntimeError(f"an answer that does not fit: {answer}")
        peer.remove(connection, where)


def slow_download(peer: Peer, link: str, barrier: threading.Barrier) -> None:
    """Take the beginning, wait for the others, go."""
    with Connection(peer.port) as connection:
        connection.begin("GET", link)
        connection.read_some()
        barrier.wait()
        connection.read_some()


# Tables


def compare(
    what: str, found: list[Peer], rounds: int, size: int, work: Callable[[Peer], Callable[[], None]]
) -> dict[str, float]:
    """Measure them in turn and print; their rates in MB/s."""
    rates: dict[str, list[float]] = {peer.name: [] for peer in found}
    costs: dict[str, list[float]] = {peer.name: [] for peer in found}
    for number in range(rounds):
        turned = found[number % len(found) :] + found[: number % len(found)]
        for peer in turned:
            os.sync()
            before, started = peer.cpu_seconds(), time.perf_counter()
            clear = work(peer)
            rates[peer.name].append(size / 1e6 / (time.perf_counter() - started))
            costs[peer.name].append(peer.cpu_seconds() - before)
            clear()
    print(f"\n{what:<52}{'MB/s':>8}{'from':>8}{'to':>8}{'CPU s':>8}{'peak MiB':>10}")
    for peer in found:
        all_of, cost = rates[peer.name], statistics.median(costs[peer.name])
        print(
            f"{peer.name:<52}{statistics.median(all_of):>8.0f}{min(all_of):>8.0f}{max(all_of):>8.0f}"
            f"{cost:>8.2f}{peer.peak():>10.0f}",
            flush=True,
        )
    return {name: statistics.median(all_of) for name, all_of in rates.items()}


def goal(what: str, rates: dict[str, float], other: str, least: float | None) -> None:
    """One line about what we want to reach."""
    if other not in rates:
        return
    ratio = rates["local cloud"] / rates[other]
    if least is None:
        print(f"{what}: {ratio:.2f}")
    else:
        print(f"{what}: {ratio:.2f}, goal {least}: {'reached' if ratio >= least else 'MISSED'}")


if __name__ == "__main__":
    main()
