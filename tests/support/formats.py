"""A sink that remembers all it is told, and the slow way to the numbers of a vector."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from consumer.formats.contract import Floats, Format, Numbers, Run, Statistic


@dataclass
class Remembered:
    """All that a format has told, in plain lists."""

    runs: list[Run] = field(default_factory=list)
    scalars: list[tuple[str, str, float, dict[str, str]]] = field(default_factory=list)
    parameters: list[tuple[str, str, str]] = field(default_factory=list)
    statistics: list[Statistic] = field(default_factory=list)
    vectors: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    timed: list[bool] = field(default_factory=list)
    series: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    warnings: list[tuple[str, int | None]] = field(default_factory=list)
    cut_off: list[tuple[str, int | None]] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)

    def run(self, run: Run) -> None:
        self.runs.append(run)

    def scalar(self, module: str, name: str, value: float, attributes: Mapping[str, str]) -> None:
        self.scalars.append((module, name, value, dict(attributes)))

    def parameter(self, module: str, name: str, text: str) -> None:
        self.parameters.append((module, name, text))

    def statistic(self, statistic: Statistic) -> None:
        self.statistics.append(statistic)

    def vector(self, module: str, name: str, attributes: Mapping[str, str], *, timed: bool = True) -> int:
        self.vectors.append((module, name, dict(attributes)))
        self.timed.append(timed)
        return len(self.vectors) - 1

    def samples(self, vectors: Numbers, times: Floats, values: Floats) -> None:
        assert len(vectors) == len(times) == len(values)
        for vector, time, value in zip(vectors.tolist(), times.tolist(), values.tolist(), strict=True):
            self.series.setdefault(vector, []).append((time, value))

    def warning(self, text: str, line: int | None = None) -> None:
        self.warnings.append((text, line))

    def incomplete(self, text: str, line: int | None = None) -> None:
        self.cut_off.append((text, line))

    def at(self, offset: int) -> None:
        self.offsets.append(offset)

    def of(self, module: str, name: str) -> list[tuple[float, float]]:
        """The samples of one vector."""
        return self.series.get([vector[:2] for vector in self.vectors].index((module, name)), [])


def read(form: Format, data: bytes) -> Remembered:
    """What a format tells of a file that holds ``data``."""
    sink = Remembered()
    form.read(io.BytesIO(data), sink)
    return sink


def same(first: Any, second: Any) -> bool:
    """Whether two values are equal, "no value" being equal to itself."""
    return repr(first) == repr(second)


def time_average(series: list[tuple[float, float]], until: float) -> float:
    """Each value weighted by the time that it held: simple and slow."""
    area = time = 0.0
    for (begin, value), end in zip(series, [point[0] for point in series[1:]] + [until], strict=True):
        if not math.isnan(value):
            area += value * (end - begin)
            time += end - begin
    return area / time
