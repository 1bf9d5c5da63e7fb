"""What is known of many vectors while their samples pass by, in memory that does not grow with the samples.

Samples wait until there are enough of them; then each adds to the sums of its vector, and these sums to what is known:
T. Chan, G. Golub, R. LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979. The
numbers depend on the samples and on how many are taken in at once, and not on whether that is done by compiled loops.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from consumer.formats.contract import Floats, Numbers
from consumer.statistics import plain
from consumer.statistics.looped import Loops
from consumer.statistics.model import Trace
from consumer.statistics.plain import Batch, Left
from consumer.statistics.quantiles import Quantiles
from consumer.statistics.tables import (
    ABSENT,
    BACKWARDS,
    BEGIN,
    COUNT,
    FIRST,
    FREQUENT,
    FRESH,
    HIGH,
    LAST,
    LASTING,
    LOW,
    MEAN,
    NOT_COUNTED,
    OVER,
    SPREAD,
    VALUE,
    Tables,
)
from consumer.statistics.traces import Traces

WAITING = 32 * 1024  # samples
MANY = 1024 * 1024  # samples from which on the compiled loops are worth loading
MOST_SYMBOLS = 1000  # values of an enumeration whose time is told apart
MOST_HELD = 3 * 1024 * 1024  # numbers in all distributions together: 24 MiB
_RARE = 4  # a table of frequent values that counts less than one value in so many is given up


class Vectors:
    """Numbers the vectors from 0, takes their samples, and tells what is known.

    Args:
        precision: seconds between the points of a trace; None: chosen for each vector.
    """

    def __init__(self, precision: float | None = None) -> None:
        self._count = 0
        self._tables = Tables()
        self._traces = Traces(precision)
        self._loops = Loops()
        self._ends: dict[int, float | None] = {}  # of a vector that has times: the run's end where it is known
        self._symbols: dict[int, dict[float, float]] = {}  # of an enumeration: value to time
        self._other_symbols: dict[int, float] = {}  # of an enumeration: time of values beyond the most
        self._last_symbols: dict[int, tuple[float, float]] = {}  # its last time and value
        self._quantiles: dict[int, Quantiles] = {}
        self._held = 0  # numbers in all of them
        self._waiting: list[tuple[Numbers, Floats, Floats]] = []
        self._samples = 0  # that wait
        self._taken = 0  # that were taken in
        self._thread = ThreadPoolExecutor(1, "statistics")
        self._settling: Future[None] | None = None

    def __len__(self) -> int:
        return self._count

    def declare(self, *, timed: bool, symbols: bool, end: float | None) -> int:
        """A new vector: whether it has times, whether it is an enumeration, and the run's end where it is known."""
        slot = self._count
        self._count += 1
        if timed:
            self._ends[slot] = end
        if symbols:
            self._symbols[slot] = {}
            self._other_symbols[slot] = 0.0
        return slot

    def add(self, slots: Numbers, times: Floats, values: Floats) -> None:
        """Take samples; times do not fall within a vector."""
        self._waiting.append((slots, times, values))
        self._samples += len(slots)
        if self._samples >= WAITING:
            self._settle_beside()

    def settle(self) -> None:
        """Take in what waits, and wait until it is done."""
        if self._samples:
            self._settle_beside()
        if self._settling is not None:
            self._settling.result()
            self._settling = None

    def close(self) -> None:
        """Give up whatever is under way."""
        self._thread.shutdown(cancel_futures=True)

    def _settle_beside(self) -> None:
        """Let another thread take in what waits, while the next samples are read."""
        if self._settling is not None:
            self._settling.result()
        self._tables.grow(self._count)
        self._traces.grow(self._tables.room)
        waiting, self._waiting, self._samples = self._waiting, [], 0
        self._settling = self._thread.submit(self._take_in, waiting)

    def _take_in(self, waiting: list[tuple[Numbers, Floats, Floats]]) -> None:
        slots, times, values = waiting[0]
        if len(waiting) > 1:
            slots, times, values = (np.concatenate(parts) for parts in zip(*waiting, strict=True))
        waiting.clear()
        values = values + 0.0  # -0.0 becomes 0.0, so that equal values are the same
        self._taken += len(slots)
        if self._loops.ready(wanted=self._taken > MANY):
            present, left = self._loops.gather(self._tables, slots, times, values)
            self._reach(present)
            self._loops.draw(self._traces, slots, times, values)
        else:
            batch = Batch(slots, times, values)
            present, left = batch.present, plain.gather(self._tables, batch)
            self._reach(present)
            for slot, own_times, own_values in batch.each():
                self._traces.draw(slot, own_times, own_values)
        self._tables.merge(present)
        if self._symbols:
            self._hold_symbols(slots, times, values)
        self._distribute(present, left)

    def _reach(self, present: NDArray[np.int64]) -> None:
        known = self._tables.known[present]
        begins = self._tables.part[present, BEGIN]
        self._traces.reach(present, begins, known[:, LAST], known[:, BACKWARDS], self._ends)

    def _hold_symbols(self, slots: Numbers, times: Floats, values: Floats) -> None:
        """Of enumerations: how long each value held."""
        chosen = np.flatnonzero(np.isin(slots, np.fromiter(self._symbols, np.int32)))
        if not len(chosen):
            return
        for slot, begins, symbols in Batch(slots[chosen], times[chosen], values[chosen]).each():
            time, symbol = self._last_symbols.get(slot, (float(begins[0]), math.nan))
            with np.errstate(invalid="ignore"):  # inf - inf
                held = np.diff(begins, prepend=time)
            self._other_symbols[slot] += _add_times(self._symbols[slot], np.append(symbol, symbols[:-1]), held)
            self._last_symbols[slot] = float(begins[-1]), float(symbols[-1])

    def _distribute(self, present: NDArray[np.int64], left: Left) -> None:
        tables = self._tables
        for slot, values in left:
            self._distribution(slot, values)
        full = present[tables.used[present] == FREQUENT]
        rare = full[(tables.known[full, COUNT] - tables.left[full]) * _RARE < tables.known[full, COUNT]]
        for slot in rare.tolist():
            self._distribution(slot, np.repeat(tables.frequent[slot], tables.counts[slot]))
            tables.used[slot] = NOT_COUNTED
        if self._held > MOST_HELD:
            self._keep_small()

    def _distribution(self, slot: int, values: Floats) -> None:
        quantiles = self._quantiles.get(slot)
        if quantiles is None:
            quantiles = self._quantiles[slot] = Quantiles()
        self._held -= quantiles.held
        quantiles.add(values)
        self._held += quantiles.held

    def _keep_small(self) -> None:
        largest = sorted(
            (quantiles for quantiles in self._quantiles.values() if quantiles.can_shrink),
            key=lambda quantiles: -quantiles.held,
        )
        for quantiles in largest:
            self._held -= quantiles.held
            quantiles.shrink()
            self._held += quantiles.held
            if self._held <= MOST_HELD * 3 // 4:
                return

    # What is known. Ask only after `settle`.

    def moments(self, slot: int) -> Moments:
        """Count, mean, spread, extremes, first and last sample."""
        return Moments(self._tables.known[slot] if slot < self._tables.room else np.array(FRESH))

    def quantiles(self, slot: int) -> Quantiles:
        """The distribution of the values."""
        rest = self._quantiles.get(slot) or Quantiles()
        tables = self._tables
        used = int(tables.used[slot]) if slot < tables.room else 0
        return rest.together(tables.frequent[slot, :used], tables.counts[slot, :used]) if used > 0 else rest

    def trace(self, slot: int) -> Trace | None:
        """The small drawing, where there is one."""
        return self._traces.trace(slot)

    def symbol_times(self, slot: int) -> Mapping[float, float]:
        """Of an enumeration: value to the time that it held, up to the last sample."""
        return self._symbols.get(slot, {})

    def other_symbols_time(self, slot: int) -> float:
        """Of an enumeration: the time of values that are not among `symbol_times`, since there are too many."""
        return self._other_symbols.get(slot, 0.0)


class Moments:
    """One vector's row of the table, by name; NaN is "no value"."""

    def __init__(self, row: Floats) -> None:
        cells = row.tolist()
        self.count, self.missing = int(cells[COUNT]), int(cells[ABSENT])
        some = self.count > 0
        self.mean = cells[MEAN] if some else math.nan
        self.stddev = math.sqrt(cells[SPREAD] / (self.count - 1)) if self.count > 1 else math.nan
        self.minimum = cells[LOW] if some else math.nan
        self.maximum = cells[HIGH] if some else math.nan
        self.first_time, self.last_time, self.last_value = cells[FIRST], cells[LAST], cells[VALUE]
        self.backwards = int(cells[BACKWARDS])
        self._area, self._time = cells[LASTING], cells[OVER]

    def time_weighted_mean(self, until: float) -> float:
        """Each value weighted by how long it held, the last one until ``until``; NaN when no time has passed."""
        rest = until - self.last_time
        if math.isnan(self.last_value) or not rest > 0:
            rest = 0.0
        time = self._time + rest
        return (self._area + (self.last_value * rest if rest else 0.0)) / time if time > 0 else math.nan


def _add_times(shares: dict[float, float], values: Floats, held: Floats) -> float:
    """Add to each value's time; the time of those that are too many to be told apart."""
    known = ~np.isnan(values) & (held > 0) & np.isfinite(held)
    symbols, places = np.unique(values[known], return_inverse=True)
    others = 0.0
    for symbol, time in zip(symbols.tolist(), np.bincount(places, held[known]).tolist(), strict=True):
        if symbol in shares or len(shares) < MOST_SYMBOLS:
            shares[symbol] = shares.get(symbol, 0.0) + time
        else:
            others += time
    return others
