"""Sending what is spooled, in order: read, publish, be confirmed, and only then remove."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from messaging import faults
from messaging.engine import BrokerUnavailable, Outgoing
from messaging.errors import UserError
from producer.spool import Damaged, Entry, Spool, SpoolError

# How long a producer waits for another one of this machine that is sending, and how long the other one goes on
# looking for events that came in meanwhile.
PATIENCE_SECONDS = 10.0


@dataclass(slots=True)
class Flushed:
    """What became of the spooled events.

    Args:
        sent: events the broker has confirmed, in order.
        refused: files of events that the broker would not take or that could not be read, with the reason; they stay.
        away: why the broker could not be reached; empty if it could. What was not sent stays spooled.
        busy: another process is sending; nothing was done here.
        damaged: a sentence for each file that holds no event.
        interrupted: a sentence for each run that was found interrupted.
    """

    sent: list[UUID] = field(default_factory=list)
    refused: dict[Path, str] = field(default_factory=dict)
    away: str = ""
    busy: bool = False
    damaged: list[str] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)


def flush(
    spool: Spool,
    send: Callable[[Outgoing], None],
    *,
    own: Entry | None = None,
    patience: float = PATIENCE_SECONDS,
) -> Flushed:
    """Send everything that is spooled, oldest first, and what other processes add meanwhile.

    An event that the broker refuses stays and does not hold up those behind it; a broker that is away ends the flush.

    Args:
        spool: where the events lie.
        send: publishes a message and returns once it is confirmed; raises a `UserError`.
        own: the caller's event: if another process sends it, there is nothing left to wait for.
        patience: seconds.

    Raises:
        SpoolError: the spool cannot be read.
    """
    done = Flushed()
    if not spool.entries():
        return done
    with spool.turn(patience, enough=lambda: own is not None and not own.path.exists()) as held:
        if not held:
            done.busy = True
            return done
        spool.remove_leftovers()
        seen: set[Path] = set()
        deadline = time.monotonic() + patience
        # A process that gave up waiting for its turn relies on this last look: its event was there before it.
        while fresh := [entry for entry in spool.entries() if entry.path not in seen]:
            for entry in fresh:
                seen.add(entry.path)
                _send_one(spool, send, entry, done)
                if done.away:
                    return done
            if time.monotonic() > deadline:
                break
    return done


def _send_one(spool: Spool, send: Callable[[Outgoing], None], entry: Entry, done: Flushed) -> None:
    try:
        spooled = spool.read(entry)
    except Damaged as error:
        aside = spool.set_aside(entry)
        done.damaged.append(
            f"The spooled event {entry.event_id} is damaged ({error}) and was set aside as {aside}; "
            "publish that simulation again."
        )
        return
    except SpoolError as error:
        done.refused[entry.path] = str(error)
        return
    if spooled is None:
        return
    event, body = spooled
    try:
        send(Outgoing(event.routing_key, body, str(event.id)))
    except BrokerUnavailable as error:
        done.away = str(error)
    except UserError as error:  # refused, unroutable, or nothing that waiting would mend
        done.refused[entry.path] = str(error)
    else:
        faults.point("spool.published")
        spool.remove(entry)
        done.sent.append(entry.event_id)
        faults.point("spool.removed")
