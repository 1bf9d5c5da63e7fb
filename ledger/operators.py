"""What an operator may do with a delivery by hand: try it again, cancel it, send its mails again."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from ledger.deliveries import leave
from ledger.expiry import being_removed
from ledger.models import Delivery, Notification, StorageBackend
from ledger.states import Kind, NoticeState, State, StepKind, may_become
from ledger.steps import note
from ledger.work import unit_of_work
from messaging.errors import UserError
from messaging.messages import parse_event

# Of a mail about a failure that an operator has overtaken.
STARTED_AGAIN = "The delivery was started again."
# About what a mail can be sent again, and which one. (EXPIRED: its link leads nowhere.)
TOLD = {State.DELIVERED: Kind.DELIVERED, State.FAILED: Kind.FAILED}


class Forgotten(UserError):
    """The delivery's event was erased, or its archive is, so that nothing more can be done with it."""


@unit_of_work
def retry(delivery_id: UUID) -> bool:
    """An operator wants another try, now, of a delivery that is FAILED or WAITING; it goes on where it stopped.

    What a storage service has confirmed is not sent again, unless it turns out to be gone. False: it is neither.

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
                ended_at=None,
                wake_at=Now(),
                wake_seconds=1,
            )
        )
        if changed:
            note(delivery_id, StepKind.RETRIED)
            # A mail about the failure that has not gone out yet would now be wrong.
            unsent = Q(state=NoticeState.PENDING) | Q(state=NoticeState.SENDING, data_started=False)
            unsent |= Q(state=NoticeState.GATHERED) & (Q(digest=None) | Q(digest__state=NoticeState.PENDING))
            Notification.objects.filter(unsent, delivery_id=delivery_id).update(
                state=NoticeState.FAILED,
                fence=F("fence") + 1,
                reason=STARTED_AGAIN,
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
            note(delivery_id, StepKind.CANCELLED)
    return cancelled == 1


@unit_of_work
def resend(delivery_id: UUID, to: Sequence[str] = ()) -> list[str]:
    """An operator wants the mail about how a delivery ended sent again; returns to whom.

    A mail that has not gone out yet goes now and is not doubled. Else it is another mail, which states its own keep
    date; the archive stays until then.

    Args:
        delivery_id: one that is DELIVERED or FAILED.
        to: to whom; empty: everybody whom the event names. Others are mailed only if they are said here.

    Returns:
        Addresses; none if the delivery is in another state.

    Raises:
        Forgotten: its event is not kept any more, or its archive is about to be removed.
    """
    with transaction.atomic():
        row = Delivery.objects.select_for_update().filter(id=delivery_id, state__in=TOLD).first()
        if row is None:
            return []
        if not row.body:
            raise Forgotten(f"{delivery_id} ended too long ago: its event and its recipients are not kept any more.")
        if being_removed(row.id):
            raise Forgotten(f"The keep days of {delivery_id} are over. Publish the results again, as a new event.")
        kind = TOLD[State(row.state)]
        chosen = list(dict.fromkeys(to or parse_event(bytes(row.body)).data.recipients))
        unsent = Notification.objects.filter(
            delivery_id=row.id, kind=kind, recipient__in=chosen, state__in=[NoticeState.PENDING, NoticeState.SENDING]
        )
        on_their_way = set(unsent.values_list("recipient", flat=True))
        unsent.filter(state=NoticeState.PENDING).update(due_at=Now(), wake_at=Now(), wake_seconds=1)
        Delivery.objects.filter(id=row.id).update(round=F("round") + 1)  # tells this mail from the last one
        Notification.objects.bulk_create(
            Notification(
                delivery_id=row.id,
                recipient=recipient,
                kind=kind,
                occasion=row.round + 1,
                created_at=Now(),
                due_at=Now(),
                wake_at=Now(),
                wake_seconds=1,
            )
            for recipient in chosen
            if recipient not in on_their_way
        )
        note(delivery_id, StepKind.RESENT)
    return chosen
