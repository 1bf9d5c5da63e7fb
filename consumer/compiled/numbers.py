"""From digits to doubles, eight digits at a time. Only for `consumer.compiled.build`.

Eight digits in one word: D. Lemire, Number Parsing at a Gigabyte per Second, Software: Practice and Experience, 2021.
Whatever is not read exactly here is left to Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from consumer.compiled.pointers import word_at, zeros_below
from consumer.formats.datalines import MOST_DIGITS, MOST_EXPONENT

_POWERS = 10.0 ** np.arange(23)  # exact as doubles, as are whole numbers up to 2**53
_TENS = 10 ** np.arange(9, dtype=np.uint64)
_SPLIT = 134217729.0  # 2**27 + 1: T. J. Dekker, A floating-point technique for extending precision, 1971
_EXACT = np.uint64(2**53)
_LARGE = 1000  # an exponent from which on more digits do not matter

_PLUS, _MINUS, _POINT = 43, 45, 46
_A, _F, _I, _N, _E = 97, 102, 105, 110, 101
# Places are unsigned, as are these: a word that is cut to its lower bits keeps its meaning.
_ONE, _TWO, _THREE, _FOUR, _EIGHT, _HALF = (np.uint64(number) for number in (1, 2, 3, 4, 8, 32))
_TEN, _SIXTEEN, _ZERO = np.uint64(10), np.uint64(16), np.uint64(48)
_ZEROS = np.uint64(0x3030303030303030)
_BEYOND_NINE = np.uint64(0x7676767676767676)
_TOPS = np.uint64(0x8080808080808080)
_PAIRS = np.uint64(0x000000FF000000FF)
_UPPER, _LOWER = np.uint64(100 + (1_000_000 << 32)), np.uint64(1 + (10_000 << 32))


@njit(inline="always", error_model="numpy")
def digits_at(data: Any, place: Any, before: Any) -> tuple[Any, Any]:
    """All digits from this place on behind those of ``before``, modulo 2**64, and the place after them."""
    whole = before
    while True:
        word = word_at(data, place) ^ _ZEROS
        ends = ((word + _BEYOND_NINE) | word) & _TOPS  # the lowest bit is right, those above it may not be
        if ends != np.uint64(0):
            break
        whole = whole * _TENS[_EIGHT] + _eight(word)
        place += _EIGHT
    count = zeros_below(ends) >> _THREE
    half = _HALF - _FOUR * count  # of the way to move the digits to the upper end
    return whole * _TENS[count] + _eight(word << half << half), place + count


@njit(inline="always", error_model="numpy")
def _eight(word: Any) -> Any:
    """The number of eight digits, the first of them in the lowest byte."""
    word = word * _TEN + (word >> _EIGHT)
    return ((word & _PAIRS) * _UPPER + ((word >> _SIXTEEN) & _PAIRS) * _LOWER) >> _HALF


@njit(inline="always", error_model="numpy")
def digit_at(data: Any, place: Any) -> Any:
    """The digit at this place; 10 or more when there is none."""
    return np.uint64(data[place]) - _ZERO


@njit(inline="always", error_model="numpy")
def number_at(data: Any, place: Any) -> tuple[float, Any, bool]:
    """The number at this place, the place after it, and whether it is one that this function can tell."""
    negative = data[place] == _MINUS
    if negative or data[place] == _PLUS:
        place += _ONE
    begin, exponent = place, np.int64(0)
    mantissa, place = digits_at(data, place, np.uint64(0))
    digits = np.int64(place - begin)
    pointed = data[place] == _POINT
    if pointed:
        begin = place + _ONE
        mantissa, place = digits_at(data, begin, mantissa)
        exponent = -np.int64(place - begin)
        digits -= exponent
    if digits == 0:
        begin = place
        value, place = _special(data, place)
        return (-value if negative else value), place, place != begin and not pointed
    if data[place] | 32 == _E:
        shift, place, known = _shifted(data, place + _ONE)
        if not known:
            return 0.0, place, False
        exponent += shift
    if digits > MOST_DIGITS or exponent < -MOST_EXPONENT or exponent > MOST_EXPONENT:
        return 0.0, place, False
    value = _scaled(mantissa, exponent)
    return (-value if negative else value), place, True


@njit(inline="always", error_model="numpy")
def _special(data: Any, place: Any) -> tuple[float, Any]:
    """``inf`` or ``nan`` at this place: the value, and the place after it, the same one when it is neither."""
    first, second, third = data[place] | 32, data[place + _ONE] | 32, data[place + _TWO] | 32
    if first == _I and second == _N and third == _F:
        return np.inf, place + _THREE
    if first == _N and second == _A and third == _N:
        return np.nan, place + _THREE
    return 0.0, place


@njit(inline="always", error_model="numpy")
def _shifted(data: Any, place: Any) -> tuple[Any, Any, bool]:
    """What follows the E of a number: the exponent, the place after it, and whether it is one."""
    negative = data[place] == _MINUS
    if negative or data[place] == _PLUS:
        place += _ONE
    begin, value = place, np.int64(0)
    while digit_at(data, place) < _TEN and value < _LARGE:
        value = value * 10 + np.int64(digit_at(data, place))
        place += _ONE
    return (-value if negative else value), place, place != begin


@njit(inline="always", error_model="numpy")
def _scaled(mantissa: Any, exponent: Any) -> Any:
    """``mantissa * 10**exponent`` for at most 19 digits and |exponent| <= 22, rounded to the nearest double."""
    high = float(mantissa)
    if mantissa <= _EXACT:
        return high * _POWERS[np.uint64(exponent)] if exponent >= 0 else high / _POWERS[np.uint64(-exponent)]
    low = float(np.int64(mantissa - np.uint64(high)))  # what the double cannot hold
    factor = _POWERS[np.uint64(abs(exponent))]
    if exponent >= 0:
        product = high * factor
        return product + (_lost(high, factor, product) + low * factor)
    quotient = high / factor
    product = quotient * factor
    rest = (high - product) - _lost(quotient, factor, product)
    return quotient + (rest + low) / factor


@njit(inline="always", error_model="numpy")
def _lost(a: Any, b: Any, product: Any) -> Any:
    """What the rounding of ``product = a * b`` has lost."""
    t = _SPLIT * a
    a_high = t - (t - a)
    a_low = a - a_high
    t = _SPLIT * b
    b_high = t - (t - b)
    b_low = b - b_high
    return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
