"""How much a spool may hold: a broker that is away for weeks is told, before the disk is full."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

# Events that are written between two looks at the whole folder; other processes' events are seen with the next look.
LOOK_EVERY = 64


class Bound:
    """The bound of one spool.

    Args:
        folder: the spool's; it need not be there.
        counts: whether a file of this name is an event.
        events: how many there may be.
        size: how many bytes all files may have together.
    """

    def __init__(self, folder: Path, counts: Callable[[str], object], *, events: int, size: int) -> None:
        self._folder = folder
        self._counts = counts
        self._events = events
        self._size = size
        self._found = (0, 0)
        self._left = 0  # until the next look

    def add(self, size: int) -> str:
        """Count an event of ``size`` bytes; why there is no room for it, empty if there is.

        Raises:
            OSError: the folder cannot be read.
        """
        if self._left <= 0 or not self._fits(size):
            self._look()
        if not self._fits(size):
            events, held = self._found
            return (
                f"holds {events} events, {held} bytes, and may hold {self._events} events, {self._size} bytes "
                "(SIMCOURIER_SPOOL_MAX_EVENTS, SIMCOURIER_SPOOL_MAX_BYTES)"
            )
        self._found = (self._found[0] + 1, self._found[1] + size)
        self._left -= 1
        return ""

    def _fits(self, size: int) -> bool:
        return self._found[0] < self._events and self._found[1] + size <= self._size

    def _look(self) -> None:
        events = held = 0
        with os.scandir(self._folder) as files:
            for file in files:
                try:
                    held += file.stat(follow_symlinks=False).st_size
                except FileNotFoundError:  # another process has just sent it
                    continue
                events += bool(self._counts(file.name))
        self._found, self._left = (events, held), LOOK_EVERY
