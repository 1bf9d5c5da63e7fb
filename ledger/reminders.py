"""Who was mailed a link is reminded, once for each date, some days before the archive goes."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import F
from django.db.models.functions import Now

from ledger.expiry import end_of, keeps_until
from ledger.models import Notification, Placement
from ledger.states import Kind, NoticeState, State
from ledger.work import from_now, unit_of_work

BATCH = 500
# An archive that is kept for less than so many times as long needs no reminder: its mail is still at the top.
LONG_ENOUGH = 2
DAY_SECONDS = 86400.0


@unit_of_work
def remind(days: int) -> int:
    """Owe a reminder for each archive that is removed within ``days``; returns how many mails there are to send.

    Of a delivery whose event was erased nobody knows any more who is to be told.
    """
    soon = Placement.objects.filter(
        remove_at__gt=Now(),
        remove_at__lte=from_now(days * DAY_SECONDS),
        backend=F("delivery__stored_backend"),
        generation=F("delivery__generation"),
        delivery__state=State.DELIVERED,
        delivery__keep_days__gte=LONG_ENOUGH * days,
    ).exclude(delivery__body=b"")
    made = 0
    for place in soon.select_related("delivery").annotate(now=Now()).order_by("remove_at")[:BATCH]:
        until = keeps_until(place.delivery)
        if end_of(until) > place.now + timedelta(days=days):
            continue
        about = Notification.objects.filter(delivery_id=place.delivery_id)
        if about.filter(kind=Kind.REMINDER, occasion=until.toordinal()).exists():
            continue
        told = about.filter(kind=Kind.DELIVERED, state=NoticeState.SENT).values_list("recipient", flat=True)
        owed = [
            Notification(
                delivery_id=place.delivery_id,
                recipient=recipient,
                kind=Kind.REMINDER,
                occasion=until.toordinal(),
                created_at=Now(),
                due_at=Now(),
                wake_at=Now(),
                wake_seconds=60.0,
            )
            for recipient in dict.fromkeys(told)
        ]
        Notification.objects.bulk_create(owed, ignore_conflicts=True)
        made += len(owed)
    return made
