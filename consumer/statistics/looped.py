"""The compiled loops over samples, with arrays for what they find."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from consumer.compiled.load import Unavailable, loaded, loops
from consumer.formats.contract import Floats, Numbers
from consumer.statistics.plain import Left
from consumer.statistics.tables import Tables
from consumer.statistics.traces import Traces


class Loops:
    """What `consumer.statistics.plain` does, as machine code, without holding the interpreter."""

    def __init__(self) -> None:
        self._loops: Any = None
        self._tried = False
        self._present = np.empty(0, np.int64)
        self._starts = np.empty(0, np.int64)
        self._slots = np.empty(0, np.int32)
        self._values = np.empty(0)

    def ready(self, *, wanted: bool) -> bool:
        """Whether they can be used: they are loaded, or can be and are ``wanted``."""
        if self._loops is None and not self._tried and (wanted or loaded()):
            self._tried = True
            try:
                self._loops = loops()
            except Unavailable:
                return False
        return self._loops is not None

    def gather(self, tables: Tables, slots: Numbers, times: Floats, values: Floats) -> tuple[NDArray[np.int64], Left]:
        """Add samples to the parts of their vectors: which vectors, rising, and the values that are counted nowhere."""
        slots, times = np.ascontiguousarray(slots, np.int32), np.ascontiguousarray(times)
        count = len(slots)
        if len(self._slots) < count:
            self._slots, self._values = np.empty(count, np.int32), np.empty(count)
        most = min(count, tables.room)
        if len(self._present) < most:
            self._present, self._starts = np.empty(most, np.int64), np.empty(most + 1, np.int64)
        by_vector = np.empty(count)
        number = self._loops.gather(
            slots, times, values, values, count, tables.known, tables.part, tables.used, tables.indexed, tables.index,
            tables.frequent, tables.frequent, tables.counts, self._present, self._slots, self._values, by_vector,
            self._starts,
        )  # fmt: skip
        present, starts = self._present[:number], self._starts[: number + 1].tolist()
        left = [
            (slot, by_vector[start:end].copy())  # what is kept must not keep all the others in memory
            for slot, start, end in zip(present.tolist(), starts[:-1], starts[1:], strict=True)
            if end > start
        ]
        left.sort(key=lambda one: one[0])
        return np.sort(present), left

    def draw(self, traces: Traces, slots: Numbers, times: Floats, values: Floats) -> None:
        """Draw samples of vectors that were made ready."""
        slots, times = np.ascontiguousarray(slots, np.int32), np.ascontiguousarray(times)
        self._loops.draw(slots, times, values, len(slots), traces.rows, traces.state, traces.rooms)
