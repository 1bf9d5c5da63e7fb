"""The loops of `consumer.compiled.samples` in numpy: the same numbers to the last bit, for files that are not large.

Sums that have to be the same are made by `numpy.bincount`, which adds one number after the other, as the loops do.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from consumer.formats.contract import Floats, Numbers
from consumer.statistics.tables import (
    AREA,
    BACKWARDS,
    BEGIN,
    FIRST,
    FREQUENT,
    HIGH,
    KNOWN,
    LAST,
    LEFT,
    LOW,
    MISSING,
    SHIFT,
    SQUARES,
    SUM,
    TIME,
    VALUE,
    Tables,
)

_LONG = 20  # samples in a row of one vector that are worth moving as a whole
Left = list[tuple[int, Floats]]


class Batch:
    """Some samples, by vector, each vector's in their order."""

    def __init__(self, slots: Numbers, times: Floats, values: Floats) -> None:
        starts = _starts(slots)
        if len(np.unique(slots[starts])) < len(starts):  # vectors alternate: bring each one's samples together
            slots, times, values = _together(slots, times, values, starts)
            starts = _starts(slots)
        self.slots, self.times, self.values = slots, times, values
        self.starts = starts
        self.present = slots[starts].astype(np.int64)

    def each(self) -> Iterator[tuple[int, Floats, Floats]]:
        """Vector, times and values."""
        ends = np.append(self.starts[1:], len(self.slots)).tolist()
        for slot, start, end in zip(self.present.tolist(), self.starts.tolist(), ends, strict=True):
            yield slot, self.times[start:end], self.values[start:end]


def gather(tables: Tables, batch: Batch) -> Left:
    """Add a batch to the parts of its vectors; the values that are counted nowhere else."""
    with np.errstate(invalid="ignore", over="ignore"):
        _hold(tables, batch)
        _moments(tables, batch)
    left = []
    for slot, _, values in batch.each():
        rest = _count(tables, slot, values[~np.isnan(values)])
        if len(rest):
            tables.part[slot, LEFT] = len(rest)
            left.append((slot, rest))
    return left


def _hold(tables: Tables, batch: Batch) -> None:
    """The time that each value held, and its area; the time after "no value" counts for nothing."""
    present, starts, times, values = batch.present, batch.starts, batch.times, batch.values
    known = tables.known
    before_times, before = np.roll(times, 1), np.roll(values, 1)
    before_times[starts], before[starts] = known[present, LAST], known[present, VALUE]
    had = ~np.isnan(before_times)
    forwards = times >= before_times
    known[present, BACKWARDS] += np.add.reduceat((had & ~forwards).astype(np.float64), starts)
    held = times - before_times
    counts = had & forwards & (held > 0) & ~np.isnan(before)
    place = np.repeat(np.arange(len(present)), np.diff(starts, append=len(times)))[counts]
    tables.part[present, AREA] = np.bincount(place, (before * held)[counts], len(present))
    tables.part[present, TIME] = np.bincount(place, held[counts], len(present))
    tables.part[present, BEGIN] = times[starts]
    first = known[present, FIRST]
    known[present, FIRST] = np.where(np.isnan(first), times[starts], first)
    ends = np.append(starts[1:], len(times)) - 1
    known[present, LAST], known[present, VALUE] = times[ends], values[ends]


def _moments(tables: Tables, batch: Batch) -> None:
    present, starts = batch.present, batch.starts
    part, known = tables.part, tables.known
    there = ~np.isnan(batch.values)
    lengths = np.diff(starts, append=len(batch.values))
    place = np.repeat(np.arange(len(present)), lengths)[there]
    values = batch.values[there]
    count = np.bincount(place, minlength=len(present))
    some = np.flatnonzero(count)
    part[present, KNOWN] = count
    part[present, MISSING] = lengths - count
    if not len(some):
        return
    begins = (np.cumsum(count) - count)[some]
    shift = np.zeros(len(present))
    shift[some] = np.where(np.isfinite(values[begins]), values[begins], 0.0)
    away = values - shift[place]
    part[present, SHIFT] = shift
    part[present, SUM] = np.bincount(place, away, len(present))
    part[present, SQUARES] = np.bincount(place, away * away, len(present))
    slots = present[some]
    known[slots, LOW] = np.minimum(known[slots, LOW], np.minimum.reduceat(values, begins))
    known[slots, HIGH] = np.maximum(known[slots, HIGH], np.maximum.reduceat(values, begins))


def _count(tables: Tables, slot: int, values: Floats) -> Floats:
    """Count the values that are among a vector's first different ones; the others."""
    used = int(tables.used[slot])
    if used < 0 or not len(values):
        return values
    tables.indexed[slot] = 0
    frequent, counts = tables.frequent[slot], tables.counts[slot]
    if used < FREQUENT:
        different, first = np.unique(values, return_index=True)
        fresh = ~np.isin(different, frequent[:used])
        order = np.argsort(first[fresh])[: FREQUENT - used]
        more = used + len(order)
        frequent[used:more], counts[used:more] = different[fresh][order], 0
        tables.used[slot] = used = more
    order = np.argsort(frequent[:used])
    ordered = frequent[:used][order]
    place = np.minimum(np.searchsorted(ordered, values), used - 1)
    found = ordered[place] == values
    counts[:used] += np.bincount(order[place[found]], minlength=used)
    rest: Floats = values[~found]
    return rest


def _together(
    slots: Numbers, times: Floats, values: Floats, starts: NDArray[np.int64]
) -> tuple[Numbers, Floats, Floats]:
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
