"""A vector drawn small while it passes by: equal spans of time that widen when there are too many of them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from consumer.formats.contract import Floats
from consumer.statistics.model import Trace

MOST_SPANS = 1000
_WANTED = 400  # spans, where the end is known beforehand
_FIRST_GUESS = 100  # spans in what is seen first, where it is not
_MOST_DISTANT = 2**52  # spans from time 0: beyond, a double does not tell one from the next
_FUZZ = 1e-9  # of a span: a sample on a border belongs to the span that begins there, whatever the division says


def nice_span(seconds: float) -> float:
    """The next larger of 1, 2, 5, 10, ... in every decade."""
    if not (seconds > 0 and math.isfinite(seconds)):
        return 1.0
    decade = 10.0 ** math.floor(math.log10(seconds))
    return next((step * decade for step in (1, 2, 5) if step * decade >= seconds * (1 - _FUZZ)), 10 * decade)


class Tracer:
    """Takes the samples of one vector in the order of their times.

    Args:
        span: of time that is asked for, in seconds; None: chosen by what comes.
        end: when the run ends, as far as it is known, in seconds.
    """

    __slots__ = ("_base", "_factor", "_held", "_high", "_low", "_span", "_stopped", "_upto", "_value")

    def __init__(self, span: float | None, end: float | None) -> None:
        self._span = span or (nice_span(end / _WANTED) if end and end > 0 else 0.0)
        self._factor = 5 if f"{self._span:e}".startswith("2") else 2
        self._base = 0  # the first span's number, counted from time 0
        self._upto = 0  # spans in use
        self._held = self._low = self._high = np.empty(0)
        self._stopped = False
        self._value = math.nan

    def add(self, times: Floats, values: Floats) -> None:
        """Take samples whose times do not fall; whatever is too far from time 0 ends the drawing."""
        first, last = float(times[0]), float(times[-1])
        if not self._span:
            self._span = nice_span((last - first) / _FIRST_GUESS)
            self._factor = 5 if f"{self._span:e}".startswith("2") else 2
        if self._stopped or not (abs(first) + abs(last)) / self._span < _MOST_DISTANT:
            self.stop()
            return
        if not self._upto:
            self._base = self._number(first)
        while self._number(last) - self._base >= MOST_SPANS:
            self._widen()
        spans = np.floor(times / self._span + _FUZZ).astype(np.int64)
        self._hold(spans, times, values)
        starts = np.concatenate(([0], np.flatnonzero(spans[1:] != spans[:-1]) + 1))
        places = spans[starts] - self._base
        self._low[places] = np.fmin(self._low[places], np.fmin.reduceat(values, starts))
        self._high[places] = np.fmax(self._high[places], np.fmax.reduceat(values, starts))
        self._value = float(values[-1])

    def stop(self) -> None:
        """Draw this vector no more: its time runs backwards, or nowhere."""
        self._stopped = True
        self._held = self._low = self._high = np.empty(0)

    def trace(self) -> Trace | None:
        """What was drawn; None when there is nothing to draw."""
        if self._stopped or not self._upto:
            return None
        used = slice(0, self._upto)
        return Trace(
            self._base * self._span,
            self._span,
            self._held[used].copy(),
            self._low[used].copy(),
            self._high[used].copy(),
        )

    def _number(self, time: float) -> int:
        return math.floor(time / self._span + _FUZZ)

    def _hold(self, spans: NDArray[np.int64], times: Floats, values: Floats) -> None:
        """Note the value at the beginning of each span that begins now, and make room for it."""
        known, last = self._base + self._upto, int(spans[-1])
        if last - self._base >= len(self._held):
            room = min(max(2 * (last - self._base + 1), 32), MOST_SPANS)
            self._held, self._low, self._high = (
                np.concatenate((part, np.full(room - len(part), np.nan)))
                for part in (self._held, self._low, self._high)
            )
        first = max(known - 1, self._base)  # the newest one may get another sample at its very beginning
        begins = np.arange(first, max(last, known - 1) + 1)
        place = np.searchsorted(times, (begins + _FUZZ) * self._span, side="right") - 1
        before = self._value if known == first else self._held[first - self._base]
        held = np.where(place >= 0, values[np.maximum(place, 0)], self._value)
        if place[0] < 0:
            held[0] = before
        self._held[first - self._base : first - self._base + len(held)] = held
        self._upto = max(self._upto, last + 1 - self._base)

    def _widen(self) -> None:
        """Take two or five spans as one, so that the steps 1, 2, 10, 20, 100 follow each other."""
        factor, self._factor = self._factor, 7 - self._factor
        base = self._base // factor
        before = self._base - base * factor
        after = -(before + self._upto) % factor
        used = slice(0, self._upto)
        held, low, high = (
            np.concatenate((np.full(before, np.nan), part[used], np.full(after, np.nan))).reshape(-1, factor)
            for part in (self._held, self._low, self._high)
        )
        self._held, self._low, self._high = held[:, 0].copy(), np.fmin.reduce(low, 1), np.fmax.reduce(high, 1)
        self._base, self._upto = base, len(self._held)
        self._span *= factor
