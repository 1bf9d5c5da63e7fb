"""Small charts with two axes, as SVG: courses over time, histograms, a mean over an iteration variable.

Colours and fonts come from ``plot.css``, which follows the reader's dark mode. The same data gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from consumer.formats.contract import Floats
from consumer.report import svg
from consumer.report.axes import Scale, scale
from consumer.report.bars import Estimate, interval, spoken
from consumer.report.plain import one_line
from consumer.report.svg import BOTTOM, CHARACTER, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart
from consumer.statistics.model import Trace
from messaging.digits import amount, share, with_unit
from messaging.visible import shortened

COLUMNS = 298  # spans of time at most: one for each unit of the plot's width
MOST_BARS = 76
THINNEST = 3  # units: a bar that is thinner cannot be seen
TAIL = 0.01  # share of the values that may lie beyond the axis, where that makes room for the others
_ROOM = 2  # times as long an axis must be with a tail as without it
_FEW = 5  # bars: fewer would fill the plot as walls
_SIGNS = ("- -", "···")  # how the lines look
_LEGEND = 45  # characters above a plot, beside the unit

Bin = tuple[tuple[float, float], float]


@dataclass(frozen=True, slots=True)
class Line:
    """A level that is marked across a plot."""

    value: float
    label: str


def course(
    trace: Trace,
    *,
    style: str,
    unit: str = "",
    span: tuple[float, float] | None = None,
    mark: Line | None = None,
    warmup: float = 0.0,
    until: float | None = None,
    rest: float = math.nan,
    timed: bool = True,
) -> Chart:
    """A quantity over time.

    Args:
        trace: what to draw.
        style: ``steps`` (held until the next sample), ``line`` or ``dots`` (one sample of each span of time). A band
            reaches from the smallest to the largest sample of each span.
        unit: of the values.
        span: lowest and highest value that the axis must hold, so that like plots can be compared.
        mark: such as the mean.
        warmup: seconds at the beginning that were not recorded.
        until: end of the axis in seconds.
        rest: the last value, which holds until then where values do.
        timed: the lower axis shows seconds of the simulation; else it counts observations.
    """
    unit = svg.unit(unit)
    held, low, high, width = _merged(trace)
    ends = trace.start + width * len(held)
    last = max(ends, until) if until is not None and math.isfinite(until) else ends
    first = 0.0 if 0 < warmup <= trace.start * (1 + 1e-9) else trace.start
    x = scale([first, last], LEFT, RIGHT, "s" if timed else "", rounded=False)
    bounds = [*(span or ()), *_bounds(held, low, high)]
    y = scale(bounds, BOTTOM, TOP, unit)
    starts = x.all_at(trace.start + width * np.arange(len(held) + 1, dtype=np.float64))
    parts = [*_frame(x, y, f"time, {x.unit}" if timed else "number of the observation")]
    if first < trace.start and warmup > 0:
        parts.append(svg.rectangle("warm-up", LEFT, TOP, x.at(warmup) - LEFT, BOTTOM - TOP))
    low_at, high_at, held_at = y.all_at(low), y.all_at(high), y.all_at(held)
    parts.append(svg.path("band", _band(starts, low_at, high_at)))
    if style == "dots":
        parts.append(svg.path("dots", _dots(starts, held_at, high_at, low_at)))  # upwards, places fall
    elif style == "steps":
        if last > ends:
            starts, held_at = np.append(starts, x.at(last)), np.append(held_at, y.all_at(np.array([rest])))
        parts.append(svg.path("line", _steps(starts, held_at)))
    else:
        parts.append(svg.path("line", _polyline(starts, held_at)))
    if mark is not None and math.isfinite(mark.value) and y.low <= mark.value / y.factor <= y.high:
        parts += _level(y.at(mark.value), mark.label)
    description = (
        f"From {amount(first)} to {amount(last)}{' s' if timed else ''}, "
        f"between {amount(min(bounds, default=math.nan))} and {amount(max(bounds, default=math.nan))} {unit}".rstrip()
    )
    return Chart(Markup("").join(parts), HEIGHT, f"{description}.")


def histogram(
    bins: Sequence[Bin],
    *,
    unit: str = "",
    marks: Sequence[Line] = (),
    weighted: bool = False,
) -> Chart:
    """A histogram; bars of unequal width show density, so that areas compare. A long tail of few values is cut off.

    Args:
        bins: ((lower, upper), count or weight), rising and finite.
        unit: of the values.
        marks: such as the median, drawn upright.
        weighted: the bins hold weights rather than counts.
    """
    unit = svg.unit(unit)
    whole = _inner(bins)
    total = math.fsum(value for _, value in whole) or 1.0
    kept = _without_tails(whole, total)
    bars = _fewer(kept)
    widths = [upper - lower for (lower, upper), _ in bars]
    filled = [width for width, (_, value) in zip(widths, bars, strict=True) if value > 0] or widths
    even = max(filled) - min(filled) <= 1e-6 * max(filled)
    heights = [100 * value / total / (1.0 if even else width) for (_, value), width in zip(bars, widths, strict=True)]
    x = scale([bars[0][0][0], bars[-1][0][1]], LEFT + THINNEST, RIGHT, unit, rounded=False)
    y = scale([0.0, *heights], BOTTOM, TOP, ("% of weight" if weighted else "% of values") if even else "density")
    parts = [*_frame(x, y, x.unit), *_uprights(x, marks)]
    for ((lower, upper), _), height in zip(bars, heights, strict=True):
        left, right = x.at(lower), x.at(upper)
        gap = 0.6 if right - left > 3 else 0.0  # noqa: PLR2004  no gap between hair-thin bars
        if height > 0:
            wide = max(right - left - gap, THINNEST)
            at = min(left + gap / 2, RIGHT - wide)
            parts.append(svg.rectangle("bar", at, y.at(height), wide, BOTTOM - y.at(height)))
    beyond = _beyond(whole, kept, total, unit)
    if beyond:
        parts.append(svg.text("unit", LEFT, BOTTOM + 26, beyond))
    highest = max(zip(heights, bars, strict=True), key=lambda pair: pair[0])[1][0]
    description = (
        f"{len(bars)} bars from {amount(bars[0][0][0])} to {amount(bars[-1][0][1])} {unit}, "
        f"the highest between {amount(highest[0])} and {amount(highest[1])}".rstrip()
    )
    description += f"; {beyond}" if beyond else ""
    return Chart(Markup("").join(parts), HEIGHT, f"{description}.")


def cumulative(values: Sequence[float], *, unit: str = "", marks: Sequence[Line] = ()) -> Chart:
    """Which share of some values is at most what the lower axis says.

    Args:
        values: finite.
        unit: of the values.
        marks: such as the median, drawn upright.
    """
    unit = svg.unit(unit)
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    x = scale(ordered.tolist(), LEFT, RIGHT, unit)
    y = scale([0.0, 100.0], BOTTOM, TOP, "% of modules")
    each = -(-len(ordered) // COLUMNS)
    kept = np.arange(each - 1, len(ordered), each)
    kept = kept if kept[-1] == len(ordered) - 1 else np.append(kept, len(ordered) - 1)
    commands = [f"M{svg.number(LEFT)} {svg.number(BOTTOM)}"]
    for place, rank in zip(x.all_at(ordered[kept]), kept, strict=True):
        commands.append(f"H{svg.number(place)}V{svg.number(y.at(100 * (rank + 1) / len(ordered)))}")
    parts = [*_frame(x, y, x.unit), *_uprights(x, marks), svg.path("line", f"{''.join(commands)}H{RIGHT}")]
    description = f"{len(ordered)} values from {amount(float(ordered[0]))} to {amount(float(ordered[-1]))} {unit}"
    return Chart(Markup("").join(parts), HEIGHT, f"{description.rstrip()}.")


def sweep(points: Sequence[tuple[float, Estimate]], *, variable: str, unit: str = "") -> Chart:
    """An estimate over a numeric iteration variable: dots with intervals, joined by a line."""
    unit, variable = svg.unit(unit), shortened(one_line(variable), 40)
    points = sorted(points, key=lambda point: point[0])
    x = scale([value for value, _ in points], LEFT + 8, RIGHT - 8, rounded=False)
    y = scale([value for _, each in points for value in interval(each)], BOTTOM, TOP, unit)
    parts = [*_frame(x, y, variable)]
    places = np.array([[x.at(value), y.at(each.mean)] for value, each in points]).reshape(-1, 2)
    parts.append(svg.path("line", _polyline_through(places)))
    for value, each in points:
        if each.half_width is not None and math.isfinite(each.half_width) and math.isfinite(each.mean):
            low, high = y.at(each.mean - each.half_width), y.at(each.mean + each.half_width)
            parts.append(svg.stroke("whisker", x.at(value), low, x.at(value), high))
            parts += [svg.stroke("whisker", x.at(value) - 3, end, x.at(value) + 3, end) for end in (low, high)]
        if math.isfinite(each.mean):
            parts.append(svg.circle("point", x.at(value), y.at(each.mean), 3))
    text = "; ".join(f"{variable} {amount(value)}: {spoken(each)}" for value, each in points)
    return Chart(Markup("").join(parts), HEIGHT, f"{text}.")


def _frame(x: Scale, y: Scale, below: str) -> Iterator[Markup]:
    """Grid, ticks and units of a plot; ``below`` says what the lower axis shows."""
    for place, text in y.ticks(5):
        yield svg.stroke("grid", LEFT, place, RIGHT, place)
        yield svg.text("tick end", LEFT - 5, place + 3.5, text)
    right = 0.0
    for place, text in x.ticks(5):
        half = CHARACTER * len(text) / 2
        yield svg.stroke("axis", place, BOTTOM, place, BOTTOM + 3)
        if place - half > right and place + half <= WIDTH:
            yield svg.text("tick middle", place, BOTTOM + 14, text)
            right = place + half + 4
    yield svg.stroke("axis", LEFT, BOTTOM, RIGHT, BOTTOM)
    if y.unit:
        yield svg.text("unit", 2, TOP - 9, y.unit)
    if below:
        yield svg.text("unit end", RIGHT, BOTTOM + 26, below)


def _merged(trace: Trace) -> tuple[Floats, Floats, Floats, float]:
    """At most `COLUMNS` spans: what holds at their beginnings, smallest and largest sample; and the length of one."""
    each = max(1, -(-len(trace.held) // COLUMNS))
    starts = np.arange(0, len(trace.held), each)
    if not len(starts):
        return trace.held, trace.low, trace.high, trace.span
    held = _finite(trace.held)[starts]
    low = np.fmin.reduceat(_finite(trace.low), starts)
    high = np.fmax.reduceat(_finite(trace.high), starts)
    return held, low, high, trace.span * each


def _finite(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, np.nan)


def _bounds(*arrays: Floats) -> list[float]:
    values = np.concatenate(arrays)
    values = values[np.isfinite(values)]
    return [float(values.min()), float(values.max())] if len(values) else []


def _steps(starts: Floats, held: Floats) -> str:
    commands, drawing = [], False
    for left, right, place in zip(starts[:-1], starts[1:], held, strict=True):
        if math.isnan(place):
            drawing = False
            continue
        commands.append(f"V{svg.number(place)}" if drawing else f"M{svg.number(left)} {svg.number(place)}")
        commands.append(f"H{svg.number(right)}")
        drawing = True
    return "".join(commands)


def _polyline(starts: Floats, held: Floats) -> str:
    return _polyline_through(np.column_stack([starts[:-1], held]))


def _polyline_through(points: Floats) -> str:
    commands, drawing = [], False
    for left, place in points:
        if math.isnan(place) or math.isnan(left):
            drawing = False
            continue
        commands.append(f"{'L' if drawing else 'M'}{svg.number(left)} {svg.number(place)}")
        drawing = True
    return "".join(commands)


def _band(starts: Floats, low: Floats, high: Floats) -> str:
    return "".join(
        f"M{svg.number(left)} {svg.number(top)}H{svg.number(right)}V{svg.number(bottom)}H{svg.number(left)}Z"
        for left, right, bottom, top in zip(starts[:-1], starts[1:], low, high, strict=True)
        if bottom - top > 0.5  # noqa: PLR2004  NaN is not; a thinner one hides behind the line
    )


def _dots(starts: Floats, held: Floats, low: Floats, high: Floats) -> str:
    """One sample of each span as a stroke of no length with round ends: the last, which the next span begins with."""
    last = np.append(held[1:], np.nan)
    sample = np.where((last >= low) & (last <= high), last, low)
    return "".join(
        f"M{svg.number((left + right) / 2)} {svg.number(place)}h0"
        for left, right, place in zip(starts[:-1], starts[1:], sample, strict=True)
        if not math.isnan(place)
    )


def _level(place: float, label: str) -> list[Markup]:
    """The label stands above the plot, where no data is."""
    text = shortened(one_line(label), 36)
    return [svg.stroke("mark", LEFT, place, RIGHT, place), svg.text("note end", RIGHT, TOP - 9, f"- - {text}")]


def _uprights(x: Scale, marks: Sequence[Line]) -> Iterator[Markup]:
    """Upright marks, and above the plot what each is: there no label meets another one, a line or a bar."""
    seen = [each for each in marks if x.low <= each.value / x.factor <= x.high]
    for kind, mark in zip(("mark", "mark fine"), seen, strict=False):
        yield svg.stroke(kind, x.at(mark.value), TOP - 3, x.at(mark.value), BOTTOM)
    if seen:
        signed = list(zip(_SIGNS, (one_line(mark.label) for mark in seen), strict=False))
        legend = _legend(signed)
        if len(legend) > _LEGEND:
            room = _LEGEND // len(signed) - len(_legend([(_SIGNS[0], "")])) - 1
            legend = _legend([(sign, shortened(label, room)) for sign, label in signed])
        yield svg.text("note end", RIGHT, TOP - 9, legend)


def _legend(signed: Sequence[tuple[str, str]]) -> str:
    return "\u2003".join(f"{sign} {label}" for sign, label in signed)


def _without_tails(bins: list[Bin], total: float) -> list[Bin]:
    """Without what holds at most `TAIL` of the values, where the others fill less than half of the axis."""
    first, last = 0, len(bins)
    after = before = 0.0
    while last - 1 > first and after + bins[last - 1][1] <= TAIL * total:
        after += bins[last - 1][1]
        last -= 1
    while first + 1 < last and after + before + bins[first][1] <= TAIL * total:
        before += bins[first][1]
        first += 1
    kept = _inner(bins[first:last])
    if len(kept) >= _FEW and _ROOM * (kept[-1][0][1] - kept[0][0][0]) < bins[-1][0][1] - bins[0][0][0]:
        return kept
    return bins


def _beyond(bins: Sequence[Bin], kept: Sequence[Bin], total: float, unit: str) -> str:
    """What the axis does not show."""
    left = 1 - math.fsum(value for _, value in kept) / total
    if len(kept) == len(bins):
        return ""
    ends = []
    if bins[0][0][0] < kept[0][0][0]:
        ends.append(f"down to {with_unit(bins[0][0][0], unit, 3)}")
    if bins[-1][0][1] > kept[-1][0][1]:
        ends.append(f"up to {with_unit(bins[-1][0][1], unit, 3)}")
    return f"{share(max(left, 0.0))} beyond, {' and '.join(ends)}"


def _inner(bins: Sequence[Bin]) -> list[Bin]:
    """Without the empty bins at both ends."""
    filled = [number for number, (_, value) in enumerate(bins) if value > 0]
    return list(bins[filled[0] : filled[-1] + 1]) if filled else list(bins)


def _fewer(bins: list[Bin]) -> list[Bin]:
    """Neighbours joined until there are at most `MOST_BARS`."""
    each = -(-len(bins) // MOST_BARS)
    groups = [bins[start : start + each] for start in range(0, len(bins), each)]
    return [((group[0][0][0], group[-1][0][1]), math.fsum(value for _, value in group)) for group in groups]
