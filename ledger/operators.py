"""What an operator may do with a delivery by hand: try again, cancel."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from ledger.deliveries import leave
from ledger.models import Delivery, Notification, StorageBackend
from ledger.states import NoticeState, State, may_become
from ledger.work import unit_of_work
from messaging.errors import UserError


class Forgotten(UserError):
    """The delivery's event was erased, so that nothing more can be done with it."""


@unit_of_work
def retry(delivery_id: UUID) -> bool:
    """An operator wants another try, now, of a delivery that is FAILED or WAITING; it goes on where it stopped.

    False: it is neither.

    Raises:
        Forgotten: its event is not kept any more.
    """
    with transaction.atomic():
        if _retry_waiting(delivery_id):
            return True
        if Delivery.objects.filter(id=delivery_id, state=State.FAILED, body=b"").exists():
            raise Forgotten(
                f"{delivery_id} has failed too long ago: its event is not kept any more. Publish the results again, as "
                "a new event."
            )
        changed = (
            Delivery.objects.filter(id=delivery_id, state__in=may_become(State.RECEIVED))
            .exclude(state=State.WORKING)  # given back by its worker only
            .exclude(body=b"")
            .update(
                state=State.RECEIVED,
                stage="",
                reason="",
                round=F("round") + 1,
                attempts=0,
                trouble_since=None,
                failing_since=None,
                stored=None,  # should it be gone at the service: the same key again is one file
                stored_backend="",
                ended_at=None,
                wake_at=Now(),
                wake_seconds=1,
            )
        )
        if changed:  # a mail about the failure that has not gone out yet would now be wrong
            unsent = Q(state=NoticeState.PENDING) | Q(state=NoticeState.SENDING, data_started=False)
            Notification.objects.filter(unsent, delivery_id=delivery_id).update(
                state=NoticeState.FAILED,
                fence=F("fence") + 1,
                reason="The delivery was started again.",
                lease_until=None,
                wake_at=None,
            )
    return changed == 1


def _retry_waiting(delivery_id: UUID) -> bool:
    waiting = Delivery.objects.filter(id=delivery_id, state=State.WAITING)
    # A definition that is marked unhealthy is probed by this delivery: else it would only wait again.
    StorageBackend.objects.filter(storage_backend_id__in=waiting.values("backend")).update(unhealthy_until=None)
    return waiting.update(waiting_until=Now(), wake_at=Now(), wake_seconds=1) == 1


@unit_of_work
def cancel(delivery_id: UUID) -> bool:
    """An operator does not want it any more. A worker that holds it loses its fence. False: it has ended already."""
    with transaction.atomic():
        cancelled = Delivery.objects.filter(id=delivery_id, state__in=may_become(State.CANCELLED)).update(
            state=State.CANCELLED,
            fence=F("fence") + 1,
            ended_at=Now(),
            lease_until=None,
            waiting_until=None,
            wake_at=None,
        )
        if cancelled:
            leave(delivery_id)
    return cancelled == 1
