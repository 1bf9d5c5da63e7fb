"""The results worker: one wake-up, from the claim to the settlement."""

from __future__ import annotations

import time
from functools import partial

import structlog

from consumer.account import Account
from consumer.decide import CRASH_LIMIT, Abandon, Attempt, Fail, Policy, Verdict, Wait, decide, is_ours
from consumer.decide import GiveBack as HandBack
from consumer.deliver import deliver
from consumer.lease import LeaseKeeper
from consumer.loop import Ack, Bury, GiveBack, Later, Result
from consumer.workshop import Workshop
from ledger.api import Claim, Digests, Ended, Held, LedgerUnavailable, OtherBody, Superseded, announcement
from messaging import faults
from messaging.engine import Taken
from messaging.messages import InvalidMessage, parse_event

log = structlog.get_logger()

SHORTEST_WAIT = 0.5
LEDGER_AWAY_SECONDS = 5.0
SUPERSEDED_SECONDS = 30.0


class ResultsWorker:
    """Handles the wake-ups of both lanes.

    Args:
        digests: what tells of a campaign that is complete; None: its runs have a mail each.
    """

    def __init__(self, workshop: Workshop, keeper: LeaseKeeper, policy: Policy, digests: Digests | None = None) -> None:
        self._workshop = workshop
        self._deliveries = workshop.deliveries
        self._keeper = keeper
        self._policy = policy
        self._digests = digests

    def handle(self, taken: Taken) -> Result:
        """Do what is to be done about this message and say how to settle it."""
        try:
            event = parse_event(taken.body)
            structlog.contextvars.bind_contextvars(delivery_id=str(event.id))
            asked_at = time.monotonic()
            claim = self._deliveries.claim(event, taken.body, taken.user_id)
            faults.point("delivery.claimed")
            match claim:
                case Held(seconds):
                    return Result(Later(max(SHORTEST_WAIT, seconds)))
                case Ended(owed):
                    told = announcement(event.id) if owed else None
                    return Result(Ack(), publish=(told,) if told else (), after=partial(self._workshop.clear, event.id))
            return self._work(claim, asked_at)
        except (InvalidMessage, OtherBody) as error:
            log.error("message.invalid", error=str(error))
            return Result(Bury(str(error)))
        except LedgerUnavailable as error:
            log.warning("ledger.unavailable", error=str(error))
            return Result(Later(LEDGER_AWAY_SECONDS))

    def _work(self, claim: Claim, asked_at: float) -> Result:
        with self._keeper.hold(claim, asked_at) as hold:
            try:
                if claim.crashes >= CRASH_LIMIT:
                    verdict: Verdict | None = Fail(
                        f"{claim.crashes} workers in a row ended unexpectedly while they had it in work."
                    )
                else:
                    deliver(self._workshop, hold)
                    verdict = None
            except LedgerUnavailable:  # nothing can be written now; the message comes back meanwhile
                self._return_later(claim, hold.account)
                raise
            except Exception as error:  # the one broad handler: whatever happens, the delivery gets a verdict
                verdict = decide(
                    error, Attempt(claim.attempts, claim.failing_seconds, claim.trouble_seconds), self._policy
                )
                if is_ours(error):
                    log.exception("delivery.bug")
        try:
            result = self._write(claim, verdict)
        except Superseded:
            verdict = Abandon()
            result = self._write(claim, verdict)
        except LedgerUnavailable:
            self._return_later(claim, hold.account)
            raise
        self._tell(claim, verdict, hold.account)
        return result

    def _return_later(self, claim: Claim, account: Account) -> None:
        self._keeper.return_later(claim)
        self._tell(claim, HandBack(), account)

    def _tell(self, claim: Claim, verdict: Verdict | None, account: Account) -> None:
        """The one line of a try, with all that is known of it."""
        data = claim.event.data
        log.info(
            "delivery.handled",
            reason=getattr(verdict, "reason", None),
            next_in=getattr(verdict, "delay", None),
            simulation_id=data.simulation_id,
            campaign_id=data.campaign.id if data.campaign else None,
            lane=data.lane.value,
            backend=data.backend,
            worker=self._deliveries.worker,
            crashes=claim.crashes,
            **account.close(
                type(verdict).__name__ if verdict else "Deliver",
                attempt=claim.attempts + 1,
                ended=verdict is None or isinstance(verdict, Fail),
            ),
        )

    def _write(self, claim: Claim, verdict: Verdict | None) -> Result:
        match verdict:
            case Wait(delay, reason, counted):
                self._deliveries.wait(claim, delay, reason, counted=counted)
                faults.point("delivery.waits")
                return Result(Later(delay))
            case HandBack():
                self._deliveries.give_back(claim)
                faults.point("delivery.given_back")
                return Result(GiveBack())
            case Abandon():
                # Whoever took over has a wake-up of its own; this one looks later whether all went well.
                return Result(Later(SUPERSEDED_SECONDS))
            case Fail(reason):
                self._deliveries.fail(claim, reason)
                faults.point("delivery.failed")
        told = announcement(claim.delivery_id)
        digests = self._digests.completed_by(claim.delivery_id) if self._digests else []
        publish = (*([told] if told else []), *digests)
        return Result(Ack(), publish=publish, after=partial(self._workshop.clear, claim.delivery_id))
