"""What is on disk while a simulation runs, so that whoever comes next can tell that it was interrupted.

A folder per run, ``runs/<event id>``. It holds ``record.json`` (locked by whoever watches the run; empty until the
simulation may start), ``event.json`` (the event as it is to be published, at first with an unknown end, and with room
for the end of the log: a run whose simulation has filled the disk is told too) and the ends of the streams. At the end
``event.json`` gets its final form and moves into the spool; a folder without it has done its duty.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ValidationError

from messaging import faults
from messaging.messages import Completed, InvalidMessage, Outcome, SimulationCompleted, parse_event
from producer.durable import create, create_folder, make_folder, overwrite, sync, write_new
from producer.event import InvalidEvent
from producer.runs.alive import Process
from producer.runs.tail import Source, readable
from producer.spool import Entry, Spool, SpoolError

RECORD, EVENT = "record.json", "event.json"
# Of a log's end in JSON at its longest ("\u0000" for each character), and of the other facts of the end.
ROOM_BYTES = 6 * 4000 + 1000
LEFTOVER_SECONDS = 3600.0
# A run of another host is told there, which knows its processes. That host may never come back.
ELSEWHERE_SECONDS = 7 * 86400.0
UNKNOWN = (
    "simcourier: whoever watched this simulation was killed, or the machine went down; so how the simulation ended, "
    "and its exit code, are not known."
)


class Record(BaseModel):
    """Who runs, and where the ends of its streams are."""

    process: Process
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A run that nobody watches any more, and that is not told yet.

    Args:
        state: a few words on what has become of the simulation.
        over: it has ended, or it can be found out no more: it can be told.
    """

    folder: Path
    event: SimulationCompleted
    record: Record
    state: str
    over: bool


class Run:
    """The record of a run that we watch; `Runs.begin` makes it.

    Args:
        folder: exists, and is ours.
        descriptor: the open and locked record.
    """

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        self._descriptor = descriptor

    def started(self, record: Record) -> None:
        """Write down who runs, before it does.

        Raises:
            SpoolError: it could not be written.
        """
        with _speaking(self.folder, "written"):
            os.pwrite(self._descriptor, record.model_dump_json().encode(), 0)
            os.fsync(self._descriptor)
            sync(self.folder)

    def ended(self, event: SimulationCompleted, spool: Spool) -> Entry:
        """Hand the event over to the spool.

        Raises:
            SpoolError: that was not possible; what could be written is told by whoever comes next.
        """
        with _speaking(self.folder, "written"):
            overwrite(self.folder / EVENT, event.to_bytes())
        faults.point("run.overwritten")
        entry = spool.adopt(self.folder / EVENT, event.id)
        faults.point("run.adopted")
        self.forget()
        return entry

    def forget(self) -> None:
        """Remove the record: there is nothing (more) to be told."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._descriptor)


class Runs:
    """The records of a data folder.

    Args:
        folder: made when the first run begins.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, event: SimulationCompleted) -> Run:
        """Make the record of a run. ``event`` is what is published if nobody comes to change it.

        Raises:
            InvalidEvent: there is a run with this id.
            SpoolError: it could not be written; nothing is left behind.
        """
        folder = self.folder / str(event.id)
        with _speaking(self.folder, "written"):
            make_folder(self.folder)
            try:
                create_folder(folder)
            except FileExistsError as error:
                raise InvalidEvent("event_id", f"there is a run with the id {event.id}; take a new id.") from error
            try:
                descriptor = create(folder / RECORD, os.O_RDWR | os.O_EXCL)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                body = event.to_bytes()
                write_new(folder / EVENT, body.ljust(len(body) + ROOM_BYTES))
                sync(self.folder)
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        return Run(folder, descriptor)

    def interrupted(self) -> list[Interrupted]:
        """The runs that nobody watches any more.

        Raises:
            SpoolError: the folder cannot be read.
        """
        found = []
        for folder in self._folders():
            with _unwatched(folder) as descriptor, contextlib.suppress(InvalidMessage):
                one = _look(folder, descriptor) if descriptor is not None else None
                if one is not None:
                    found.append(one)
        return found

    def tell(self, spool: Spool) -> list[str]:
        """Put the events of interrupted runs that are over into the spool; a sentence for each, also if that fails.

        Raises:
            SpoolError: the folder cannot be read.
        """
        told = []
        for folder in self._folders():
            with _unwatched(folder) as descriptor:
                if descriptor is None:
                    continue
                try:
                    one = _look(folder, descriptor)
                except InvalidMessage as error:
                    told.append(_set_aside(folder, error))
                    continue
                if one is None:
                    _remove_leftover(folder, descriptor)
                elif one.over:
                    told.append(_tell(one, spool))
        return told

    def _folders(self) -> list[Path]:
        with _speaking(self.folder, "read"):
            try:
                return sorted(path for path in self.folder.iterdir() if _is_id(path.name))
            except FileNotFoundError:
                return []


def finished(
    event: SimulationCompleted,
    *,
    outcome: Outcome,
    exit_code: int | None,
    finished: datetime | None,
    log_tail: str,
    more: Mapping[str, Any] | None = None,
) -> SimulationCompleted:
    """The event, now that the end is known.

    Args:
        event: as it was at the start.
        more: other fields of `Completed` that have changed.

    Raises:
        ValidationError: one of these is wrong.
    """
    values = event.data.model_dump() | dict(more or {})
    values |= {"outcome": outcome, "exit_code": exit_code, "finished": finished, "log_tail": log_tail}
    return event.model_copy(update={"data": Completed.model_validate(values), "time": finished or event.time})


def _tell(one: Interrupted, spool: Spool) -> str:
    name = one.event.data.title or one.event.data.simulation_id
    event = one.event
    if event.data.finished is None:
        tails = [(source.name, source.read()) for source in one.record.sources]
        event = finished(
            event, outcome=Outcome.ABORTED, exit_code=None, finished=None, log_tail=readable(tails, UNKNOWN)
        )
    try:
        with _speaking(one.folder, "written"):
            overwrite(one.folder / EVENT, event.to_bytes())
        spool.adopt(one.folder / EVENT, event.id)
    except SpoolError as error:
        return f"The run '{name}' was interrupted, and that cannot be told now: {error}"
    faults.point("run.adopted")
    shutil.rmtree(one.folder, ignore_errors=True)
    return f"The run '{name}' (event {event.id}) was interrupted: {one.state}. That is told now."


def _look(folder: Path, descriptor: int) -> Interrupted | None:
    """None for a run that never started, or that was told.

    Raises:
        InvalidMessage: its event is damaged.
    """
    try:
        record = Record.model_validate_json(os.pread(descriptor, 1 << 20, 0))
        event = parse_event((folder / EVENT).read_bytes())
    except (OSError, ValidationError):
        return None
    process = record.process
    if event.data.finished is not None:
        state, over = "it ended, and its event could not be kept in the spool then", True
    elif not process.here:
        state = f"it ran on {process.host}, where the next publish or flush tells its end (after 7 days: anywhere)"
        over = time.time() - os.fstat(descriptor).st_mtime > ELSEWHERE_SECONDS
    elif process.alive:
        state, over = f"the simulation still runs as process {process.pid}", False
    else:
        state, over = "the simulation is gone, too", True
    return Interrupted(folder, event, record, state, over)


def _set_aside(folder: Path, error: InvalidMessage) -> str:
    aside = folder.with_name(f"{folder.name}.damaged")
    with contextlib.suppress(OSError):
        folder.rename(aside)
    return f"The event of an interrupted run is damaged ({error}) and was set aside as {aside}; publish it by hand."


def _remove_leftover(folder: Path, descriptor: int) -> None:
    """Of a run that was told, or never started; one without a process in its record may just be in the making."""
    with contextlib.suppress(OSError):
        if os.fstat(descriptor).st_size or time.time() - folder.stat().st_mtime > LEFTOVER_SECONDS:
            shutil.rmtree(folder)


@contextlib.contextmanager
def _unwatched(folder: Path) -> Iterator[int | None]:
    """The record, locked; None while somebody watches the run."""
    try:
        descriptor = os.open(folder / RECORD, os.O_RDWR)
    except OSError:
        yield None
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)


def _is_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


@contextlib.contextmanager
def _speaking(folder: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SpoolError(
            f"The folder {folder} cannot be {what} ({error.strerror or error}); mend that, or let SIMCOURIER_DATA_DIR "
            "name another folder."
        ) from error
