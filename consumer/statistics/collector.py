"""Takes what the formats read, file by file, and has the numbers of the summary at the end."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from sys import intern
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from consumer.formats.contract import Floats, Numbers, Run, Statistic
from consumer.statistics.binned import statistic_row
from consumer.statistics.chosen import Chosen
from consumer.statistics.groups import MOST_QUANTITIES, LikeModules, Replications, equal_seeds
from consumer.statistics.model import (
    PERCENTILES,
    FileRead,
    ScalarRow,
    StatisticRow,
    Summary,
    VectorRow,
    Warned,
)
from consumer.statistics.vectors import Vectors

MOST_ROWS = 2000  # of a kind that a page shows
MOST_WARNINGS = 200
MOST_MISSING = 10_000  # names of numbers without a value that are counted
NAMED = 10  # of them that a summary tells
SAME_WARNINGS = 3  # of one text and one file that are told one by one
OTHERS = "(others)"  # values of an enumeration, where there are too many
_BINS = 40
# Where no interpolation mode is recorded, a name like these is a state that holds until the next sample.
_STATE = re.compile(r"queue.?(len|size)|qlen|buffer|occupan|backlog|busy|state|in.?use|utili[sz]ation", re.IGNORECASE)


class Rows(Protocol):
    """Takes every row as soon as it is known, for the files that hold all of them."""

    def scalar(self, row: ScalarRow) -> None:
        """One number."""

    def statistic(self, row: StatisticRow) -> None:
        """One statistic."""


class Collector:
    """The `consumer.formats.contract.Sink` of one folder of results.

    Args:
        rows: takes scalars and statistics as they come.
        precision: seconds between the points of a vector's drawing; None: chosen for each.
        skip: seconds at the beginning of every run whose samples count for nothing.
        at: called with the name of the file and how many of its bytes have been read; raises to stop the work.
    """

    def __init__(
        self, rows: Rows, *, precision: float | None = None, skip: float = 0.0, at: Callable[[str, int], None]
    ) -> None:
        self._rows = rows
        self._skip = skip
        self._at = at
        self._runs: list[Run] = []
        self._configs: dict[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]] = {}
        self._places: dict[str, int] = {}  # a run's id to its place
        self._run = -1
        self._files: list[FileRead] = []
        self._last_runs: list[int] = []  # of the files: the last run that each told of
        self._cut: set[int] = set()  # runs whose file ended in the middle of something
        self._file = FileRead("", 0, "")
        self._vectors = Vectors(precision)
        self._declared: list[tuple[int, str, str, Mapping[str, str], bool]] = []
        self._percentiles: dict[int, list[float]] = {}  # of the vectors, once all is read
        self._alike = LikeModules()
        self._replications = Replications()
        self._told: set[tuple[int, str, str, str]] = set()  # run, kind, module, name
        self._copied: set[int] = set()  # places of vectors that their run had told of before
        self._copies, self._first_copy = 0, ""  # numbers of any kind; the file with the first of them
        self._scalars: Chosen[ScalarRow] = Chosen(MOST_ROWS)
        self._statistics: Chosen[StatisticRow] = Chosen(MOST_ROWS)
        self._found = {"scalars": 0, "statistics": 0, "missing": 0, "warnings": 0}
        self._missing: Counter[str] = Counter()  # numbers without a value, by name
        self._warnings: list[Warned] = []
        self._said: dict[str, int] = {}  # texts of the present file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._vectors.close()

    def note(self, text: str) -> None:
        """Something about the results that no file of them tells."""
        self._file = FileRead("", 0, "")
        self._note(text, None)

    # One file after the other

    def begin_file(self, name: str, size: int, form: str, reason: str = "") -> None:
        """What comes now stands in this file; ``form`` is its format's name, empty when none reads it for a reason."""
        self._file = FileRead(name, size, form, reason=reason)
        self._run = -1
        self._said = {}

    def end_file(self) -> None:
        """The file has been read."""
        for text, times in self._said.items():
            if times > SAME_WARNINGS:
                self._note(f"{times - SAME_WARNINGS} more times: {text}", None)
        self._files.append(self._file)
        self._last_runs.append(self._run)

    # Sink

    def run(self, run: Run) -> None:
        key = run.id or f"\n{self._file.name}"
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self._runs)
            own = {} if run.id else {"file": self._file.name}
            self._runs.append(self._shared(replace(run, attributes={**own, **run.attributes})))
        else:
            self._runs[place] = self._shared(_joined(self._runs[place], run))
        self._run = place

    def _shared(self, run: Run) -> Run:
        """The run with texts that it has in common with others held once: there may be 100,000 replications."""
        attributes, itervars = (
            {intern(name): intern(text) for name, text in of.items()} for of in (run.attributes, run.itervars)
        )
        config = tuple(run.config)
        return replace(run, attributes=attributes, itervars=itervars, config=self._configs.setdefault(config, config))

    def scalar(self, module: str, name: str, value: float, attributes: Mapping[str, str]) -> None:
        unit = attributes.get("unit", "")
        headline = bool(attributes.get("headline"))
        row = ScalarRow(self._run, module, name, value, unit, attributes.get("title", ""), headline)
        self._found["scalars"] += 1
        if math.isnan(value):
            self._found["missing"] += 1
            self._without(name, 1)
        self._scalars.add(row, value)
        if self._replications.add(self._run, module, name, value, unit):
            self._alike.add(self._run, module, name, "scalar", value, unit)
        else:
            self._told_again()
        self._rows.scalar(row)

    def parameter(self, module: str, name: str, text: str) -> None:
        """Parameters stand in the raw files; a summary of a large network would be full of them."""

    def statistic(self, statistic: Statistic) -> None:
        row = statistic_row(self._run, statistic)
        if _is_enumeration(statistic.attributes):
            row = replace(row, mean=math.nan, stddev=math.nan, percentiles={})
        elif self._is_first("statistic", row.module, row.name):
            self._alike.add(self._run, row.module, row.name, "statistic mean", row.mean, row.unit)
        self._found["statistics"] += 1
        self._statistics.add(row, row.count)
        self._rows.statistic(row)

    def vector(self, module: str, name: str, attributes: Mapping[str, str], *, timed: bool = True) -> int:
        if not self._is_first("vector", module, name):
            self._copied.add(len(self._declared))
        self._declared.append((self._run, module, name, attributes, timed))
        symbols = timed and _is_enumeration(attributes)
        return self._vectors.declare(timed=timed, symbols=symbols, end=self._runs[self._run].end)

    def samples(self, vectors: Numbers, times: Floats, values: Floats) -> None:
        if self._skip:
            timed = np.array([one[4] for one in self._declared])[vectors]
            late = (times >= self._skip) | ~timed
            vectors, times, values = vectors[late], times[late], values[late]
        if len(vectors):
            self._vectors.add(vectors, times, values)

    def _is_first(self, kind: str, module: str, name: str) -> bool:
        """Whether the run has not told of this before, as far as that is known."""
        key = (self._run, kind, module, name)
        if key in self._told:
            self._told_again()
            return False
        if len(self._told) < MOST_QUANTITIES:
            self._told.add(key)
        return True

    def _told_again(self) -> None:
        self._copies += 1
        self._first_copy = self._first_copy or self._file.name

    def warning(self, text: str, line: int | None = None) -> None:
        times = self._said[text] = self._said.get(text, 0) + 1
        if times <= SAME_WARNINGS:
            self._note(text, line)

    def incomplete(self, text: str, line: int | None = None) -> None:
        self._file = replace(self._file, incomplete=True)
        self._cut.add(self._run)
        self._note(text, line)

    def at(self, offset: int) -> None:
        self._at(self._file.name, offset)

    def _note(self, text: str, line: int | None) -> None:
        self._found["warnings"] += 1
        if len(self._warnings) < MOST_WARNINGS:
            self._warnings.append(Warned(self._file.name, line, text))

    # The end

    def summary(self) -> Summary:
        """All numbers; to be asked for once, after the last file."""
        self._vectors.settle()
        self._file = FileRead("", 0, "")
        rows, empty, missing = [], 0, 0
        if self._skip:
            self._note(
                f"The first {self._skip:g} s of every run were left out of its vectors, as was asked for; scalars and "
                "statistics are as the simulator wrote them.",
                None,
            )
        for place, row in enumerate(self.vector_rows()):
            if row.timed and self._vectors.moments(place).backwards:
                self._note(f"Time runs backwards in {row.module} {row.name}: what is weighted by time is wrong.", None)
            if row.timed and not row.enumeration and place not in self._copied:
                self._alike.add(row.run, row.module, row.name, "vector mean", row.mean, row.unit)
            if row.count or row.missing:
                rows.append(row)
                missing += row.missing
                self._without(row.name, row.missing)
            else:
                empty += 1
        for config, seed in equal_seeds(self._runs):
            self._note(f"Runs of {config} have the same seed set {seed}: they are not independent.", None)
        if self._copies:
            self._note(
                f"Numbers that files of the same run tell more than once: {self._copies}, the first of them in "
                f"{self._first_copy} (a copy?). Where modules or runs are taken together, the first one counts.",
                None,
            )
        if self._replications.overflowed:
            self._note("There are too many scalars to compare all of them over the replications.", None)
        rows.sort(key=lambda row: (not row.stddev > 0, -row.count))
        return Summary(
            runs=tuple(self._runs),
            files=tuple(self._files),
            scalars=self._scalars.rows(),
            statistics=self._statistics.rows(),
            vectors=tuple(rows[:MOST_ROWS]),
            aggregates=tuple(self._alike.aggregates()),
            replications=tuple(self._replications.replicated(self._runs)),
            warnings=tuple(self._warnings),
            scalars_found=self._found["scalars"],
            statistics_found=self._found["statistics"],
            vectors_found=len(self._declared),
            empty_vectors=empty,
            missing_values=self._found["missing"] + missing,
            warnings_found=self._found["warnings"],
            missing_names=tuple(sorted(self._missing.items(), key=lambda entry: (-entry[1], entry[0])))[:NAMED],
        )

    def _without(self, name: str, times: int) -> None:
        if times and (name in self._missing or len(self._missing) < MOST_MISSING):
            self._missing[name] += times

    def vector_rows(self) -> Iterator[VectorRow]:
        """Every vector that was declared, in that order."""
        ends = self._ends()
        for slot, (run, module, name, attributes, timed) in enumerate(self._declared):
            yield self._vector_row(slot, run, module, name, attributes, ends.get(run, math.nan), timed=timed)

    def _vector_row(
        self, slot: int, run: int, module: str, name: str, attributes: Mapping[str, str], end: float, *, timed: bool
    ) -> VectorRow:
        moments, quantiles = self._vectors.moments(slot), self._vectors.quantiles(slot)
        symbols = _is_enumeration(attributes)
        interpolation = attributes.get("interpolationmode", "")
        holds = timed and (interpolation == "sample-hold" or (not interpolation and bool(_STATE.search(name))))
        values = self._percentiles.get(slot)
        if values is None:  # every row is asked for twice, for the page and for the tables
            values = quantiles.percentiles(PERCENTILES) if moments.count and not symbols else []
            self._percentiles[slot] = values
        return VectorRow(
            run=run,
            module=module,
            name=name,
            count=moments.count,
            missing=moments.missing,
            mean=math.nan if symbols else moments.mean,
            stddev=math.nan if symbols else moments.stddev,
            minimum=moments.minimum,
            maximum=moments.maximum,
            percentiles=dict(zip(PERCENTILES, values, strict=bool(values))),
            rank_error=quantiles.rank_error,
            first_time=moments.first_time if timed else math.nan,
            last_time=moments.last_time if timed else math.nan,
            last_value=moments.last_value,
            time_weighted_mean=moments.time_weighted_mean(end) if holds and moments.count and not symbols else None,
            held_until=end if holds and moments.count else None,
            enumeration=symbols,
            shares=self._shares(slot, attributes.get("enum", ""), end) if symbols and timed else {},
            trace=self._vectors.trace(slot),
            bins=() if timed or symbols else tuple(quantiles.histogram(_BINS)),
            timed=timed,
            interpolation=interpolation,
            unit=attributes.get("unit", ""),
            title=attributes.get("title", ""),
            headline=bool(attributes.get("headline")),
        )

    def _shares(self, slot: int, enum: str, end: float) -> Mapping[str, float]:
        """Symbol to its share of the time, the last one until the run's end."""
        moments = self._vectors.moments(slot)
        held = dict(self._vectors.symbol_times(slot))
        rest = end - moments.last_time
        if moments.count and rest > 0 and math.isfinite(rest) and not math.isnan(moments.last_value):
            held[moments.last_value] = held.get(moments.last_value, 0.0) + rest
        others = self._vectors.other_symbols_time(slot)
        whole = math.fsum(held.values()) + others
        if not whole > 0:
            return {}
        names = {}
        for pair in enum.split(","):
            name, _, value = pair.partition("=")
            names[value.strip()] = name.strip()
        shares = {names.get(f"{value:g}", f"{value:g}"): time / whole for value, time in sorted(held.items())}
        return shares | ({OTHERS: others / whole} if others else {})

    def _ends(self) -> Mapping[int, float]:
        """When each run ended: as told; else the limit, if nothing came after it; else the last sample there is."""
        last: dict[int, float] = {}
        for slot, (place, _, _, _, timed) in enumerate(self._declared):
            time = self._vectors.moments(slot).last_time
            if timed and not math.isnan(time):
                last[place] = max(last.get(place, time), time)
        unfinished = self._cut | self._cut_by_index()
        ends = {}
        for place, run in enumerate(self._runs):
            end, seen = run.end, last.get(place, math.nan)
            if end is None or end < seen or (run.end_is_bound and place in unfinished):
                end = seen
            ends[place] = end
        return ends

    def _cut_by_index(self) -> set[int]:
        """Runs of vector files whose index was never closed: it has their name, and tells of no run itself."""
        both = list(zip(self._files, self._last_runs, strict=True))
        cut = {_stem(file.name) for file, run in both if file.incomplete and run < 0}
        return {run for file, run in both if cut and run >= 0 and _stem(file.name) in cut}


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _joined(known: Run, more: Run) -> Run:
    """The same run as two files tell of it."""
    end, bound = known.end, known.end_is_bound
    if more.end is not None and (end is None or (bound and not more.end_is_bound)):
        end, bound = more.end, more.end_is_bound
    return Run(
        id=known.id,
        simulator=max(known.simulator, more.simulator, key=lambda name: ("." in name, len(name))),  # with its version
        attributes={**more.attributes, **known.attributes},
        itervars={**more.itervars, **known.itervars},
        config=known.config if len(known.config) >= len(more.config) else more.config,
        warmup=known.warmup if known.warmup is not None else more.warmup,
        end=end,
        end_is_bound=bound,
        events=known.events if known.events is not None else more.events,
        elapsed=known.elapsed if known.elapsed is not None else more.elapsed,
    )


def _is_enumeration(attributes: Mapping[str, str]) -> bool:
    return bool(attributes.get("enum")) or attributes.get("type") == "enum"
