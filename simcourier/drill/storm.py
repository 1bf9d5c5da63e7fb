"""Many deliveries while processes are killed at random, services restarted, and mails refused."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from simcourier.drill.checks import Count
from simcourier.drill.stage import Stage

LARGE, LARGE_EVERY = 512 * 1024, 10  # one in so many results is larger, so that uploads are met as well
STANDSTILL_SECONDS = 300.0
QUIET_SECONDS = 60.0
TELL_SECONDS = 10.0
REFUSALS = ("451 4.3.0 try again later", "452 4.2.2 mailbox full")


@dataclass(frozen=True, slots=True)
class Weather:
    """How hard it blows.

    Args:
        kill_every: seconds between two kills, on average.
        restarts: how often broker and database are each restarted; where they are files, all processes are killed at
            once instead.
        refuse: the part of mails that the server refuses for now.
        seed: of all that is left to chance here; when it meets whom is the machine's affair.
    """

    deliveries: int
    kill_every: float = 2.0
    restarts: int = 0
    refuse: float = 0.1
    seed: int = 1


@dataclass(slots=True)
class Report:
    """What a storm did, and what was left after it."""

    count: Count
    seconds: float
    kills: int
    restarts: int
    refused: int
    left: int


def storm(stage: Stage, weather: Weather, tell: Callable[[str], None]) -> Report:
    """Publish, let it blow until everybody has heard, and count."""
    started = time.monotonic()
    sky = _Sky(stage, weather, tell)
    _let_refuse(stage, weather)
    before = len(stage.sent)
    with sky:
        for number in range(weather.deliveries):
            stage.publish(size=LARGE if number % LARGE_EVERY == 0 else 100)
        tell(f"{weather.deliveries} published")
        stage.wait_for_mails(stage.sent[before:], STANDSTILL_SECONDS)
    seconds = time.monotonic() - started
    refused = stage.mailbox.refused
    stage.calm()
    tell("calm again; waiting for what may still come")
    left, _ = stage.wait_until_quiet(QUIET_SECONDS)
    return Report(stage.checker.count(stage.sent[before:]), seconds, sky.kills, sky.restarts, refused, left)


def _let_refuse(stage: Stage, weather: Weather) -> None:
    """Half of the refusals before the mail is given, half after."""
    chance = random.Random(weather.seed)  # noqa: S311 - a rehearsal
    stage.mailbox.answer_rcpt = lambda _: REFUSALS[0] if chance.random() < weather.refuse / 2 else ""
    stage.mailbox.answer_data = lambda: REFUSALS[1] if chance.random() < weather.refuse / 2 else ""


class _Sky:
    """The threads that kill and restart, for the time of a ``with`` block."""

    def __init__(self, stage: Stage, weather: Weather, tell: Callable[[str], None]) -> None:
        self._stage = stage
        self._weather = weather
        self._tell = tell
        self._over = threading.Event()
        self.kills = 0
        self.restarts = 0
        self._pool = ThreadPoolExecutor(3, thread_name_prefix="storm")
        self._works: list[Future[None]] = []

    def __enter__(self) -> None:
        self._works = [self._pool.submit(work) for work in (self._kill, self._restart, self._watch)]

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._pool.shutdown()
        for work in self._works:
            work.result()  # a storm that had stopped without a word would prove nothing

    def _kill(self) -> None:
        chance = random.Random(self._weather.seed + 1)  # noqa: S311 - a rehearsal
        while not self._over.wait(chance.expovariate(1 / self._weather.kill_every)):
            if pids := self._stage.pids():
                self.kills += self._stage.kill([chance.choice(pids)])

    def _restart(self) -> None:
        """Spread over the deliveries: broker and database in turn."""
        services, count = self._stage.services, 2 * self._weather.restarts
        for number in range(count):
            mails = self._weather.deliveries * (number + 1) // (count + 1)
            while len(self._stage.mailbox) < mails:
                if self._over.wait(0.2):
                    return
            restart = services.restart_database if number % 2 else services.restart_broker
            if restart is not None:
                restart()
            else:
                self.kills += self._stage.kill(self._stage.pids())
            self.restarts += 1

    def _watch(self) -> None:
        while not self._over.wait(TELL_SECONDS):
            self._tell(f"{len(self._stage.mailbox)} mails, {self.kills} kills, {self.restarts} restarts")
