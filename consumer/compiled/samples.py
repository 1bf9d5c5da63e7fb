"""The loops over samples; `consumer.statistics.plain` says the same with numpy. Only for `consumer.compiled.build`."""

from __future__ import annotations

from typing import Any

import numpy as np

from consumer.compiled.pointers import doubles_at
from consumer.statistics.tables import (
    AREA,
    BACKWARDS,
    BASE,
    BEGIN,
    CELLS,
    FIRST,
    FREQUENT,
    FUZZ,
    HELD,
    HIGH,
    KNOWN,
    LAST,
    LEFT,
    LOW,
    MISSING,
    PART,
    SEEN,
    SHIFT,
    SPAN,
    SQUARES,
    STATE,
    SUM,
    TIME,
    UPTO,
    VALUE,
    WIDTH,
)

_MIX = np.uint64(0x9E3779B97F4A7C15)
_TOP = np.uint64(57)  # of 64 bits, so that CELLS places are left
assert 1 << (64 - int(_TOP)) == CELLS
_LAST_CELL = CELLS - 1


def gather(  # noqa: C901, PLR0912, PLR0915 - one loop over the samples, flat on purpose
    slots: Any,
    times: Any,
    values: Any,
    bits: Any,
    count: int,
    table: Any,
    part: Any,
    used: Any,
    indexed: Any,
    index: Any,
    frequent: Any,
    frequent_bits: Any,
    counts: Any,
    present: Any,
    left_slots: Any,
    left_values: Any,
    sorted_values: Any,
    starts: Any,
) -> int:
    """Add samples to what is known of their vectors; the number of vectors that are present.

    ``bits`` and ``frequent_bits`` are the doubles once more, as whole numbers. Values that are counted nowhere else are
    left in ``sorted_values``, by vector; ``starts`` says where each one's begin, in the order of ``present``.
    """
    vectors, left, place = 0, 0, np.int64(0)
    cell: Any
    known: Any
    for sample in range(count):
        slot, time, value = np.int64(slots[sample]), times[sample], values[sample]
        row, own = slot * WIDTH, slot * PART
        if part[own + SEEN] == 0.0:
            part[own + SEEN] = 1.0
            part[own + BEGIN] = time
            present[vectors] = slot
            vectors += 1
            if np.isnan(table[row + FIRST]):
                table[row + FIRST] = time
        last = table[row + LAST]
        if not np.isnan(last):
            if time >= last:
                held, before = time - last, table[row + VALUE]
                if held > 0.0 and not np.isnan(before):
                    part[own + AREA] += before * held
                    part[own + TIME] += held
            else:
                table[row + BACKWARDS] += 1.0
        table[row + LAST] = time
        table[row + VALUE] = value
        if np.isnan(value):
            part[own + MISSING] += 1.0
            continue
        if part[own + KNOWN] == 0.0:
            part[own + SHIFT] = value if np.isfinite(value) else 0.0
        away = value - part[own + SHIFT]
        part[own + KNOWN] += 1.0
        part[own + SUM] += away
        part[own + SQUARES] += away * away
        table[row + LOW] = min(table[row + LOW], value)
        table[row + HIGH] = max(table[row + HIGH], value)
        # One of the values that are counted, at hand by its bits?
        number = np.int64(used[slot])
        if number >= 0:
            cells, kept = slot * CELLS, slot * FREQUENT
            if indexed[slot] == 0:
                indexed[slot] = 1
                for cell in range(CELLS):
                    index[cells + cell] = 0
                for known in range(number):
                    again = np.uint64(frequent_bits[kept + known])
                    cell = np.int64((again * _MIX) >> _TOP)
                    while index[cells + cell] != 0:
                        cell = (cell + 1) & _LAST_CELL
                    index[cells + cell] = known + 1
            cell = np.int64((np.uint64(bits[sample]) * _MIX) >> _TOP)
            found = False
            while True:
                known = np.int64(index[cells + cell])
                if known == 0:
                    if number < FREQUENT:
                        frequent[kept + number] = value
                        counts[kept + number] = 1
                        index[cells + cell] = number + 1
                        used[slot] = number + 1
                        found = True
                    break
                if frequent[kept + known - 1] == value:
                    counts[kept + known - 1] += 1
                    found = True
                    break
                cell = (cell + 1) & _LAST_CELL
            if found:
                continue
        left_slots[left] = slot
        left_values[left] = value
        part[own + LEFT] += 1.0
        left += 1
    for vector in range(vectors):
        own = present[vector] * PART
        starts[vector] = place
        place += np.int64(part[own + LEFT])
        part[own + SEEN] = np.float64(starts[vector])  # from here on: where its next value goes
    starts[vectors] = place
    for sample in range(left):
        own = np.int64(left_slots[sample]) * PART
        place = np.int64(part[own + SEEN])
        sorted_values[place] = left_values[sample]
        part[own + SEEN] = np.float64(place + 1)
    return vectors


def draw(slots: Any, times: Any, values: Any, count: int, rows: Any, state: Any, rooms: Any) -> int:
    """Draw samples into spans of time that reach far enough; the number of samples that were drawn."""
    drawn = 0
    for sample in range(count):
        row = np.int64(rows[slots[sample]])
        if row < 0:
            continue
        own, time, value = row * STATE, times[sample], values[sample]
        span = state[own + SPAN]
        number = np.floor(time / span + FUZZ)
        place, upto, room = np.int64(number - state[own + BASE]), np.int64(state[own + UPTO]), rooms[2 * row + 1]
        if place < 0 or place >= room:
            continue
        held = doubles_at(rooms[2 * row])
        low, high = place + room, place + 2 * room
        if upto <= place:
            before = state[own + HELD]
            while upto <= place:
                held[upto] = before
                held[upto + room] = np.nan
                held[upto + 2 * room] = np.nan
                upto += 1
            state[own + UPTO] = np.float64(upto)
        if time <= (number + FUZZ) * span:
            held[place] = value
        if not np.isnan(value):
            if not held[low] <= value:
                held[low] = value
            if not held[high] >= value:
                held[high] = value
        state[own + HELD] = value
        drawn += 1
    return drawn
