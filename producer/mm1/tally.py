"""What a simulation keeps of a signal without keeping its samples: moments, time average, histogram."""

from __future__ import annotations

import math

BINS = 64
NAN = float("nan")


class Tally:
    """Count, sum, sum of squares and extremes of samples; all else is derived from them."""

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0.0
        self.sqrsum = 0.0
        self.min = NAN
        self.max = NAN

    def add(self, value: float) -> None:
        """Count one sample."""
        if self.count == 0:
            self.min = self.max = value
        elif value < self.min:
            self.min = value
        elif value > self.max:
            self.max = value
        self.count += 1
        self.sum += value
        self.sqrsum += value * value

    @property
    def mean(self) -> float:
        """Arithmetic mean; nan without samples."""
        return self.sum / self.count if self.count else NAN

    @property
    def stddev(self) -> float:
        """Sample standard deviation (n - 1); nan with fewer than two samples."""
        if self.count < 2:  # noqa: PLR2004
            return NAN
        return math.sqrt(max(0.0, (self.sqrsum - self.sum * self.sum / self.count) / (self.count - 1)))


class TimeAverage:
    """Time-weighted mean of a whole number that holds its value between changes. Times are picoseconds; exact."""

    def __init__(self) -> None:
        self.value = 0
        self.max = 0
        self._since = 0
        self._area = 0

    def change(self, now: int, value: int) -> None:
        """The signal takes ``value`` from ``now`` on."""
        self._area += self.value * (now - self._since)
        self._since = now
        self.value = value
        self.max = max(self.max, value)

    def mean(self, now: int) -> float:
        """Mean from time 0 to ``now``, the last value held until then; nan at time 0."""
        return (self._area + self.value * (now - self._since)) / now if now else NAN


class Histogram:
    """Counts in 64 equal bins from 0 on; neighbours are merged (the width doubles) when a sample lies beyond the last.

    Args:
        width: of a bin at the beginning.
    """

    def __init__(self, width: float) -> None:
        self.width = width
        self.counts = [0] * BINS

    def add(self, value: float) -> None:
        """Count a sample, which must not be negative."""
        while value >= self.width * BINS:
            self.counts = [self.counts[i] + self.counts[i + 1] for i in range(0, BINS, 2)] + [0] * (BINS // 2)
            self.width *= 2
        self.counts[int(value / self.width)] += 1

    def bins(self) -> list[tuple[float, int]]:
        """Lower edge and count of each bin, the underflow first and the overflow last (both are always empty)."""
        inner = [(i * self.width, count) for i, count in enumerate(self.counts)]
        return [(-math.inf, 0), *inner, (BINS * self.width, 0)]
