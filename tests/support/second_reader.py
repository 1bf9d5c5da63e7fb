"""A second reader of results, simple and slow: regular expressions, lists, and exact fractions.

It shares nothing with `consumer/`, so that whoever has understood a format wrongly there is contradicted here. It knows
only as much as the files of tests/data need.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

Key = tuple[str, str]  # module and name


@dataclass
class Series:
    """One vector, its numbers exactly as they are written."""

    times: list[Fraction] = field(default_factory=list)
    values: list[Fraction] = field(default_factory=list)
    missing: int = 0
    timed: bool = True
    holds: bool = False

    def mean(self) -> float:
        return float(sum(self.values, Fraction(0)) / len(self.values))

    def stddev(self) -> float:
        if len(self.values) < 2:
            return math.nan
        mean = sum(self.values, Fraction(0)) / len(self.values)
        squares = sum(((value - mean) ** 2 for value in self.values), Fraction(0))
        return math.sqrt(squares / (len(self.values) - 1))

    def percentile(self, percent: int) -> float:
        """Between the two neighbours of the place that ``percent`` names, in proportion."""
        ordered = sorted(self.values)
        place = Fraction(percent, 100) * (len(ordered) - 1)
        below = math.floor(place)
        above = min(below + 1, len(ordered) - 1)
        return float(ordered[below] + (ordered[above] - ordered[below]) * (place - below))

    def mean_over_time(self, until: Fraction) -> float:
        """Each value weighted by how long it holds, the last one until the end."""
        ends = [*self.times[1:], until]
        spans = [end - begin for begin, end in zip(self.times, ends, strict=True)]
        area = sum((value * span for value, span in zip(self.values, spans, strict=True)), Fraction(0))
        return float(area / sum(spans, Fraction(0)))


@dataclass
class Found:
    """What a file holds."""

    vectors: dict[Key, Series] = field(default_factory=dict)
    scalars: dict[Key, float] = field(default_factory=dict)
    written_end: Fraction | None = None

    def end(self) -> Fraction:
        """As it is written, else the last time of any vector."""
        return self.written_end or max(series.times[-1] for series in self.vectors.values() if series.times)


def omnetpp(file: Path) -> Found:
    """An OMNeT++ text file whose names hold no quote."""
    found = Found()
    declared: dict[str, tuple[Series, str]] = {}
    series = Series()
    for line in file.read_text("utf-8").splitlines():
        words = [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|(\S+)', line)]
        if not words:
            continue
        if words[0] == "vector":
            series = found.vectors[words[2], words[3]] = Series()
            series.holds = re.search(r"(?i)queue.?(len|size)|qlen|busy|state", words[3]) is not None
            declared[words[1]] = series, words[4] if len(words) > 4 and words[4].isalpha() else "TV"
        elif words[0] == "attr" and words[1] == "interpolationmode":
            series.holds = words[2] == "sample-hold"
        elif words[0] == "scalar":
            found.scalars[words[1], words[2]] = float(words[3])
        elif words[0].isdigit():
            own, columns = declared[words[0]]
            cells = dict(zip(columns, words[1:], strict=True))
            own.times.append(Fraction(cells["T"]))
            own.values.append(Fraction(cells["V"]))
    return found


def sumo_trips(file: Path) -> Found:
    """Each number of a trip is an observation over the vehicles."""
    found = Found()
    for trip in re.findall(r"<tripinfo\b([^>]*)>", file.read_text("utf-8")):
        for name, text in re.findall(r'(\w+)="([^"]*)"', trip):
            if re.fullmatch(r"-?\d+(\.\d+)?", text) and name not in {"id", "departLane", "arrivalLane"}:
                series = found.vectors.setdefault(("tripinfo", name), Series(timed=False))
                series.values.append(Fraction(text))
    return found


def sumo_summary(file: Path) -> Found:
    """One sample of each number at each step; a mean of -1 is one of no vehicle."""
    text = file.read_text("utf-8")
    found = Found(written_end=Fraction(re.findall(r'<end value="([^"]*)"', text)[0]))
    for step in re.findall(r"<step ([^>]*)>", text):
        cells = dict(re.findall(r'(\w+)="([^"]*)"', step))
        time = Fraction(cells.pop("time"))
        for name, cell in cells.items():
            series = found.vectors.setdefault(("summary", name), Series(holds=name != "duration"))
            if name.startswith("mean") and cell.startswith("-1"):
                series.missing += 1
            else:
                series.times.append(time)
                series.values.append(Fraction(cell))
    return found
