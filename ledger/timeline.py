"""Deliveries by the hour in which they came and by what has become of them, as a drawing and as a table."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Count
from django.db.models.functions import TruncHour

from ledger.models import Delivery
from ledger.states import State

HOURS = 24
# The drawing's own units.
WIDTH, HEIGHT = 560, 210
LEFT, BOTTOM, TOP = 46, 30, 12
GAP = 4

# From the bottom up, each with the states in it. Their colours are in site.css, by name.
KINDS = {
    "delivered": ("Delivered", (State.DELIVERED, State.EXPIRED)),
    "open": ("Not yet", (State.RECEIVED, State.WORKING, State.WAITING)),
    "cancelled": ("Cancelled", (State.CANCELLED,)),
    "failed": ("Failed", (State.FAILED,)),
}


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a bar."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A label at an axis, with a line of the grid where it is that of a count."""

    text: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Hour:
    """A row of the table."""

    begins: datetime
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The last day.

    Args:
        said: what can be seen on the drawing, for those who do not see it.
        hours: of the table, the latest first, without those in which nothing came.
    """

    said: str
    blocks: tuple[Block, ...]
    hours_at: tuple[Mark, ...]
    counts_at: tuple[Mark, ...]
    hours: tuple[Hour, ...]
    names: tuple[str, ...] = tuple(name for name, _ in KINDS.values())
    legend: tuple[tuple[str, str], ...] = tuple((kind, name) for kind, (name, _) in KINDS.items())
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    base: int = HEIGHT - BOTTOM


def timeline(now: datetime) -> Timeline:
    """The last ``HOURS`` hours up to ``now``."""
    last = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    begins = [last - timedelta(hours=back) for back in reversed(range(HOURS))]
    rows = (
        Delivery.objects.filter(received_at__gte=begins[0], state__in=list(State))  # the states for the index's sake
        .order_by()
        .annotate(hour=TruncHour("received_at", tzinfo=UTC))
        .values("hour", "state")
        .annotate(count=Count("pk"))
    )
    found: dict[tuple[datetime, str], int] = defaultdict(int)
    for row in rows:
        found[row["hour"], row["state"]] += row["count"]
    bars = [
        Hour(hour, tuple(sum(found[hour, state] for state in states) for _, states in KINDS.values()))
        for hour in begins
    ]
    return _drawn(bars)


def _drawn(bars: list[Hour]) -> Timeline:
    most = _nice(max(sum(bar.numbers) for bar in bars))
    step = (WIDTH - LEFT) / len(bars)
    scale = (HEIGHT - BOTTOM - TOP) / most
    blocks = []
    for place, bar in enumerate(bars):
        y = float(HEIGHT - BOTTOM)
        for kind, number in zip(KINDS, bar.numbers, strict=True):
            if number:
                y -= number * scale
                blocks.append(
                    Block(kind, round(LEFT + place * step + GAP / 2, 1), round(y, 1), round(step - GAP, 1),
                          round(number * scale, 1))
                )  # fmt: skip
    return Timeline(
        said=_said(bars),
        blocks=tuple(blocks),
        hours_at=tuple(
            Mark(f"{bar.begins:%H}", round(LEFT + (place + 0.5) * step, 1), HEIGHT - BOTTOM + 20)
            for place, bar in enumerate(bars)
            if bar.begins.hour % 3 == 0
        ),
        counts_at=tuple(
            Mark(f"{count:g}", LEFT - 6, round(HEIGHT - BOTTOM - count * scale, 1)) for count in (0, most / 2, most)
        ),
        hours=tuple(bar for bar in reversed(bars) if any(bar.numbers)),
    )


def _said(bars: list[Hour]) -> str:
    sums = [sum(numbers) for numbers in zip(*(bar.numbers for bar in bars), strict=True)]
    told = ", ".join(f"{number} {name.lower()}" for number, (name, _) in zip(sums, KINDS.values(), strict=True))
    return f"{sum(sums)} deliveries have come within the last {len(bars)} hours: {told}."


def _nice(most: int) -> int:
    """The smallest of 2, 4, 10, 20, 40, 100 ... that is not less, so that its half is whole."""
    power = 1
    while True:
        for first in (2, 4, 10):
            if first * power >= most:
                return first * power
        power *= 10
