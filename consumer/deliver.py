"""The steps of a delivery, from a claim to its link. What is done is not done again."""

from __future__ import annotations

import time
from datetime import timedelta

import requests
import structlog

from backends.contract import Link, Stored
from backends.errors import PermanentError
from backends.http import session
from consumer.choice import Choice
from consumer.collect import collect
from consumer.errors import NotNow, Undeliverable
from consumer.lease import Hold
from consumer.making import Making, ensure_room
from consumer.package import Packed, archive_name
from consumer.packing.growing import GrowingArchive
from consumer.sending import Sending, Sent
from consumer.snapshot import ensure_settled
from consumer.store import FileArchive, LedgerProgress, open_backend, translate
from consumer.workshop import Workshop, usable
from ledger.api import Definition, Stage, definition, mark_healthy
from messaging import faults
from messaging.roots import NoRoot, roots_for

log = structlog.get_logger()

CRASHES_WITH_SUMMARY = 2  # workers that ended unexpectedly: the next one leaves out what reads the files


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
        with usable(workshop, chosen):
            return chosen, _link(workshop, hold, http, chosen, claim.stored)
    except PermanentError as error:  # somebody has removed it, say: the results are still there
        log.warning("delivery.stored_in_vain", backend=chosen.identifier, error=error.reason)
        hold.account.enter(Stage.COLLECTING)
        return None


def _link_anew(workshop: Workshop, hold: Hold, http: requests.Session) -> tuple[Definition, Link]:
    choice = Choice(hold.claim.event.data)
    _ensure_backend(workshop, hold, choice)
    chosen, stored = _store(workshop, hold, http, choice, *_archive(workshop, hold, http, choice))
    with usable(workshop, chosen):
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
    summarised = claim.crashes < CRASHES_WITH_SUMMARY
    if not summarised:
        log.error("summary.left_out", crashes=claim.crashes, reason="workers ended unexpectedly over this delivery")
    try:
        with Making(
            snapshot,
            folder,
            growing,
            compression=workshop.compression,
            summarised=summarised,
            ensure=hold.ensure,
        ) as making:
            return Sending(workshop, hold, making, growing, snapshot).run(http, choice)
    finally:
        part.unlink(missing_ok=True)  # what is left of a try that failed would fill the disk


def _roots(workshop: Workshop, publisher: str) -> tuple[str, ...]:
    try:
        return roots_for(workshop.roots, publisher)
    except NoRoot as error:
        raise Undeliverable(str(error)) from error


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
        _note_stored(workshop, hold, generation, choice, sent)
        return sent.chosen, sent.stored
    while True:
        chosen = choice.now()
        try:
            with usable(workshop, chosen):
                stored = _store_with(workshop, hold, http, chosen, packed, generation)
                _note_stored(workshop, hold, generation, choice, Sent(chosen, stored))
                return chosen, stored
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
    return stored


def _note_stored(workshop: Workshop, hold: Hold, generation: int, choice: Choice, sent: Sent) -> None:
    chosen, stored = sent.chosen, sent.stored
    faults.point("delivery.stored")
    workshop.deliveries.stored(
        hold.claim, backend=chosen.identifier, generation=generation, stored=stored, passed_over=choice.passed_over
    )
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
