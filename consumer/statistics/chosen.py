"""Which rows of very many a summary keeps: the most telling ones, by a rule that can be said in a sentence.

Those that their format calls a headline come first, then rows with a value other than 0; among them each quantity's
first module before any second like one (`host[0]` and `host[1]` are alike); then rows with a unit or a title, then
those of modules further up in the model, then the order of the file. As long as there is room, all are kept.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from functools import lru_cache
from typing import Generic, TypeVar

from consumer.statistics.model import ScalarRow, StatisticRow

Row = TypeVar("Row", ScalarRow, StatisticRow)
MOST_QUANTITIES = 50_000  # whose rows are counted; a quantity beyond that comes last
_INDEX = re.compile(r"\d+")
_LAST = 2**31


@lru_cache(maxsize=8192)  # a module has many quantities, in many runs
def _place(module: str) -> tuple[str, int]:
    """What all modules like it are called, and how far down in the model they are."""
    return _INDEX.sub("", module), module.count(".")


class Chosen(Generic[Row]):
    """Keeps the most telling rows of those that are added.

    Args:
        most: how many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[bool, int, int, int, int, int, Row]] = []  # the least telling one first
        self._added = 0
        self._seen: Counter[tuple[bool, int, str, str]] = Counter()

    def add(self, row: Row, value: float) -> None:
        """A row, and the number in it that counts."""
        silent = value == 0 or math.isnan(value)
        alike, depth = _place(row.module)
        quantity = silent, row.run, alike, row.name
        place = _LAST
        if quantity in self._seen or len(self._seen) < MOST_QUANTITIES:
            place = self._seen[quantity]
            self._seen[quantity] += 1
        named = bool(row.unit or row.title)
        # The number of the row makes every key another one, so that rows are never compared.
        first = bool(getattr(row, "headline", False))  # a statistic has none
        key = (first, -silent, -place, -(not named), -depth, -self._added, row)
        self._added += 1
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, key)
        elif key > self._heap[0]:
            heapq.heapreplace(self._heap, key)

    def rows(self) -> tuple[Row, ...]:
        """Those that were kept, in the order in which they came."""
        return tuple(key[-1] for key in sorted(self._heap, key=lambda key: -key[5]))
