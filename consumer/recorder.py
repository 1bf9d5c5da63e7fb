"""The recorder: writes deliveries as RECEIVED the moment they arrive, and files dead letters."""

from __future__ import annotations

import json

import structlog

from consumer.loop import Ack, Bury, Later, Result
from ledger.api import Deliveries, LedgerUnavailable, OtherBody, deaths, file_dead_letter
from messaging import faults
from messaging.engine import DEATH_HEADER, QUEUE_HEADER, REASON_HEADER, Taken
from messaging.messages import InvalidMessage, parse_event

log = structlog.get_logger()

LEDGER_AWAY_SECONDS = 5.0


class Recorder:
    """Handles the recorder's queue and the dead letters.

    Args:
        deliveries: the ledger.
        dead: name of the dead-letter queue.
        operator: address that is mailed about dead letters; empty: nobody.
    """

    def __init__(self, deliveries: Deliveries, dead: str, operator: str = "") -> None:
        self._deliveries = deliveries
        self._dead = dead
        self._operator = operator

    def handle(self, taken: Taken) -> Result:
        """Write down what has come."""
        try:
            if taken.queue == self._dead:
                return self._file(taken)
            event = parse_event(taken.body)
            self._deliveries.record(event, taken.body, taken.user_id)
            faults.point("recorder.recorded")
            log.info("delivery.received", delivery_id=str(event.id), simulation_id=event.data.simulation_id)
        except (InvalidMessage, OtherBody) as error:
            return Result(Bury(str(error)))
        except LedgerUnavailable as error:
            log.warning("ledger.unavailable", error=str(error))
            return Result(Later(LEDGER_AWAY_SECONDS))
        return Result(Ack())

    def _file(self, taken: Taken) -> Result:
        by_broker = deaths(taken.headers)
        # What the broker itself sets aside names its queue in x-death alone. Without it, the two copies of one event,
        # in its lane and for the recorder, would count as two arrivals.
        queue = taken.headers.get(QUEUE_HEADER) or (by_broker[0].queue if by_broker else "")
        reason = taken.headers.get(REASON_HEADER) or _broker_reason(taken.headers.get(DEATH_HEADER, ""))
        file_dead_letter(
            taken.body,
            headers=taken.headers,
            queue=queue,
            reason=reason,
            publisher=taken.user_id,
            operator=self._operator,
        )
        faults.point("recorder.filed")
        log.error("message.dead", queue=queue, reason=reason)
        return Result(Ack())


def _broker_reason(death: str) -> str:
    """The broker's own reason (``delivery_limit``, ``rejected``, ``expired``, ``maxlen``) from ``x-death``."""
    try:
        return f"The broker set it aside: {json.loads(death)[0]['reason']}."
    except (ValueError, LookupError, TypeError):
        return "The broker set it aside."
