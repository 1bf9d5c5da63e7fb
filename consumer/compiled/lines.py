"""The loop over the lines of a vector file. Only for `consumer.compiled.build`."""

from __future__ import annotations

from typing import Any

import numpy as np

from consumer.compiled.numbers import digits_at, number_at
from consumer.formats.datalines import LARGEST_ID, MOST_COLUMNS

_TAB, _NEWLINE, _RETURN, _BLANK, _HASH = 9, 10, 13, 32, 35
_ONE, _TEN, _NONE = np.uint64(1), np.uint64(10), np.uint64(0)
_LARGEST = np.uint64(LARGEST_ID)


def count_lines(data: Any, size: int) -> int:
    """Line ends among the first ``size`` bytes."""
    count = 0
    for place in range(size):
        count += data[place] == _NEWLINE
    return count


def take_apart(  # noqa: C901, PLR0912 - one loop over the bytes, flat on purpose
    data: Any,
    start: int,
    length: int,
    ids: Any,
    widths: Any,
    a: Any,
    b: Any,
    c: Any,
    others: Any,
    room: int,
    state: Any,
) -> Any:
    """Take lines apart from ``start`` on until the end, or until ``others`` is full; the place after the last one.

    ``data`` has some bytes of zero after ``length``, so that nothing need ask for the end. ``state`` holds the number
    of data lines and of lines so far, and gets that of the other lines noted by this call.
    """
    place, size = np.uint64(start), np.uint64(length)
    samples, noted, lines = state[0], 0, state[2]
    while place < size and noted < room:
        begin = place
        while data[place] == _BLANK or data[place] == _TAB:
            place += _ONE
        first = place
        identity, place = digits_at(data, place, _NONE)
        plain = (
            _NONE < place - first <= _TEN and identity <= _LARGEST and (data[place] == _BLANK or data[place] == _TAB)
        )
        width = 0
        while plain:
            while data[place] == _BLANK or data[place] == _TAB:
                place += _ONE
            if data[place] == _RETURN and (data[place + _ONE] == _NEWLINE or place + _ONE == size):
                place += _ONE
            if data[place] == _NEWLINE or place == size:
                plain = width > 0
                break
            value, place, plain = number_at(data, place)
            after = data[place]
            if width == MOST_COLUMNS or not (
                after == _TAB or after == _NEWLINE or after == _BLANK or after == _RETURN or place == size  # noqa: PLR1714
            ):
                plain = False
            elif width == 0:
                a[samples] = value
            elif width == 1:
                b[samples] = value
            else:
                c[samples] = value
            width += 1
        if plain:
            ids[samples] = identity
            widths[samples] = width
            samples += 1
        else:
            place = begin
            while data[place] == _BLANK or data[place] == _TAB or data[place] == _RETURN:
                place += _ONE
            kept = place < size and data[place] != _NEWLINE and data[place] != _HASH
            while place < size and data[place] != _NEWLINE:
                place += _ONE
            if kept:
                others[4 * noted] = samples
                others[4 * noted + 1] = lines
                others[4 * noted + 2] = begin
                others[4 * noted + 3] = place
                noted += 1
        lines += 1
        place += _ONE
    state[0], state[1], state[2] = samples, noted, lines
    return np.int64(place)
