"""A parameter study as a table: a row for each combination of parameters, means with their intervals as cells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from consumer.statistics.intervals import half_width
from ledger.api import Kind, RunOutcome, combination, comparable, tells_replications
from messaging.digits import amount
from messaging.messages import Outcome

MOST_STATISTICS = 4
Parameters = tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What replications say together.

    Args:
        number: of them that have this statistic.
        half_width: of the 95 % confidence interval (Student's t); None for fewer than two.
    """

    number: int
    mean: float
    half_width: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One combination of parameters.

    Args:
        values: of `Matrix.parameters`.
        good: runs that were delivered and whose simulation succeeded: what the estimates are of.
        lost: runs that could not be delivered; ``failed``: delivered ones whose simulation did not succeed.
        estimates: of `Matrix.statistics`; None where no run has it.
    """

    values: tuple[str, ...]
    good: tuple[RunOutcome, ...]
    lost: tuple[RunOutcome, ...]
    failed: tuple[RunOutcome, ...]
    estimates: tuple[Estimate | None, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """The table.

    Args:
        common: parameters that have the same value in all runs.
        parameters: the others.
        statistics: label and unit of each.
    """

    common: tuple[tuple[str, str], ...]
    parameters: tuple[str, ...]
    statistics: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


def matrix(runs: Sequence[RunOutcome]) -> Matrix:
    """Replications are runs whose parameters differ by what `tells_replications` names alone."""
    groups: dict[Parameters, list[RunOutcome]] = {}
    shown: dict[str, dict[object, str]] = {}  # by name: each value as it is shown
    for run in runs:
        told = parameters(run)
        for name, value in told.items():
            shown.setdefault(name, {}).setdefault(comparable(value), _text(value))
        groups.setdefault(combination(told), []).append(run)
    common = {name for name, values in shown.items() if len(values) == 1 and all(_has(key, name) for key in groups)}
    names = tuple(name for name in shown if name not in common)
    statistics = _shared(run for run in runs if _is_good(run))
    ordered = sorted(groups, key=lambda key: [_rank(dict(key).get(name)) for name in names])
    return Matrix(
        common=tuple((name, next(iter(shown[name].values()))) for name in shown if name in common),
        parameters=names,
        statistics=statistics,
        rows=tuple(
            _row(tuple(shown[name].get(dict(key).get(name), "") for name in names), groups[key], statistics)
            for key in ordered
        ),
    )


def parameters(run: RunOutcome) -> Mapping[str, Any]:
    """Its parameters, without what tells replications apart."""
    return {name: value for name, value in _stated(run).items() if not tells_replications(name)}


def replication(run: RunOutcome) -> str:
    """What tells it from its replications: ``seed 3``; where nothing does, the simulation's id."""
    told = [f"{name} {_text(value)}" for name, value in _stated(run).items() if tells_replications(name)]
    return ", ".join(told) or run.event.simulation_id


def _stated(run: RunOutcome) -> Mapping[str, Any]:
    return run.event.campaign.parameters if run.event.campaign else {}


def _is_good(run: RunOutcome) -> bool:
    return run.kind != Kind.FAILED and run.event.outcome == Outcome.SUCCEEDED


def _row(values: tuple[str, ...], runs: Sequence[RunOutcome], statistics: Sequence[tuple[str, str]]) -> Row:
    good = tuple(run for run in runs if _is_good(run))
    lost = tuple(run for run in runs if run.kind == Kind.FAILED)
    return Row(
        values=values,
        good=good,
        lost=lost,
        failed=tuple(run for run in runs if run.kind != Kind.FAILED and run.event.outcome != Outcome.SUCCEEDED),
        estimates=tuple(_estimate([numbers(run).get(statistic) for run in good]) for statistic in statistics),
    )


def _estimate(found: Iterable[float | None]) -> Estimate | None:
    values = [value for value in found if value is not None]
    return Estimate(len(values), fmean(values), half_width(values)) if values else None


def _shared(runs: Iterable[RunOutcome]) -> tuple[tuple[str, str], ...]:
    """Statistics that at least half of the runs have; first what most have, and what their own mails tell first."""
    places: dict[tuple[str, str], list[int]] = {}
    good = 0
    for run in runs:
        good += 1
        for place, statistic in enumerate(numbers(run)):
            places.setdefault(statistic, []).append(place)
    shared = [statistic for statistic, found in places.items() if 2 * len(found) >= good]
    shared.sort(key=lambda statistic: (-len(places[statistic]), fmean(places[statistic])))
    return tuple(shared[:MOST_STATISTICS])


def numbers(run: RunOutcome) -> dict[tuple[str, str], float]:
    """Its key statistics that are single numbers, by label and unit."""
    return {
        (one["label"], one.get("unit") or ""): float(one["number"])
        for one in run.statistics
        if isinstance(one.get("number"), int | float) and math.isfinite(one["number"])
    }


def _has(key: Parameters, name: str) -> bool:
    return any(each == name for each, _ in key)


def _rank(comparable: Any) -> tuple[int, object]:
    return comparable if comparable is not None else (0, 0)


def _text(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case int():
            return str(value)
        case float():
            return amount(value, 6)
    return str(value)
