"""Percentiles of any number of values in bounded memory: exact as long as they fit, then with a known error.

First every distinct value is kept with its count. When there is no more room for that, values go through a cascade of
buffers: a full one is sorted and every second value goes on with twice the weight. Each such step moves the rank of a
value by at most the weight it had, so that the sum of these weights bounds the error.

Source of the cascade: G. Manku, S. Rajagopalan, B. Lindsay, Approximate Medians and other Quantiles in One Pass and
with Limited Memory, SIGMOD 1998.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from consumer.formats.contract import Floats

PENDING = 4096  # values that wait until they are worth sorting in
ALWAYS_EXACT = 4096  # distinct values that are counted whatever their number of occurrences
_WIDEST, _NARROWEST = 4096, 256  # values in a buffer


class Quantiles:
    """The distribution of values that are added piece by piece. NaN may not be among them."""

    __slots__ = ("_counts", "_levels", "_lost", "_odd", "_pending", "_rare", "_values", "_waiting", "_width", "count")

    def __init__(self) -> None:
        self.count = 0
        self._pending: list[Floats] = []
        self._waiting = 0
        self._rare = False  # hardly a value comes twice: counting as we go would only cost time
        self._values: Floats = np.empty(0)  # distinct, rising
        self._counts = np.empty(0, np.int64)
        self._levels: list[Floats] | None = None  # the cascade; level h holds values of weight 2**h
        self._odd: list[int] = []  # which of each pair a level passes on next
        self._width = _WIDEST
        self._lost = 0  # bound of the rank error, in values

    @property
    def held(self) -> int:
        """Numbers in memory."""
        return self._waiting + 2 * len(self._values) + sum(map(len, self._levels or ()))

    @property
    def rank_error(self) -> float:
        """How far, as a share of all values, the rank of a returned value may be from the one asked for."""
        return self._lost / self.count if self.count else 0.0

    @property
    def can_shrink(self) -> bool:
        """Whether `shrink` would make it smaller."""
        if self._levels is None:
            return len(self._values) + self._waiting > ALWAYS_EXACT
        return self._width > _NARROWEST

    def add(self, values: Floats) -> None:
        """Take values in any order; the array is kept."""
        self._pending.append(values)
        self._waiting += len(values)
        self.count += len(values)
        if self._waiting >= max(PENDING, len(self._values)) and not self._rare:
            self._sort_in()
            self._rare = self._levels is None and 2 * len(self._values) > self.count

    def shrink(self) -> None:
        """Use less memory from now on, for a larger error."""
        self._sort_in()
        self._rare = False
        if self._levels is None:
            if len(self._values) > ALWAYS_EXACT:
                self._begin_cascade()
        else:
            self._width = max(self._width // 2, _NARROWEST)
            self._pass_on()

    def together(self, values: Floats, counts: NDArray[np.int64]) -> Quantiles:
        """This distribution with some more values, each as often as its count says; not to be added to any more.

        Args:
            values: different ones, none of which was added here.
        """
        self._sort_in()
        both = Quantiles()
        both.count = self.count + int(counts.sum())
        both._lost = self._lost
        if self._levels is None:
            everything = np.concatenate((self._values, values))
            order = np.argsort(everything)
            both._values, both._counts = everything[order], np.concatenate((self._counts, counts))[order]
        else:
            both._levels = [*self._levels]
            both._values, both._counts = values, counts
        return both

    def percentiles(self, percents: Sequence[float]) -> list[float]:
        """The values below which these percentages lie, interpolated between neighbours; NaN when there is none."""
        self._sort_in()
        if not self.count:
            return [float("nan")] * len(percents)
        values, counts = self._values, self._counts
        if self._levels is not None:
            values = np.concatenate((*self._levels, values))
            weights = [np.full(len(part), 1 << level) for level, part in enumerate(self._levels)]
            counts = np.concatenate((*weights, counts))
            order = np.argsort(values, kind="stable")
            values, counts = values[order], counts[order]
        upto = np.cumsum(counts)
        place = np.asarray(percents, np.float64) / 100 * (upto[-1] - 1)
        below = np.floor(place)
        lower = values[np.searchsorted(upto, below, side="right")]
        upper = values[np.searchsorted(upto, np.minimum(below + 1, upto[-1] - 1), side="right")]
        share = place - below
        with np.errstate(invalid="ignore"):  # inf - inf
            between = np.where(lower == upper, lower, lower + (upper - lower) * share)
        return [float(value) for value in np.where(share == 0, lower, between)]

    def histogram(self, most: int) -> list[tuple[float, float]]:
        """At most ``most`` bins of equal width as (lower edge, count), closed by (last edge, 0)."""
        low, high = self.percentiles([0, 100])
        if not np.isfinite([low, high]).all() or low == high:
            return []
        self._sort_in()
        if self._levels is None:
            counts, edges = np.histogram(self._values, most, (low, high), weights=self._counts)
        else:
            edges = np.linspace(low, high, most + 1)
            counts = np.histogram(self._values, edges, weights=self._counts)[0].astype(np.float64)
            for level, part in enumerate(self._levels):
                counts += np.histogram(part, edges)[0] * (1 << level)
        return [*zip(edges[:-1].tolist(), map(float, counts), strict=True), (float(edges[-1]), 0.0)]

    def _sort_in(self) -> None:
        if not self._pending:
            return
        if self._rare and self._levels is None:  # what was counted is little beside what waits: one sort instead of two
            self._pending.append(np.repeat(self._values, self._counts))
            self._values, self._counts = np.empty(0), np.empty(0, np.int64)
        fresh = np.concatenate(self._pending) if len(self._pending) > 1 else self._pending[0]
        self._pending, self._waiting = [], 0
        if self._levels is not None:
            self._levels[0] = np.concatenate((self._levels[0], fresh))
            self._pass_on()
            return
        values, counts = np.unique(fresh, return_counts=True)
        if len(self._values):
            both = np.concatenate((self._values, values))
            order = np.argsort(both, kind="stable")  # two rising runs: merged, not sorted
            both, weights = both[order], np.concatenate((self._counts, counts))[order]
            first = np.flatnonzero(np.concatenate(([True], both[1:] != both[:-1])))
            values, counts = both[first], np.add.reduceat(weights, first)
        self._values, self._counts = values, counts

    def _begin_cascade(self) -> None:
        largest = int(self._counts.max())
        self._levels = [self._values[(self._counts >> level) & 1 == 1] for level in range(max(largest.bit_length(), 1))]
        self._odd = [0] * len(self._levels)
        self._values, self._counts = np.empty(0), np.empty(0, np.int64)
        self._pass_on()

    def _pass_on(self) -> None:
        assert self._levels is not None
        level = 0
        while level < len(self._levels):
            part = self._levels[level]
            if len(part) >= self._width:
                if level + 1 == len(self._levels):
                    self._levels.append(np.empty(0))
                    self._odd.append(0)
                ordered = np.sort(part)
                pairs = len(ordered) // 2 * 2
                self._levels[level] = ordered[pairs:].copy()
                passed = ordered[self._odd[level] : pairs : 2]
                self._levels[level + 1] = np.concatenate((self._levels[level + 1], passed))
                self._odd[level] ^= 1
                self._lost += 1 << level
            level += 1
