"""The spool: events that this machine has promised to publish, one file each, kept until the broker has confirmed.

A file's name sorts by time, its content is the body that will be published. Writing is: a hidden name, fsync, rename,
fsync of the folder; so a file that is seen is whole, whatever was killed in between. Folder and files are readable
by their owner only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from messaging import faults
from messaging.errors import UserError
from messaging.messages import InvalidMessage, SimulationCompleted, parse_event
from messaging.settings import SPOOL_MAX_BYTES as MOST_BYTES
from messaging.settings import SPOOL_MAX_EVENTS as MOST_EVENTS
from producer.bound import Bound
from producer.durable import create, make_folder, sync, write_new

# Nanoseconds since 1970 in 20 digits, then the event's id.
NAME = re.compile(r"(?P<number>\d{20})-(?P<event>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.json")
DAMAGED_SUFFIX = ".damaged"
# A hidden file of a producer that was killed while writing is removed after this many seconds.
LEFTOVER_SECONDS = 3600.0
POLL_SECONDS = 0.02


class SpoolError(UserError):
    """The spool cannot be read or written; the text says which path and what to do."""


class SpoolFull(SpoolError):
    """It holds as much as it may; the event was not kept."""


class Damaged(Exception):
    """A spooled file holds no event; the text says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A spooled event.

    Args:
        path: its file.
        event_id: the event's id.
        spooled: when it was written.
    """

    path: Path
    event_id: UUID
    spooled: datetime


class Spool:
    """The events of one folder, oldest first. Several processes may use it at a time.

    Args:
        folder: made when the first event is written.
        now: wall clock in nanoseconds since 1970.
        most_events, most_bytes: how much it may hold; about that much, where several processes write at a time.
    """

    def __init__(
        self,
        folder: Path,
        now: Callable[[], int] = time.time_ns,
        *,
        most_events: int = MOST_EVENTS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.folder = folder
        self._now = now
        self._bound = Bound(folder, NAME.fullmatch, events=most_events, size=most_bytes)

    def put(self, event: SimulationCompleted) -> Entry:
        """Write an event durably.

        Raises:
            SpoolError: it could not be written; nothing is left behind.
            SpoolFull: there are too many already.
        """
        with self._speaking("written"):
            make_folder(self.folder)
            body = event.to_bytes()
            if full := self._bound.add(len(body)):
                raise SpoolFull(
                    f"The spool {self.folder} {full}: the broker has not taken these events, so this one was not kept. "
                    "See 'simcourier spool list', and 'simcourier spool flush' for the reason."
                )
            path = self._next_path(event.id)
            hidden = self.folder / f".{path.name}.tmp"
            try:
                write_new(hidden, body)
                faults.point("spool.filled")
                self._show(hidden, path)
            except BaseException:
                hidden.unlink(missing_ok=True)
                path.unlink(missing_ok=True)
                raise
        faults.point("spool.written")
        return _known(path)

    def adopt(self, file: Path, event_id: UUID) -> Entry:
        """Take over the file of an event, synced already and in the same file system; this needs no room on the disk.

        It was promised when its room was taken, so that no bound is in its way.

        Raises:
            SpoolError: it could not be moved; it is where it was.
        """
        with self._speaking("written"):
            make_folder(self.folder)
            path = self._next_path(event_id)
            self._show(file, path)
        return _known(path)

    def prepare(self) -> None:
        """Make what `adopt` needs.

        Raises:
            SpoolError: it could not be written.
        """
        with self._speaking("written"):
            make_folder(self.folder)
            self._next_number()

    def entries(self) -> list[Entry]:
        """What is spooled, in the order of writing.

        Raises:
            SpoolError: the folder cannot be read.
        """
        with self._speaking("read"):
            try:
                paths = sorted(self.folder.iterdir())
            except FileNotFoundError:
                return []
        found = map(_entry, paths)
        return [entry for entry in found if entry is not None]

    def find(self, event_id: UUID) -> Entry | None:
        """The oldest entry with this event's id."""
        return next((entry for entry in self.entries() if entry.event_id == event_id), None)

    def read(self, entry: Entry) -> tuple[SimulationCompleted, bytes] | None:
        """The event of an entry and its body; None if another process has sent and removed it.

        Raises:
            Damaged: the file holds no event, or another one than its name says.
            SpoolError: the file cannot be read.
        """
        with self._speaking("read"):
            try:
                body = entry.path.read_bytes()
            except FileNotFoundError:
                return None
        try:
            event = parse_event(body)
        except InvalidMessage as error:
            raise Damaged(str(error)) from error
        if event.id != entry.event_id:
            raise Damaged(f"It holds the event {event.id}.")
        return event, body

    def remove(self, entry: Entry) -> None:
        """Forget an entry that the broker has confirmed.

        The folder is not synced: an entry that a power cut brings back is sent again under its old id, which does no
        harm.
        """
        with self._speaking("written"):
            entry.path.unlink(missing_ok=True)

    def set_aside(self, entry: Entry) -> Path:
        """Rename a damaged file, so that it is kept and no longer sent; its new path."""
        aside = entry.path.with_name(entry.path.name + DAMAGED_SUFFIX)
        with self._speaking("written"):
            entry.path.rename(aside)
        return aside

    def is_aside(self, entry: Entry) -> bool:
        """True if `set_aside` has happened to this entry."""
        return entry.path.with_name(entry.path.name + DAMAGED_SUFFIX).exists()

    def damaged(self) -> list[Path]:
        """The files that were set aside, oldest first."""
        return sorted(self.folder.glob(f"*.json{DAMAGED_SUFFIX}"))

    def remove_leftovers(self) -> None:
        """Remove the hidden files of producers that were killed while writing: they were never promised to anybody."""
        oldest = self._now() - LEFTOVER_SECONDS * 1e9
        with self._speaking("written"):
            for hidden in self.folder.glob(".*.json.tmp"):
                with contextlib.suppress(FileNotFoundError):
                    if hidden.stat().st_mtime_ns < oldest:
                        hidden.unlink()

    @contextlib.contextmanager
    def turn(self, patience: float, enough: Callable[[], bool]) -> Iterator[bool]:
        """Hold the right to send, so that two processes do not send one event at the same time; True if it is held.

        Waits up to ``patience`` seconds for another process, or until ``enough`` says that waiting has lost its point.
        The right ends with the process that holds it.

        Raises:
            SpoolError: the lock file cannot be used.
        """
        deadline = time.monotonic() + patience
        with self._lock(".sending") as descriptor:
            held = self._try_lock(descriptor)
            while not held and time.monotonic() < deadline and not enough():
                time.sleep(POLL_SECONDS)
                held = self._try_lock(descriptor)
            yield held

    def _next_path(self, event_id: UUID) -> Path:
        return self.folder / f"{self._next_number():020d}-{event_id}.json"

    def _show(self, file: Path, path: Path) -> None:
        file.rename(path)
        faults.point("spool.renamed")
        sync(self.folder)

    def _next_number(self) -> int:
        """A number above all earlier ones of this spool: the time, or the last number + 1 where the clock stood still.

        The last number lies in a file under a lock, so that the order holds between processes too.
        """
        with self._lock(".last") as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            last = os.pread(descriptor, 20, 0)
            number = max(self._now(), int(last) + 1 if last.isdigit() else 0)
            os.pwrite(descriptor, f"{number:020d}".encode(), 0)
            return number

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[int]:
        with self._speaking("locked"):
            descriptor = create(self.folder / name, os.O_RDWR)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _try_lock(self, descriptor: int) -> bool:
        with self._speaking("locked"):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    @contextlib.contextmanager
    def _speaking(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SpoolError(
                f"The spool {self.folder} cannot be {what} ({error.strerror or error}); mend that, or let "
                "SIMCOURIER_DATA_DIR name another folder."
            ) from error


def _entry(path: Path) -> Entry | None:
    match = NAME.fullmatch(path.name)
    if match is None:
        return None
    spooled = datetime.fromtimestamp(int(match["number"]) / 1e9, tz=UTC)
    return Entry(path=path, event_id=UUID(match["event"]), spooled=spooled)


def _known(path: Path) -> Entry:
    entry = _entry(path)
    assert entry is not None
    return entry
