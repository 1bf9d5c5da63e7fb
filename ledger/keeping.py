"""Keeping an archive longer than was promised: somebody asks on its page, within the operator's bound.

Removal moves at once. A link that the storage service ends earlier is asked to live as long; that is a worker's part,
since the site speaks to no service.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from backends.contract import Link, Stored
from ledger.expiry import end_of, keeps_until
from ledger.models import Delivery, Placement
from ledger.states import State, StepKind
from ledger.steps import note
from ledger.work import from_now, unit_of_work

RELINK_AGAIN_SECONDS = 900.0
BATCH = 50


@dataclass(frozen=True, slots=True)
class Relink:
    """A link that is to live until ``expires``."""

    delivery_id: UUID
    backend: str
    stored: Stored
    expires: datetime


@unit_of_work
def longer(delivery_id: UUID, most_days: int) -> date | None:
    """Until when it could be kept if somebody asked now; None: not longer than it is."""
    row = Delivery.objects.annotate(now=Now()).filter(id=delivery_id).first()
    return _longer(row, most_days) if row else None


@unit_of_work
def keep_longer(delivery_id: UUID, most_days: int) -> date | None:
    """Keep an archive for its keep days once more, but not longer than ``most_days`` after the delivery has ended.

    Returns:
        The last day on which it is kept now; None: it cannot be kept longer.
    """
    with transaction.atomic():
        row = Delivery.objects.select_for_update().annotate(now=Now()).filter(id=delivery_id).first()
        until = _longer(row, most_days) if row else None
        if row is None or until is None:
            return None
        ends = end_of(until)
        early = row.link_expires is not None and row.link_expires < ends
        Delivery.objects.filter(id=row.id).update(kept_until=until, relink_at=Now() if early else None)
        Placement.objects.filter(delivery_id=row.id, backend=row.stored_backend, generation=row.generation).update(
            remove_at=ends
        )
        note(row.id, StepKind.KEPT, detail=f"until {until:%d %B %Y}")
    return until


@unit_of_work
def to_relink() -> list[Relink]:
    """Links that the service ends before the archive is removed."""
    rows = Delivery.objects.filter(relink_at__lte=Now(), state=State.DELIVERED, stored__isnull=False)
    return [
        Relink(row.id, row.stored_backend, Stored.model_validate(row.stored), end_of(row.kept_until))
        for row in rows.order_by("relink_at")[:BATCH]
        if row.kept_until
    ]


@unit_of_work
def relinked(one: Relink, link: Link) -> None:
    """The service has answered; its link may still end earlier, which the page then tells."""
    with transaction.atomic():
        changed = Delivery.objects.filter(id=one.delivery_id, state=State.DELIVERED).update(
            link=link.url, link_expires=link.expires, relink_at=None
        )
        if changed and (link.expires is None or link.expires >= one.expires):
            note(one.delivery_id, StepKind.RELINKED)


@unit_of_work
def relink_later(one: Relink, *, give_up: bool) -> None:
    """The service did not do it now, or never will."""
    Delivery.objects.filter(id=one.delivery_id).update(relink_at=None if give_up else from_now(RELINK_AGAIN_SECONDS))


def _longer(row: Any, most_days: int) -> date | None:
    if row.state != State.DELIVERED or not row.keep_days or row.ended_at is None:
        return None
    until = keeps_until(row)
    if end_of(until) <= row.now:  # its removal may have begun
        return None
    bound = (row.ended_at + timedelta(days=most_days)).date()
    later = min(until + timedelta(days=row.keep_days), bound)
    return later if later > until else None
