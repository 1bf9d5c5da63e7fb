"""Finds rows that nobody has come for, so that even a lost message loses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from django.db.models import F, Q, Value
from django.db.models.functions import Least, Now

from ledger.announcements import announcement, notice_message
from ledger.models import Delivery, Lock, Notification
from ledger.states import Kind, NoticeState, State
from ledger.work import from_now, unit_of_work
from messaging.engine import Outgoing
from messaging.messages import Lane
from messaging.topology import wake_key

BATCH = 500
LONGEST_INTERVAL = 3600.0


@dataclass(frozen=True, slots=True)
class Overdue:
    """A row to be woken: publish ``wake_up``, then `stamp` it.

    Args:
        subject: id of a delivery, or of a mail that is not about one.
    """

    subject: UUID
    state: str
    wake_up: Outgoing


@unit_of_work
def lock(name: str, holder: str, seconds: float) -> bool:
    """Take, or prolong, the lock ``name`` for ``seconds`` by the database's clock; False: somebody else has it."""
    mine = Lock.objects.filter(name=name, holder=holder) | Lock.objects.filter(name=name, until__lt=Now())
    if mine.update(holder=holder, until=from_now(seconds)):
        return True
    if Lock.objects.filter(name=name).exists():
        return False
    Lock.objects.bulk_create([Lock(name=name, holder=holder, until=from_now(seconds))], ignore_conflicts=True)
    return Lock.objects.filter(name=name, holder=holder).exists()


@unit_of_work
def unlock(name: str, holder: str) -> None:
    """Let go of a lock."""
    Lock.objects.filter(name=name, holder=holder).delete()


@unit_of_work
def overdue(ready: Mapping[Lane, int], announced: int = 0) -> list[Overdue]:
    """Deliveries, and deliveries with notifications, that are past the time stamped in their rows.

    Args:
        ready: messages that lie in each lane. Where there are at least as many as deliveries RECEIVED there, none of
            these has lost its own: it only waits for its turn, and another wake-up would make the queue longer.
        announced: messages that lie in the email sender's queue; likewise.
    """
    found: dict[UUID, Overdue] = {}
    due = Delivery.objects.filter(wake_at__lte=Now(), state__in=[State.RECEIVED, State.WORKING, State.WAITING])
    for lane in Lane:
        if Delivery.objects.filter(state=State.RECEIVED, lane=lane).count() <= ready.get(lane, 0):
            due = due.exclude(state=State.RECEIVED, lane=lane)
    for delivery_id, state, lane_name, body in due.values_list("id", "state", "lane", "body")[:BATCH]:
        found[delivery_id] = Overdue(delivery_id, state, _wake_up(delivery_id, lane_name, body))
    owed = Notification.objects.filter(wake_at__lte=Now())
    for notice_id, kind in owed.filter(delivery=None).values_list("id", "kind")[:BATCH]:
        told = notice_message(notice_id)
        if told is not None:
            found[notice_id] = Overdue(notice_id, Kind(kind).label, told)
    about_deliveries = owed.exclude(delivery=None)
    pending = Notification.objects.filter(state=NoticeState.PENDING, due_at__lte=Now()).exclude(delivery=None)
    if pending.values("delivery_id").distinct().count() <= announced:
        about_deliveries = about_deliveries.exclude(state=NoticeState.PENDING)
    notices = about_deliveries.values_list("delivery_id", "delivery__state")
    for delivery_id, state in notices.distinct().order_by("delivery_id")[:BATCH]:
        told = announcement(delivery_id)
        if told is not None:
            found[delivery_id] = Overdue(delivery_id, state, told)
    return list(found.values())


@unit_of_work
def wake_up(delivery_id: UUID) -> Outgoing | None:
    """The wake-up of a delivery that can be worked on now; None: it cannot."""
    ready = Q(state=State.RECEIVED) | Q(state=State.WAITING, waiting_until__lte=Now())
    row = Delivery.objects.filter(ready, id=delivery_id).values_list("lane", "body").first()
    return _wake_up(delivery_id, *row) if row else None


@unit_of_work
def stamp(subject: UUID) -> None:
    """Do not wake it again before its interval has passed, and double that."""
    for model, chosen in ((Delivery, Q(id=subject)), (Notification, Q(delivery_id=subject) | Q(id=subject))):
        rows = model._default_manager.filter(chosen, wake_at__lte=Now())  # noqa: SLF001 - Django's public name
        for row_id, interval in rows.values_list("pk", "wake_seconds"):
            model._default_manager.filter(pk=row_id, wake_at__lte=Now()).update(  # noqa: SLF001
                wake_at=from_now(interval), wake_seconds=Least(F("wake_seconds") * 2.0, Value(LONGEST_INTERVAL))
            )


def _wake_up(delivery_id: UUID, lane: str, body: bytes | memoryview) -> Outgoing:
    return Outgoing(routing_key=wake_key(Lane(lane)), body=bytes(body), message_id=str(delivery_id))
