"""The CSV files: every row, in flat memory, as numbers that round-trip.

NaN is an empty cell, infinity ``inf``. Text that a spreadsheet would take for a formula gets an apostrophe in front
(https://owasp.org/www-community/attacks/CSV_Injection): names come from files of whom one may not know.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from consumer.formats.contract import Floats
from consumer.report.names import Names
from consumer.report.plain import cell_text, one_line
from consumer.report.runs import settings
from consumer.statistics.model import (
    PERCENTILES,
    Aggregate,
    Replicated,
    ScalarRow,
    StatisticRow,
    Trace,
    VectorRow,
)
from messaging.visible import LONGEST


class Numbers(str):
    """Several numbers in one cell, with blanks between; no text of anybody's."""

    __slots__ = ()


Value = str | float | None

_RUN_AND_ITEM = ("run", "module", "name")


def write_scalars(path: Path, rows: Iterable[ScalarRow], runs: Sequence[str]) -> None:
    """One number a row; ``runs`` names each run."""
    head = (*_RUN_AND_ITEM, "value", "unit", "title")
    _write(path, head, ((_of(runs, r.run), r.module, r.name, r.value, r.unit, r.title) for r in rows))


def write_statistics(path: Path, rows: Iterable[StatisticRow], runs: Sequence[str]) -> None:
    """One statistic a row; its percentiles are estimates from the bins, which stand in the last two columns."""
    numbers = ("count", "weights", "mean", "stddev", "min", "max")
    estimates = tuple(f"p{percent}_from_bins" for percent in PERCENTILES)
    head = (*_RUN_AND_ITEM, *numbers, *estimates, "unit", "title", "bin_edges", "bin_values")
    _write(
        path,
        head,
        (
            (
                *(_of(runs, r.run), r.module, r.name, r.count, r.weights, r.mean, r.stddev, r.minimum, r.maximum),
                *(r.percentiles.get(percent) for percent in PERCENTILES),
                *(r.unit, r.title, _joined(edge for edge, _ in r.bins), _joined(value for _, value in r.bins)),
            )
            for r in rows
        ),
    )


def write_vectors(path: Path, folder: Path, rows: Iterable[VectorRow], runs: Sequence[str]) -> list[str]:
    """One vector a row in ``path``, and each one's course in a file of its own in ``folder``.

    Returns:
        Names of the files in ``folder``.
    """
    numbers = ("count", "missing", "mean", "stddev", "min")
    times = ("first_time", "last_time", "last_value", "time_weighted_mean", "held_until")
    percentiles = tuple(f"p{percent}" for percent in PERCENTILES)
    head = (*_RUN_AND_ITEM, *numbers, *percentiles, "max", "rank_error", *times)
    head = (*head, "shares", "timed", "interpolation", "unit", "title", "bin_edges", "bin_counts", "file")
    names, written = Names(), list[str]()

    def lines() -> Iterator[Sequence[Value]]:
        for row in rows:
            run = _of(runs, row.run)
            file = ""
            if row.trace is not None and len(row.trace.held):
                file = names.take(run if len(runs) > 1 else "", row.module, row.name, ending=".csv")
                folder.mkdir(parents=True, exist_ok=True)
                _write_course(folder / file, row, row.trace, run)
                written.append(file)
            yield _vector(row, run, file)

    _write(path, head, lines())
    return written


def write_aggregates(path: Path, rows: Iterable[Aggregate], runs: Sequence[str]) -> None:
    """One quantity over like modules a row."""
    head = (*_RUN_AND_ITEM, "of", "modules", "missing", "mean", "min", "max", "sum", "jain", "unit")
    _write(
        path,
        head,
        (
            (
                *(_of(runs, r.run), r.module, r.name, r.kind, r.number, r.missing),
                *(r.mean, r.minimum, r.maximum, r.total, r.jain, r.unit),
            )
            for r in rows
        ),
    )


def write_replications(path: Path, rows: Iterable[Replicated]) -> None:
    """One quantity over the runs of one configuration a row."""
    head = ("config", "itervars", "module", "name", "runs", "missing", "mean", "half_width_95", "stddev", "min", "max")
    _write(
        path,
        (*head, "unit"),
        (
            (
                *(r.config, settings(r.itervars), r.module, r.name, r.number, r.missing, r.mean, r.half_width),
                *(r.stddev, r.minimum, r.maximum, r.unit),
            )
            for r in rows
        ),
    )


def _vector(row: VectorRow, run: str, file: str) -> Sequence[Value]:
    shares = "; ".join(f"{symbol}={_cell(value)}" for symbol, value in row.shares.items())
    return (
        *(run, row.module, row.name, row.count, row.missing, row.mean, row.stddev, row.minimum),
        *(row.percentiles.get(percent) for percent in PERCENTILES),
        *(row.maximum, row.rank_error, row.first_time, row.last_time, row.last_value, row.time_weighted_mean),
        *(row.held_until, shares, "yes" if row.timed else "no", row.interpolation, row.unit, row.title),
        *(_joined(edge for edge, _ in row.bins), _joined(value for _, value in row.bins), file),
    )


def _write_course(path: Path, row: VectorRow, trace: Trace, run: str) -> None:
    """The value that holds at the beginning of each span, and the smallest and largest sample within it."""
    clock = "simtime" if row.timed else "number"
    facts = {
        "title": row.title or row.name,
        "name": row.name,
        "module": row.module,
        "run": run,
        "unit": row.unit,
        "precision": f"{_cell(trace.span)} {'s' if row.timed else 'observations'}",
        "values": f"held at {clock} (sample and hold; empty before the first); min and max in the span after it",
    }
    with path.open("w", encoding="utf-8", newline="") as file:
        for name, text in facts.items():
            if text:
                file.write(f"# {name}: {one_line(text)}\n")
        file.write(f"{clock},value,min,max\n")
        times = (trace.start + trace.span * np.arange(len(trace.held))).tolist()
        # 15 digits of a time, as the grid's ends are rounded: 0.3 and not 0.30000000000000004
        clocks = (" ".join(["%.15g"] * len(times)) % tuple(times)).split(" ")
        held, low, high = (_numbers(values) for values in (trace.held, trace.low, trace.high))
        file.writelines(f"{line}\n" for line in map(",".join, zip(clocks, held, low, high, strict=True)))


def _write(path: Path, head: Sequence[str], rows: Iterable[Sequence[Value]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(head)
        for row in rows:
            out.writerow([_cell(value) for value in row])


def _cell(value: Value) -> str:
    if type(value) is float:  # the most frequent ones first
        return "" if math.isnan(value) else repr(value).removesuffix(".0")
    if type(value) is str:
        return _short_text(value) if len(value) <= LONGEST else cell_text(value)
    if value is None:
        return ""
    if isinstance(value, str):
        return value if isinstance(value, Numbers) else cell_text(value)
    if math.isnan(value):
        return ""
    return repr(float(value)).removesuffix(".0")


_short_text = lru_cache(maxsize=512)(cell_text)  # names of runs, modules and quantities come again and again


def _numbers(values: Floats) -> list[str]:
    """Many cells at once, as `_cell` writes them: there may be millions, and json has the fastest loop for them."""
    text = json.dumps(values.tolist(), separators=(",", ":"))[1:-1] + ","
    return text.replace(".0,", ",").replace("NaN,", ",").replace("Infinity", "inf")[:-1].split(",")


def _joined(values: Iterable[float]) -> Numbers:
    return Numbers(" ".join(_cell(value) or "nan" for value in values))


def _of(runs: Sequence[str], run: int) -> str:
    return runs[run] if 0 <= run < len(runs) else ""
