"""One quantity over like modules, and over the replications of one configuration."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from statistics import fmean

from consumer.formats.contract import Run
from consumer.statistics.intervals import deviation, half_width
from consumer.statistics.model import Aggregate, Replicated

_INDEX = re.compile(r"\[\d+\]")
MOST_QUANTITIES = 100_000  # that are followed over replications


@lru_cache(maxsize=8192)  # a module has many quantities, in many runs
def _pattern(module: str) -> str | None:
    """``host[*]``; None: it has no index."""
    pattern, indexed = _INDEX.subn("[*]", module.partition(" ")[0])  # after a blank stands what tells it apart
    return pattern if indexed else None


class LikeModules:
    """``host[0]``, ``host[1]``, ... as ``host[*]``; a module without an index is like no other."""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, str, str, str], _Group] = {}

    def add(self, run: int, module: str, name: str, kind: str, value: float, unit: str) -> None:
        pattern = _pattern(module)
        if pattern is None:
            return
        group = self._groups.get((run, pattern, name, kind))
        if group is None:
            group = self._groups[run, pattern, name, kind] = _Group(unit)
        group.add(value)

    def aggregates(self) -> Iterator[Aggregate]:
        """In the order in which their first member came."""
        for (run, pattern, name, kind), group in self._groups.items():
            yield group.as_aggregate(run, pattern, name, kind)


class _Group:
    __slots__ = ("high", "low", "missing", "number", "squares", "total", "unit")

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.number = self.missing = 0
        self.total = self.squares = 0.0
        self.low, self.high = math.inf, -math.inf

    def add(self, value: float) -> None:
        if math.isnan(value):
            self.missing += 1
            return
        self.number += 1
        self.total += value
        self.squares += value * value
        self.low, self.high = min(self.low, value), max(self.high, value)

    def as_aggregate(self, run: int, pattern: str, name: str, kind: str) -> Aggregate:
        some = self.number > 0
        fair = some and self.low >= 0 and 0 < self.squares < math.inf
        return Aggregate(
            run=run,
            module=pattern,
            name=name,
            kind=kind,
            number=self.number,
            missing=self.missing,
            mean=self.total / self.number if some else math.nan,
            minimum=self.low if some else math.nan,
            maximum=self.high if some else math.nan,
            total=self.total if some else math.nan,
            jain=self.total * self.total / (self.number * self.squares) if fair else math.nan,
            unit=self.unit,
        )


class Replications:
    """The scalars of runs that differ by repetition and seeds alone."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], dict[int, float]] = {}  # module and name: run to value
        self._units: dict[tuple[str, str], str] = {}
        self.overflowed = False

    def add(self, run: int, module: str, name: str, value: float, unit: str) -> bool:
        """Take a scalar, unless its run has told it before; whether it is the first one, as far as that is known."""
        values = self._values.get((module, name))
        if values is None:
            if len(self._values) >= MOST_QUANTITIES:
                self.overflowed = True
                return True
            values = self._values[module, name] = {}
            if unit:
                self._units[module, name] = unit
        if run in values:
            return False
        values[run] = value
        return True

    def replicated(self, runs: Sequence[Run]) -> Iterator[Replicated]:
        """For each configuration with more than one run, and each quantity: what the runs say together."""
        for (config, itervars), members in _configurations(runs).items():
            if len(members) < 2:  # noqa: PLR2004 - one run is no replication
                continue
            for (module, name), values in self._values.items():
                found = [values[run] for run in members if run in values]
                known = [value for value in found if not math.isnan(value)]
                if not found:
                    continue
                finite = all(map(math.isfinite, known))
                yield Replicated(
                    config=config,
                    itervars=dict(itervars),
                    module=module,
                    name=name,
                    number=len(known),
                    missing=len(found) - len(known),
                    mean=fmean(known) if known else math.nan,
                    stddev=deviation(known) if len(known) > 1 and finite else math.nan,
                    half_width=half_width(known),
                    minimum=min(known, default=math.nan),
                    maximum=max(known, default=math.nan),
                    unit=self._units.get((module, name), ""),
                )


def equal_seeds(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """(configuration, seed set) of replications that share a seed set: they are not independent."""
    for (config, _), members in _configurations(runs).items():
        seeds = [runs[member].attributes.get("seedset", "") for member in members]
        yield from ((config, seed) for seed, times in sorted(Counter(seeds).items()) if seed and times > 1)


def _configurations(runs: Sequence[Run]) -> Mapping[tuple[str, tuple[tuple[str, str], ...]], list[int]]:
    found: dict[tuple[str, tuple[tuple[str, str], ...]], list[int]] = {}
    for place, run in enumerate(runs):
        config = run.attributes.get("configname", "")
        if run.id and config:  # without an id nobody knows whether two files are two runs
            itervars = tuple(sorted(_itervars(run).items()))
            found.setdefault((config, itervars), []).append(place)
    return found


def _itervars(run: Run) -> Mapping[str, str]:
    """Iteration variables; where only the text ``$a=1, $b=x`` tells them, that text."""
    named = {name: value for name, value in run.itervars.items() if name not in {"repetition", "seedset"}}
    if named or not run.attributes.get("iterationvars"):
        return named
    return {"iterationvars": run.attributes["iterationvars"]}
