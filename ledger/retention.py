"""What is kept how long: what names people goes some time after a delivery has ended, in small batches.

Ids, digests of the events' bodies, publishers, states and times stay for ever, so that an event is recognised when it
is published again after years. What is not yet done with (deliveries under way, mails that are owed, open dead
letters) stays whole, and so does what tells about an archive while it lies at a storage service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import CharField, Exists, OuterRef, QuerySet, Value
from django.db.models.functions import Cast, Concat, Now

from ledger.dead_letters import OPEN
from ledger.models import DeadLetter, Delivery, Notification, Picture, Placement, Step
from ledger.states import ENDS, OWED
from ledger.work import from_now, unit_of_work

DAY: Final = 24 * 3600.0
BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Keep:
    """For how long; 0 is for ever.

    Args:
        recipients_days: an ended delivery's event and its recipients' addresses, mails to operators, and dead letters
            that are closed.
        deliveries_days: whatever else tells what an ended delivery was about, and the admin's history.
    """

    recipients_days: int
    deliveries_days: int


@unit_of_work
def due(keep: Keep) -> dict[str, int]:
    """How many rows would be made to forget now, by kind."""
    return {kind: rows.count() for kind, rows in _due(keep).items()}


@unit_of_work
def forget(keep: Keep, limit: int = BATCH) -> dict[str, int]:
    """Make at most ``limit`` rows of each kind forget; returns how many there were, without the kinds that had none."""
    done = {}
    for kind, rows in _due(keep).items():
        with transaction.atomic():  # a row that is locked here is not tried again by an operator meanwhile
            ids = list(rows.select_for_update().values_list("pk", flat=True)[:limit])
            if ids:
                _FORGET[kind](ids)
                done[kind] = len(ids)
    return done


def _due(keep: Keep) -> Mapping[str, QuerySet[Any]]:
    owed = Notification.objects.filter(delivery_id=OuterRef("pk"), state__in=OWED)
    told = Notification.objects.filter(delivery=None).exclude(state__in=OWED).order_by()
    ended = Delivery.objects.filter(~Exists(owed), state__in=ENDS).order_by()
    placed = Placement.objects.filter(delivery_id=OuterRef("pk"))  # names the archive; the expiry removes both
    return {
        "deliveries": _older(ended.filter(~Exists(placed)).exclude(simulation_id=""), "ended_at", keep.deliveries_days),
        "events": _older(ended.exclude(body=b""), "ended_at", keep.recipients_days),
        "notices and digests": _older(told, "created_at", keep.recipients_days),
        "dead letters": _older(DeadLetter.objects.exclude(OPEN).order_by(), "closed_at", keep.recipients_days),
        "history": _older(LogEntry.objects.order_by(), "action_time", keep.deliveries_days),
        "sessions": Session.objects.filter(expire_date__lt=Now()),
    }


def _older(rows: QuerySet[Any], column: str, days: int) -> QuerySet[Any]:
    return rows.filter(**{f"{column}__lt": from_now(-days * DAY)}) if days else rows.none()


def _forget_events(ids: list[Any]) -> None:
    """The events themselves, and to whom was mailed; that and when it was mailed stays."""
    Delivery.objects.filter(pk__in=ids).update(body=b"")
    Notification.objects.filter(delivery_id__in=ids).update(
        recipient=Concat(Value("erased "), Cast("id", CharField())),  # still one row per recipient
        reason="",
    )


def _forget_deliveries(ids: list[Any]) -> None:
    _forget_events(ids)
    Delivery.objects.filter(pk__in=ids).update(
        simulation_id="",
        title="",
        campaign_id="",
        stage="",
        reason="",
        worker="",
        archive_name="",
        warnings=[],
        checkpoint=None,
        stored=None,
        link="",
        contents={},
        page_key=None,
    )
    Step.objects.filter(delivery_id__in=ids).delete()
    Picture.objects.filter(delivery_id__in=ids).delete()


_FORGET: Final[Mapping[str, Callable[[list[Any]], object]]] = {
    "deliveries": _forget_deliveries,
    "events": _forget_events,
    "notices and digests": lambda ids: Notification.objects.filter(pk__in=ids).delete(),
    "dead letters": lambda ids: DeadLetter.objects.filter(pk__in=ids).delete(),
    "history": lambda ids: LogEntry.objects.filter(pk__in=ids).delete(),
    "sessions": lambda ids: Session.objects.filter(pk__in=ids).delete(),
}
