"""Charts made of horizontal bars, as SVG: shares of a whole, and means with their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from consumer.report import svg
from consumer.report.axes import scale
from consumer.report.plain import one_line
from consumer.report.svg import CHARACTER, RIGHT, Chart
from messaging.digits import amount, prefixed, share, with_unit
from messaging.visible import shortened

CATEGORIES = 8  # colours of ``plot.css``: c0 to c7; everything after is "other"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its interval, for `intervals`; ``half_width`` None: there is none."""

    label: str
    mean: float
    half_width: float | None
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of one whole by category, for `stacked`."""

    label: str
    shares: Mapping[str, float] = field(default_factory=dict)


def shares(of: Mapping[str, float]) -> Chart:
    """One horizontal bar for each category, the largest first as given."""
    row, labels = 24, 110
    top = 6
    parts = []
    entries = _with_other(of)
    for number, (label, value) in enumerate(entries):
        place = top + row * number
        length = (RIGHT - 46 - labels) * min(max(value, 0.0), 1.0)
        parts.append(svg.text("label end", labels - 8, place + 14, shortened(one_line(label), 17)))
        parts.append(svg.rectangle("track", labels, place + 4, RIGHT - 46 - labels, 13))
        parts.append(svg.rectangle("bar", labels, place + 4, length, 13))
        parts.append(svg.text("value end", RIGHT, place + 14, share(value)))
    text = ", ".join(f"{shortened(one_line(label), 40)} {share(value)}" for label, value in entries)
    return Chart(Markup("").join(parts), top + row * len(entries) + 6, f"{text}.")


def levels(rows: Sequence[tuple[str, float]], unit: str = "") -> Chart:
    """One bar for each label and value, on one scale that begins at 0; values are finite and not negative."""
    height, room = 34, 70
    factor, scaled = prefixed(max(value for _, value in rows), svg.unit(unit))
    longest = max(value for _, value in rows) or 1.0
    parts = []
    for number, (label, value) in enumerate(rows):
        top = height * number
        parts.append(svg.text("label", 8, top + 12, shortened(one_line(label), 58)))
        parts.append(svg.rectangle("track", 8, top + 17, RIGHT - room - 8, 11))
        parts.append(svg.rectangle("bar", 8, top + 17, (RIGHT - room - 8) * value / longest, 11))
        parts.append(svg.text("value end", RIGHT, top + 27, f"{amount(value / factor, 3)} {scaled}".rstrip()))
    text = "; ".join(f"{shortened(one_line(label), 60)}: {with_unit(value, unit)}" for label, value in rows)
    return Chart(Markup("").join(parts), height * len(rows) + 4, f"{text}.")


def stacked(rows: Sequence[Shares]) -> Chart:
    """One bar for each row, parted by category; categories have one colour in all rows, named in a legend."""
    totals: dict[str, float] = {}
    for each in rows:
        for name, value in each.shares.items():
            totals[name] = totals.get(name, 0.0) + value
    named = sorted(totals, key=lambda name: (-totals[name], name))[:CATEGORIES]
    colours = {name: f"c{number}" for number, name in enumerate(named)}
    legend = [(shortened(one_line(name), 24), colours[name]) for name in named]
    legend += [("other", "other")] if len(totals) > len(named) else []
    parts, top = [], 0.0
    left = 8.0
    for label, colour in legend:
        width = 16 + CHARACTER * len(label) + 10
        if left + width > RIGHT and left > 8:  # noqa: PLR2004  the first of a line
            left, top = 8.0, top + 16
        parts.append(svg.rectangle(colour, left, top + 5, 10, 10))
        parts.append(svg.text("label", left + 15, top + 14, label))
        left += width
    top += 24
    for each in rows:
        parts.append(svg.text("label", 8, top + 10, shortened(one_line(each.label), 52)))
        parts += _segments(each.shares, colours, top + 15)
        top += 35
    text = "; ".join(f"{shortened(one_line(each.label), 40)}: {_largest(each.shares)}" for each in rows)
    return Chart(Markup("").join(parts), round(top + 2), f"{text}.")


def intervals(rows: Sequence[Estimate], unit: str = "") -> Chart:
    """One row for each estimate: the mean as a dot, the interval as a bar, the range of the runs as a thin line."""
    label_at, row = 8, 34
    values = [value for each in rows for value in _reach(each)]
    bottom = 8 + row * len(rows)
    x = scale(values, 14, RIGHT - 8, svg.unit(unit))
    parts = []
    for place, text in x.ticks(6):
        parts.append(svg.stroke("grid", place, 4, place, bottom))
        parts.append(svg.text("tick middle", place, bottom + 13, text))
    parts.append(svg.text("unit end", RIGHT, bottom + 26, x.unit))
    for number, each in enumerate(rows):
        middle = 8 + row * number + 22
        parts.append(svg.text("label halo", label_at, middle - 9, shortened(one_line(each.label), 52)))
        if math.isfinite(each.minimum) and math.isfinite(each.maximum):
            parts.append(svg.stroke("whisker", x.at(each.minimum), middle, x.at(each.maximum), middle))
        if each.half_width is not None and math.isfinite(each.half_width) and math.isfinite(each.mean):
            left, right = x.at(each.mean - each.half_width), x.at(each.mean + each.half_width)
            parts.append(svg.rectangle("interval", left, middle - 4, max(right - left, 0.5), 8))
        if math.isfinite(each.mean):
            parts.append(svg.circle("point", x.at(each.mean), middle, 3))
    text = "; ".join(f"{shortened(one_line(each.label), 60)}: {spoken(each)}" for each in rows)
    return Chart(Markup("").join(parts), bottom + 30, f"{text}.")


def _with_other(of: Mapping[str, float]) -> list[tuple[str, float]]:
    entries = list(of.items())
    if len(entries) <= CATEGORIES + 1:
        return entries
    rest = math.fsum(value for _, value in entries[CATEGORIES:])
    return [*entries[:CATEGORIES], (f"{len(entries) - CATEGORIES} others", rest)]


def _segments(of: Mapping[str, float], colours: Mapping[str, str], top: float) -> Iterator[Markup]:
    left = 8.0
    width = RIGHT - left
    for name, colour in colours.items():
        length = width * min(max(of.get(name, 0.0), 0.0), 1.0)
        if length > 0:
            yield svg.rectangle(colour, left, top, length, 13)
            left += length
    rest = width * min(max(math.fsum(value for name, value in of.items() if name not in colours), 0.0), 1.0)
    if rest > 0:
        yield svg.rectangle("other", left, top, rest, 13)


def _largest(of: Mapping[str, float]) -> str:
    first = sorted(of.items(), key=lambda entry: (-entry[1], entry[0]))[:3]
    return ", ".join(f"{shortened(one_line(name), 30)} {share(value)}" for name, value in first)


def _reach(each: Estimate) -> list[float]:
    return [value for value in (*interval(each), each.minimum, each.maximum) if math.isfinite(value)]


def interval(each: Estimate) -> list[float]:
    half = each.half_width if each.half_width is not None else 0.0
    return [value for value in (each.mean, each.mean - half, each.mean + half) if math.isfinite(value)]


def spoken(each: Estimate) -> str:
    half = "" if each.half_width is None else f" plus or minus {amount(each.half_width, 3)}"
    return f"{amount(each.mean)}{half}"
