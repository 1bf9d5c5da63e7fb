"""Rows that are too many for memory, on the disk until they are written down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from consumer.statistics.model import ScalarRow, StatisticRow

SCALARS_IN_A_LINE = 256  # one at a time, most of the time would be the encoder's beginning


class SpooledRows:
    """Takes rows as `consumer.statistics.collector.Rows`, and gives them back in their order.

    Args:
        folder: a folder for two files, which are removed in the end.
    """

    def __init__(self, folder: Path) -> None:
        self._scalars = _Lines(folder / "scalars.rows", SCALARS_IN_A_LINE)
        self._statistics = _Lines(folder / "statistics.rows", 1)  # each with its bins, which may be many

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scalars.remove()
        self._statistics.remove()

    def scalar(self, row: ScalarRow) -> None:
        """Keep a row."""
        self._scalars.add((row.run, row.module, row.name, row.value, row.unit, row.title))

    def statistic(self, row: StatisticRow) -> None:
        """Keep a row."""
        numbers = (row.count, row.mean, row.stddev, row.minimum, row.maximum, row.weights)
        texts = (row.unit, row.title)
        self._statistics.add((row.run, row.module, row.name, *numbers, [*row.percentiles.items()], row.bins, *texts))

    def scalars(self) -> Iterator[ScalarRow]:
        """All that were kept."""
        return (ScalarRow(*cells) for cells in self._scalars.all())

    def statistics(self) -> Iterator[StatisticRow]:
        """All that were kept."""
        for cells in self._statistics.all():
            percentiles, bins, unit, title = cells[9:]
            edges = tuple((float(edge), float(value)) for edge, value in bins)
            run, module, name, count, mean, stddev, minimum, maximum, weights = cells[:9]
            estimates = dict(percentiles)
            yield StatisticRow(
                run, module, name, count, mean, stddev, minimum, maximum, weights, estimates, edges, unit, title
            )


class _Lines:
    """A file of JSON lines with some rows each; NaN and the infinities as Python's own JSON writes them."""

    def __init__(self, path: Path, rows: int) -> None:
        self._path = path
        self._stream = path.open("w+", encoding="utf-8")
        self._most = rows
        self._rows: list[tuple[Any, ...]] = []  # of the line that is not written yet

    def add(self, cells: tuple[Any, ...]) -> None:
        self._rows.append(cells)
        if len(self._rows) >= self._most:
            self._write()

    def all(self) -> Iterator[list[Any]]:
        self._write()
        self._stream.seek(0)
        return chain.from_iterable(map(json.loads, self._stream))

    def _write(self) -> None:
        if self._rows:
            self._stream.write(json.dumps(self._rows) + "\n")
            self._rows.clear()

    def remove(self) -> None:
        self._stream.close()
        self._path.unlink(missing_ok=True)
