"""The steps of a delivery, from a claim to its link. What is done is not done again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import requests
import structlog

from backends.contract import Link, Stored
from backends.errors import PermanentError, TransientError
from backends.http import session
from backends.registry import plugin
from consumer.choice import Choice
from consumer.collect import collect
from consumer.errors import NotNow, Undeliverable
from consumer.lease import Hold
from consumer.making import Making, ensure_room
from consumer.package import Packed, archive_name
from consumer.packing.deflate import Compression
from consumer.packing.growing import GrowingArchive, prefix_sha256
from consumer.snapshot import Snapshot, ensure_settled
from consumer.store import FileArchive, LedgerProgress, open_backend, translate
from ledger.api import PROBE_SECONDS, Definition, Deliveries, Stage, definition, mark_healthy, mark_unhealthy
from messaging import faults
from messaging.roots import NoRoot, roots_for

log = structlog.get_logger()

PROGRESS_SECONDS = 2.0  # between two notes of how far packing is
SOON_SECONDS = 0.25  # an archive that is whole by then is sent as one
NAMES_TOLD = 5  # of the files in an archive
CRASHES_WITH_SUMMARY = 2  # workers that ended unexpectedly: the next one leaves out what reads the files


@dataclass(frozen=True, slots=True)
class Sent:
    """An archive that a service has confirmed."""

    chosen: Definition
    stored: Stored


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every delivery of this worker needs.

    Args:
        archives: folder for archives that are being made and sent.
        roots: folders and URL prefixes that results may come from, some perhaps of certain users alone.
        site: site-wide values for plugins.
        operator: address that is told when a storage backend needs mending; empty: nobody.
        mail_patience: for how long a mail may be tried after the link was made; links live that much longer.
        compression: how archives are packed.
        settle_seconds: how old the newest result must be before it is packed; 0: it need not be.
    """

    deliveries: Deliveries
    archives: Path
    roots: Sequence[str]
    site: Mapping[str, Any]
    operator: str
    mail_patience: timedelta
    compression: Compression = "fast"
    settle_seconds: float = 0

    def folder(self, delivery_id: UUID) -> Path:
        """Where the archives of a delivery lie on this machine."""
        return self.archives / str(delivery_id)

    def clear(self, delivery_id: UUID) -> None:
        """Remove them; the results themselves are never touched."""
        shutil.rmtree(self.folder(delivery_id), ignore_errors=True)


def deliver(workshop: Workshop, hold: Hold) -> None:
    """Take a claimed delivery to its link.

    Raises:
        what `consumer.decide` decides about.
    """
    with session() as http:
        chosen, link = _link_before(workshop, hold, http) or _link_anew(workshop, hold, http)
    hold.ensure()
    workshop.deliveries.finish(hold.claim, link, keep_days=chosen.keep_days)
    faults.point("delivery.finished")


def _link_before(workshop: Workshop, hold: Hold, http: requests.Session) -> tuple[Definition, Link] | None:
    """The link of what an earlier try has stored; None: there is nothing, or not any more."""
    claim = hold.claim
    if claim.stored is None:
        return None
    chosen = definition(claim.stored_backend)
    hold.account.enter(Stage.LINKING)
    try:
        with _usable(workshop, chosen):
            return chosen, _link(workshop, hold, http, chosen, claim.stored)
    except PermanentError as error:  # somebody has removed it, say: the results are still there
        log.warning("delivery.stored_in_vain", backend=chosen.identifier, error=error.reason)
        hold.account.enter(Stage.COLLECTING)
        return None


def _link_anew(workshop: Workshop, hold: Hold, http: requests.Session) -> tuple[Definition, Link]:
    choice = Choice(hold.claim.event.data)
    _ensure_backend(workshop, hold, choice)
    chosen, stored = _store(workshop, hold, http, choice, *_archive(workshop, hold, http, choice))
    with _usable(workshop, chosen):
        return chosen, _link(workshop, hold, http, chosen, stored)


def _ensure_backend(workshop: Workshop, hold: Hold, choice: Choice) -> None:
    """Nothing is packed that could not be stored anywhere."""
    try:
        choice.first(accepted=hold.claim.begun)
    except Undeliverable:
        workshop.deliveries.enter(hold.claim, Stage.STORING)
        raise


def _archive(workshop: Workshop, hold: Hold, http: requests.Session, choice: Choice) -> tuple[Packed, int, Sent | None]:
    """The archive, its generation, and where it is stored already, since it was sent while it was packed."""
    claim = hold.claim
    data = claim.event.data
    folder = workshop.folder(claim.delivery_id)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if claim.archive_size is not None:
        earlier = folder / f"{claim.archive_sha256}.zip"
        if earlier.is_file() and earlier.stat().st_size == claim.archive_size:
            packed = Packed(earlier, claim.archive_name, claim.archive_size, claim.archive_sha256)
            return packed, claim.generation, None
    faults.point("delivery.collecting")
    snapshot = collect(data.results, _roots(workshop, claim.publisher))
    ensure_settled(snapshot, workshop.settle_seconds, time.time())
    ensure_room(snapshot, folder)
    hold.ensure()
    workshop.deliveries.enter(claim, Stage.PACKAGING)
    hold.account.enter(Stage.PACKAGING)
    faults.point("delivery.packaging")
    part = folder / f"{claim.fence}.part"  # by fence: a worker that was taken for dead may still be writing its own
    part.unlink(missing_ok=True)
    growing = GrowingArchive(part, name=archive_name(data.title, data.simulation_id), key="")
    try:
        with Making(
            snapshot,
            folder,
            growing,
            compression=workshop.compression,
            summarised=claim.crashes < CRASHES_WITH_SUMMARY,
            ensure=hold.ensure,
        ) as making:
            return _Packing(workshop, hold, making, growing, snapshot).run(http, choice)
    finally:
        part.unlink(missing_ok=True)  # what is left of a try that failed would fill the disk


def _roots(workshop: Workshop, publisher: str) -> tuple[str, ...]:
    try:
        return roots_for(workshop.roots, publisher)
    except NoRoot as error:
        raise Undeliverable(str(error)) from error


class _Packing:
    """An archive that is being packed, and sent meanwhile where the service allows it."""

    def __init__(
        self, workshop: Workshop, hold: Hold, making: Making, growing: GrowingArchive, snapshot: Snapshot
    ) -> None:
        self._workshop = workshop
        self._hold = hold
        self._making = making
        self._growing = growing
        self._snapshot = snapshot
        self._generation = 0  # 0: not written down yet

    def run(self, http: requests.Session, choice: Choice) -> tuple[Packed, int, Sent | None]:
        claim = self._hold.claim
        sent = None
        if not claim.archive_sha256:  # else it was packed before: it is to become the same, which the end will show
            chosen = choice.now()
            # Of what an earlier try has sent, only `_send` finds out whether it is good.
            soon = not claim.sent_digest and self._making.wait(SOON_SECONDS)
            if not (plugin(chosen.identifier).needs_size or soon):
                sent = self._send(http, chosen)
        packed = self._finished()
        return packed, self._generation, sent

    def _send(self, http: requests.Session, chosen: Definition) -> Sent | None:
        """Send what is there, and the rest as it comes; None: it did not work, and is tried again with the whole."""
        claim, deliveries = self._hold.claim, self._workshop.deliveries
        generation, checkpoint = self._placed(chosen, deliveries.begin(claim, name=self._growing.name))
        noted = claim.sent_digest
        if checkpoint and not (
            noted and prefix_sha256(self._growing, noted["bytes"], self._hold.ensure) == noted["sha256"]
        ):
            log.info("delivery.bytes_differ", generation=generation)
            generation, checkpoint = self._placed(chosen, deliveries.begin(claim, name=self._growing.name, anew=True))
        progress = LedgerProgress(
            deliveries,
            self._hold,
            checkpoint,
            self._growing,
            digest=self._making.prefix_sha256,
            far=lambda: self._making.progress,
            looked=self._look,
            committing=self._write_down_first,
        )
        self._growing.waiting = self._tell
        self._growing.reading = self._hold.ensure
        faults.point("delivery.storing")
        try:
            with _usable(self._workshop, chosen):
                backend = open_backend(chosen, http, self._workshop.site)
                stored: Stored = translate(lambda: backend.store(self._growing, progress))
        except NotNow:
            self._finished()
            return None  # a fallback may take the whole
        except TransientError:
            self._finished()  # so that the next try need not pack; or else it raises what packing has failed with
            raise
        return Sent(chosen, stored)

    def _placed(self, chosen: Definition, generation: int) -> tuple[int, Mapping[str, Any] | None]:
        claim = self._hold.claim
        self._growing.key = f"{claim.delivery_id}/{generation}/{self._growing.name}"
        checkpoint = self._workshop.deliveries.place(
            claim, backend=chosen.identifier, generation=generation, key=self._growing.key
        )
        self._hold.account.enter(Stage.STORING)
        return generation, checkpoint

    def _look(self) -> None:
        if self._making.wait(0):
            self._finished()

    def _write_down_first(self) -> None:
        """A key means the same bytes for ever: what a whole file holds is in the ledger before the service shows it.

        Else a crash between the two would leave a file under a key that the next try takes for its own, though it may
        pack other bytes: without the summary that the workers died of, say.
        """
        if self._growing.size is not None:
            self._finished()

    def _tell(self) -> None:
        self._workshop.deliveries.progress(self._hold.claim, *self._making.progress)

    def _finished(self) -> Packed:
        """Wait for the archive, and write down what it is, once."""
        claim, making = self._hold.claim, self._making
        while not making.wait(PROGRESS_SECONDS):
            self._tell()
        made = making.result()
        if not self._generation:
            faults.point("delivery.packed")
            self._hold.ensure()
            self._generation = self._workshop.deliveries.packed(
                claim,
                name=made.packed.name,
                size=made.packed.size,
                sha256=made.packed.sha256,
                warnings=self._snapshot.left_out,
                notes=made.notes,
                statistics=[asdict(one) for one in made.key.statistics] if made.key else [],
                contents=_contents(self._snapshot, made.summary),
                pictures=made.pictures,
                sent_meanwhile=bool(self._growing.key),
            )
            self._hold.account.packed(made.packed.size, len(self._snapshot.files))
            log.info(
                "delivery.packed",
                bytes=made.packed.size,
                files=len(self._snapshot.files),
                generation=self._generation,
            )
        return made.packed


def _contents(snapshot: Snapshot, summary: str) -> dict[str, Any]:
    files = snapshot.files
    names = [file.name for file in islice(files, NAMES_TOLD)]
    return {"files": len(files), "bytes": files.size, "names": names, "summary": summary}


def _store(
    workshop: Workshop,
    hold: Hold,
    http: requests.Session,
    choice: Choice,
    packed: Packed,
    generation: int,
    sent: Sent | None,
) -> tuple[Definition, Stored]:
    """Store with the definition asked for, or with the first of its fallbacks that can be used."""
    data = hold.claim.event.data
    if sent is not None:
        _note_stored(workshop, hold, generation, sent.chosen, sent.stored)
        return sent.chosen, sent.stored
    while True:
        chosen = choice.now()
        try:
            with _usable(workshop, chosen):
                return chosen, _store_with(workshop, hold, http, chosen, packed, generation)
        except NotNow:
            if not data.fallback_backends:
                raise
            choice.forget()  # looking again passes over what has just been marked, or raises the same


def _store_with(
    workshop: Workshop, hold: Hold, http: requests.Session, chosen: Definition, packed: Packed, generation: int
) -> Stored:
    claim = hold.claim
    key = f"{claim.delivery_id}/{generation}/{packed.name}"
    checkpoint = workshop.deliveries.place(claim, backend=chosen.identifier, generation=generation, key=key)
    hold.account.enter(Stage.STORING)
    archive = FileArchive(packed.path, packed.name, key, packed.size, packed.sha256, hold.ensure)
    progress = LedgerProgress(workshop.deliveries, hold, checkpoint, archive)
    faults.point("delivery.storing")
    backend = open_backend(chosen, http, workshop.site)
    stored: Stored = translate(lambda: backend.store(archive, progress))
    _note_stored(workshop, hold, generation, chosen, stored)
    return stored


def _note_stored(workshop: Workshop, hold: Hold, generation: int, chosen: Definition, stored: Stored) -> None:
    faults.point("delivery.stored")
    workshop.deliveries.stored(hold.claim, backend=chosen.identifier, generation=generation, stored=stored)
    hold.account.stored(chosen.identifier, stored.size)
    hold.account.enter(Stage.LINKING)
    mark_healthy(chosen.identifier)
    log.info("delivery.stored", backend=chosen.identifier, bytes=stored.size)
    faults.point("delivery.linking")


def _link(workshop: Workshop, hold: Hold, http: requests.Session, chosen: Definition, stored: Stored) -> Link:
    hold.ensure()
    now = workshop.deliveries.ensure(hold.claim)  # not this machine's clock, which may be wrong
    expires = now + timedelta(days=chosen.keep_days) + workshop.mail_patience if chosen.keep_days else None
    backend = open_backend(chosen, http, workshop.site)
    link: Link = translate(lambda: backend.link(stored, expires))
    faults.point("delivery.linked")
    return link


@contextmanager
def _usable(workshop: Workshop, chosen: Definition) -> Iterator[None]:
    """Mark a definition that only a person can mend, so that the next hundred deliveries need not find out each."""
    try:
        yield
    except PermanentError as error:
        if error.scope != "backend":
            raise
        if mark_unhealthy(chosen.identifier, error.reason, operator=workshop.operator):
            log.error("backend.unhealthy", backend=chosen.identifier, error=error.reason)
        raise NotNow(
            f"The storage backend '{chosen.identifier}' cannot be used at present: {error.reason}", PROBE_SECONDS
        ) from error
