"""How runs of a campaign ended, as a digest tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from ledger.addresses import page_path, path_of
from ledger.models import Notification
from ledger.simulation import event_of
from ledger.states import Kind, NoticeState
from messaging.messages import Completed, parse_event

BATCH = 500
# Of which a digest tells how all of them together came out.
MOST_BEFORE = 10_000


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How one run ended, for one recipient.

    Args:
        kind: `Kind.DELIVERED`, `Kind.FAILED` or `Kind.REMINDER`.
        statistics: the key ones, each with label, value (for people), number and unit.
        keep_until: the date until which its archive is kept, as the mail states it; None: for ever, or there is none.
        page: address of its page below that of the site; empty: it has none.
    """

    delivery_id: UUID
    kind: Kind
    event: Completed
    reason: str
    statistics: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    link: str
    link_expires: datetime | None
    archive_name: str
    archive_size: int
    archive_sha256: str
    keep_until: date | None
    page: str


def outcomes_of(digest_id: UUID) -> tuple[RunOutcome, ...]:
    """What a digest that is not sent yet tells, in the order in which the runs were received."""
    gathered = Notification.objects.filter(digest_id=digest_id, state=NoticeState.GATHERED)
    rows: Any = gathered.order_by("delivery__received_at", "delivery_id").select_related("delivery")
    return tuple(_outcome(row, parse_event(bytes(row.delivery.body)).data) for row in rows)


def told_before(digest_id: UUID, recipient: str) -> tuple[RunOutcome, ...]:
    """How runs of the same campaign ended that other mails told the recipient of, each once, as last told."""
    first = Notification.objects.filter(digest_id=digest_id).values_list(
        "delivery__publisher", "delivery__campaign_id"
    )[:1]
    for publisher, campaign_id in first:
        here = Notification.objects.filter(digest_id=digest_id).values("delivery_id")
        sent = Notification.objects.filter(
            recipient=recipient,
            kind__in=[Kind.DELIVERED, Kind.FAILED],
            state=NoticeState.SENT,
            delivery__publisher=publisher,
            delivery__campaign_id=campaign_id,
        ).exclude(delivery_id__in=here)
        rows: Any = sent.exclude(delivery__body=b"").order_by("sent_at").select_related("delivery")
        told: dict[UUID, RunOutcome] = {}
        for row in rows[:MOST_BEFORE]:
            if event := event_of(row.delivery.body):
                one = _outcome(row, event)
                told[one.delivery_id] = one
        return tuple(told.values())
    return ()


def fix_dates(digest: Any) -> None:
    """Write into what a digest tells until when each archive is kept; the mail states these dates.

    Args:
        digest: its row, with the database's clock as ``today``.
    """
    rows = Notification.objects.filter(digest_id=digest.id, state=NoticeState.GATHERED)
    dates: dict[date | None, list[UUID]] = {}
    for row_id, kind, occasion, keep_days, kept_until in rows.values_list(
        "id", "kind", "occasion", "delivery__keep_days", "delivery__kept_until"
    ):
        until = None
        if keep_days:
            reminded = kind == Kind.REMINDER  # which is one of this date
            until = date.fromordinal(occasion) if reminded else (digest.today + timedelta(days=keep_days)).date()
            until = max(until, kept_until or until)
        dates.setdefault(until, []).append(row_id)
    for until, ids in dates.items():
        for begin in range(0, len(ids), BATCH):
            chosen = rows.filter(id__in=ids[begin : begin + BATCH], digest__fence=digest.fence)
            chosen.update(keep_until=until)


def _outcome(row: Any, event: Completed) -> RunOutcome:
    delivery = row.delivery
    return RunOutcome(
        delivery_id=delivery.id,
        kind=Kind(row.kind),
        event=event,
        reason=delivery.reason,
        statistics=tuple(delivery.statistics),
        notes=tuple(delivery.notes),
        warnings=tuple(delivery.warnings),
        link=delivery.link,
        link_expires=delivery.link_expires,
        archive_name=delivery.archive_name,
        archive_size=delivery.archive_size or 0,
        archive_sha256=delivery.archive_sha256,
        keep_until=row.keep_until,
        page=path_of(delivery.page_key) if delivery.page_key else page_path(delivery.id),
    )
