"""Moves of a notification: claimed by a conditional update, written on its fence, as deliveries are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce, Now

from backends.errors import Superseded
from ledger.addresses import page_path, path_of
from ledger.expiry import keeps_until
from ledger.models import Notification
from ledger.operators import STARTED_AGAIN
from ledger.outcomes import RunOutcome, fix_dates, outcomes_of, told_before
from ledger.results import Contents, Drawn, contents_of, pictures_of
from ledger.states import MAIL_ABOUT, Kind, NoticeState
from ledger.study import Compared, compared
from ledger.telling import mail_entry, tell_of_mail
from ledger.work import from_now, seconds, seconds_until, unit_of_work
from messaging.messages import Completed, parse_event
from messaging.terminal import harmless

# RFC 5321, section 4.5.4.1: give up after four to five days. Links live that much longer than the keep days.
MAIL_PATIENCE_SECONDS = 5 * 24 * 3600.0
# So many deliveries of a digest are named to an operator; the others are counted.
MOST_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A mail to be sent now, by whoever holds its fence.

    Args:
        attempts: failed tries before this one; ``trouble_seconds`` since the first of them.
        uncertain: how often it was sent without knowing whether it arrived.
    """

    id: UUID
    fence: int
    recipient: str
    kind: Kind
    attempts: int
    trouble_seconds: float
    uncertain: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorNotice(Notice):
    """A mail to an operator: ``text`` says what ``about`` is the matter with."""

    about: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestNotice(Notice):
    """A mail about a campaign, or, of kind REMINDER, about archives of a campaign that are about to be removed.

    Args:
        runs: how many the campaign has, as the latest event says; None: none does.
        outcomes: what this mail tells.
        before: runs that the recipient was told of by other mails, as they were told last.
    """

    campaign: str
    runs: int | None
    outcomes: tuple[RunOutcome, ...]
    before: tuple[RunOutcome, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryNotice(Notice):
    """A mail about a delivery.

    Args:
        keep_until: the date until which the archive is kept, as the mail states it; None: for ever.
        contents: what is in the archive; None: not known.
        picture: the plot that says most.
        page: address of the delivery's page below that of the site; empty: it has none.
        ended_at: when the delivery ended; None: not known.
    """

    delivery_id: UUID
    event: Completed
    keep_until: date | None
    link: str
    link_expires: datetime | None
    archive_name: str
    archive_size: int
    archive_sha256: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    statistics: tuple[Compared, ...] = ()
    contents: Contents | None = None
    picture: Drawn | None = None
    page: str = ""
    ended_at: datetime | None = None
    stage: str
    reason: str


class Notices:
    """An email sender's access to the notifications.

    Args:
        lease: seconds that a claim holds without renewal.
        overdue: seconds past its time after which the sweep wakes a row.
        operator: address that is mailed when a mail will never be sent; empty: nobody.
    """

    def __init__(self, *, lease: float, overdue: float, operator: str = "") -> None:
        self.lease = lease
        self.overdue = overdue
        self.operator = operator

    @unit_of_work
    def claim_next(self, subject: UUID) -> Notice | None:
        """Claim a notification that is due, or that a dead sender has left; None: there is none.

        Args:
            subject: a delivery, a digest, or a notice to an operator.
        """
        while True:
            row = (
                Notification.objects.filter(self._free(), _about(subject))
                .select_related("delivery")
                .annotate(trouble=seconds_until("trouble_since"), today=Now())
                .first()
            )
            if row is None:
                return None
            keep_until = _keep_until(row)
            changed = Notification.objects.filter(self._free(), id=row.id, fence=row.fence).update(
                # Dead in the DATA window: whether it was sent cannot be known. It is sent again and counted.
                uncertain=row.uncertain + row.data_started,
                data_started=False,
                state=NoticeState.SENDING,
                fence=row.fence + 1,
                lease_until=from_now(self.lease),
                wake_at=from_now(self.lease + self.overdue),
                wake_seconds=self.overdue,
                keep_until=keep_until,
            )
            if changed:
                row.fence += 1
                row.uncertain += row.data_started
                if notice := self._claimed(row, keep_until):
                    return notice

    def _claimed(self, row: Any, keep_until: date | None) -> Notice | None:
        """What was just claimed."""
        claimed: dict[str, Any] = {
            "id": row.id,
            "fence": row.fence,
            "recipient": row.recipient,
            "kind": Kind(row.kind),
            "attempts": row.attempts,
            "trouble_seconds": max(0.0, -row.trouble.total_seconds()) if row.trouble is not None else 0.0,
            "uncertain": row.uncertain,
        }
        delivery = row.delivery
        if delivery is None and row.kind == Kind.OPERATOR:
            return OperatorNotice(**claimed, about=row.about, text=row.text)
        if delivery is None:
            return self._claimed_digest(row, claimed)
        return DeliveryNotice(
            **claimed,
            delivery_id=delivery.id,
            event=parse_event(bytes(delivery.body)).data,
            keep_until=keep_until,
            link=delivery.link,
            link_expires=delivery.link_expires,
            archive_name=delivery.archive_name,
            archive_size=delivery.archive_size or 0,
            archive_sha256=delivery.archive_sha256,
            warnings=tuple(delivery.warnings),
            notes=tuple(delivery.notes),
            statistics=compared(delivery),
            contents=contents_of(delivery),
            picture=next(iter(pictures_of(delivery)), None),
            page=path_of(delivery.page_key) if delivery.page_key else page_path(delivery.id),
            ended_at=delivery.ended_at,
            stage=delivery.stage,
            reason=delivery.reason,
        )

    def _claimed_digest(self, row: Any, claimed: Mapping[str, Any]) -> DigestNotice | None:
        fix_dates(row)
        outcomes = outcomes_of(row.id)
        if not outcomes:  # an operator was faster
            Notification.objects.filter(id=row.id, fence=row.fence).update(
                state=NoticeState.FAILED, reason=STARTED_AGAIN, lease_until=None, wake_at=None
            )
            return None
        campaign = outcomes[-1].event.campaign
        return DigestNotice(
            **claimed,
            campaign=campaign.id if campaign else "",
            runs=campaign.runs if campaign else None,
            outcomes=outcomes,
            before=told_before(row.id, row.recipient) if row.kind == Kind.DIGEST else (),
        )

    @unit_of_work
    def data_starts(self, notice: Notice) -> None:
        """Commit that SMTP's DATA is about to begin.

        Raises:
            Superseded: somebody else sends it.
        """
        if (
            not self._mine(notice)
            .filter(lease_until__gte=Now())
            .update(data_started=True, lease_until=from_now(self.lease))
        ):
            raise Superseded("another email sender has taken over")

    @unit_of_work
    def renew(self, notice: Notice) -> None:
        """The mail server has not answered yet. Leaves no connection behind, for a thread that ends with this mail."""
        try:
            self._mine(notice).update(lease_until=from_now(self.lease), wake_at=from_now(self.lease + self.overdue))
        finally:
            connection.close()

    @unit_of_work
    def sent(self, notice: Notice) -> None:
        """It is with the mail server."""
        with transaction.atomic():
            if self._mine(notice).update(
                state=NoticeState.SENT, sent_at=Now(), data_started=False, reason="", lease_until=None, wake_at=None
            ):
                _gathered_by(notice).update(state=NoticeState.SENT, sent_at=Now())

    @unit_of_work
    def postpone(self, notice: Notice, delay: float, reason: str) -> None:
        """The mail server has not taken it; again in ``delay`` seconds."""
        self._mine(notice).update(
            state=NoticeState.PENDING,
            due_at=from_now(delay),
            attempts=F("attempts") + 1,
            trouble_since=Coalesce(F("trouble_since"), Now()),
            data_started=False,
            reason=harmless(reason),
            lease_until=None,
            wake_at=from_now(delay + self.overdue),
            wake_seconds=self.overdue,
        )

    @unit_of_work
    def fail(self, notice: Notice, reason: str) -> None:
        """It will never be sent to this recipient, and an operator is told, who can do something about it."""
        reason = harmless(reason)
        with transaction.atomic():
            if self._mine(notice).update(
                state=NoticeState.FAILED, reason=reason, data_started=False, lease_until=None, wake_at=None
            ):
                gathered = _gathered_by(notice)
                about = list(gathered.order_by("created_at", "id").values_list("delivery_id", flat=True))
                gathered.update(state=NoticeState.FAILED, reason=reason)
                self._tell_operator(notice, about, reason)

    def _tell_operator(self, notice: Notice, about: list[UUID], reason: str) -> None:
        """Once for a delivery and recipient; not about an operator's own mails, or that would never end."""
        if notice.kind == Kind.OPERATOR:
            return
        if isinstance(notice, DeliveryNotice):
            about = [notice.delivery_id]
            others = Notification.objects.filter(delivery_id=notice.delivery_id, recipient=notice.recipient)
            told = others.filter(state=NoticeState.FAILED).exclude(id=notice.id).exclude(reason=STARTED_AGAIN)
            if told.exists():
                return
        named = about[:MOST_NAMED]
        entry = mail_entry(notice.recipient, MAIL_ABOUT[notice.kind], reason, named, len(about))
        tell_of_mail(entry, self.operator)

    @unit_of_work
    def seconds_to_next(self, subject: UUID) -> float | None:
        """Seconds until something is to be done for this subject again; None: all its mails are sent or given up."""
        rows = (
            Notification.objects.filter(_about(subject), state__in=[NoticeState.PENDING, NoticeState.SENDING])
            .annotate(due_left=seconds_until("due_at"), lease_left=seconds_until("lease_until"))
            .values_list("state", "due_left", "lease_left")
        )
        return min(
            (seconds(lease_left if state == NoticeState.SENDING else due_left) for state, due_left, lease_left in rows),
            default=None,
        )

    @staticmethod
    def _free() -> Q:
        return Q(state=NoticeState.PENDING, due_at__lte=Now()) | Q(state=NoticeState.SENDING, lease_until__lt=Now())

    @staticmethod
    def _mine(notice: Notice) -> QuerySet[Notification]:
        return Notification.objects.filter(id=notice.id, fence=notice.fence, state=NoticeState.SENDING)


def _gathered_by(notice: Notice) -> QuerySet[Notification]:
    """What a digest tells: sent and failed with it."""
    return Notification.objects.filter(digest_id=notice.id, state=NoticeState.GATHERED)


def _keep_until(row: Any) -> date | None:
    """The date that the mail is to state."""
    delivery = row.delivery
    if delivery is None or not delivery.keep_days:
        return None
    if row.kind == Kind.REMINDER:
        return keeps_until(delivery)
    # Another mail of a delivery that was to be kept longer does not take that back.
    promised: date = (row.today + timedelta(days=delivery.keep_days)).date()
    return max(promised, delivery.kept_until or promised)


def _about(subject: UUID) -> Q:
    return Q(delivery_id=subject) | Q(id=subject, delivery=None)
