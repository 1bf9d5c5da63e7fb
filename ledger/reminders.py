"""Who was mailed a link is reminded, once for each date, some days before the archive goes."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import F, Max, Q
from django.db.models.functions import Now

from ledger.expiry import end_of, last_day
from ledger.models import Notification, Placement
from ledger.states import Kind, NoticeState, State
from ledger.work import from_now, unit_of_work

BATCH = 500
# An archive that is kept for less than so many times as long needs no reminder: its mail is still at the top.
LONG_ENOUGH = 2
DAY_SECONDS = 86400.0


@unit_of_work
def remind(days: int, *, digests: bool = True) -> int:
    """Owe a reminder for each archive that is removed within ``days``; returns how many.

    Of a delivery whose event was erased nobody knows any more who is to be told.

    Args:
        digests: reminders of a campaign's archives are gathered; else each has a mail of its own.
    """
    soon = Placement.objects.filter(
        remove_at__gt=Now(),
        remove_at__lte=from_now(days * DAY_SECONDS),
        backend=F("delivery__stored_backend"),
        generation=F("delivery__generation"),
        delivery__state=State.DELIVERED,
        delivery__keep_days__gte=LONG_ENOUGH * days,
    ).exclude(delivery__body=b"")
    mails = "delivery__notifications"
    soon = soon.annotate(
        now=Now(),
        promised=Max(f"{mails}__keep_until", filter=Q(**{f"{mails}__state": NoticeState.SENT})),
        reminded=Max(f"{mails}__occasion", filter=Q(**{f"{mails}__kind": Kind.REMINDER})),
    )
    owed: list[Notification] = []
    for place in soon.select_related("delivery").defer("delivery__body").order_by("remove_at").iterator(BATCH):
        until = last_day(place.delivery, place.promised)
        if end_of(until) > place.now + timedelta(days=days) or place.reminded == until.toordinal():
            continue
        told = Notification.objects.filter(
            delivery_id=place.delivery_id, kind=Kind.DELIVERED, state=NoticeState.SENT
        ).values_list("recipient", flat=True)
        gathered = digests and bool(place.delivery.campaign_id)
        owed += [
            Notification(
                delivery_id=place.delivery_id,
                recipient=recipient,
                kind=Kind.REMINDER,
                occasion=until.toordinal(),
                state=NoticeState.GATHERED if gathered else NoticeState.PENDING,
                created_at=Now(),
                due_at=Now(),
                wake_at=None if gathered else Now(),
                wake_seconds=60.0,
            )
            for recipient in dict.fromkeys(told)
        ]
    with transaction.atomic():  # a campaign's are seen together, so that one digest tells them
        Notification.objects.bulk_create(owed, batch_size=BATCH, ignore_conflicts=True)
    return len(owed)
