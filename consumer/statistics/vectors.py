"""What is known of many vectors while their samples pass by, in memory that does not grow with the samples.

Samples wait until there are enough of them, are sorted by vector (stable, so that time keeps its order), and each
vector's stretch is added to what is known: moments after T. Chan, G. Golub, R. LeVeque, Updating Formulae and a
Pairwise Algorithm for Computing Sample Variances, 1979.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from consumer.formats.contract import Floats, Numbers
from consumer.statistics.quantiles import Quantiles
from consumer.statistics.traces import Tracer

WAITING = 256 * 1024  # samples
MOST_TRACES = 1000  # vectors that are drawn small: some 24 kB for each
_LONG = 20  # samples in a row of one vector that are worth moving as a whole
MOST_SYMBOLS = 1000  # values of an enumeration whose time is told apart
MOST_HELD = 3 * 1024 * 1024  # numbers in all distributions together: 24 MiB

# The table of moments, one row for each vector.
_COUNT, _MISSING, _MEAN, _SQUARES, _LOW, _HIGH = range(6)
_FIRST, _LAST, _VALUE, _AREA, _TIME, _BACKWARDS = range(6, 12)
_FRESH = (0.0, 0.0, 0.0, 0.0, math.inf, -math.inf, math.nan, math.nan, math.nan, 0.0, 0.0, 0.0)


class Vectors:
    """Numbers the vectors from 0, takes their samples, and tells what is known.

    Args:
        precision: seconds between the points of a trace; None: chosen for each vector.
    """

    def __init__(self, precision: float | None = None) -> None:
        self._precision = precision
        self._count = 0
        self._table = np.empty((0, len(_FRESH)))
        self._ends: dict[int, float] = {}  # the run's end, for a vector that gets a trace
        self._untimed: set[int] = set()
        self._symbols: dict[int, dict[float, float]] = {}  # of an enumeration: value to time
        self._quantiles: dict[int, Quantiles] = {}
        self._tracers: dict[int, Tracer] = {}
        self._waiting: list[tuple[Numbers, Floats, Floats]] = []
        self._samples = 0
        self._thread = ThreadPoolExecutor(1, "statistics")
        self._settling: Future[None] | None = None

    def __len__(self) -> int:
        return self._count

    def declare(self, *, timed: bool, symbols: bool, end: float | None) -> int:
        """A new vector: whether it has times, whether it is an enumeration, and the run's end where it is known."""
        slot = self._count
        self._count += 1
        if not timed:
            self._untimed.add(slot)
        if symbols:
            self._symbols[slot] = {}
        if end is not None:
            self._ends[slot] = end
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
        if len(self._table) < self._count:
            fresh = np.tile(np.array(_FRESH), (max(self._count, 2 * len(self._table)) - len(self._table), 1))
            self._table = np.concatenate((self._table, fresh))
        waiting, self._waiting, self._samples = self._waiting, [], 0
        self._settling = self._thread.submit(self._take_in, waiting)

    def _take_in(self, waiting: list[tuple[Numbers, Floats, Floats]]) -> None:
        slots, times, values = (np.concatenate(parts) for parts in zip(*waiting, strict=True))
        waiting.clear()
        starts = _starts(slots)
        present = slots[starts]
        if len(np.unique(present)) < len(present):  # vectors alternate: bring each one's samples together
            slots, times, values = _together(slots, times, values, starts)
            starts = _starts(slots)
            present = slots[starts]
        with np.errstate(invalid="ignore", over="ignore"):  # infinite values are legal: what follows from them is NaN
            self._moments(present, starts, values)
            self._areas(present, starts, times, values)
        self._distributions(present, starts, times, values)
        self._keep_small()

    def _moments(self, present: Numbers, starts: NDArray[np.int64], values: Floats) -> None:
        row = self._table[present]
        lengths = np.diff(starts, append=len(values))
        missing = np.isnan(values)
        count = lengths.astype(np.float64)
        known, low, high = values, values, values
        if missing.any():
            count -= np.add.reduceat(missing.astype(np.float64), starts)
            known = np.where(missing, 0.0, values)
            low, high = np.where(missing, np.inf, values), np.where(missing, -np.inf, values)
        some = np.maximum(count, 1.0)
        mean = np.add.reduceat(known, starts) / some
        away = known - np.repeat(mean, lengths)
        if missing.any():
            away[missing] = 0.0
        squares = np.add.reduceat(away * away, starts)
        both = np.maximum(row[:, _COUNT] + count, 1.0)
        apart = np.where(row[:, _COUNT] > 0, mean - row[:, _MEAN], 0.0)
        apart = np.where(count > 0, apart, 0.0)
        fresh_mean = np.where(row[:, _COUNT] > 0, row[:, _MEAN] + apart * count / both, mean)
        row[:, _MEAN] = np.where(count > 0, fresh_mean, row[:, _MEAN])
        row[:, _SQUARES] += squares + apart * apart * row[:, _COUNT] * count / both
        row[:, _COUNT] += count
        row[:, _MISSING] += lengths - count
        row[:, _LOW] = np.minimum(row[:, _LOW], np.minimum.reduceat(low, starts))
        row[:, _HIGH] = np.maximum(row[:, _HIGH], np.maximum.reduceat(high, starts))
        self._table[present] = row

    def _areas(self, present: Numbers, starts: NDArray[np.int64], times: Floats, values: Floats) -> None:
        """The time that each value held, and its area; the time after "no value" counts for nothing."""
        row = self._table[present]
        ends = np.append(starts[1:], len(values)) - 1
        held = np.diff(times, append=times[-1:])
        held[ends] = 0.0
        joint = np.where(np.isnan(row[:, _LAST]), 0.0, times[starts] - row[:, _LAST])
        row[:, _BACKWARDS] += np.add.reduceat((held < 0).astype(np.float64), starts) + (joint < 0)
        known = ~np.isnan(values)
        area = np.where(known & (held != 0), values * held, 0.0)
        row[:, _AREA] += np.add.reduceat(area, starts)
        row[:, _TIME] += np.add.reduceat(np.where(known, held, 0.0), starts)
        before = ~np.isnan(row[:, _VALUE]) & (joint != 0)
        row[:, _AREA] += np.where(before, row[:, _VALUE] * joint, 0.0)
        row[:, _TIME] += np.where(before, joint, 0.0)
        row[:, _FIRST] = np.where(np.isnan(row[:, _FIRST]), times[starts], row[:, _FIRST])
        for place in np.flatnonzero(np.isin(present, list(self._symbols))).tolist():
            part = slice(starts[place], ends[place] + 1)
            shares = self._symbols[int(present[place])]
            _add_times(shares, values[part], held[part])
            if before[place]:
                value = float(row[place, _VALUE])
                shares[value] = shares.get(value, 0.0) + float(joint[place])
        row[:, _LAST], row[:, _VALUE] = times[ends], values[ends]
        self._table[present] = row

    def _distributions(self, present: Numbers, starts: NDArray[np.int64], times: Floats, values: Floats) -> None:
        ends = np.append(starts[1:], len(values))
        for slot, start, end in zip(present.tolist(), starts.tolist(), ends.tolist(), strict=True):
            part = values[start:end]
            quantiles = self._quantiles.get(slot)
            if quantiles is None:
                quantiles = self._quantiles[slot] = Quantiles()
            known = part[~np.isnan(part)]  # a copy: what is kept must not keep all the others in memory
            if len(known):
                quantiles.add(known)
            if slot in self._untimed:
                continue
            tracer = self._tracers.get(slot)
            if tracer is None:
                if len(self._tracers) >= MOST_TRACES:
                    continue
                tracer = self._tracers[slot] = Tracer(self._precision, self._ends.get(slot))
            if self._table[slot, _BACKWARDS]:
                tracer.stop()
            else:
                tracer.add(times[start:end], part)

    def _keep_small(self) -> None:
        held = sum(quantiles.held for quantiles in self._quantiles.values())
        while held > MOST_HELD:
            largest = sorted(
                (quantiles for quantiles in self._quantiles.values() if quantiles.can_shrink),
                key=lambda quantiles: -quantiles.held,
            )
            if not largest:
                return
            for quantiles in largest:
                held -= quantiles.held
                quantiles.shrink()
                held += quantiles.held
                if held <= MOST_HELD * 3 // 4:
                    return

    # What is known. Ask only after `settle`.

    def moments(self, slot: int) -> Moments:
        """Count, mean, spread, extremes, first and last sample."""
        return Moments(self._table[slot] if slot < len(self._table) else np.array(_FRESH))

    def quantiles(self, slot: int) -> Quantiles:
        """The distribution of the values."""
        return self._quantiles.get(slot) or Quantiles()

    def tracer(self, slot: int) -> Tracer | None:
        """The small drawing, where there is one."""
        return self._tracers.get(slot)

    def symbol_times(self, slot: int) -> Mapping[float, float]:
        """Of an enumeration: value to the time that it held, up to the last sample."""
        return self._symbols.get(slot, {})


class Moments:
    """One vector's row of the table, by name; NaN is "no value"."""

    def __init__(self, row: Floats) -> None:
        cells = row.tolist()
        self.count, self.missing = int(cells[_COUNT]), int(cells[_MISSING])
        some = self.count > 0
        self.mean = cells[_MEAN] if some else math.nan
        self.stddev = math.sqrt(cells[_SQUARES] / (self.count - 1)) if self.count > 1 else math.nan
        self.minimum = cells[_LOW] if some else math.nan
        self.maximum = cells[_HIGH] if some else math.nan
        self.first_time, self.last_time, self.last_value = cells[_FIRST], cells[_LAST], cells[_VALUE]
        self.backwards = int(cells[_BACKWARDS])
        self._area, self._time = cells[_AREA], cells[_TIME]

    def time_weighted_mean(self, until: float) -> float:
        """Each value weighted by how long it held, the last one until ``until``; NaN when no time has passed."""
        rest = until - self.last_time
        if math.isnan(self.last_value) or not rest > 0:
            rest = 0.0
        time = self._time + rest
        return (self._area + (self.last_value * rest if rest else 0.0)) / time if time > 0 else math.nan


def _together(
    slots: Numbers, times: Floats, values: Floats, starts: NDArray[np.int64]
) -> tuple[Numbers, Floats, Floats]:
    """The samples by vector, each vector's in their order."""
    if len(starts) * _LONG > len(slots):
        narrow = slots.astype(np.uint16) if int(slots.max()) < 1 << 16 else slots  # sorted in time that is linear
        order = np.argsort(narrow, kind="stable")
        return slots[order], times[order], values[order]
    ends = np.append(starts[1:], len(slots))
    order = np.argsort(slots[starts], kind="stable")
    parts = [slice(start, end) for start, end in zip(starts[order].tolist(), ends[order].tolist(), strict=True)]
    return (
        np.repeat(slots[starts[order]], (ends - starts)[order]),
        np.concatenate([times[part] for part in parts]),
        np.concatenate([values[part] for part in parts]),
    )


def _starts(slots: Numbers) -> NDArray[np.int64]:
    return np.flatnonzero(np.concatenate(([True], slots[1:] != slots[:-1])))


def _add_times(shares: dict[float, float], values: Floats, held: Floats) -> None:
    known = ~np.isnan(values)
    symbols, places = np.unique(values[known], return_inverse=True)
    if len(symbols) + len(shares) > MOST_SYMBOLS:
        return
    for symbol, time in zip(symbols.tolist(), np.bincount(places, held[known]).tolist(), strict=True):
        shares[symbol] = shares.get(symbol, 0.0) + time
