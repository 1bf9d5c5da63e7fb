"""A statistic that the simulator computed: what it did not write down, and percentiles from its histogram."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from consumer.formats.contract import Statistic
from consumer.statistics.model import PERCENTILES, StatisticRow

MOST_BINS = 1000  # that a row keeps to be drawn
Bins = Sequence[tuple[float, float]]


def statistic_row(run: int, statistic: Statistic) -> StatisticRow:
    """The row of a statistic; a mean or a standard deviation that was not written is derived from the sums."""
    fields = statistic.fields
    weights = fields.get("weights")
    bins = merged(statistic.bins)
    minimum, maximum = _field(fields, "min"), _field(fields, "max")
    estimates = percentiles(bins, minimum, maximum, PERCENTILES) if bins else []
    if _are_integers(fields, bins):
        estimates = _integers(bins, estimates)
    return StatisticRow(
        run=run,
        module=statistic.module,
        name=statistic.name,
        count=_field(fields, "count"),
        mean=fields.get("mean", _mean(fields)),
        stddev=fields.get("stddev", _stddev(fields)),
        minimum=minimum,
        maximum=maximum,
        weights=weights,
        percentiles=dict(zip(PERCENTILES, estimates, strict=bool(estimates))),
        bins=tuple(bins) if len(bins) <= MOST_BINS else (),
        unit=statistic.attributes.get("unit", ""),
        title=statistic.attributes.get("title", ""),
    )


def _field(fields: Mapping[str, float], name: str) -> float:
    return fields.get(name, math.nan)


def _mean(fields: Mapping[str, float]) -> float:
    total, number = ("weightedSum", "weights") if "weights" in fields else ("sum", "count")
    return _divided(_field(fields, total), _field(fields, number))


def _stddev(fields: Mapping[str, float]) -> float:
    """With n - 1; weighted: (W Sxx - Sx^2) / (W^2 - sum of squared weights), as OMNeT++ does it."""
    if "weights" in fields:
        weights, total = fields["weights"], _field(fields, "weightedSum")
        variance = _divided(
            weights * _field(fields, "weightedSqrSum") - total * total,
            weights * weights - _field(fields, "sqrSumWeights"),
        )
    else:
        count, total = _field(fields, "count"), _field(fields, "sum")
        variance = _divided(_field(fields, "sqrsum") - _divided(total * total, count), count - 1)
    return math.sqrt(max(variance, 0.0)) if not math.isnan(variance) else math.nan


def _divided(a: float, b: float) -> float:
    return a / b if b else math.nan


def merged(bins: Bins) -> list[tuple[float, float]]:
    """The bins with equal neighbouring edges as one: such edges differed before they were printed."""
    found: list[tuple[float, float]] = []
    for edge, value in bins:
        if found and found[-1][0] == edge:
            found[-1] = (edge, found[-1][1] + value)
        else:
            found.append((edge, value))
    return found


def _are_integers(fields: Mapping[str, float], bins: Bins) -> bool:
    """Whether all values can only have been integers, each with a bin of its own.

    So it is if smallest and largest are integers, and the bins are one wide and end at halves; or at integers, and the
    sum is an integer as well.
    """
    edges = [edge for edge, _ in bins if math.isfinite(edge)]
    if not edges[1:] or any(high - low != 1 for low, high in pairwise(edges)):
        return False
    whole = ("min", "max") if (edges[0] - 0.5).is_integer() else ("min", "max", "sum")
    return (2 * edges[0]).is_integer() and all(_field(fields, name).is_integer() for name in whole)


def _integers(bins: Bins, estimates: Sequence[float]) -> list[float]:
    """Of each percentile the integer in whose bin it lies; the estimate where the bin has no end."""
    held = [place for place, _, _ in _places(bins, PERCENTILES)]
    return [
        float(math.ceil(bins[place][0])) if 0 <= place < len(bins) - 1 and math.isfinite(bins[place][0]) else estimate
        for place, estimate in zip(held, estimates, strict=True)
    ]


def percentiles(bins: Bins, minimum: float, maximum: float, percents: Sequence[float]) -> list[float]:
    """Percentiles by linear interpolation within the bin; NaN where the bin has no end.

    Args:
        bins: (lower edge, value), edges rising; a first edge of -inf begins at ``minimum``, the last bin ends at
            ``maximum``, where these are known.
        minimum: smallest observation; ``maximum``: the largest.
        percents: rising.
    """
    found = []
    for place, below, wanted in _places(bins, percents):
        if place < 0:
            found.append(math.nan)
            continue
        low = bins[place][0]
        high = bins[place + 1][0] if place + 1 < len(bins) else maximum
        if not math.isnan(minimum):
            low = max(low, minimum)
        if not math.isnan(maximum):
            high = min(high, maximum)
        share = _divided(wanted - below, bins[place][1])
        value = low + (high - low) * min(max(share, 0.0), 1.0)
        found.append(value if math.isfinite(value) else math.nan)
    return found


def _places(bins: Bins, percents: Sequence[float]) -> Iterator[tuple[int, float, float]]:
    """Of each percentile: the bin that holds it (-1: none does), how much lies below that, and how much shall."""
    total = math.fsum(value for _, value in bins)
    place, below = 0, 0.0
    for percent in percents:
        wanted = percent / 100 * total
        if not total > 0 or not math.isfinite(total):
            yield -1, 0.0, wanted
            continue
        while place < len(bins) - 1 and (below + bins[place][1] < wanted or not bins[place][1]):
            below += bins[place][1]
            place += 1
        yield place, below, wanted
