"""The messages that tell what the ledger has decided, and wake the email sender: the same whenever asked for."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

from ledger.models import Delivery, Notification
from ledger.states import Kind, State
from ledger.work import unit_of_work
from messaging.engine import Outgoing
from messaging.messages import (
    CampaignDigestMessage,
    DeliveryFailedMessage,
    Digest,
    Failed,
    LinkReady,
    LinkReadyMessage,
    Notice,
    OperatorNoticeMessage,
    Statistic,
    parse_event,
)

SOURCE = "//simcourier/ledger"
NEXT_STEP_AFTER_FAILURE = (
    "The results are untouched where they were written. Once the cause is mended, publish them again, or ask the "
    "operator to start this delivery again: it goes on where it stopped."
)


@unit_of_work
def announcement(delivery_id: UUID) -> Outgoing | None:
    """The message that tells how a delivery ended and wakes the email sender; None: it has not ended so.

    The same message each time (id and body), so that publishing it again changes nothing.
    """
    row = Delivery.objects.filter(id=delivery_id).first()
    if row is None or row.ended_at is None or row.state not in {State.DELIVERED, State.FAILED}:
        return None
    message: LinkReadyMessage | DeliveryFailedMessage
    message_id = uuid5(row.id, f"{row.state}/{row.round}")
    if row.state == State.DELIVERED:
        message = LinkReadyMessage(
            id=message_id,
            source=SOURCE,
            time=row.ended_at,
            subject=row.simulation_id,
            data=LinkReady(
                delivery_id=row.id,
                link=row.link,
                expires=row.link_expires,
                archive=row.archive_name,
                size=row.archive_size or 0,
                sha256=row.archive_sha256,
                statistics=tuple(Statistic(name=one["label"], value=one["value"]) for one in row.statistics),
                warnings=(*row.notes, *(f"Not in the archive: {warning}" for warning in row.warnings)),
            ),
        )
    else:
        event = parse_event(bytes(row.body)).data
        message = DeliveryFailedMessage(
            id=message_id,
            source=SOURCE,
            time=row.ended_at,
            subject=row.simulation_id,
            data=Failed(
                delivery_id=row.id,
                stage=row.stage,
                reason=row.reason,
                log_tail=event.log_tail,
                next_step=NEXT_STEP_AFTER_FAILURE,
            ),
        )
    return Outgoing(routing_key=message.routing_key, body=message.to_bytes(), message_id=str(message_id))


@unit_of_work
def notice_message(notice_id: UUID) -> Outgoing | None:
    """The message that wakes the email sender for a mail that is not about one delivery; the same each time."""
    row = Notification.objects.filter(id=notice_id, delivery=None).first()
    if row is None:
        return None
    envelope: dict[str, Any] = {"id": row.id, "source": SOURCE, "time": row.created_at, "subject": row.about}
    message: OperatorNoticeMessage | CampaignDigestMessage
    if row.kind == Kind.OPERATOR:
        told = Notice(notice_id=row.id, about=row.about, text=row.text)
        message = OperatorNoticeMessage(**envelope, data=told)
    else:
        told_runs = row.gathered.values_list("delivery__campaign_id", flat=True).order_by("id")
        message = CampaignDigestMessage(
            **envelope,
            data=Digest(notice_id=row.id, kind=row.kind, campaign=told_runs.first() or "", runs=told_runs.count()),
        )
    return Outgoing(routing_key=message.routing_key, body=message.to_bytes(), message_id=str(row.id))
