"""One mail for a parameter study instead of one per run.

What a delivery of a campaign has to tell is GATHERED. Once the campaign is complete, or nothing more has come for a
while, one notification is made for each recipient, and takes all that is gathered with it by a conditional update: each
outcome is in exactly one. What comes later goes into another one. (publisher, campaign) is one study: the same id of
two publishers is two.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import (
    BooleanField,
    Case,
    Count,
    DurationField,
    ExpressionWrapper,
    Max,
    Min,
    QuerySet,
    When,
)
from django.db.models.functions import Now

from ledger.announcements import notice_message
from ledger.models import Delivery, Notification
from ledger.states import Kind, NoticeState
from ledger.work import from_now, unit_of_work
from messaging.engine import Outgoing

MOST_OUTCOMES = 5000  # in one mail
# A study whose runs end every few minutes for weeks is told of once a day.
LONGEST_WAIT = timedelta(days=1)


class Digests:
    """Makes digests.

    Args:
        quiet: seconds without another outcome after which a campaign that is not complete is told of.
        overdue: seconds after which the sweep sends a digest off whose message was lost.
    """

    def __init__(self, *, quiet: float, overdue: float) -> None:
        self.quiet = timedelta(seconds=quiet)
        self.overdue = overdue

    @unit_of_work
    def due(self) -> list[Outgoing]:
        """Make those whose time has come; returns the messages that send them off, to be published."""
        return self._made(group for group in _groups(_waiting()) if self._is_due(group))

    @unit_of_work
    def completed_by(self, delivery_id: UUID) -> list[Outgoing]:
        """Make those of a campaign that is complete since this delivery has ended."""
        study = Delivery.objects.filter(id=delivery_id).exclude(campaign_id="")
        for publisher, campaign_id in study.values_list("publisher", "campaign_id"):
            runs, ended = _counts(publisher, campaign_id)
            if runs and ended >= runs:
                rows = _waiting().filter(delivery__publisher=publisher, delivery__campaign_id=campaign_id)
                return self._made(group for group in _groups(rows) if _is_complete(group))
        return []

    def _is_due(self, group: Mapping[str, Any]) -> bool:
        # Reminders of a campaign are made together, in one transaction.
        if group["reminds"] or group["silence"] >= self.quiet or group["waited"] >= LONGEST_WAIT:
            return True
        return _is_complete(group)

    def _made(self, groups: Any) -> list[Outgoing]:
        messages = (notice_message(digest) for group in list(groups) if (digest := self._make(group)))
        return [message for message in messages if message is not None]

    def _make(self, group: Mapping[str, Any]) -> UUID | None:
        kinds = [Kind.REMINDER] if group["reminds"] else [Kind.DELIVERED, Kind.FAILED]
        with transaction.atomic():
            digest = Notification.objects.create(
                kind=Kind.REMINDER if group["reminds"] else Kind.DIGEST,
                about=f"campaign {group['delivery__campaign_id']}",
                recipient=group["recipient"],
                created_at=Now(),
                due_at=Now(),
                wake_at=from_now(self.overdue),
                wake_seconds=self.overdue,
            )
            oldest = _waiting().filter(
                recipient=group["recipient"],
                kind__in=kinds,
                delivery__publisher=group["delivery__publisher"],
                delivery__campaign_id=group["delivery__campaign_id"],
            )
            chosen = oldest.order_by("created_at", "id").values("id")[:MOST_OUTCOMES]
            # The condition stands outside as well: a row that another worker takes meanwhile is looked at again.
            if _waiting().filter(id__in=chosen).update(digest=digest):
                return digest.id
            transaction.set_rollback(True)
        return None


def _waiting() -> QuerySet[Notification]:
    return Notification.objects.filter(state=NoticeState.GATHERED, digest=None)


def _groups(rows: QuerySet[Notification]) -> list[Mapping[str, Any]]:
    """What waits, by campaign and recipient: how many deliveries, and how long it has waited."""
    reminds = Case(When(kind=Kind.REMINDER, then=True), default=False, output_field=BooleanField())
    grouped = (
        rows.order_by()
        .annotate(reminds=reminds)
        .values("delivery__publisher", "delivery__campaign_id", "recipient", "reminds")
        .annotate(
            untold=Count("delivery_id", distinct=True),
            silence=ExpressionWrapper(Now() - Max("created_at"), output_field=DurationField()),
            waited=ExpressionWrapper(Now() - Min("created_at"), output_field=DurationField()),
        )
        .order_by("delivery__campaign_id", "recipient")
    )
    return [dict(group) for group in grouped]


def _is_complete(group: Mapping[str, Any]) -> bool:
    """Whether the last run of a campaign is among what waits.

    Counted in whole campaigns: one that is run once more under the same id is told of when it is complete again.
    """
    if group["reminds"]:
        return False
    runs, ended = _counts(group["delivery__publisher"], group["delivery__campaign_id"])
    return runs > 0 and ended // runs > (ended - group["untold"]) // runs


def _counts(publisher: str, campaign_id: str) -> tuple[int, int]:
    """Of a campaign, how many runs it has, as the latest event says (0: none does), and how many have ended."""
    study = Delivery.objects.filter(publisher=publisher, campaign_id=campaign_id)
    stated = study.exclude(campaign_runs=None).order_by("-received_at").values_list("campaign_runs", flat=True).first()
    return stated or 0, study.filter(ended_at__isnull=False).count()
