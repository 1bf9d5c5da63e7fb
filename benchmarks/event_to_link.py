"""From a published event to the link, beside packing and parsing, uploading alone, and the script a user would write.

    python benchmarks/event_to_link.py [--rounds 3] [--share 0.976] [--scalars 8000]

A folder of 1 GiB like those of OMNeT++ (see results_folder.py) goes through a worker and a local cloud, two processes
of the embedded default, summary included. In the same rounds, in turned order:

- `simcourier pack`, then `simcourier summarise`, one after the other;
- the finished archive, uploaded by the plugin `local` to the same local cloud;
- `zip -r -6`, then `rclone copy` to `rclone serve webdav` on this machine, which computes no statistics. Where zip or
  rclone is not installed, this is left out.

Printed are medians of the clock and of the processor (worker and server, or the programs that take part), ratios, the
worker's peak memory, and when the steps of the deliveries were done. On a machine that others use, the seconds of the
processor tell more than those of the clock. Needs 5 GB in the folder for temporary files (TMPDIR).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backends.http import session
from backends.registry import build
from backends.suite_doubles import SampleProgress
from benchmarks.memory import peak
from tests.support.installation import KEY, ROOT, Installation, stored_archives
from tests.support.scratch import free_ports, wait_until

if TYPE_CHECKING:  # needs the ledger's settings
    from consumer.store import FileArchive

OURS = "event to link"
PACKING, PARSING, BOTH = "simcourier pack", "simcourier summarise", "packing, then parsing"
UPLOAD = "uploading alone"
SCRIPT = "zip -r -6, then rclone copy"
MOST_OF_PARTS, FASTER_THAN_SCRIPT = 1.25, 8.0
STEPS = ("delivery.packed", "delivery.stored", "delivery.handled")


class Took(NamedTuple):
    """Seconds of the clock, and of the processor."""

    wall: float
    cpu: float


class Stopwatch:
    """Counts from when it was made; ``processes`` are those whose work counts, with children that have ended."""

    def __init__(self, *processes: int) -> None:
        self._processes = [psutil.Process(process) for process in processes]
        self._cpu = self._used()
        self._started = time.perf_counter()

    def took(self) -> Took:
        """Until now."""
        return Took(time.perf_counter() - self._started, self._used() - self._cpu)

    def _used(self) -> float:
        return float(sum(sum(process.cpu_times()[:4]) for process in self._processes))


class Way:
    """A worker and a local cloud, and what goes through them."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self._installation = installation
        self._folder = folder
        self._numbers = count()
        self._archive: FileArchive | None = None
        self._cloud = installation.start_cloud()
        self._worker = installation.start("worker")
        installation.wait_ready()
        self.idle_peak = peak(self._worker.pid)
        self.reader_peak = 0.0

    def deliver(self) -> Took:
        """From the event to the link."""
        watch = Stopwatch(self._worker.pid, self._cloud.pid)
        event = self._installation.publish(self._folder / "results")
        wait_until(lambda: self._delivered(event), "the link", 600, 0.02)
        took = watch.took()
        if self._archive is None:
            from consumer.store import FileArchive

            (made,) = stored_archives(self._installation)
            kept = self._folder / "kept.zip"
            os.link(made, kept)
            with kept.open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            self._archive = FileArchive(kept, "kept.zip", "", kept.stat().st_size, sha256)
        return took

    def _delivered(self, event: str) -> bool:
        for reader in psutil.Process(self._worker.pid).children():
            with suppress(OSError, RuntimeError):  # it has just ended
                self.reader_peak = max(self.reader_peak, peak(reader.pid))
        return (self._installation.where(event) or {}).get("state") == "DELIVERED"

    def upload(self) -> Took:
        """The archive of the first delivery, which is complete."""
        assert self._archive is not None
        archive = replace(self._archive, key=f"alone/{next(self._numbers)}")
        with session() as http:
            local = build("local", f"127.0.0.1:{self._installation.cloud_port}", {"key": KEY}, http, {})
            watch = Stopwatch(os.getpid(), self._cloud.pid)
            stored = local.store(archive, SampleProgress())
            took = watch.took()
            local.delete(stored)
        return took

    @property
    def archive_size(self) -> int:
        """Bytes."""
        assert self._archive is not None
        return self._archive.size

    @property
    def peak(self) -> float:
        """MiB of the worker, at most so far."""
        return peak(self._worker.pid)

    def steps(self) -> Iterator[str]:
        """When the steps of each delivery were done, as the worker logged it."""
        (log,) = self._installation.folder.glob("*-worker.log")
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        for line in lines:
            if line["event"] in STEPS:
                yield f"{line['timestamp']} {line['event']} {line.get('bytes', '')} {line.get('seconds', '')}".rstrip()


def timed(*command: str, folder: Path, env: Mapping[str, str] | None = None) -> Took:
    """What a program takes."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} has failed")
    return Took(time.perf_counter() - started, used.ru_utime + used.ru_stime)


def pack(folder: Path) -> Took:
    """``simcourier pack``."""
    return timed(*simcourier(), "pack", "results", "-o", "x.zip", "--force", folder=folder)


def parse(folder: Path) -> Took:
    """``simcourier summarise``."""
    return timed(*simcourier(), "summarise", "results", "-o", "summary", "--force", folder=folder)


def simcourier() -> tuple[str, ...]:
    """The command, as a user starts it."""
    program = ROOT / ".venv/bin/simcourier"
    return (str(program),) if program.exists() else (sys.executable, "-m", "simcourier")


@contextmanager
def script(folder: Path) -> Iterator[Callable[[], Took] | None]:
    """What a user would write; None: something of it is not installed."""
    for program in ("zip", "rclone"):
        if shutil.which(program) is None:
            print(f"not measured: sudo apt-get install --no-install-recommends {program}")
            yield None
            return
    (port,) = free_ports(1)
    env = {**os.environ, "RCLONE_CONFIG": ""}  # nobody's remotes
    (folder / "served").mkdir()
    address = f"127.0.0.1:{port}"
    server = subprocess.Popen(
        ["rclone", "serve", "webdav", str(folder / "served"), "--addr", address], env=env, stderr=subprocess.DEVNULL
    )
    remote = f":webdav,url='http://{address}/',vendor=other:"

    def run() -> Took:
        for path in (folder / "user.zip", folder / "served/user.zip"):
            path.unlink(missing_ok=True)
        packed = timed("zip", "-q", "-r", "-6", "user.zip", "results", folder=folder)
        watch = Stopwatch(server.pid)
        sent = timed("rclone", "copy", "user.zip", remote, folder=folder, env=env)
        return Took(packed.wall + sent.wall, packed.cpu + sent.cpu + watch.took().cpu)

    try:
        listing = ["rclone", "lsf", remote]
        wait_until(lambda: subprocess.run(listing, env=env, check=False).returncode == 0, "rclone's server")
        yield run
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.976, help="of the 1.1 GB")
    parser.add_argument("--scalars", type=int, default=8000, help="small scalar files in the 1.1 GB")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        maker = [sys.executable, str(ROOT / "benchmarks/results_folder.py"), str(folder / "results")]
        more = [f"--share={arguments.share}", f"--scalars={arguments.scalars}"]
        size = int(subprocess.run([*maker, *more], stdout=subprocess.PIPE, check=True).stdout)
        print(f"{size / 2**20:.0f} MiB of results; {os.cpu_count()} cores")
        with Installation(folder / "data", lease_seconds="60", overdue_seconds="60") as one, script(folder) as users:
            way = Way(one, folder)
            rivals: dict[str, Callable[[], Took]] = {
                OURS: way.deliver,
                PACKING: partial(pack, folder),
                PARSING: partial(parse, folder),
                UPLOAD: way.upload,
                **({SCRIPT: users} if users else {}),
            }
            table(measure(rivals, arguments.rounds), size, way)


def measure(rivals: Mapping[str, Callable[[], Took]], rounds: int) -> dict[str, list[Took]]:
    """What each takes, round after round."""
    taken: dict[str, list[Took]] = {name: [] for name in rivals}
    names = list(rivals)
    for number in range(rounds):
        turn = 0 if number == 0 else number % len(names)  # the first upload needs the first delivery
        for name in names[turn:] + names[:turn]:
            os.sync()
            taken[name].append(rivals[name]())
        print(f"round {number + 1} done; mean load of the last minute: {os.getloadavg()[0]:.1f}")
    pairs = zip(taken[PACKING], taken[PARSING], strict=True)
    taken[BOTH] = [Took(one.wall + other.wall, one.cpu + other.cpu) for one, other in pairs]
    return taken


def table(taken: Mapping[str, list[Took]], size: int, way: Way) -> None:
    """One line for each, and the goals."""
    medians = {name: statistics.median(one.wall for one in tries) for name, tries in taken.items()}
    ours = medians[OURS]
    print(f"\n{'':<30}{'s':>7}{'from':>7}{'to':>7}{'MB/s':>7}{'of ours':>9}{'CPU s':>8}")
    for name, tries in taken.items():
        wall = medians[name]
        spread = f"{wall:>7.1f}{min(tries).wall:>7.1f}{max(tries).wall:>7.1f}"
        cpu = statistics.median(one.cpu for one in tries)
        print(f"{name:<30}{spread}{size / 1e6 / wall:>7.0f}{wall / ours:>9.2f}{cpu:>8.1f}")
    print(f"\nthe archive: {way.archive_size / 1e6:.0f} MB")
    print(f"the worker: at most {way.peak:.0f} MiB, {way.idle_peak:.0f} MiB before the first event")
    print(f"the process that reads for it: at most {way.reader_peak:.0f} MiB")
    larger = max((BOTH, UPLOAD), key=lambda name: medians[name])
    share = ours / medians[larger]
    print(f"{share:.2f} times {larger}; goal at most {MOST_OF_PARTS}: {reached(share <= MOST_OF_PARTS)}")
    if SCRIPT in taken:
        ratio = medians[SCRIPT] / ours
        told = reached(ratio >= FASTER_THAN_SCRIPT)
        print(f"{ratio:.1f} times as fast as {SCRIPT}; goal {FASTER_THAN_SCRIPT:.0f}: {told}")
    print("\n".join(["", *way.steps()]))


def reached(yes: bool) -> str:
    """In a word."""
    return "reached" if yes else "MISSED"


if __name__ == "__main__":
    main()
