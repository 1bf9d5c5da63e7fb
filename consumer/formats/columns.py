"""Values that come row by row, handed on column by column."""

from __future__ import annotations

import numpy as np

from consumer.formats.contract import Sink

_MOST_WAITING = 65_536  # values


class Columns:
    """Collects samples of many vectors and hands them on in arrays; within a vector the order is kept.

    Args:
        sink: takes the arrays.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._waiting: dict[int, tuple[list[float], list[float]]] = {}
        self._count = 0
        self._numbers: dict[int, int] = {}

    def add(self, slot: int, time: float, value: float) -> None:
        """A sample with a time.

        Args:
            slot: the vector's number at the sink.
            time: seconds.
            value: NaN is "no value".
        """
        column = self._waiting.get(slot)
        if column is None:
            column = self._waiting[slot] = ([], [])
        column[0].append(time)
        column[1].append(value)
        self._count += 1
        if self._count >= _MOST_WAITING:
            self.flush()

    def observe(self, slot: int, value: float) -> None:
        """A sample of an untimed vector: it gets the next number instead of a time."""
        number = self._numbers.get(slot, 0)
        self._numbers[slot] = number + 1
        self.add(slot, float(number), value)

    def flush(self) -> None:
        """Hand on what is waiting; to be called at the end."""
        for slot, (times, values) in self._waiting.items():
            self._sink.samples(
                np.full(len(values), slot, np.int32), np.array(times, np.float64), np.array(values, np.float64)
            )
        self._waiting, self._count = {}, 0
