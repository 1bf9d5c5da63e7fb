"""The email sender: one wake-up, every mail that is owed for its delivery."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import structlog

from consumer import metrics
from consumer.decide import Attempt, Policy
from consumer.loop import Ack, Bury, Later, Result
from consumer.mail.in_hand import in_hand
from consumer.mail.render import NoAddress, Renderer
from consumer.mail.transports import MailRefused, MailTransient, Transport
from consumer.stop import Stop
from ledger.api import LedgerUnavailable, Notice, Notices, Superseded
from messaging import faults
from messaging.engine import Taken
from messaging.messages import (
    CampaignDigestMessage,
    DeliveryFailedMessage,
    InvalidMessage,
    LinkReadyMessage,
    OperatorNoticeMessage,
    parse,
)

log = structlog.get_logger()

LEDGER_AWAY_SECONDS = 5.0
SHORTEST_WAIT = 0.5
MOST_UNCERTAIN = 4
GIVEN_UP = "Each time it had been given to the mail server, that or the email sender was lost before the answer."


class EmailSender:
    """Handles the notifications' queue."""

    def __init__(
        self,
        notices: Notices,
        renderer: Renderer,
        transport: Transport,
        policy: Policy,
        stop: Stop,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._notices = notices
        self._renderer = renderer
        self._transport = transport
        self._policy = policy
        self._stop = stop
        self._clock = clock

    def handle(self, taken: Taken) -> Result:
        """Send every mail of this delivery that is due."""
        try:
            message = parse(taken.body)
            match message:
                case LinkReadyMessage() | DeliveryFailedMessage():
                    return self._send_all(message.data.delivery_id)
                case OperatorNoticeMessage() | CampaignDigestMessage():
                    return self._send_all(message.data.notice_id)
                case _:
                    return Result(Bury(f"A message about a mail is expected here, not {message.type}."))
        except InvalidMessage as error:
            return Result(Bury(str(error)))
        except LedgerUnavailable as error:
            log.warning("ledger.unavailable", error=str(error))
            return Result(Later(LEDGER_AWAY_SECONDS))

    def _send_all(self, subject: UUID) -> Result:
        structlog.contextvars.bind_contextvars(delivery_id=str(subject))
        while not self._stop.requested and (notice := self._notices.claim_next(subject)):
            faults.point("mail.claimed")
            self._send(notice)
            if self._notices.seconds_to_next(subject) is None:
                return Result(Ack())
        next_in = self._notices.seconds_to_next(subject)
        return Result(Ack() if next_in is None else Later(max(SHORTEST_WAIT, next_in)))

    def _send(self, notice: Notice) -> None:
        facts = {"notification_id": str(notice.id), "kind": str(notice.kind)}
        if notice.uncertain > MOST_UNCERTAIN:
            self._give_up(notice, GIVEN_UP)
            return
        try:
            mail = self._renderer.render(notice, self._clock())
        except NoAddress as error:
            self._notices.fail(notice, f"No mail can be sent to this address ({error}).")
            log.error("mail.refused", **facts, error=str(error))
            _count("refused", notice)
            return
        except Exception:  # our bug: the row says so, and the other mails of this delivery go on
            log.exception("mail.bug", **facts)
            self._postpone(notice, "An error inside SimCourier; the operator finds it in the email sender's log.")
            return
        try:
            with in_hand(notice, self._notices, self._transport, self._stop):
                self._transport.send(notice.id, mail, partial(self._notices.data_starts, notice))
        except MailTransient as error:
            self._postpone(notice, str(error))
        except (OSError, smtplib.SMTPException) as error:  # lost after DATA: whoever claims it next counts that
            log.error("mail.uncertain", **facts, error=str(error) or type(error).__name__)
            _count("uncertain", notice)
            if notice.uncertain >= MOST_UNCERTAIN:
                self._give_up(notice, GIVEN_UP)
        except MailRefused as error:
            self._notices.fail(notice, str(error))
            log.error("mail.refused", **facts, error=str(error))
            _count("refused", notice)
        except Superseded:
            log.warning("mail.superseded", **facts)
        else:
            faults.point("mail.sent")
            self._notices.sent(notice)
            faults.point("mail.noted")
            log.info("mail.sent", **facts, attempt=notice.attempts + 1, uncertain=notice.uncertain)
            _count("sent", notice)

    def _postpone(self, notice: Notice, reason: str) -> None:
        attempt = Attempt(notice.attempts, notice.trouble_seconds, notice.trouble_seconds)
        if attempt.trouble_seconds >= self._policy.patience:
            self._give_up(notice, reason)
            return
        delay = self._policy.delay(attempt)
        self._notices.postpone(notice, delay, reason)
        faults.point("mail.postponed")
        log.warning("mail.postponed", notification_id=str(notice.id), error=reason, seconds=round(delay, 1))
        _count("postponed", notice)

    def _give_up(self, notice: Notice, reason: str) -> None:
        self._notices.fail(notice, reason)
        log.error("mail.given_up", notification_id=str(notice.id), error=reason)
        _count("given_up", notice)


def _count(outcome: str, notice: Notice) -> None:
    metrics.MAILS.labels(outcome, str(notice.kind)).inc()
