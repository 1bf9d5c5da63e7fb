"""Tells on a terminal how far something is, once it has taken a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

AFTER_SECONDS = 1.0
EVERY_SECONDS = 0.2
CLEAR = "\r\x1b[K"
STEP = 1000


class Meter:
    """A line with bytes, rate and time left, that is written over and over and goes in the end.

    Args:
        stream: nothing is written where it is no terminal.
        clock: seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._started = clock()
        self._next = self._started + AFTER_SECONDS if stream.isatty() else float("inf")
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        """``done`` of ``total`` bytes."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + EVERY_SECONDS
        rate = done / (now - self._started)
        left = f", {duration((total - done) / rate)} left" if rate and total > done else ""
        self._stream.write(f"{CLEAR}{amount(done)} of {amount(max(total, done))}, {amount(rate)}/s{left}")
        self._stream.flush()
        self._shown = True

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            self._stream.write(CLEAR)
            self._stream.flush()
            self._shown = False


def amount(size: float) -> str:
    """Bytes for people.

    >>> amount(999), amount(1_234_567), amount(56_789_000_000)
    ('999 bytes', '1.2 MB', '57 GB')
    """
    if size < STEP:
        return f"{size:.0f} bytes"
    for unit in ("kB", "MB", "GB", "TB"):
        size /= STEP
        if size < STEP - 0.5 or unit == "TB":
            break
    return f"{size:.1f} {unit}" if size < 9.95 else f"{size:.0f} {unit}"  # noqa: PLR2004 - two digits at least


def duration(seconds: float) -> str:
    """Time for people.

    >>> duration(0.3), duration(75), duration(7260)
    ('1 s', '1 min 15 s', '2 h 1 min')
    """
    minutes, rest = divmod(max(1, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
