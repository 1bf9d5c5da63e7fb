"""Publishing that a simulation has ended: spool, publish, be confirmed, remove.

The only place of a simulator's host that publishes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, Unpack
from uuid import UUID

from messaging.connect import connect
from messaging.engine import BrokerUnavailable, Engine, Outgoing, Publisher
from messaging.messages import SimulationCompleted, digest
from messaging.settings import Settings, load
from producer.event import Details, InvalidEvent, completed_event
from producer.flush import Flushed, flush
from producer.runs.record import Runs
from producer.spool import Damaged, Entry, Spool, SpoolError, SpoolFull

# After the broker was away, a `Producer` only spools for this long before it tries again: with many events, each
# would else wait for a time-out of its own.
AWAY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Published:
    """What became of an event.

    Args:
        event_id: asks for the delivery later (``simcourier where``).
        state: ``sent``, the broker has it durably; ``spooled``, it waits on this machine and is sent by the next
            publish or by ``simcourier spool flush``.
        reason: why it is still spooled, in a sentence.
        refused: the broker was there and would not take it, so that somebody has to mend something.
        file: where it is spooled; None once it is sent.
        notes: sentences about other spooled events that did not go out, and about interrupted runs.
        digest: tells the event from another one with the same id.
    """

    event_id: UUID
    state: Literal["sent", "spooled"]
    reason: str = ""
    refused: bool = False
    file: Path | None = None
    notes: tuple[str, ...] = ()
    digest: str = ""


def publish(
    results: str | os.PathLike[str],
    *,
    to: Iterable[str] | str,
    backend: str,
    settings: Settings | None = None,
    **details: Unpack[Details],
) -> Published:
    """Tell that a simulation has ended and where its results lie.

    Returns when the broker has the event durably or, if it could not be had, when the event is safely spooled on this
    machine. What was spooled before is sent first.

    Args:
        results: folder of the results, its ``file:`` URL, or its URL on a service that the workers may read
            (``s3://bucket/run-7``).
        to: who gets the link.
        backend: identifier of the storage backend.
        settings: default: read from the environment.
        details: see `producer.event.Details`.

    Raises:
        InvalidEvent: an argument is wrong (its name is in the text), or the folder does not exist.
        SpoolError: this machine's spool cannot be written, or holds as much as it may; nothing was published.
        WrongSetting: a setting is wrong.
    """
    with Producer(settings) as producer:
        return producer.publish(results, to=to, backend=backend, **details)


class Producer:
    """Publishes many events over one connection. Belongs to the thread that made it.

    The connection may lie idle for hours: it is made anew when the broker has dropped it.

    Args:
        settings: default: read from the environment.
        engine: default: the one that the settings name.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        engine: Engine | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        settings = load(os.environ) if settings is None else settings
        self.engine = engine or connect(settings.broker_url.get_secret_value(), settings.topology)
        self.spool = Spool(
            settings.data_dir / "spool",
            most_events=settings.spool_max_events,
            most_bytes=settings.spool_max_bytes,
        )
        self.runs = Runs(settings.data_dir / "runs")
        self._clock = clock
        self._publisher: Publisher | None = None
        self._proven = False
        self._away: tuple[float, str] | None = None
        self._skipped = False

    def publish(
        self, results: str | os.PathLike[str], *, to: Iterable[str] | str, backend: str, **details: Unpack[Details]
    ) -> Published:
        """Publish one event; arguments and errors as `publish`."""
        max_bytes = self.engine.topology.max_bytes
        event = completed_event(results, to=to, backend=backend, now=datetime.now(UTC), max_bytes=max_bytes, **details)
        entry = self._spooled_before(event) if details.get("event_id") is not None else None
        published = self.send(entry or self._put(event))
        return replace(published, digest=digest(event.to_bytes()))

    def send(self, entry: Entry) -> Published:
        """Send a spooled event, after those before it; what became of it."""
        if self._away and self._away_lately():
            self._skipped = True
            return Published(entry.event_id, "spooled", _away(self._away[1]), file=entry.path)
        return self._outcome(entry, self.flush(own=entry))

    def flush(self, *, own: Entry | None = None) -> Flushed:
        """Send what is spooled, in order, and the events of interrupted runs; see `producer.flush.flush`."""
        self._skipped = False
        interrupted = self._interrupted()
        done = flush(self.spool, self._send, own=own)
        done.interrupted = interrupted
        self._away = (self._clock() + AWAY_SECONDS, done.away) if done.away else None
        return done

    def send_unspooled(self, message: Outgoing) -> None:
        """Send what could not be spooled.

        Raises:
            BrokerError: the broker does not have it.
        """
        self._send(message)

    def close(self) -> None:
        """Let go of the connection. What is still spooled stays spooled."""
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._skipped:  # the broker may be back since the last try
                self.flush()
        finally:
            self.close()

    def _put(self, event: SimulationCompleted) -> Entry:
        try:
            return self.spool.put(event)
        except SpoolFull:
            if self._away_lately():
                raise
            self.flush()  # the broker may be back
            return self.spool.put(event)

    def _away_lately(self) -> bool:
        return self._away is not None and self._clock() < self._away[0]

    def _send(self, message: Outgoing) -> None:
        if self._publisher is None:
            self._publisher = self.engine.publisher()
        try:
            self._publisher.publish(message)
        except BrokerUnavailable:
            if not self._proven:
                raise
            # The connection has lain idle and was dropped, or the broker was restarted: once more, connecting anew.
            self._proven = False
            self._publisher.publish(message)
        self._proven = True

    def _interrupted(self) -> list[str]:
        try:
            return self.runs.tell(self.spool)
        except SpoolError as error:
            return [str(error)]

    def _spooled_before(self, event: SimulationCompleted) -> Entry | None:
        """The entry of the same event, spooled by an earlier try that did not get it out."""
        entry = self.spool.find(event.id)
        try:
            before = self.spool.read(entry) if entry else None
        except Damaged:
            return None
        if before is None:
            return None
        if before[0].model_copy(update={"time": event.time}) != event:
            raise InvalidEvent("event_id", f"another event with the id {event.id} waits in the spool; take a new id.")
        return entry

    def _outcome(self, entry: Entry, done: Flushed) -> Published:
        notes = _earlier({path: reason for path, reason in done.refused.items() if path != entry.path})
        notes += done.damaged + done.interrupted
        if entry.path in done.refused:
            reason, refused = done.refused[entry.path], True
        elif self.spool.is_aside(entry):
            reason, refused = "Its file in the spool was found damaged.", True
        elif not entry.path.exists():
            return Published(entry.event_id, "sent", notes=tuple(notes))
        elif done.busy:
            reason, refused = "Another process of this machine is sending the spool and may take it along.", False
        else:
            reason, refused = _away(done.away), False
        return Published(entry.event_id, "spooled", reason, refused, entry.path, tuple(notes))


def _away(reason: str) -> str:
    return f"The broker is away: {reason}"


def _earlier(refused: Mapping[Path, str]) -> list[str]:
    """A sentence for each reason, however many events it holds back."""
    by_reason: dict[str, list[Path]] = {}
    for path, reason in refused.items():
        by_reason.setdefault(reason, []).append(path)
    return [
        f"An earlier event stays in the spool as {paths[0]}: {reason}"
        if len(paths) == 1
        else f"{len(paths)} earlier events stay in the spool {paths[0].parent}: {reason}"
        for reason, paths in by_reason.items()
    ]
