"""What is to be removed from storage services: archives after their keep days, and what deliveries left behind.

Each place that was promised to a delivery carries the time at which it is looked at (``remove_at``, set where the
delivery ends). Only then is it decided, on the delivery as it is: a mail that is still owed puts it off, a delivery
that was started again keeps its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Max
from django.db.models.functions import Now

from backends.contract import Stored
from ledger.models import Delivery, Notification, Placement, StorageBackend
from ledger.states import OWED, NoticeState, State, StepKind, may_become
from ledger.steps import note
from ledger.work import from_now, unit_of_work

BATCH = 100
LOOK_AGAIN_SECONDS = 3600.0
FIRST_RETRY_SECONDS = 60.0
LONGEST_RETRY_SECONDS = 86400.0


@dataclass(frozen=True, slots=True)
class Removal:
    """A file to be removed.

    Args:
        backend: identifier of the definition with which it was stored.
        stored: what to hand to the plugin.
        expired: it is the delivery's archive, whose time is over; else something left behind.
        tries: how often it could not be removed.
    """

    placement: int
    delivery_id: UUID
    title: str
    backend: str
    stored: Stored
    expired: bool
    tries: int


@unit_of_work
def due(*, look_only: bool = False) -> list[Removal]:
    """What is to be removed now, the longest overdue first; what cannot be decided yet is put off.

    Args:
        look_only: change nothing.
    """
    unhealthy = StorageBackend.objects.filter(unhealthy_until__gt=Now()).values("storage_backend_id")
    rows = Placement.objects.filter(remove_at__lte=Now()).exclude(backend__in=unhealthy)
    found = []
    overdue = rows.select_related("delivery").annotate(now=Now()).order_by("remove_at")
    for row in overdue if look_only else overdue[:BATCH]:
        later = _later(row)
        if later is None:
            found.append(_removal(row))
        elif not look_only:
            Placement.objects.filter(pk=row.pk).update(remove_at=later)
    return found


@unit_of_work
def begin(removal: Removal) -> bool:
    """Make sure that nobody will need the file any more; False: it is needed, leave it.

    A FAILED delivery that an operator starts again from now on packs anew, under another key.
    """
    with transaction.atomic():
        row = Placement.objects.select_related("delivery").annotate(now=Now()).filter(pk=removal.placement).first()
        if row is None or _later(row) is not None:
            return False
        if row.delivery.state != State.FAILED:
            return True
        return (
            Delivery.objects.filter(pk=row.delivery_id, state=State.FAILED).update(
                archive_sha256="", archive_size=None, checkpoint=None, sent_bytes=0, stored=None, stored_backend=""
            )
            == 1
        )


@unit_of_work
def being_removed(delivery_id: UUID) -> bool:
    """Whether the archive of a delivery may be gone at any moment, since its keep days are over."""
    rows = Placement.objects.select_related("delivery").annotate(now=Now())
    return any(
        _is_archive(row) and _later(row) is None for row in rows.filter(delivery_id=delivery_id, remove_at__lte=Now())
    )


@unit_of_work
def removed(removal: Removal) -> None:
    """The file is gone; a delivery whose archive it was is EXPIRED."""
    with transaction.atomic():
        Placement.objects.filter(pk=removal.placement).delete()
        if removal.expired:
            Delivery.objects.filter(pk=removal.delivery_id, state__in=may_become(State.EXPIRED)).update(
                state=State.EXPIRED
            )
            note(removal.delivery_id, StepKind.REMOVED)


@unit_of_work
def not_removed(removal: Removal) -> None:
    """It could not be removed; it is tried again, after a time that doubles up to a day."""
    delay = min(FIRST_RETRY_SECONDS * 2.0 ** min(removal.tries, 20), LONGEST_RETRY_SECONDS)
    Placement.objects.filter(pk=removal.placement).update(remove_at=from_now(delay), remove_tries=removal.tries + 1)


def _later(row: Any) -> Any:
    """When to look again, as a value for ``remove_at``; None: the file is to be removed now."""
    delivery = row.delivery
    if not _is_archive(row):
        over = {State.DELIVERED, State.EXPIRED, State.CANCELLED, State.FAILED}
        return None if delivery.state in over else from_now(LOOK_AGAIN_SECONDS)
    notices = Notification.objects.filter(delivery_id=delivery.pk)
    if notices.filter(state__in=OWED).exists():
        return from_now(LOOK_AGAIN_SECONDS)
    over_at = end_of(keeps_until(delivery))
    return over_at if over_at > row.now else None


def keeps_until(delivery: Any) -> date:
    """The last day on which the archive of a DELIVERED one is kept, if that is not for ever."""
    sent = Notification.objects.filter(delivery_id=delivery.pk, state=NoticeState.SENT)
    return last_day(delivery, sent.aggregate(last=Max("keep_until"))["last"])


def last_day(delivery: Any, promised: date | None) -> date:
    """The same, where the latest date that a mail has stated is known; None: none has."""
    last: date = promised or (delivery.ended_at + timedelta(days=delivery.keep_days)).date()
    return max(last, delivery.kept_until or last)


def until_when(promised: date | None, link_expires: datetime | None) -> str:
    """Until when a link can be used, in words: the promised day's end, or the service's earlier one."""
    ends = link_expires.astimezone(UTC) if link_expires else None
    if ends is not None and (promised is None or ends < end_of(promised)):
        return f"until {ends:%d %B %Y, %H:%M} UTC"
    return f"until {promised:%d %B %Y}, 23:59 UTC" if promised else "without an end date"


def end_of(day: date) -> datetime:
    """When a day ends."""
    return datetime.combine(day + timedelta(days=1), datetime.min.time(), tzinfo=UTC)


def _removal(row: Any) -> Removal:
    confirmed = row.stored or {"key": row.key, "size": 0}
    return Removal(
        placement=row.pk,
        delivery_id=row.delivery_id,
        title=str(row.delivery),
        backend=row.backend,
        stored=Stored.model_validate(confirmed),
        expired=_is_archive(row),
        tries=row.remove_tries,
    )


def _is_archive(row: Any) -> bool:
    """True for the place that the delivery's link leads to."""
    delivery = row.delivery
    current = (delivery.stored_backend, delivery.generation)
    return delivery.state == State.DELIVERED and (row.backend, row.generation) == current
