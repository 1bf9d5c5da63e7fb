"""The few numbers and warnings that tell whether a run was any good: for the mail, and for the top of the page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from consumer.report.plain import one_line
from consumer.report.telling import Named, aside, counts_up, stem, topic, weight
from consumer.statistics.model import Replicated, Summary, VectorRow, Warned
from messaging.digits import count, share, with_unit
from messaging.visible import shortened

MOST_STATISTICS = 8
NO_NUMBERS = "No numbers were found in these files."
MOST_WARNINGS = 5
LONGEST_LABEL = 160
LONGEST_WARNING = 300
FILES_NAMED = 3
NAMES_NAMED = 4
OF_ONE_TOPIC = 2
HEADLINE = 20  # by how much more a number ranks that its format calls one
NOTHING_HAPPENED = 6  # by how much less a 0 ranks, or samples that are all the same
ASIDE = 12  # by how much less what no run is for


@dataclass(frozen=True, slots=True)
class KeyStatistic:
    """One line: ``label`` says what and where, ``value`` is a number with its unit, ready to be shown."""

    label: str
    value: str
    number: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """At most 8 statistics and 5 warnings, the most important first."""

    statistics: tuple[KeyStatistic, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    name: str
    where: str
    value: str
    rank: float
    number: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class _Found:
    """A number of one run."""

    run: int
    name: str
    where: str
    value: float
    unit: str
    rank: float


def pick(summary: Summary) -> Key:
    """What a mail says of the results."""
    return Key(statistics=_statistics(summary), warnings=_warnings(summary))


def _statistics(summary: Summary) -> tuple[KeyStatistic, ...]:
    lines = [*_time(summary)]
    found = list(_candidates(summary))
    telling = [each for each in found if weight(each.name) > 0] or found  # a parameter is no result
    candidates = sorted(telling, key=lambda each: (-each.rank, each.name, each.where))
    chosen = _varied(candidates, MOST_STATISTICS - len(lines))
    lines += [
        KeyStatistic(_label(each.name, each.where), one_line(each.value), each.number, each.unit) for each in chosen
    ]
    return tuple(lines)


def _varied(candidates: Iterable[_Candidate], most: int) -> list[_Candidate]:
    """The best ones: of each quantity one, and of what is about the same at most two before anything else."""
    quantities: set[str] = set()
    topics: Counter[str] = Counter()
    first, rest = list[_Candidate](), list[_Candidate]()
    for each in candidates:
        if stem(each.name) in quantities:
            continue
        quantities.add(stem(each.name))
        topics[topic(each.name)] += 1
        (first if topics[topic(each.name)] <= OF_ONE_TOPIC else rest).append(each)
    return [*first, *rest][:most]


def _time(summary: Summary) -> Iterator[KeyStatistic]:
    """How long was simulated, where it is known and the same for all runs."""
    ends = {(run.end, run.end_is_bound) for run in summary.runs}
    if len(ends) != 1:
        return
    end, is_bound = ends.pop()
    if end is not None and math.isfinite(end):
        yield KeyStatistic("Simulated time", f"{'at most ' if is_bound else ''}{with_unit(end, 's')}")


def _candidates(summary: Summary) -> Iterator[_Candidate]:
    """Everything with a value. What was measured over runs or modules tells more than a single number."""
    yield from _replicated(summary.replications)
    yield from _states(summary.vectors)
    values: dict[tuple[str, str, str], list[_Found]] = {}
    for found in _found(summary):
        if math.isfinite(found.value):
            values.setdefault((found.name, found.where, found.unit), []).append(found)
    for (name, where, unit), same in values.items():
        runs = len({found.run for found in same})
        text = _span([found.value for found in same], unit)
        nothing = not any(found.value for found in same) and not name.lower().endswith("ratio")  # no loss is a finding
        rank = same[0].rank - (NOTHING_HAPPENED if nothing else 0)
        number = same[0].value if len(same) == 1 else None
        yield _Candidate(name, _where(where, f"{runs} runs") if runs > 1 else where, text, rank, number, unit)


def _replicated(rows: Iterable[Replicated]) -> Iterator[_Candidate]:
    """Means over replications: of one configuration with the interval, of several from the lowest to the highest."""
    groups: dict[tuple[str, str, str], list[Replicated]] = {}
    for row in rows:
        if row.number > 1 and row.half_width is not None and math.isfinite(row.mean):
            groups.setdefault((row.name, row.module, row.unit), []).append(row)
    for (name, module, unit), same in groups.items():
        first = same[0]
        if len(same) == 1:
            assert first.half_width is not None
            value = f"{with_unit(first.mean, unit)} ± {with_unit(first.half_width, unit, 2)}"
            how = f"95 % interval of {first.number} runs"
        else:
            value = _span([row.mean for row in same], unit)
            how = f"means of {len(same)} configurations"
        yield _Candidate(name, _where(module, how), value, weight(name) + 6)


def _states(rows: Iterable[VectorRow]) -> Iterator[_Candidate]:
    """Enumerations, by the symbols that lasted longest."""
    for row in rows:
        longest = sorted(row.shares.items(), key=lambda entry: (-entry[1], entry[0]))[:2]
        if longest and all(math.isfinite(value) for _, value in longest):
            value = ", ".join(f"{shortened(symbol, 40)} {share(value)}" for symbol, value in longest)
            yield _Candidate(row.name, _where(row.module, "share of the time"), value, weight(row.name))


def _found(summary: Summary) -> Iterator[_Found]:
    """Each number of each run; what holds for many modules or samples ranks above a single one."""
    for over in summary.aggregates:
        if over.number > 1:
            kind = "" if over.kind == "scalar" else f"{over.kind}, "
            where = _where(over.module, f"{kind}mean of {over.number}")
            yield _Found(over.run, over.name, where, over.mean, over.unit, _rank(over) + 3)
    for scalar in summary.scalars:
        rank = _rank(scalar) + (HEADLINE if scalar.headline else 0)
        yield _Found(scalar.run, scalar.name, scalar.module, scalar.value, scalar.unit, rank)
    for row in summary.statistics:
        if row.count > 0:
            yield _Found(row.run, row.name, _where(row.module, "mean"), row.mean, row.unit, _rank(row) + 2)
    for vector in summary.vectors:
        if vector.count > 0 and not vector.enumeration:
            value, how = _told(vector)
            same = vector.count > 1 and vector.minimum == vector.maximum != 0  # such as a parameter in each line
            rank = _rank(vector) + (HEADLINE if vector.headline else 1.5) - (NOTHING_HAPPENED if same else 0)
            yield _Found(vector.run, vector.name, _where(vector.module, how), value, vector.unit, rank)


def _rank(row: Named) -> float:
    return weight(row.name) - (ASIDE if aside(row) else 0)


def _told(row: VectorRow) -> tuple[float, str]:
    """The one number of a vector, and what it is."""
    if counts_up(row):
        return row.last_value, "at the end"
    return (row.mean, "mean") if row.time_weighted_mean is None else (row.time_weighted_mean, "mean over time")


def _span(values: list[float], unit: str) -> str:
    low, high = with_unit(min(values), unit), with_unit(max(values), unit)
    return low if low == high else f"{low} to {high}"


def _where(module: str, how: str) -> str:
    return f"{shortened(module, 60)}, {how}" if module else how


def _label(name: str, where: str) -> str:
    text = f"{shortened(name, 60)}, {shortened(where, 90)}" if where else name
    return one_line(shortened(text, LONGEST_LABEL)).strip() or "(no name)"


def _warnings(summary: Summary) -> tuple[str, ...]:
    lines = [*_counts(summary), *_texts(summary.warnings, {file.name for file in summary.files if file.incomplete})]
    unseen = max(0, summary.warnings_found - len(summary.warnings))
    if len(lines) > MOST_WARNINGS or unseen:
        left = len(lines) - (MOST_WARNINGS - 1) + unseen
        if left > 1 or len(lines) > MOST_WARNINGS:
            lines = [*lines[: MOST_WARNINGS - 1], f"And {count(left, 'more warning')}: see the report."]
    return tuple(one_line(shortened(line, LONGEST_WARNING)) for line in lines[:MOST_WARNINGS])


def _counts(summary: Summary) -> Iterator[str]:
    cut = [file.name for file in summary.files if file.incomplete]
    if cut:
        ends = "1 file ends" if len(cut) == 1 else f"{len(cut)} files end"
        yield f"{ends} in the middle: {_named(cut)}. Was the simulation killed? What is whole was read."
    found = summary.scalars_found or summary.statistics_found or summary.vectors_found
    if summary.files and not (found or summary.scalars or summary.statistics or summary.vectors):
        yield NO_NUMBERS
    if summary.missing_values:
        have = count(summary.missing_values, "number has no value and is", "numbers have no value and are")
        yield f"{have} left out{_missing(summary)}."
    if summary.empty_vectors:
        yield f"{count(summary.empty_vectors, 'vector was', 'vectors were')} declared and never got a value."


def _missing(summary: Summary) -> str:
    """Which, the most frequent ones first."""
    names = summary.missing_names[:NAMES_NAMED]
    if not names:
        return ""
    if names[0][1] == summary.missing_values:
        return f": {shortened(names[0][0], 40)}"
    named = ", ".join(f"{shortened(name, 40)} ({times})" if times > 1 else shortened(name, 40) for name, times in names)
    more = sum(times for _, times in names) < summary.missing_values
    return f": {named} and others" if more else f": {named}"


def _texts(warnings: Iterable[Warned], cut: set[str]) -> list[str]:
    """Each sentence once, with where it stands first; those about files that are cut off anyway come last."""
    seen: dict[str, list[Warned]] = {}
    for warned in sorted(warnings, key=lambda each: each.file in cut):
        seen.setdefault(warned.text, []).append(warned)
    return [_located(same) for same in seen.values()]


def _located(same: list[Warned]) -> str:
    first = same[0]
    line = f", line {first.line}" if first.line is not None else ""
    where = f"{shortened(first.file, 80)}{line}" if first.file else ""
    more = f"{len(same)} times, first in " if len(same) > 1 and where else ""
    return f"{first.text.rstrip()} ({more}{where})" if where else first.text


def _named(files: list[str]) -> str:
    named = ", ".join(shortened(name, 80) for name in files[:FILES_NAMED])
    return f"{named} and {len(files) - FILES_NAMED} more" if len(files) > FILES_NAMED else named
