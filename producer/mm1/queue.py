"""An M/M/1 queue, simulated event by event: customers come at random, one server serves them in their order.

Run it as ``python -m producer.mm1``. It is the example simulator: small, correct (its tests compare it with queueing
theory) and quick, and it writes the result files of OMNeT++, so that all that follows has real results to work on.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import click

from producer.mm1.omnetpp import PICOSECONDS
from producer.mm1.results import Results

REPORT_EVERY = 10_000


class Observer(Protocol):
    """Gets told every change; times are picoseconds."""

    def arrived(self, event: int, now: int, population: int) -> None:
        """A customer has come; ``population`` are in the system, the new one included."""

    def served(self, event: int, now: int, population: int, life_time: int) -> None:
        """A customer leaves after ``life_time`` in the system; ``population`` stay."""

    def began(self, event: int, now: int, waited: int) -> None:
        """A customer's service begins after it has ``waited``."""


@dataclass(frozen=True, slots=True)
class Queue:
    """The model's parameters.

    Args:
        arrival_rate: customers per second.
        service_rate: customers per second that the server can serve.
        customers: end when so many have been served; or
        until: end at this time, in picoseconds.
        seed_set: runs with different seed sets are independent of each other.
    """

    arrival_rate: float
    service_rate: float
    customers: int | None
    until: int | None
    seed_set: int


def simulate(queue: Queue, observer: Observer, progress: Callable[[int, int, int], None]) -> int:
    """Run the model; the time at which it ended, in picoseconds.

    Args:
        queue: parameters.
        observer: gets every change.
        progress: gets events, time and customers served, now and then.
    """
    arrivals = _intervals(f"{queue.seed_set}/arrivals", queue.arrival_rate)
    services = _intervals(f"{queue.seed_set}/services", queue.service_rate)
    present: deque[int] = deque()  # arrival times; the first one is being served
    event = served = now = 0
    arrival, departure = next(arrivals), math.inf
    while served != queue.customers:
        following = min(arrival, departure)
        if queue.until is not None and following > queue.until:
            now = queue.until
            break
        event += 1
        if arrival <= departure:
            now = arrival
            present.append(now)
            observer.arrived(event, now, len(present))
            arrival = now + next(arrivals)
            idle = len(present) == 1
        else:
            now = int(departure)
            served += 1
            came = present.popleft()
            observer.served(event, now, len(present), now - came)
            idle = bool(present)
            departure = math.inf
        if idle:  # the server is free and somebody is there
            observer.began(event, now, now - present[0])
            departure = now + next(services)
        if event % REPORT_EVERY == 0:
            progress(event, now, served)
    progress(event, now, served)
    return now


def _intervals(seed: str, rate: float) -> Iterator[int]:
    """Exponentially distributed intervals in whole picoseconds, the same for the same seed on every machine."""
    source = random.Random(seed)  # noqa: S311 - a simulation, not a secret
    while True:
        yield round(source.expovariate(rate) * PICOSECONDS)


def _positive(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise click.BadParameter("it must be a finite number above 0.", ctx, param)
    return value


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--arrival-rate", type=float, callback=_positive, default=0.8, show_default=True, help="Customers per second."
)
@click.option(
    "--service-rate", type=float, callback=_positive, default=1.0, show_default=True, help="Customers per second."
)
@click.option("--customers", type=click.IntRange(min=1), help="End when so many are served.  [default: 10000]")
@click.option("--until", type=float, callback=_positive, help="End at this simulated time, in seconds, instead.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="First seed set.")
@click.option(
    "--repetition", type=click.IntRange(min=0), default=0, show_default=True, help="The seed set is seed + repetition."
)
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), default="results", show_default=True, help="Folder."
)
def main(
    *,
    arrival_rate: float,
    service_rate: float,
    customers: int | None,
    until: float | None,
    seed: int,
    repetition: int,
    output: Path,
) -> None:
    """Simulate an M/M/1 queue and write OMNeT++ result files (.sca, .vec, .vci) into a folder.

    \b
    Example:
      python -m producer.mm1 --arrival-rate 0.8 --service-rate 1.0 --customers 10000 --seed 1 --output results
    """
    if customers is not None and until is not None:
        raise click.UsageError("Give --customers or --until, not both.")
    if customers is None and until is None:
        customers = 10_000
    limit = None if until is None else round(until * PICOSECONDS)
    queue = Queue(arrival_rate, service_rate, customers, limit, seed + repetition)
    if arrival_rate >= service_rate:
        click.echo("mm1: customers come faster than they can be served: there is no steady state.", err=True)
    try:
        output.mkdir(parents=True, exist_ok=True)
        # The run's date is local time, as in OMNeT++.
        with Results(output, queue, repetition, datetime.now().astimezone(), os.getpid()) as results:
            results.ended(simulate(queue, results, _Progress(queue)))
    except OSError as error:
        raise click.ClickException(f"The results cannot be written to {output} ({error}).") from error


class _Progress:
    """Prints a line for each tenth of the run."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._told = -1
        self._began = time.monotonic()

    def __call__(self, event: int, now: int, served: int) -> None:
        goal = self._queue.customers
        done = now / self._queue.until if self._queue.until else served / goal if goal else 0.0
        tenth = int(done * 10)
        if tenth > self._told:
            self._told = tenth
            elapsed = time.monotonic() - self._began
            text = f"mm1: {tenth * 10:3d} %, t = {now / PICOSECONDS:.0f} s, event {event}, {elapsed:.1f} s elapsed"
            click.echo(text, err=True)
