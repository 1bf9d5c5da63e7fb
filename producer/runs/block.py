"""``with run(...)``: what `simcourier run` does for a program, for a simulation inside this Python process."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, Unpack
from uuid import UUID

from messaging.messages import Outcome, Scalar
from messaging.settings import Settings
from producer.event import Details, completed_event
from producer.publisher import Producer, Published
from producer.runs.alive import Process
from producer.runs.record import Record
from producer.runs.telling import Telling


class run:  # noqa: N801 - reads as a word: with run("results") as simulation
    """Tell how the simulation in this block ends and where its results lie.

    At the block's end the event is published, as by `producer.publish`: ``succeeded``; ``failed`` with the end of the
    traceback after an exception, which then goes its way; ``aborted`` after Ctrl-C. A process that is killed is told of
    by the next ``run`` or ``publish`` on this machine, or by ``simcourier spool flush``. Whatever goes wrong with that
    is said on standard error, and does not touch the simulation.

    Inside the block, ``configuration`` and ``labels`` may be added to, and ``log_tail`` may be set.

    Args:
        results: folder of the results; it may be made inside the block.
        to: who gets the link.
        backend: identifier of the storage backend.
        settings: default: read from the environment.
        details: see `producer.event.Details`.

    Raises:
        InvalidEvent: an argument is wrong; the block is not entered.
        WrongSetting: a setting is wrong.
    """

    def __init__(
        self,
        results: str | os.PathLike[str],
        *,
        to: Iterable[str] | str,
        backend: str,
        settings: Settings | None = None,
        **details: Unpack[Details],
    ) -> None:
        self._producer = Producer(settings)
        now = datetime.now(UTC)
        arguments: dict[str, Any] = {"started": now} | dict(details)
        max_bytes = self._producer.engine.topology.max_bytes
        event = completed_event(results, to=to, backend=backend, now=now, max_bytes=max_bytes, look=False, **arguments)
        self.configuration: dict[str, Scalar] = dict(event.data.configuration)
        self.labels: dict[str, str] = dict(event.data.labels)
        self.log_tail = event.data.log_tail
        self._telling = Telling(self._producer, event)
        self._process = 0

    @property
    def event_id(self) -> UUID:
        """Asks for the delivery later (``simcourier where``)."""
        return self._telling.event.id

    @property
    def published(self) -> Published | None:
        """What became of the event, after the block; None if it could be neither kept nor sent."""
        return self._telling.published

    def __enter__(self) -> Self:
        self._process = os.getpid()
        self._telling.begin()
        self._telling.started(Record(process=Process.of(self._process)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._process:  # a forked process leaves the block, too
            return
        with self._telling.unharmed():
            outcome, exit_code = _end(error)
            self._telling.ended(
                outcome=outcome,
                exit_code=exit_code,
                at=datetime.now(UTC),
                log_tail=f"{self.log_tail}\n\n{_story(error)}".strip(),
                configuration=self.configuration,
                labels=self.labels,
            )
            try:
                self._telling.send()
            finally:
                self._producer.close()


def _end(error: BaseException | None) -> tuple[Outcome, int | None]:
    match error:
        case None:
            return Outcome.SUCCEEDED, None
        case SystemExit(code=None | 0):
            return Outcome.SUCCEEDED, 0
        case SystemExit(code=int() as code):
            return Outcome.FAILED, code
        case SystemExit():
            return Outcome.FAILED, 1
        case Exception():
            return Outcome.FAILED, None
        case _:
            return Outcome.ABORTED, None


def _story(error: BaseException | None) -> str:
    match error:
        case None | SystemExit(code=None | int()):
            return ""
        case SystemExit():
            return str(error.code)
        case _:
            return "".join(traceback.format_exception(error))
