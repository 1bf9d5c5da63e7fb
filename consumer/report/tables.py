"""The tables of the page: which columns, in which digits, and how many rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeVar

from consumer.report.runs import settings
from consumer.report.telling import Named, most_telling
from consumer.statistics.model import Aggregate, Replicated, ScalarRow, StatisticRow, Summary, VectorRow
from messaging.digits import NO_VALUE, amount, share

MOST_ROWS = 300  # in one table of the page: the files hold all
MOST_DECIMALS = 6  # that others are aligned to


class _Row(Named, Protocol):
    @property
    def unit(self) -> str: ...


T = TypeVar("T", bound=_Row)
OfRun = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Args:
        text: what it says.
        kind: class of ``report.css``: ``number``, ``text``, ``run`` or ``none`` (no value).
        pad: class of ``report.css`` that fills the decimals that the longest number of the column has more: ``p2`` for
            two digits, ``i2`` with the point before them.
    """

    text: str
    kind: str
    pad: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row; its head is a name with its unit and, smaller, where in the model.

    A narrow screen has no room for a column of runs: there the head tells the run as well.
    """

    name: str
    unit: str
    where: str
    cells: tuple[Cell, ...]

    @property
    def run(self) -> str:
        """Which run's, where there are several."""
        return next((cell.text for cell in self.cells if cell.kind == "run"), "")


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its words.

    Args:
        caption: what it shows.
        note: what to know when reading it; may be empty.
        head: of the first column; ``heads``: label and kind of the others.
        rows: at most `MOST_ROWS`; ``found``: how many there are in all.
        file: where all of them are.
    """

    caption: str
    note: str
    head: str
    heads: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    found: int
    file: str

    @property
    def left(self) -> int:
        """How many rows are only in the file."""
        return max(0, self.found - len(self.rows))


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """What a column shows of a row: a number, or a text; ``run``: the text is which run it is of."""

    label: str
    number: Callable[[T], float | None] | None = None
    text: Callable[[T], str] | None = None
    run: bool = False

    @property
    def kind(self) -> str:
        """Class of ``report.css``."""
        return "number" if self.number else "run" if self.run else "text"


def aggregates(summary: Summary, of_run: OfRun) -> Table:
    """Over like modules: the table that people read."""
    several = [row for row in summary.aggregates if row.number + row.missing > 1]
    rows = most_telling(several, lambda row: not row.number or not (row.minimum or row.maximum))
    columns: list[Column[Aggregate]] = [
        *_run(of_run, lambda row: row.run),
        Column("Mean", number=lambda row: row.mean),
        Column("Smallest", number=lambda row: row.minimum),
        Column("Largest", number=lambda row: row.maximum),
        Column("Sum", number=lambda row: row.total),
        Column("Jain index", number=lambda row: row.jain),
        Column("Modules", number=lambda row: row.number),
    ]
    if any(row.missing for row in rows):
        columns.append(Column("Without value", number=lambda row: row.missing))
    if any(row.kind != "scalar" for row in rows):
        columns.append(Column("Of", text=lambda row: row.kind))
    return _table(
        "Like modules taken together",
        "Jain's index is 1 where all modules have the same share, and 1/n where one has everything.",
        columns,
        rows,
        len(rows),
        "aggregates.csv",
    )


def scalars(summary: Summary, of_run: OfRun) -> Table:
    """Single numbers."""
    happened = {row.name for row in summary.scalars if row.value and not math.isnan(row.value)}
    rows = most_telling(summary.scalars, lambda row: row.name not in happened or math.isnan(row.value))
    columns: list[Column[ScalarRow]] = [
        *_run(of_run, lambda row: row.run),
        Column("Value", number=lambda row: row.value),
    ]
    return _table("Single numbers", "", columns, rows, summary.scalars_found, "scalars.csv")


def statistics(summary: Summary, of_run: OfRun) -> Table:
    """What the simulator computed, with percentiles from the bins."""
    estimated = any(row.percentiles for row in summary.statistics)
    columns: list[Column[StatisticRow]] = [
        *_run(of_run, lambda row: row.run),
        Column("Count", number=lambda row: row.count),
        Column("Mean", number=lambda row: row.mean),
        Column("Std. dev.", number=lambda row: row.stddev),
        Column("Smallest", number=lambda row: row.minimum),
        *(_estimated(percent) for percent in (5, 50, 95, 99) if estimated),
        Column("Largest", number=lambda row: row.maximum),
    ]
    if any(row.weights is not None for row in summary.statistics):
        columns.append(Column("Sum of weights", number=lambda row: row.weights))
    note = "≈ marks percentiles estimated from bins: nobody knows more than the edges of a bin." if estimated else ""
    return _table(
        "What the simulator computed itself",
        note,
        columns,
        most_telling(summary.statistics, lambda row: not row.count > 0),
        summary.statistics_found,
        "statistics.csv",
    )


def vectors(summary: Summary, of_run: OfRun) -> Table:
    """Samples over time."""
    rows = most_telling([row for row in summary.vectors if not row.enumeration], lambda row: row.count == 0)
    columns: list[Column[VectorRow]] = [
        *_run(of_run, lambda row: row.run),
        Column("Samples", number=lambda row: row.count),
        Column("Mean", number=lambda row: row.mean),
    ]
    if any(row.time_weighted_mean is not None for row in rows):
        columns.append(Column("Mean over time", number=lambda row: row.time_weighted_mean))
        columns.append(Column("held until, s", number=lambda row: row.held_until))
    columns += [
        Column("Std. dev.", number=lambda row: row.stddev),
        Column("Smallest", number=lambda row: row.minimum),
        *(_percentile(percent) for percent in (5, 50, 95, 99)),
        Column("Largest", number=lambda row: row.maximum),
        Column("Last", number=lambda row: row.last_value),
        Column("First at, s", number=lambda row: row.first_time if row.timed else None),
        Column("Last at, s", number=lambda row: row.last_time if row.timed else None),
    ]
    if any(row.missing for row in rows):
        columns.append(Column("Without value", number=lambda row: row.missing))
    notes = ["Mean, standard deviation and percentiles are per sample, not per time."]
    if any(row.rank_error > 0 for row in rows):
        columns.append(Column("Percentiles' rank", text=lambda row: _rank(row.rank_error)))
        notes.append("Percentiles are exact but where their rank has an error: then they are that near to it.")
    found = max(summary.vectors_found - (len(summary.vectors) - len(rows)), len(rows))
    return _table("Samples over time", " ".join(notes), columns, rows, found, "vectors.csv")


def enumerations(summary: Summary, of_run: OfRun) -> Table:
    """Shares of time by symbol."""
    rows = [row for row in summary.vectors if row.enumeration]
    columns: list[Column[VectorRow]] = [
        *_run(of_run, lambda row: row.run),
        Column("Samples", number=lambda row: row.count),
        Column("Share of the time", text=_shares),
    ]
    empty = any(not row.shares for row in rows)
    note = "A state has no share where no time passed between the first sample and the end of the run." if empty else ""
    return _table("How long each state lasted", note, columns, rows, len(rows), "vectors.csv")


def replications(summary: Summary) -> Table:
    """Over the runs of one configuration."""
    columns: list[Column[Replicated]] = []
    if len({row.config for row in summary.replications}) > 1:
        columns.append(Column("Configuration", text=lambda row: row.config))
    if any(row.itervars for row in summary.replications):
        columns.append(Column("Iteration variables", text=lambda row: settings(row.itervars)))
    columns += [
        Column("Runs", number=lambda row: row.number),
        Column("Mean", number=lambda row: row.mean),
        Column("± 95 %", number=lambda row: row.half_width),
        Column("± of mean", text=_relative),
        Column("Std. dev.", number=lambda row: row.stddev),
        Column("Smallest", number=lambda row: row.minimum),
        Column("Largest", number=lambda row: row.maximum),
    ]
    if any(row.missing for row in summary.replications):
        columns.append(Column("Runs without value", number=lambda row: row.missing))
    return _table(
        "Mean over the runs, with 95 % confidence interval",
        "Student's t with one degree of freedom less than there are runs; one run has no interval.",
        columns,
        most_telling(summary.replications, lambda row: row.number == 0),
        len(summary.replications),
        "replications.csv",
    )


def _table(caption: str, note: str, columns: Sequence[Column[T]], rows: Iterable[T], found: int, file: str) -> Table:
    shown = list(islice(rows, MOST_ROWS))
    by_column = [_cells(column, shown) for column in columns]
    lines = zip(*by_column, strict=True)
    return Table(
        caption=caption,
        note=note,
        head="Quantity",
        heads=tuple((column.label, column.kind) for column in columns),
        rows=tuple(Row(row.name, row.unit, row.module, cells) for row, cells in zip(shown, lines, strict=True)),
        found=max(found, len(shown)),
        file=file,
    )


def _cells(column: Column[T], rows: Sequence[T]) -> list[Cell]:
    if column.number is None:
        assert column.text is not None
        return [Cell(column.text(row), column.kind) for row in rows]
    values = [column.number(row) for row in rows]
    texts = ["" if value is None else amount(value) for value in values]
    decimals = [_decimals(text) for text in texts]
    longest = min(max(decimals, default=0), MOST_DECIMALS)
    return [
        Cell(text, "none" if text == NO_VALUE else "number", _pad(longest - places, whole=not places))
        for text, places in zip(texts, decimals, strict=True)
    ]


def _pad(places: int, *, whole: bool) -> str:
    return f"{'i' if whole else 'p'}{places}" if places > 0 else ""


def _decimals(text: str) -> int:
    """After the point; a power of ten stands at the edge of its column and aligns with nothing."""
    if "10" in text and not text[-1:].isascii():
        return MOST_DECIMALS
    return len(text.partition(".")[2]) if text and text != NO_VALUE else 0


def _run(of_run: OfRun, place: Callable[[T], int]) -> list[Column[T]]:
    return [Column("Run", text=lambda row: of_run(place(row)), run=True)] if of_run(0) else []


def _estimated(percent: int) -> Column[StatisticRow]:
    return Column(f"≈ {_name(percent)}", number=lambda row: row.percentiles.get(percent))


def _percentile(percent: int) -> Column[VectorRow]:
    return Column(_name(percent), number=lambda row: row.percentiles.get(percent))


def _name(percent: int) -> str:
    return "Median" if percent == 50 else f"{percent} %"  # noqa: PLR2004


def _rank(error: float) -> str:
    return f"± {share(error)}" if error > 0 else "exact"


def _shares(row: VectorRow) -> str:
    ordered = sorted(row.shares.items(), key=lambda entry: (-entry[1], entry[0]))
    return ", ".join(f"{symbol} {share(value)}" for symbol, value in ordered)


def _relative(row: Replicated) -> str:
    if row.half_width is None or not row.mean or not math.isfinite(row.half_width / row.mean):
        return ""
    return share(abs(row.half_width / row.mean))
