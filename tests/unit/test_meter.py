"""How far something is, on a terminal."""

from __future__ import annotations

import io
from itertools import count

import pytest

from consumer.packing.meter import Meter
from messaging.amounts import amount, duration


class Screen(io.StringIO):
    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def shown(*, terminal: bool, steps: int, seconds: float) -> list[str]:
    """What is on the line, one after the other, when a step of 100 MB takes ``seconds``."""
    screen = Screen(terminal=terminal)
    clock = count(0, seconds)
    meter = Meter(screen, lambda: next(clock))
    for step in range(1, steps + 1):
        meter(step * 100_000_000, steps * 100_000_000)
    meter.clear()
    return screen.getvalue().split("\r\x1b[K")


def test_bytes_rate_and_time_left_are_told_after_a_second() -> None:
    lines = shown(terminal=True, steps=20, seconds=0.25)

    assert lines[:3] == [
        "",
        "400 MB of 2.0 GB, 400 MB/s, 4 s left",
        "500 MB of 2.0 GB, 400 MB/s, 4 s left",
    ]
    assert lines[-2:] == ["2.0 GB of 2.0 GB, 400 MB/s", ""]


def test_what_becomes_slower_is_told_by_how_fast_it_is_of_late() -> None:
    """Large files of numbers are read fifty times as fast as thousands of small ones that follow them."""
    screen, clock = Screen(terminal=True), count()
    meter = Meter(screen, lambda: next(clock), verb="to read")
    for done in (150, 300, 302, 304, 306, 308, 310):  # after a second each
        meter(done * 1_000_000, 330_000_000)

    lines = screen.getvalue().split("\r\x1b[K")
    assert lines[1] == "150 MB of 330 MB, 150 MB/s, 1 s left to read"
    assert lines[-1] == "310 MB of 330 MB, 2.0 MB/s, 10 s left to read"


def test_what_comes_after_the_last_byte_is_named_without_a_guess() -> None:
    screen, clock = Screen(terminal=True), iter((0, 1.5, 1.6, 2.0))
    meter = Meter(screen, lambda: next(clock), after="the summary is being made")
    for done in (50, 100, 100):
        meter(done * 1_000_000, 100_000_000)

    lines = screen.getvalue().split("\r\x1b[K")
    assert lines[1:] == ["50 MB of 100 MB, 33 MB/s, 2 s left", "all 100 MB read, the summary is being made"]


def test_what_takes_no_second_says_nothing() -> None:
    assert shown(terminal=True, steps=20, seconds=0.01) == [""]


def test_nothing_is_told_where_there_is_no_terminal() -> None:
    assert shown(terminal=False, steps=20, seconds=1) == [""]


def test_more_than_was_expected_does_not_confuse_it() -> None:
    screen = Screen(terminal=True)
    clock = count(0, 2)
    Meter(screen, lambda: next(clock))(10_000, 9_000)

    assert screen.getvalue().endswith("10 kB of 10 kB, 5.0 kB/s")


@pytest.mark.parametrize(
    ("size", "told"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (999_499, "999 kB"), (999_500, "1.0 MB"), (5e13, "50 TB")],
)
def test_amounts_are_for_people(size: float, told: str) -> None:
    assert amount(size) == told


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.1, "1 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7260, "2 h 1 min")]
)
def test_times_are_for_people(seconds: float, told: str) -> None:
    assert duration(seconds) == told
