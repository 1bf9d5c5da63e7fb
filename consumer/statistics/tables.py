"""What is known of many vectors, one row for each, in arrays that numpy and compiled loops share."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from consumer.formats.contract import Floats

# The table of what is known for good.
COUNT, ABSENT, MEAN, SPREAD, LOW, HIGH = range(6)
FIRST, LAST, VALUE, LASTING, OVER, BACKWARDS = range(6, 12)
WIDTH = 12
FRESH = (0.0, 0.0, 0.0, 0.0, math.inf, -math.inf, math.nan, math.nan, math.nan, 0.0, 0.0, 0.0)

# The part of it that the present batch of samples adds. SHIFT is one of the batch's own values, so that sums of
# (value - SHIFT) and of its square lose no more than the number of samples times the precision of a double.
SEEN, BEGIN, KNOWN, MISSING, SHIFT, SUM, SQUARES, AREA, TIME, LEFT = range(10)
PART = 10

# The state of a trace; BASE is the number of its first span, counted from time 0.
SPAN, BASE, UPTO, HELD = range(4)
STATE = 4
MOST_SPANS = 1000
FUZZ = 1e-9  # of a span: a sample on a border belongs to the span that begins there, whatever the division says

# The first different values of a vector are counted in a table of their own: in many vectors there are no others.
FREQUENT = 64
CELLS = 128  # of an index that tells the place of a value among them
MOST_COUNTED = 16_384  # vectors that have such a table
NOT_COUNTED = -1


class Tables:
    """All arrays, with room for more and more vectors."""

    def __init__(self) -> None:
        self.room = 0
        self.known: Floats = np.empty((0, WIDTH))
        self.part: Floats = np.empty((0, PART))
        self.used: NDArray[np.int64] = np.empty(0, np.int64)
        self.left: NDArray[np.int64] = np.empty(0, np.int64)  # values that were not among the frequent ones
        self.indexed: NDArray[np.uint8] = np.empty(0, np.uint8)
        self.index: NDArray[np.uint8] = np.empty((0, CELLS), np.uint8)
        self.frequent: Floats = np.empty((0, FREQUENT))
        self.counts: NDArray[np.int64] = np.empty((0, FREQUENT), np.int64)

    def grow(self, vectors: int) -> None:
        """Make room for this many vectors."""
        if vectors <= self.room:
            return
        more = max(vectors, 2 * self.room) - self.room
        counted = min(self.room + more, MOST_COUNTED) - len(self.frequent)
        self.known = np.concatenate((self.known, np.tile(np.array(FRESH), (more, 1))))
        self.part = np.concatenate((self.part, np.zeros((more, PART))))
        fresh = np.where(np.arange(self.room, self.room + more) < MOST_COUNTED, 0, NOT_COUNTED)
        self.used = np.concatenate((self.used, fresh))
        self.left = np.concatenate((self.left, np.zeros(more, np.int64)))
        self.indexed = np.concatenate((self.indexed, np.zeros(more, np.uint8)))
        self.index = np.concatenate((self.index, np.empty((counted, CELLS), np.uint8)))
        self.frequent = np.concatenate((self.frequent, np.empty((counted, FREQUENT))))
        self.counts = np.concatenate((self.counts, np.empty((counted, FREQUENT), np.int64)))
        self.room += more

    def merge(self, present: NDArray[np.int64]) -> None:
        """Take the parts of these vectors into what is known."""
        row, part = self.known[present], self.part[present]
        with np.errstate(invalid="ignore", over="ignore"):  # infinite values are legal: what follows from them is NaN
            count = part[:, KNOWN]
            some = np.maximum(count, 1.0)
            mean = part[:, SHIFT] + part[:, SUM] / some
            spread = np.maximum(part[:, SQUARES] - part[:, SUM] * part[:, SUM] / some, 0.0)
            both = np.maximum(row[:, COUNT] + count, 1.0)
            apart = np.where((row[:, COUNT] > 0) & (count > 0), mean - row[:, MEAN], 0.0)
            fresh = np.where(row[:, COUNT] > 0, row[:, MEAN] + apart * count / both, mean)
            row[:, MEAN] = np.where(count > 0, fresh, row[:, MEAN])
            row[:, SPREAD] += spread + apart * apart * row[:, COUNT] * count / both
            row[:, COUNT] += count
            row[:, ABSENT] += part[:, MISSING]
            row[:, LASTING] += part[:, AREA]
            row[:, OVER] += part[:, TIME]
        self.known[present] = row
        self.left[present] += part[:, LEFT].astype(np.int64)
        self.part[present] = 0.0
