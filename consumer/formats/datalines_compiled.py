"""`consumer.formats.datalines.scan`, compiled by numba: some thirty times as fast, without holding the interpreter.

The first import on a machine compiles for some seconds and keeps the result in the user's cache folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from consumer.formats.datalines import LARGEST_ID, MOST_COLUMNS, Block, OtherLine

os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(platformdirs.user_cache_dir("simcourier")) / "compiled"))
from numba import njit

MOST_OTHERS = 16_384  # lines that one call of the compiled part can note

_POWERS = 10.0 ** np.arange(23)  # exact as doubles, as are whole numbers up to 2**53
_SPLIT = 134217729.0  # 2**27 + 1: T. J. Dekker, A floating-point technique for extending precision, 1971

_TAB, _NEWLINE, _RETURN, _BLANK, _HASH = 9, 10, 13, 32, 35
_PLUS, _MINUS, _POINT = 43, 45, 46
_A, _F, _I, _N, _E = 97, 102, 105, 110, 101
# Places are unsigned, as are these: a signed index costs numba a look for negative ones at every byte.
_ONE, _TWO, _THREE, _TEN, _ZERO = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(10), np.uint64(48)


@njit(nogil=True, cache=True, inline="always")
def _scaled(mantissa: Any, exponent: Any, powers: Any) -> Any:
    """``mantissa * 10**exponent`` for at most 19 digits and |exponent| <= 22, rounded to the nearest double."""
    high = float(mantissa)
    if mantissa <= 9007199254740992:
        return high * powers[exponent] if exponent >= 0 else high / powers[-exponent]
    low = float(np.int64(mantissa - np.uint64(high)))  # what the double cannot hold
    factor = powers[abs(exponent)]
    if exponent >= 0:
        product = high * factor
        return product + (_lost(high, factor, product) + low * factor)
    quotient = high / factor
    product = quotient * factor
    rest = (high - product) - _lost(quotient, factor, product)
    return quotient + (rest + low) / factor


@njit(nogil=True, cache=True, inline="always")
def _lost(a: Any, b: Any, product: Any) -> Any:
    """What the rounding of ``product = a * b`` has lost."""
    t = _SPLIT * a
    a_high = t - (t - a)
    a_low = a - a_high
    t = _SPLIT * b
    b_high = t - (t - b)
    b_low = b - b_high
    return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


@njit(nogil=True, cache=True, inline="always")
def _digit(data: Any, place: Any) -> Any:
    """The digit at this place; 10 or more when there is none."""
    return np.uint64(data[place]) - _ZERO


@njit(nogil=True, cache=True, inline="always")
def _special(data: Any, place: Any) -> tuple[float, Any]:
    """``inf`` or ``nan`` at this place: the value, and the place after it, the same one when it is neither."""
    first, second, third = data[place] | 32, data[place + _ONE] | 32, data[place + _TWO] | 32
    if first == _I and second == _N and third == _F:
        return np.inf, place + _THREE
    if first == _N and second == _A and third == _N:
        return np.nan, place + _THREE
    return 0.0, place


@njit(nogil=True, cache=True, inline="always")
def _number(data: Any, place: Any, powers: Any) -> tuple[float, Any, bool]:
    """The number at this place, the place after it, and whether it is one that this function can tell."""
    negative = data[place] == _MINUS
    if negative or data[place] == _PLUS:
        place += _ONE
    begin, mantissa, exponent = place, np.uint64(0), np.int64(0)
    digit = _digit(data, place)
    while digit < _TEN:
        mantissa = mantissa * _TEN + digit
        place += _ONE
        digit = _digit(data, place)
    digits = np.int64(place - begin)
    if data[place] == _POINT:
        place += _ONE
        begin = place
        digit = _digit(data, place)
        while digit < _TEN:
            mantissa = mantissa * _TEN + digit
            place += _ONE
            digit = _digit(data, place)
        exponent = -np.int64(place - begin)
        digits -= exponent
    if digits == 0:
        begin = place
        value, place = _special(data, place)
        return (-value if negative else value), place, place != begin and exponent == 0
    if data[place] | 32 == _E:
        value, place, known = _shifted(data, place + _ONE)
        if not known:
            return 0.0, place, False
        exponent += value
    if digits > 19 or exponent < -22 or exponent > 22:
        return 0.0, place, False
    value = _scaled(mantissa, exponent, powers)
    return (-value if negative else value), place, True


@njit(nogil=True, cache=True, inline="always")
def _shifted(data: Any, place: Any) -> tuple[Any, Any, bool]:
    """What follows the E of a number: the exponent, the place after it, and whether it is one."""
    negative = data[place] == _MINUS
    if negative or data[place] == _PLUS:
        place += _ONE
    begin, value = place, np.int64(0)
    while _digit(data, place) < _TEN and value < 1000:
        value = value * 10 + np.int64(_digit(data, place))
        place += _ONE
    return (-value if negative else value), place, place != begin


@njit(nogil=True, cache=True)
def _scan(  # noqa: C901, PLR0912, PLR0915 - one loop over the bytes, flat on purpose
    data: Any,
    place: Any,
    size: Any,
    ids: Any,
    widths: Any,
    a: Any,
    b: Any,
    c: Any,
    others: Any,
    powers: Any,
    state: Any,
) -> Any:
    """Take lines apart from ``place`` on until the end, or until ``others`` is full; the place after the last one.

    ``data`` has some bytes of zero after ``size``, so that nothing need ask for the end. ``state`` holds the number of
    data lines, of other lines, and of lines.
    """
    samples, noted, lines = np.uint64(state[0]), 0, state[2]
    while place < size and noted < len(others):
        start = place
        while data[place] == _BLANK or data[place] == _TAB:
            place += _ONE
        begin, identity = place, np.uint64(0)
        digit = _digit(data, place)
        while digit < _TEN:
            identity = identity * _TEN + digit
            place += _ONE
            digit = _digit(data, place)
        digits = place - begin
        plain = (
            np.uint64(0) < digits <= _TEN
            and identity <= np.uint64(LARGEST_ID)
            and (data[place] == _BLANK or data[place] == _TAB)
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
            value, place, plain = _number(data, place, powers)
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
            samples += _ONE
        else:
            place = start
            while data[place] == _BLANK or data[place] == _TAB or data[place] == _RETURN:
                place += _ONE
            kept = place < size and data[place] != _NEWLINE and data[place] != _HASH
            while place < size and data[place] != _NEWLINE:
                place += _ONE
            if kept:
                others[noted, 0], others[noted, 1], others[noted, 2], others[noted, 3] = samples, lines, start, place
                noted += 1
        lines += 1
        place += _ONE
    state[0], state[1], state[2] = samples, noted, lines
    return place


def scan(data: bytes, end: int) -> Block:
    """Take whole lines apart; see `consumer.formats.datalines.Block`."""
    most = data.count(b"\n") + 1
    ids, widths = np.empty(most, np.int32), np.empty(most, np.int8)
    a, b, c = np.empty(most), np.empty(most), np.empty(most)
    padded = np.frombuffer(data + bytes(32), np.uint8)
    noted = np.empty((MOST_OTHERS, 4), np.int64)
    state = np.zeros(3, np.int64)
    others: list[OtherLine] = []
    place, size = np.uint64(0), np.uint64(len(data))
    while place < size:
        place = _scan(padded, place, size, ids, widths, a, b, c, noted, _POWERS, state)
        others += [
            OtherLine(before, number, data[start:stop]) for before, number, start, stop in noted[: state[1]].tolist()
        ]
    n = int(state[0])
    return Block(ids[:n], widths[:n], (a[:n], b[:n], c[:n]), others, int(state[2]), data, end)
