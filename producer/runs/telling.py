"""From the start of a run to its event: what `simcourier run` and the library's block do alike.

Whatever goes wrong here is said in a sentence and never stands in the simulation's way.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from messaging.engine import Outgoing
from messaging.errors import UserError
from messaging.messages import Outcome, SimulationCompleted, describe
from producer.event import tail
from producer.publisher import Producer, Published
from producer.runs.record import UNKNOWN, Record, Run, finished
from producer.spool import Entry, SpoolError


def say(sentence: str) -> None:
    """Tell trouble on standard error, if anybody is there."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(f"simcourier: {sentence}", file=sys.stderr, flush=True)  # noqa: T201 - the block belongs to a program


class Telling:
    """The event of one run.

    Args:
        producer: sends it.
        event: as it is at the start.
        report: gets a sentence for each trouble.
    """

    def __init__(self, producer: Producer, event: SimulationCompleted, report: Callable[[str], None] = say) -> None:
        self.event = event
        self.published: Published | None = None
        self._producer = producer
        self._report = report
        self._run: Run | None = None
        self._entry: Entry | None = None

    def begin(self) -> None:
        """Tell of interrupted runs, and write the record.

        Raises:
            InvalidEvent: there is a run with this id.
        """
        unknown = finished(self.event, outcome=Outcome.ABORTED, exit_code=None, finished=None, log_tail=UNKNOWN)
        with self.unharmed():
            for sentence in self._producer.runs.tell(self._producer.spool):
                self._report(sentence)
        try:
            self._producer.spool.prepare()
            self._run = self._producer.runs.begin(unknown)
        except SpoolError as error:
            self._unrecorded(error)

    def file(self, name: str) -> Path | None:
        """A file of the record's folder; None without record."""
        return self._run.folder / name if self._run else None

    def started(self, record: Record) -> None:
        """Complete the record, before the simulation begins."""
        if self._run is None:
            return
        try:
            self._run.started(record)
        except SpoolError as error:
            self.forget()
            self._unrecorded(error)

    def forget(self) -> None:
        """There is nothing to tell."""
        if self._run is not None:
            self._run.forget()
            self._run = None

    def ended(self, *, outcome: Outcome, exit_code: int | None, at: datetime, log_tail: str, **more: Any) -> None:
        """Put the event into the spool; where that is impossible, into the broker."""
        event = self._final(more, outcome=outcome, exit_code=exit_code, finished=at, log_tail=tail(log_tail))
        self._look_at_results(event)
        try:
            self._entry = self._run.ended(event, self._producer.spool) if self._run else self._producer.spool.put(event)
        except SpoolError as error:
            self._send_unspooled(event, error)

    def send(self) -> None:
        """Send it, and say what became of it, if that is not what it should be."""
        if self._entry is None:
            return
        self.published = published = self._producer.send(self._entry)
        for note in published.notes:
            self._report(note)
        if published.state != "sent":
            self._report(f"{published.reason} {self.stays()}")

    def stays(self) -> str:
        """Where the event is."""
        assert self._entry is not None
        return (
            f"Event {self.event.id} stays in the spool at {self._entry.path}; the next publish or "
            "`simcourier spool flush` sends it."
        )

    @contextlib.contextmanager
    def unharmed(self) -> Iterator[None]:
        """Nothing that goes wrong inside may reach the simulation."""
        try:
            yield
        except UserError as error:
            self._report(str(error))
        except Exception as error:  # noqa: BLE001 - a defect of ours must not cost a result of days
            self._report(f"An error inside SimCourier: {type(error).__name__}: {error}")

    def _final(self, more: Mapping[str, Any], **end: Any) -> SimulationCompleted:
        """The event at the end; what the simulation has said of itself and is wrong is left out."""
        max_bytes = self._producer.engine.topology.max_bytes
        try:
            event = finished(self.event, **end, more=more)
            if len(event.to_bytes()) <= max_bytes:
                return event
            problem = f"the event would be longer than the {max_bytes} bytes that the broker takes."
        except ValidationError as error:
            problem = describe(error)
        self._report(f"What the simulation has said of itself is left out: {problem}")
        return finished(self.event, **end)

    def _look_at_results(self, event: SimulationCompleted) -> None:
        location = urlsplit(event.data.results.location)
        if location.scheme != "file":
            return
        folder = Path(unquote(location.path, errors="surrogateescape"))
        problem = ""
        with contextlib.suppress(OSError):
            if not folder.is_dir():
                problem = "is not there"
            elif next(folder.iterdir(), None) is None:
                problem = "is empty"
        if problem and location.netloc in {"", "localhost"}:
            self._report(
                f"The results folder {folder} {problem}; unless that changes, the mail will say so, with the end of "
                "the log."
            )

    def _send_unspooled(self, event: SimulationCompleted, error: SpoolError) -> None:
        try:
            self._producer.send_unspooled(Outgoing(event.routing_key, event.to_bytes(), str(event.id)))
        except UserError as unsent:
            kept = f"What is known of the run is in {self._run.folder}" if self._run else "Nobody is told of this run"
            self._report(f"{error} The broker could not be given the event either: {unsent} {kept}.")
            return
        self.published = Published(event.id, "sent")
        if self._run is not None:
            self._run.forget()

    def _unrecorded(self, error: SpoolError) -> None:
        self._report(f"{error} The simulation runs all the same; should this process be killed, nobody will be told.")
