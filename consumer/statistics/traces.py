"""A vector drawn small while it passes by: equal spans of time that widen when there are too many of them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from consumer.formats.contract import Floats
from consumer.statistics.model import Trace
from consumer.statistics.tables import BASE, FUZZ, HELD, MOST_SPANS, SPAN, STATE, UPTO

MOST_TRACES = 1000  # vectors that are drawn small: some 24 kB for each
_WANTED = 400  # spans, where the end is known beforehand
_FIRST_GUESS = 100  # spans in what is seen first, where it is not
_MOST_DISTANT = 2**52  # spans from time 0: beyond, a double does not tell one from the next
_NEW, _NOT_DRAWN, _STOPPED = -1, -2, -3


def nice_span(seconds: float) -> float:
    """The next larger of 1, 2, 5, 10, ... in every decade."""
    if not (seconds > 0 and math.isfinite(seconds)):
        return 1.0
    decade = 10.0 ** math.floor(math.log10(seconds))
    return next((step * decade for step in (1, 2, 5) if step * decade >= seconds * (1 - FUZZ)), 10 * decade)


class Tracer:
    """Takes the samples of one vector in the order of their times.

    Args:
        span: of time that is asked for, in seconds; None: chosen by what comes.
        end: when the run ends, as far as it is known, in seconds.
        state: and ``room``: rows in tables of many, for compiled loops that draw likewise; the latter gets the address
            of the arrays and the number of spans that they have room for. None: its own.
    """

    __slots__ = ("_arrays", "_factor", "_room", "_state", "_stopped")

    def __init__(
        self,
        span: float | None,
        end: float | None,
        *,
        state: Floats | None = None,
        room: NDArray[np.int64] | None = None,
    ) -> None:
        self._state = np.empty(STATE) if state is None else state
        first = span or (nice_span(end / _WANTED) if end and end > 0 else 0.0)
        self._state[:] = first, 0.0, 0.0, math.nan
        self._factor = _next_factor(first)
        self._arrays = np.empty((3, 0))  # held, low, high
        self._room = np.zeros(2, np.int64) if room is None else room
        self._stopped = False

    def add(self, times: Floats, values: Floats) -> None:
        """Take samples whose times do not fall; whatever is too far from time 0 ends the drawing."""
        if self.reach(float(times[0]), float(times[-1])):
            self._draw(times, values)

    def reach(self, first: float, last: float) -> bool:
        """Make the spans wide enough for samples from ``first`` to ``last``; False when nothing is to be drawn."""
        state = self._state
        if not state[SPAN]:
            state[SPAN] = nice_span((last - first) / _FIRST_GUESS)
            self._factor = _next_factor(float(state[SPAN]))
        if self._stopped or not (abs(first) + abs(last)) / state[SPAN] < _MOST_DISTANT:
            self.stop()
            return False
        if not state[UPTO]:
            state[BASE] = self._number(first)
        while self._number(last) - state[BASE] >= MOST_SPANS:
            self._widen()
        self._make_room(self._number(last) - int(state[BASE]) + 1)
        return True

    def stop(self) -> None:
        """Draw this vector no more: its time runs backwards, or nowhere."""
        self._stopped = True
        self._arrays = np.empty((3, 0))
        self._room[:] = 0

    def trace(self) -> Trace | None:
        """What was drawn; None when there is nothing to draw."""
        span, base, upto = self._state[:HELD].tolist()
        if self._stopped or not upto:
            return None
        held, low, high = self._arrays[:, : int(upto)].copy()
        return Trace(base * span, span, held, low, high)

    def _number(self, time: float) -> int:
        return math.floor(time / float(self._state[SPAN]) + FUZZ)

    def _make_room(self, spans: int) -> None:
        if spans > self._arrays.shape[1]:
            wider = np.empty((3, min(max(2 * spans, 32), MOST_SPANS)))
            used = int(self._state[UPTO])
            wider[:, :used] = self._arrays[:, :used]
            self._arrays = wider
            self._room[:] = wider.ctypes.data, wider.shape[1]

    def _draw(self, times: Floats, values: Floats) -> None:
        span, base, used, before = self._state.tolist()
        upto = int(used)
        all_held, low, high = self._arrays
        numbers = np.floor(times / span + FUZZ)
        places = (numbers - base).astype(np.int64)
        last = int(places[-1])
        # From which span's beginning on each sample holds: its own if it stands at the beginning, else the next.
        holds = places + (times > (numbers + FUZZ) * span)
        known = max(upto - 1, 0)  # the newest one may get another sample at its very beginning
        begins = np.arange(known, max(last + 1, upto))
        place = np.searchsorted(holds, begins, side="right") - 1
        held = np.where(place >= 0, values[np.maximum(place, 0)], before)
        if upto and place[0] < 0:
            held[0] = all_held[known]
        all_held[known : known + len(held)] = held
        low[upto : last + 1] = high[upto : last + 1] = np.nan
        starts = np.concatenate(([0], np.flatnonzero(places[1:] != places[:-1]) + 1))
        touched = places[starts]
        low[touched] = np.fmin(low[touched], np.fmin.reduceat(values, starts))
        high[touched] = np.fmax(high[touched], np.fmax.reduceat(values, starts))
        self._state[UPTO], self._state[HELD] = max(upto, last + 1), values[-1]

    def _widen(self) -> None:
        """Take two or five spans as one, so that the steps 1, 2, 10, 20, 100 follow each other."""
        factor, self._factor = self._factor, 7 - self._factor
        span, first, used = self._state[:HELD].tolist()
        base = first // factor
        before, upto = int(first - base * factor) if used else 0, int(used)
        after = -(before + upto) % factor
        held, low, high = (
            np.concatenate((np.full(before, np.nan), part[:upto], np.full(after, np.nan))).reshape(-1, factor)
            for part in self._arrays
        )
        spans = len(held)
        self._arrays[:, :spans] = held[:, 0], np.fmin.reduce(low, 1), np.fmax.reduce(high, 1)
        self._state[:HELD] = span * factor, base, spans


def _next_factor(span: float) -> int:
    return 5 if f"{span:e}".startswith("2") else 2


class Traces:
    """The traces of the first vectors that have samples with times.

    Args:
        precision: seconds between the points of a trace; None: chosen for each vector.
    """

    def __init__(self, precision: float | None) -> None:
        self._precision = precision
        self._tracers: list[Tracer] = []
        self.rows: NDArray[np.int32] = np.empty(0, np.int32)  # of each vector
        self.state: Floats = np.empty((MOST_TRACES, STATE))
        self.rooms: NDArray[np.int64] = np.zeros((MOST_TRACES, 2), np.int64)

    def grow(self, vectors: int) -> None:
        """Make room for this many vectors."""
        more = vectors - len(self.rows)
        if more > 0:
            self.rows = np.concatenate((self.rows, np.full(more, _NEW, np.int32)))

    def reach(
        self,
        slots: NDArray[np.int64],
        firsts: Floats,
        lasts: Floats,
        backwards: Floats,
        ends: Mapping[int, float | None],
    ) -> None:
        """Make ready for the samples of some vectors, each from its first to its last time.

        Args:
            slots: the vectors, rising.
            firsts: and ``lasts``: their times.
            backwards: how often a vector's time ran backwards so far.
            ends: of the vectors that have times: when the run ends, as far as it is known.
        """
        for slot in slots[self.rows[slots] == _NEW].tolist():
            drawn = slot in ends and len(self._tracers) < MOST_TRACES
            self.rows[slot] = len(self._tracers) if drawn else _NOT_DRAWN
            if drawn:
                row = len(self._tracers)
                tracer = Tracer(self._precision, ends[slot], state=self.state[row], room=self.rooms[row])
                self._tracers.append(tracer)
        rows = self.rows[slots]
        span, base, upto = self.state[np.maximum(rows, 0), :HELD].T
        with np.errstate(all="ignore"):
            fits = (np.floor(lasts / span + FUZZ) - base < self.rooms[np.maximum(rows, 0), 1]) & (upto > 0)
            near = (np.abs(firsts) + np.abs(lasts)) / span < _MOST_DISTANT
        easy = fits & near & ~(backwards > 0)
        for place in np.flatnonzero((rows >= 0) & ~easy).tolist():
            slot, tracer = int(slots[place]), self._tracers[rows[place]]
            if backwards[place]:
                tracer.stop()
            if not tracer.reach(float(firsts[place]), float(lasts[place])):
                self.rows[slot] = _STOPPED

    def draw(self, slot: int, times: Floats, values: Floats) -> None:
        """Draw samples of a vector that `reach` has made ready, as `consumer.compiled.samples.draw` does."""
        row = int(self.rows[slot])
        if row >= 0:
            self._tracers[row].add(times, values)

    def trace(self, slot: int) -> Trace | None:
        """What was drawn of a vector."""
        row = int(self.rows[slot]) if slot < len(self.rows) else _NEW
        return self._tracers[row].trace() if row >= 0 else None
