"""Which plots a report has: few, the most telling, and like ones on like scales."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from consumer.report import bars, charts
from consumer.report.charts import Line
from consumer.report.names import Names
from consumer.report.runs import labels, settings
from consumer.report.svg import Chart
from consumer.report.telling import (
    Named,
    aggregates_to_draw,
    aside,
    counts_up,
    inner_bins,
    natural,
    observations_to_draw,
    statistics_to_draw,
    stem,
    vectors_to_draw,
    weight,
)
from consumer.statistics.model import Replicated, StatisticRow, Summary, VectorRow
from messaging.digits import amount, count, share, with_unit

MOST_VECTORS = 12
MOST_HISTOGRAMS = 6
MOST_OBSERVATIONS = 6
MOST_OVER_MODULES = 6
LEAST_MODULES = 2
MOST_ENUMERATIONS = 6
MOST_REPLICATED = 6
MOST_ROWS = 12  # bars in one chart
FLAT = 20  # one whose range is that much smaller than that of its like gets a scale of its own
Kept = TypeVar("Kept", bound=Named)

LARGEST = 1e300  # beyond, sums of two values have no number any more

INDEX = re.compile(r"\[[0-9]+\]")


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart with its words.

    Args:
        group: ``vectors``, ``each``, ``modules``, ``histograms``, ``observations``, ``shares`` or ``replications``.
        title: what is shown; ``subtitle``: where in the model, and of which run.
        note: its numbers in a few words.
        chart: the drawing.
        file: its name within the folder of plots.
    """

    group: str
    title: str
    subtitle: str
    note: str
    chart: Chart
    file: str

    @property
    def full_title(self) -> str:
        """What, and where."""
        return f"{self.title}, {self.subtitle}" if self.subtitle else self.title


def plots(summary: Summary) -> tuple[Plot, ...]:
    """All plots of a report, in its order; what no run is for only where there is nothing else."""
    made = _all(_main(summary)) or _all(summary)
    names = Names()
    return tuple(replace(plot, file=names.take(plot.group, plot.subtitle, plot.title, ending=".svg")) for plot in made)


def _main(summary: Summary) -> Summary:
    """Without asides."""

    def kept(rows: Sequence[Kept]) -> tuple[Kept, ...]:
        return tuple(row for row in rows if not aside(row))

    return replace(
        summary,
        scalars=kept(summary.scalars),
        statistics=kept(summary.statistics),
        vectors=kept(summary.vectors),
        aggregates=kept(summary.aggregates),
    )


def _all(summary: Summary) -> list[Plot]:
    of_run = _of_run(summary)
    made = [*_vectors(summary, of_run), *_modules(summary, of_run), *_histograms(summary, of_run)]
    made += [*_observations(summary, of_run), *_shares(summary, of_run)]
    return [*made, *_replications(summary.replications)]


def _of_run(summary: Summary) -> Callable[[int], str]:
    """Says of which run something is, where there are several."""
    if len(summary.runs) < 2:  # noqa: PLR2004
        return lambda _: ""
    names = labels(summary.runs)
    return lambda run: names[run] if 0 <= run < len(names) else ""


def _vectors(summary: Summary, of_run: Callable[[int], str]) -> Iterator[Plot]:
    rows = [row for row in summary.vectors if _drawable(row)]
    chosen = vectors_to_draw(rows, MOST_VECTORS)
    for row in chosen:
        assert row.trace is not None
        like = [each for each in chosen if (each.name, each.unit) == (row.name, row.unit)]
        span = (min(each.minimum for each in like), max(each.maximum for each in like))
        timed = row.time_weighted_mean
        mean = row.mean if timed is None else timed
        run = summary.runs[row.run] if 0 <= row.run < len(summary.runs) else None
        chart = charts.course(
            row.trace,
            style=_style(row),
            unit=row.unit,
            span=span if FLAT * (row.maximum - row.minimum) > span[1] - span[0] else None,
            mark=None if counts_up(row) else Line(mean, f"mean {with_unit(mean, row.unit)}"),
            warmup=(run.warmup or 0.0) if run is not None and row.timed else 0.0,
            until=row.held_until if timed is not None else None,
            rest=row.last_value,
            timed=row.timed,
        )
        yield Plot("vectors", row.name, _where(row.module, of_run(row.run)), _about_vector(row), chart, "")


def _drawable(row: VectorRow) -> bool:
    trace = row.trace
    return (
        trace is not None
        and (row.timed or not row.bins)  # a histogram says more of observations in any order
        and len(trace.held) > 0
        and math.isfinite(trace.start)
        and math.isfinite(trace.span)
        and trace.span > 0
        and max(abs(row.minimum), abs(row.maximum)) < LARGEST
    )


def _style(row: VectorRow) -> str:
    if "sample-hold" in row.interpolation or (row.time_weighted_mean is not None and not row.interpolation):
        return "steps"
    return "line" if row.interpolation == "linear" else "dots"


def _about_vector(row: VectorRow) -> str:
    parts = [count(row.count, "sample")]
    if counts_up(row):
        return f"{parts[0]}, {with_unit(row.last_value, row.unit)} at the end"
    if 95 in row.percentiles:  # noqa: PLR2004  per cent
        parts.append(f"95 % at most {with_unit(row.percentiles[95], row.unit)}")
    return ", ".join([*parts, f"largest {with_unit(row.maximum, row.unit)}"])


def _modules(summary: Summary, of_run: Callable[[int], str]) -> Iterator[Plot]:
    """How a quantity differs over like modules, where the summary has the value of each of them."""
    values: dict[tuple[int, str, str], dict[str, float]] = {}
    for one in summary.scalars:
        if abs(one.value) < LARGEST:
            like = INDEX.sub("[*]", one.module.partition(" ")[0])  # after a blank stands what tells it apart
            values.setdefault((one.run, like, one.name), {})[one.module] = one.value
    whole = [row for row in summary.aggregates if len(values.get((row.run, row.module, row.name), ())) == row.number]
    for row in aggregates_to_draw(whole, LEAST_MODULES, MOST_OVER_MODULES):
        each = values[row.run, row.module, row.name]
        found = list(each.values())
        median = statistics.median(found)
        marks = [Line(median, f"median {with_unit(median, row.unit, 3)}")]
        note = f"{amount(row.number)} modules, mean {with_unit(row.mean, row.unit)}"
        note += "" if math.isnan(row.jain) else f", Jain index {amount(row.jain, 3)}"
        if len(found) <= MOST_ROWS and min(found) >= 0:
            ordered = sorted(each.items(), key=lambda entry: natural(entry[0]))
            bars_of_each = bars.levels([(_apart(module), value) for module, value in ordered], row.unit)
            yield Plot("each", row.name, _where(row.module, of_run(row.run)), note, bars_of_each, "")
            continue
        chart = charts.cumulative(found, unit=row.unit, marks=marks)
        yield Plot("modules", row.name, _where(row.module, of_run(row.run)), note, chart, "")


def _apart(module: str) -> str:
    """What tells a module from its like: what stands after a blank, else the part with its number."""
    path, _, apart = module.partition(" ")
    number = re.search(r"\[([0-9]+)\]$", path)
    if apart:
        return f"{number.group(1)}: {apart}" if number else apart
    return module


def _histograms(summary: Summary, of_run: Callable[[int], str]) -> Iterator[Plot]:
    able = [row for row in summary.statistics if all(abs(edge) < LARGEST for (edge, _), _ in inner_bins(row))]
    for row in statistics_to_draw(able, MOST_HISTOGRAMS):
        marks = [
            Line(row.percentiles[percent], f"{name} {with_unit(row.percentiles[percent], row.unit, 3)}")
            for percent, name in ((50, "median ≈"), (95, "95 % ≈"))
            if math.isfinite(row.percentiles.get(percent, math.nan))
        ]
        chart = charts.histogram(_bars(row), unit=row.unit, marks=marks, weighted=row.weights is not None)
        yield Plot("histograms", row.name, _where(row.module, of_run(row.run)), _about_histogram(row), chart, "")


def _bars(row: StatisticRow) -> list[charts.Bin]:
    """The bins; one that holds an integer alone stands around it."""
    found = inner_bins(row)
    edges = [edge for between, _ in found for edge in between]
    known = [value for value in (row.minimum, row.maximum, *row.percentiles.values()) if math.isfinite(value)]
    if not all(value.is_integer() for value in (*edges, *known)) or any(high - low != 1 for (low, high), _ in found):
        return found
    return [((low - 0.5, high - 0.5), value) for (low, high), value in found]


def _observations(summary: Summary, of_run: Callable[[int], str]) -> Iterator[Plot]:
    """Histograms of observations without a time; their percentiles are those of the samples."""
    rows = [row for row in summary.vectors if not row.timed and all(abs(edge) < LARGEST for edge, _ in row.bins)]
    for row in observations_to_draw(rows, MOST_OBSERVATIONS):
        marks = [
            Line(row.percentiles[percent], f"{name} {with_unit(row.percentiles[percent], row.unit, 3)}")
            for percent, name in ((50, "median"), (95, "95 %"))
            if math.isfinite(row.percentiles.get(percent, math.nan))
        ]
        chart = charts.histogram(inner_bins(row), unit=row.unit, marks=marks)
        note = f"{count(row.count, 'observation')}, mean {with_unit(row.mean, row.unit)}"
        yield Plot("observations", row.name, _where(row.module, of_run(row.run)), note, chart, "")


def _about_histogram(row: StatisticRow) -> str:
    parts = [f"{amount(row.count)} values"]
    parts += [] if math.isnan(row.mean) else [f"mean {with_unit(row.mean, row.unit)}"]
    total = math.fsum(value for _, value in row.bins if math.isfinite(value))
    below = math.fsum(value for edge, value in row.bins[:1] if edge == -math.inf and math.isfinite(value))
    above = row.bins[-1][1] if math.isfinite(row.bins[-1][1]) else 0.0
    parts += [f"{share(below / total)} below the bins"] if total > 0 and below > 0 else []
    parts += [f"{share(above / total)} above the bins"] if total > 0 and above > 0 else []
    return ", ".join(parts)


def _shares(summary: Summary, of_run: Callable[[int], str]) -> Iterator[Plot]:
    """Enumerations: one bar for each symbol, or for each of several like modules one bar parted by symbol."""
    groups: dict[tuple[str, int], list[VectorRow]] = {}
    for row in summary.vectors:
        if row.shares and all(math.isfinite(value) for value in row.shares.values()):
            groups.setdefault((row.name, row.run), []).append(row)
    for (name, run), rows in sorted(groups.items(), key=lambda entry: (-weight(entry[0][0]), entry[0]))[
        :MOST_ENUMERATIONS
    ]:
        if len(rows) == 1:
            ordered = dict(sorted(rows[0].shares.items(), key=lambda entry: (-entry[1], entry[0])))
            yield Plot("shares", name, _where(rows[0].module, of_run(run)), "", bars.shares(ordered), "")
            continue
        rows.sort(key=lambda row: natural(row.module))
        stack = [bars.Shares(row.module, row.shares) for row in rows[:MOST_ROWS]]
        note = f"{MOST_ROWS} of {amount(len(rows))} modules" if len(rows) > MOST_ROWS else ""
        yield Plot("shares", name, _where(f"{len(rows)} modules", of_run(run)), note, bars.stacked(stack), "")


def _replications(rows: Sequence[Replicated]) -> Iterator[Plot]:
    """Quantities that differ between configurations: over the one iteration variable that varies, else side by side."""
    groups: dict[tuple[str, str, str], list[Replicated]] = {}
    for row in rows:
        if math.isfinite(row.mean) and abs(row.mean) < LARGEST and row.number > 0:
            groups.setdefault((row.name, row.module, row.unit), []).append(row)
    able = [(key, same) for key, same in groups.items() if len(same) > 1 and len({row.mean for row in same}) > 1]
    able.sort(key=lambda entry: (-weight(entry[0][0]), entry[0]))
    seen: set[str] = set()
    for (name, module, unit), same in able:
        if len(seen) == MOST_REPLICATED or stem(name) in seen:
            continue
        seen.add(stem(name))
        points = _over_one_variable(same)
        if points:
            variable, estimates = points
            chart = charts.sweep(estimates, variable=variable, unit=unit)
        else:
            named = len({row.config for row in same}) > 1
            chart = bars.intervals([_estimate(row, named=named) for row in same[:MOST_ROWS]], unit)
        fewest, most = min(row.number for row in same), max(row.number for row in same)
        runs = count(most, "run") if fewest == most else f"{fewest} to {most} runs"
        note = f"mean with 95 % confidence interval, {runs} each" if most > 1 else "one run each, so no interval"
        yield Plot("replications", name, module, note, chart, "")


def _over_one_variable(rows: Sequence[Replicated]) -> tuple[str, list[tuple[float, bars.Estimate]]] | None:
    """Points over the only iteration variable that varies, if it is a number each time."""
    names = {name for row in rows for name in row.itervars}
    varying = [name for name in sorted(names) if len({row.itervars.get(name, "") for row in rows}) > 1]
    if len(varying) != 1 or len({row.config for row in rows}) > 1:
        return None
    places = [_numeric(row.itervars.get(varying[0], "")) for row in rows]
    known = [(place, _estimate(row)) for place, row in zip(places, rows, strict=True) if place is not None]
    return (varying[0], known) if len(known) == len(rows) == len({place for place, _ in known}) else None


def _numeric(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < LARGEST else None


def _estimate(row: Replicated, *, named: bool = False) -> bars.Estimate:
    label = " ".join(filter(None, [row.config if named else "", settings(row.itervars)])) or row.config
    return bars.Estimate(label, row.mean, row.half_width, row.minimum, row.maximum)


def _where(module: str, run: str) -> str:
    return ", ".join(filter(None, [module, run]))
