"""How the simulation itself ended: a delivery may do well whose simulation did not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from messaging.amounts import duration
from messaging.messages import Completed, InvalidMessage, Outcome, parse_event

HOW = {Outcome.SUCCEEDED: "succeeded", Outcome.FAILED: "failed", Outcome.ABORTED: "was aborted"}


@dataclass(frozen=True, slots=True)
class Simulation:
    """What the event says of the simulation.

    Args:
        log_tail: the end of its log.
    """

    outcome: Outcome
    exit_code: int | None
    started: datetime | None
    finished: datetime | None
    host: str
    log_tail: str

    @property
    def how(self) -> str:
        """In a few words."""
        code = "" if self.exit_code is None else f" (exit code {self.exit_code})"
        return f"{HOW[self.outcome]}{code}"

    @property
    def told(self) -> str:
        """That it did not succeed, in a few words without a capital; empty: it did."""
        return "" if self.outcome == Outcome.SUCCEEDED else f"the simulation {self.how}"

    @property
    def ran(self) -> str:
        """How long it ran, in words; empty: not known."""
        if self.started is None or self.finished is None or self.finished < self.started:
            return ""
        return duration((self.finished - self.started).total_seconds())

    @property
    def where_and_how_long(self) -> str:
        """Both in a line; empty: neither is known."""
        return ", ".join(filter(None, (self.ran, f"on {self.host}" if self.host else "")))


def event_of(body: bytes | memoryview) -> Completed | None:
    """A delivery's event; None: it is not kept any more, or another version accepted what this one cannot read."""
    try:
        return parse_event(bytes(body)).data if body else None
    except InvalidMessage:
        return None


def simulation_of(row: Any) -> Simulation | None:
    """Of a delivery's row; None: nothing is known of its event."""
    event = event_of(row.body)
    if event is None:
        return None
    return Simulation(event.outcome, event.exit_code, event.started, event.finished, event.host, event.log_tail.strip())


def told(row: Any) -> str:
    """`Simulation.told` of a delivery's row; empty as well where nothing is known."""
    simulation = simulation_of(row)
    return simulation.told if simulation else ""


def why(row: Any) -> str:
    """What went wrong with a row's simulation or delivery, in a line; empty: nothing."""
    return both(told(row), row.reason)


def both(trouble: str, reason: str) -> str:
    """`Simulation.told` and a delivery's reason, either of which may be empty."""
    return " ".join(filter(None, (f"{capital(trouble)}." if trouble else "", reason)))


def capital(text: str) -> str:
    """With a capital letter, for the beginning of a line."""
    return f"{text[:1].upper()}{text[1:]}"
