"""How a run's key statistics compare with those of the same study's earlier runs.

The study is the campaign that the event names, else all runs of the same title; of the same publisher alone: what
another user's runs came to is nobody else's business, though both call their study alike. Of a campaign, only runs with
the same parameters say what is usual, whatever their seeds; and nowhere do simulations that did not succeed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ledger.models import Delivery
from ledger.parameters import combination
from ledger.simulation import event_of
from messaging.digits import with_unit
from messaging.messages import Completed, Outcome

MOST_RUNS = 50  # earlier ones, the latest
MOST_LOOKED_AT = 500  # to find them
ENOUGH_RUNS = 3  # earlier ones: to be beyond all of fewer says little
_BATCH = 50


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

    @property
    def beyond(self) -> str:
        """``above`` or ``below`` all earlier runs; empty: neither, or they are too few for that to say anything."""
        if self.runs < ENOUGH_RUNS or self.number is None or self.low <= self.number <= self.high:
            return ""
        return "below" if self.number < self.low else "above"

    @property
    def earlier(self) -> str:
        """What the earlier runs had, in words; empty: there are none."""
        if not self.runs:
            return ""
        if self.runs == 1:
            return f"the run before: {with_unit(self.mean, self.unit)}"
        low, mean, high = (with_unit(value, self.unit) for value in (self.low, self.mean, self.high))
        span = f"{low} each" if low == high else f"{low} to {high}, mean {mean}"
        return f"{f'{self.beyond} all ' if self.beyond else ''}{self.runs} earlier runs: {span}"


def compared(delivery: Delivery) -> tuple[Compared, ...]:
    """The key statistics of a delivery beside those of earlier ones."""
    if not delivery.statistics:
        return ()
    earlier: dict[str, list[float]] = {}
    for statistics in islice(_earlier(delivery), MOST_RUNS):
        for one in statistics:
            if _is_number(one.get("number")):
                earlier.setdefault(one["label"], []).append(one["number"])
    return tuple(_beside(one, earlier.get(one["label"], [])) for one in delivery.statistics)


def _earlier(delivery: Delivery) -> Iterator[list[Mapping[str, Any]]]:
    """Those of earlier runs of the same parameters, the latest first."""
    before = Delivery.objects.filter(
        publisher=delivery.publisher, ended_at__isnull=False, received_at__lte=delivery.received_at
    )
    rows = before.exclude(id=delivery.id).exclude(body=b"").exclude(statistics=[]).order_by("-received_at")
    if delivery.campaign_id:
        rows = rows.filter(campaign_id=delivery.campaign_id)
    elif delivery.title:
        rows = rows.filter(campaign_id="", title=delivery.title)
    else:
        return
    mine = event_of(delivery.body)
    if mine is None:
        return
    own = _parameters(mine)
    for begin in range(0, MOST_LOOKED_AT, _BATCH):
        batch = list(rows.values_list("body", "statistics")[begin : begin + _BATCH])
        for body, statistics in batch:
            data = event_of(body)
            if data and data.outcome == Outcome.SUCCEEDED and _parameters(data) == own:
                yield statistics
        if len(batch) < _BATCH:
            return


def _parameters(data: Completed) -> object:
    return combination(data.campaign.parameters) if data.campaign else ()


def _beside(one: Mapping[str, Any], values: list[float]) -> Compared:
    shown = Compared(one["label"], one["value"], one.get("unit", ""), one.get("number"))
    if not values or not _is_number(shown.number):
        return shown
    mean = math.fsum(values) / len(values)
    return Compared(shown.label, shown.value, shown.unit, shown.number, len(values), min(values), mean, max(values))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
