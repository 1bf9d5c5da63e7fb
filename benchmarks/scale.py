"""Deliveries per second with 1, 2, 4 and 8 workers, beside the same steps as tasks of Celery and of Dramatiq.

    python benchmarks/scale.py tiny   [--quick] [--workers 1,2,4,8] [--rounds 3] [--deliveries 60] [--paced 100]
    python benchmarks/scale.py upload [--quick] [--workers 1,2,4,8] [--rounds 1] [--deliveries 6]
    python benchmarks/scale.py engines [--rounds 3] [--deliveries 150]

`tiny`: the results are one file of 100 bytes. `upload`: one file of 2 MB that cannot be compressed, to a storage
service that takes 1 MB/s from each connection. `engines`: tiny deliveries, one worker, on RabbitMQ with PostgreSQL and
on files (SQLite).

Counted from the first event that is published until the last mail is written; the systems in turn, in changing order,
on one RabbitMQ node and one PostgreSQL server of the benchmark's own, each with its own database and local cloud. All
acknowledge late, publish with confirms and use quorum queues. A worker is one process for one delivery at a time;
one more process sends the mails. After the rounds, latencies are taken with events that come one by one, slower than
any of the systems works. That the archives are the same is seen by their digests.

Celery and Dramatiq are installed by `pip install -r requirements/benchmarks.txt`.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.scale_systems import FAST, SLOW, Celery, Dramatiq, OnFiles, SimCourier, System
from simcourier.drill.nodes import create_database
from simcourier.drill.services import private_nodes
from tests.support.scratch import wait_until

RATE = 1_000_000.0
UPLOAD_BYTES = 2_000_000
TURNS = 4  # in which latencies are taken
WARM = 3  # deliveries per worker before anything is measured
OF_CELERY, OF_DRAMATIQ, FOUR_OF_ONE = 2.0, 1.0, 3.8


@dataclass(frozen=True, slots=True)
class Took:
    """One round of one system.

    Args:
        rate: deliveries a second.
        cpu: milliseconds of the processor per delivery, of workers and mail process.
        busy: cores of the machine that were busy, whoever used them.
    """

    rate: float
    cpu: float
    busy: float


class Race:
    """The systems, on results and a backend that are the same for all."""

    def __init__(self, systems: Sequence[System], results: Path, backend: str) -> None:
        self.systems = systems
        self._results = results
        self._backend = backend
        self._publishers = {system.name: system.publisher() for system in systems}
        self._digests: dict[str, set[str]] = defaultdict(set)

    def burst(self, system: System, workers: int, deliveries: int) -> Took:
        """All events at once."""
        system.start(workers)
        self._deliver(system, WARM * workers)
        cpu, busy, started = system.cpu_seconds(), _busy(), time.monotonic()
        self._deliver(system, deliveries)
        seconds = time.monotonic() - started
        took = Took(
            deliveries / seconds,
            (system.cpu_seconds() - cpu) / deliveries * 1000,
            (_busy() - busy) / seconds,
        )
        system.stop()
        return took

    def paced(self, system: System, workers: int, deliveries: int, interval: float) -> list[float]:
        """Seconds from each event to its mail, one event after the other every ``interval`` seconds."""
        system.start(workers)
        self._deliver(system, WARM * workers)
        published = self._deliver(system, deliveries, interval)
        system.stop()
        mailed = system.mailed_at()
        return [mailed[event] - moment for event, moment in published.items()]

    def same_archives(self) -> bool:
        """Whether all systems have stored the same bytes, and nothing else."""
        return len(set().union(*self._digests.values())) == 1

    def _deliver(self, system: System, deliveries: int, interval: float = 0.0) -> dict[UUID, float]:
        publish = self._publishers[system.name]
        expected = system.mails + deliveries
        published: dict[UUID, float] = {}
        next_at = time.monotonic()
        for _ in range(deliveries):
            time.sleep(max(0.0, next_at - time.monotonic()))
            next_at += interval
            moment = time.time()
            published[publish(self._results, self._backend)] = moment
        wait_until(lambda: system.mails >= expected, f"all mails of {system.name}", 600, 0.02)
        self._digests[system.name] |= system.digests(list(published))
        return published


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("tiny", "upload", "engines"))
    parser.add_argument("--workers", default="1,2,4,8")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--deliveries", type=int, help="of one round; per worker with upload")
    parser.add_argument("--paced", type=int, default=100, help="deliveries for the latencies; 0: none are taken")
    parser.add_argument("--quick", action="store_true", help="small, to see that it works")
    parser.add_argument("--alone", action="store_true", help="SimCourier without the others")
    arguments = parser.parse_args()
    counts = [int(word) for word in arguments.workers.split(",")]
    if arguments.quick:
        counts = [1, 2]
        arguments.rounds, arguments.deliveries, arguments.paced = 1, arguments.deliveries or 6, 0
    kinds: list[type[System]] = [SimCourier] if arguments.alone else [SimCourier, Celery, Dramatiq]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if arguments.what == "engines":
            race = Race(_systems(stack, folder, [SimCourier, OnFiles]), _results(folder, 100), FAST)
            rounds(race, [1], arguments.rounds or 3, lambda _: arguments.deliveries or 150)
        elif arguments.what == "tiny":
            race = Race(_systems(stack, folder, kinds), _results(folder, 100), FAST)
            rates = rounds(race, counts, arguments.rounds or 3, lambda _: arguments.deliveries or 60)
            tiny_goals(rates)
            if arguments.paced:
                latencies(race, rates, arguments.paced)
        else:
            race = Race(_systems(stack, folder, kinds), _results(folder, UPLOAD_BYTES), SLOW)
            rates = rounds(race, counts, arguments.rounds or 1, lambda count: count * (arguments.deliveries or 6))
            upload_goals(rates)
        print(f"the archives of all: {'the same bytes' if race.same_archives() else 'DIFFERENT bytes'}")


def rounds(
    race: Race, counts: Sequence[int], times: int, deliveries: Callable[[int], int]
) -> dict[tuple[str, int], float]:
    """Measure, print a line for each round and a table; the median rate by system and number of workers."""
    print(
        f"{'':<12}{'workers':>8}{'round':>7}{'delivered/s':>13}{'per worker':>12}{'CPU ms each':>13}{'cores busy':>12}"
    )
    taken: dict[tuple[str, int], list[Took]] = defaultdict(list)
    for count in counts:
        for number in range(times):
            turn = number % len(race.systems)
            for system in [*race.systems[turn:], *race.systems[:turn]]:
                took = race.burst(system, count, deliveries(count))
                taken[system.name, count].append(took)
                line = f"{system.name:<12}{count:>8}{number + 1:>7}{took.rate:>13.2f}{took.rate / count:>12.2f}"
                print(f"{line}{took.cpu:>13.0f}{took.busy:>12.2f}", flush=True)
    rates = {key: statistics.median(one.rate for one in tries) for key, tries in taken.items()}
    print(f"\n{'workers':<12}" + "".join(f"{system.name:>12}" for system in race.systems) + "   (medians, delivered/s)")
    for count in counts:
        print(f"{count:<12}" + "".join(f"{rates[system.name, count]:>12.2f}" for system in race.systems))
    return rates


def tiny_goals(rates: dict[tuple[str, int], float]) -> None:
    """How we are beside the others."""
    for peer, goal in ((Celery.name, OF_CELERY), (Dramatiq.name, OF_DRAMATIQ)):
        for count in sorted({count for name, count in rates if name == peer}):
            ratio = rates[SimCourier.name, count] / rates[peer, count]
            print(f"{count} workers: {ratio:.2f} times {peer}; goal {goal}: {_reached(ratio >= goal)}")


def upload_goals(rates: dict[tuple[str, int], float]) -> None:
    """How we grow."""
    for name in dict.fromkeys(name for name, _ in rates):
        for count in sorted(count for one, count in rates if one == name and count > 1 and (name, 1) in rates):
            ratio = rates[name, count] / rates[name, 1]
            goal = name == SimCourier.name and count == 4  # noqa: PLR2004 - as the goal says
            told = f"; goal {FOUR_OF_ONE}: {_reached(ratio >= FOUR_OF_ONE)}" if goal else ""
            print(f"{name}: {count} workers deliver {ratio:.2f} times what one does{told}")


def latencies(race: Race, rates: dict[tuple[str, int], float], deliveries: int) -> None:
    """From event to mail with one worker, at 40 % of what the slowest can do, the systems in turn."""
    interval = 2.5 / min(rate for (_, count), rate in rates.items() if count == min(count for _, count in rates))
    print(f"\nfrom event to mail, 1 worker, an event every {interval:.2f} s{'':<4}{'p50 ms':>9}{'p99 ms':>9}")
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(TURNS):
        for system in race.systems:
            seconds[system.name] += race.paced(system, 1, deliveries // TURNS, interval)
    for name, taken in seconds.items():
        cuts = statistics.quantiles(taken, n=100, method="inclusive")
        print(f"{name:<53}{cuts[49] * 1000:>9.0f}{cuts[98] * 1000:>9.0f}")


def _systems(stack: ExitStack, folder: Path, kinds: Sequence[type[System]]) -> list[System]:
    services = stack.enter_context(private_nodes())
    assert services.broker_url is not None
    assert services.database_url is not None
    systems = []
    for kind in kinds:
        on_files = kind is OnFiles
        broker, database = None, None
        if not on_files:
            broker, database = services.broker_url, create_database(services.database_url)
        systems.append(stack.enter_context(kind(folder / kind.__name__, broker, database, RATE)))
    return systems


def _results(folder: Path, size: int) -> Path:
    results = folder / "results"
    results.mkdir()
    (results / "run.out").write_bytes(random.Random(1).randbytes(size))
    return results


def _busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def _reached(yes: bool) -> str:
    return "reached" if yes else "MISSED"


if __name__ == "__main__":
    main()
