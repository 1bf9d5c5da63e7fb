"""The steps of a delivery, from a claim to its link. What is done is not done again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import requests
import structlog

from backends.contract import Link, Stored
from backends.errors import PermanentError
from backends.http import session
from consumer.collect import collect
from consumer.errors import NotNow, Undeliverable
from consumer.lease import Hold
from consumer.package import Packed, archive_name, package
from consumer.store import FileArchive, LedgerProgress, choose, open_backend, translate
from ledger.api import PROBE_SECONDS, Definition, Deliveries, Stage, definition, mark_healthy, mark_unhealthy
from messaging import faults

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every delivery of this worker needs.

    Args:
        archives: folder for archives that are being made and sent.
        roots: folders that results may come from.
        site: site-wide values for plugins.
        operator: address that is told when a storage backend needs mending; empty: nobody.
        mail_patience: for how long a mail may be tried after the link was made; links live that much longer.
    """

    deliveries: Deliveries
    archives: Path
    roots: Sequence[str]
    site: Mapping[str, Any]
    operator: str
    mail_patience: timedelta

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
    claim = hold.claim
    with session() as http:
        if claim.stored is not None:
            chosen, stored = definition(claim.stored_backend), claim.stored
        else:
            _ensure_backend(workshop, hold)
            packed, generation = _pack(workshop, hold)
            chosen, stored = _store(workshop, hold, http, packed, generation)
        with _usable(workshop, chosen):
            link = _link(workshop, hold, http, chosen, stored)
    hold.ensure()
    workshop.deliveries.finish(claim, link, keep_days=chosen.keep_days)
    faults.point("delivery.finished")


def _ensure_backend(workshop: Workshop, hold: Hold) -> None:
    """Nothing is packed that could not be stored anywhere."""
    data = hold.claim.event.data
    try:
        choose(data.backend, data.fallback_backends, accepted=hold.claim.begun)
    except Undeliverable:
        workshop.deliveries.enter(hold.claim, Stage.STORING)
        raise


def _pack(workshop: Workshop, hold: Hold) -> tuple[Packed, int]:
    claim = hold.claim
    data = claim.event.data
    folder = workshop.folder(claim.delivery_id)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if claim.archive_size is not None:
        earlier = folder / f"{claim.archive_sha256}.zip"
        if earlier.is_file() and earlier.stat().st_size == claim.archive_size:
            packed = Packed(earlier, claim.archive_name, claim.archive_size, claim.archive_sha256)
            return packed, claim.generation
    faults.point("delivery.collecting")
    snapshot = collect(data.results, workshop.roots)
    hold.ensure()
    workshop.deliveries.enter(claim, Stage.PACKAGING)
    faults.point("delivery.packaging")
    part = folder / f"{claim.fence}.part"  # by fence: a worker that was taken for dead may still be writing its own
    part.unlink(missing_ok=True)
    try:
        made = package(snapshot, part, archive_name(data.title, data.simulation_id), hold.ensure)
    except BaseException:
        part.unlink(missing_ok=True)  # what is left of a try that failed would fill the disk
        raise
    packed = Packed(part.rename(folder / f"{made.sha256}.zip"), made.name, made.size, made.sha256)
    faults.point("delivery.packed")
    hold.ensure()
    generation = workshop.deliveries.packed(
        claim, name=packed.name, size=packed.size, sha256=packed.sha256, warnings=snapshot.left_out
    )
    log.info("delivery.packed", bytes=packed.size, files=len(snapshot.files), generation=generation)
    return packed, generation


def _store(
    workshop: Workshop, hold: Hold, http: requests.Session, packed: Packed, generation: int
) -> tuple[Definition, Stored]:
    """Store with the definition asked for, or with the first of its fallbacks that can be used."""
    data = hold.claim.event.data
    while True:
        chosen = choose(data.backend, data.fallback_backends, accepted=True)
        try:
            with _usable(workshop, chosen):
                return chosen, _store_with(workshop, hold, http, chosen, packed, generation)
        except NotNow:
            if not data.fallback_backends:
                raise  # else look again: `choose` passes over what has just been marked, or raises the same


def _store_with(
    workshop: Workshop, hold: Hold, http: requests.Session, chosen: Definition, packed: Packed, generation: int
) -> Stored:
    claim = hold.claim
    key = f"{claim.delivery_id}/{generation}/{packed.name}"
    checkpoint = workshop.deliveries.place(claim, backend=chosen.identifier, generation=generation, key=key)
    archive = FileArchive(packed.path, packed.name, key, packed.size, packed.sha256)
    progress = LedgerProgress(workshop.deliveries, hold, checkpoint)
    faults.point("delivery.storing")
    backend = open_backend(chosen, http, workshop.site)
    stored: Stored = translate(lambda: backend.store(archive, progress))
    faults.point("delivery.stored")
    workshop.deliveries.stored(claim, backend=chosen.identifier, generation=generation, stored=stored)
    mark_healthy(chosen.identifier)
    log.info("delivery.stored", backend=chosen.identifier, bytes=stored.size)
    faults.point("delivery.linking")
    return stored


def _link(workshop: Workshop, hold: Hold, http: requests.Session, chosen: Definition, stored: Stored) -> Link:
    expires = None
    if chosen.keep_days:
        expires = datetime.now(UTC) + timedelta(days=chosen.keep_days) + workshop.mail_patience
    hold.ensure()
    workshop.deliveries.ensure(hold.claim)
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
