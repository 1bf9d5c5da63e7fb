"""How much there is of what, and since when: for the operator's page and for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Count, DurationField, ExpressionWrapper, Min, QuerySet, Sum
from django.db.models.functions import Now

from ledger.dead_letters import OPEN
from ledger.models import DeadLetter, Delivery, Notification
from ledger.processes import of_this_machine
from ledger.states import ENDS, NoticeState
from ledger.tables import users
from ledger.work import unit_of_work

# Programs that an installation needs at least one of.
ROLES = ("worker", "email-sender")
OPEN_MAILS = (NoticeState.PENDING, NoticeState.SENDING)


@dataclass(frozen=True, slots=True)
class Pile:
    """Rows of one kind.

    Args:
        key: what they have in common.
        oldest: seconds since the first of them came.
    """

    key: tuple[str, ...]
    count: int
    oldest: float


NONE = Pile((), 0, 0.0)


@dataclass(frozen=True, slots=True)
class Process:
    """A process that works with the ledger at this moment.

    Args:
        place: ``host:pid``, as a worker's lease names it.
    """

    role: str
    place: str


@unit_of_work
def open_deliveries() -> list[Pile]:
    """Deliveries that have not ended, by lane and state."""
    return _piles(Delivery.objects.exclude(state__in=ENDS), ["lane", "state"], "received_at")


@unit_of_work
def ended_deliveries() -> list[Pile]:
    """Deliveries that have ended, by lane and state."""
    return _piles(Delivery.objects.filter(state__in=ENDS), ["lane", "state"], "ended_at")


@unit_of_work
def open_mails() -> list[Pile]:
    """Mails that are owed, by kind and state."""
    # What is owed has a time to be woken at, by which there is an index.
    owed = Notification.objects.filter(wake_at__isnull=False, state__in=OPEN_MAILS)
    return _piles(owed, ["kind", "state"], "created_at")


@unit_of_work
def ended_mails() -> list[Pile]:
    """Mails that were sent or given up, or are gathered for a digest, by kind and state."""
    return _piles(Notification.objects.exclude(state__in=OPEN_MAILS), ["kind", "state"], "created_at")


@unit_of_work
def uncertain_mails() -> int:
    """How often a mail was sent again without knowing whether it had arrived."""
    return Notification.objects.filter(uncertain__gt=0).aggregate(times=Sum("uncertain"))["times"] or 0


@unit_of_work
def open_dead_letters() -> Pile:
    """Those that nobody has replayed or discarded."""
    found = _piles(DeadLetter.objects.filter(OPEN), ["closed_as"], "first_at")
    return Pile((), sum(pile.count for pile in found), max((pile.oldest for pile in found), default=0.0))


@unit_of_work
def processes() -> list[Process]:
    """Every process that works with the ledger now, however idle."""
    return sorted((_process(name) for name in users()), key=lambda one: (one.role, one.place))


@unit_of_work
def has_ended(worker: str) -> bool:
    """Whether a process that a lease names (``host:pid``) is known to have ended, before its lease has.

    Only of this machine, and of a ledger that is a file of it: the kernel lets go of a process's lock when it ends. A
    session of a server may be lost and come back.
    """
    here = of_this_machine("")
    return (
        connection.vendor == "sqlite"
        and worker.startswith(here)
        and all(_process(name).place != worker for name in users())
    )


def _process(name: str) -> Process:
    """``worker host:12`` where the ledger is a server's, ``worker-12`` where it is a file of this machine."""
    role, space, place = name.partition(" ")
    if space:
        return Process(role, place)
    role, _, number = name.rpartition("-")
    return Process(role, of_this_machine(number))


def _piles(rows: QuerySet[Any], columns: Sequence[str], since: str) -> list[Pile]:
    age = ExpressionWrapper(Now() - Min(since), output_field=DurationField())
    grouped = rows.order_by().values(*columns).annotate(count=Count("pk"), age=age).order_by(*columns)
    return [
        Pile(tuple(row[column] for column in columns), row["count"], max(0.0, row["age"].total_seconds()))
        for row in grouped
    ]
