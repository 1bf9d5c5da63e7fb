"""How a run's key statistics compare with those of the same study's earlier runs.

The study is the campaign that the event names, else all runs of the same title; of the same publisher alone: what
another user's runs came to is nobody else's business, though both call their study alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.models import Delivery

MOST_RUNS = 50  # earlier ones, the latest


@dataclass(frozen=True, slots=True)
class Compared:
    """A key statistic as it is shown, and what the earlier runs had.

    Args:
        runs: earlier runs that have this statistic, of ``MOST_RUNS`` at most; 0: the next three mean nothing.
        low: smallest, ``mean`` and largest value of these, in the statistic's unit.
    """

    label: str
    value: str
    unit: str = ""
    number: float | None = None
    runs: int = 0
    low: float = 0.0
    mean: float = 0.0
    high: float = 0.0


def compared(delivery: Delivery) -> tuple[Compared, ...]:
    """The key statistics of a delivery beside those of earlier ones."""
    if not delivery.statistics:
        return ()
    earlier: dict[str, list[float]] = {}
    for statistics in _earlier(delivery):
        for one in statistics:
            if _is_number(one.get("number")):
                earlier.setdefault(one["label"], []).append(one["number"])
    return tuple(_beside(one, earlier.get(one["label"], [])) for one in delivery.statistics)


def _earlier(delivery: Delivery) -> list[list[Mapping[str, Any]]]:
    before = Delivery.objects.filter(
        publisher=delivery.publisher, ended_at__isnull=False, received_at__lte=delivery.received_at
    )
    rows = before.exclude(id=delivery.id)
    if delivery.campaign_id:
        rows = rows.filter(campaign_id=delivery.campaign_id)
    elif delivery.title:
        rows = rows.filter(campaign_id="", title=delivery.title)
    else:
        return []
    return list(rows.exclude(statistics=[]).order_by("-received_at").values_list("statistics", flat=True)[:MOST_RUNS])


def _beside(one: Mapping[str, Any], values: list[float]) -> Compared:
    shown = Compared(one["label"], one["value"], one.get("unit", ""), one.get("number"))
    if not values or not _is_number(shown.number):
        return shown
    mean = math.fsum(values) / len(values)
    return Compared(shown.label, shown.value, shown.unit, shown.number, len(values), min(values), mean, max(values))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
