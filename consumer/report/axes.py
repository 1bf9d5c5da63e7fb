"""From values to places on a drawing: scales, round ticks, and the unit in which an axis is read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from consumer.formats.contract import Floats
from messaging.digits import amount, prefixed, thousands, times_power_of_ten

_PLAIN_UP_TO = 1e4  # numbers from here on, or below the next, get a power of ten at the axis
_PLAIN_FROM = 1e-3
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_FLAT = 1e-9  # a span this small against the values is none: rounding would draw stairs


@dataclass(frozen=True, slots=True)
class Scale:
    """One axis.

    Args:
        low: and ``high``: the values at its ends, divided by ``factor`` already.
        start: and ``end``: the places of the two, in units of the drawing.
        factor: by what values are divided to be read on this axis.
        unit: in which they then are.
    """

    low: float
    high: float
    start: float
    end: float
    factor: float = 1.0
    unit: str = ""

    def at(self, value: float) -> float:
        """The place of a value."""
        share = (value / self.factor - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def all_at(self, values: Floats) -> Floats:
        """The places of many values; NaN stays NaN."""
        places: Floats = self.start + (values / self.factor - self.low) / (self.high - self.low) * (
            self.end - self.start
        )
        return places

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """(place, text) of at most ``most`` round values within the axis."""
        step = _step(self.high - self.low, most)
        first = math.ceil(self.low / step - _FLAT)
        last = math.floor(self.high / step + _FLAT)
        return [(self._place(number * step), amount(number * step, 6)) for number in range(first, last + 1)]

    def _place(self, scaled: float) -> float:
        return self.start + (scaled - self.low) / (self.high - self.low) * (self.end - self.start)


def scale(values: Iterable[float], start: float, end: float, unit: str = "", *, rounded: bool = True) -> Scale:
    """An axis on which all finite values have a place.

    Args:
        values: what is to be shown; 0 joins them when it is near.
        start: place of the lowest.
        end: place of the highest.
        unit: of the values.
        rounded: the axis ends at round values, as the one for measured values does.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    size = max(abs(value) for value in finite)
    factor, shown_unit = _reading(size, unit)
    low, high = min(finite) / factor, max(finite) / factor
    if high - low <= _FLAT * max(abs(low), abs(high)):
        margin = abs(high) / 2 or 1.0
        low, high = low - margin, high + margin
    if rounded:
        low = 0.0 if 0 < low < high / 2 else low
        high = 0.0 if 0 > high > low / 2 else high
        step = _step(high - low, 5)
        low, high = step * math.floor(low / step + _FLAT), step * math.ceil(high / step - _FLAT)
    return Scale(low, high, start, end, factor, shown_unit)


def _reading(size: float, unit: str) -> tuple[float, str]:
    factor, shown_unit = prefixed(size, unit)
    if size == 0 or _PLAIN_FROM <= size / factor < _PLAIN_UP_TO:
        return factor, shown_unit
    power = thousands(size / factor)
    return factor * 10.0**power, " ".join(filter(None, [times_power_of_ten(power), shown_unit]))


def _step(span: float, most: int) -> float:
    rough = span / most
    base = 10.0 ** math.floor(math.log10(rough))
    return next(step * base for step in _STEPS if step * base >= rough * (1 - _FLAT))
