"""Sends an archive while it is packed, where the service allows it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import requests
import structlog

from backends.contract import Stored
from backends.errors import TransientError
from backends.registry import plugin
from consumer.choice import Choice
from consumer.errors import NotNow
from consumer.lease import Hold
from consumer.making import Made, Making
from consumer.package import Packed
from consumer.packing.growing import GrowingArchive, prefix_sha256
from consumer.report.key import NO_NUMBERS
from consumer.snapshot import Snapshot
from consumer.store import LedgerProgress, open_backend, translate
from consumer.workshop import Workshop, usable
from ledger.api import Definition, Far, Stage
from messaging import faults
from messaging.messages import Outcome
from messaging.pace import Pace

log = structlog.get_logger()

PROGRESS_SECONDS = 2.0  # between two notes of how far packing is
SOON_SECONDS = 0.25  # an archive that is whole by then is sent as one
NAMES_TOLD = 5  # of the files in an archive


@dataclass(frozen=True, slots=True)
class Sent:
    """An archive that a service has confirmed."""

    chosen: Definition
    stored: Stored


class Sending:
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
        self._pace = Pace()  # of the making
        self._tell_at = 0.0

    def run(self, http: requests.Session, choice: Choice) -> tuple[Packed, int, Sent | None]:
        """Wait for the archive; it, its generation, and where it is stored already, if it could be sent meanwhile."""
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
            far=self._far,
            looked=self._look,
            committing=self._write_down_first,
        )
        self._tell_at = time.monotonic() + PROGRESS_SECONDS
        self._growing.waiting = self._tell
        self._growing.reading = self._reading
        faults.point("delivery.storing")
        try:
            with usable(self._workshop, chosen):
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

    def _reading(self) -> None:
        self._hold.ensure()
        if time.monotonic() >= self._tell_at:  # a slow service takes long for what is there: nobody waits for more
            self._tell()

    def _tell(self) -> None:
        self._tell_at = time.monotonic() + PROGRESS_SECONDS
        if self._generation:
            return  # how much of the whole archive is sent, its checkpoints tell
        if self._making.wait(0):
            self._finished()
        else:
            self._tell_making()

    def _tell_making(self) -> None:
        self._workshop.deliveries.progress(self._hold.claim, self._far_making())

    def _far(self, sent: int, rate: float | None) -> Far:
        """Of an archive that is not in the ledger as whole, how far the making is."""
        return Far(sent, self._growing.size or 0, rate) if self._generation else self._far_making()

    def _far_making(self) -> Far:
        done, total = self._making.progress
        return Far(done, total, self._pace(done))

    def _finished(self) -> Packed:
        """Wait for the archive, and write down what it is, once."""
        claim, making = self._hold.claim, self._making
        while not making.wait(PROGRESS_SECONDS):
            self._tell_making()
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
                notes=self._notes(made),
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

    def _notes(self, made: Made) -> list[str]:
        """Of a simulation that did not succeed, numbers are not to be expected."""
        succeeded = self._hold.claim.event.data.outcome == Outcome.SUCCEEDED
        return [note for note in made.notes if succeeded or note != NO_NUMBERS]


def _contents(snapshot: Snapshot, summary: str) -> dict[str, Any]:
    files = snapshot.files
    names = [file.name for file in islice(files, NAMES_TOLD)]
    return {"files": len(files), "bytes": files.size, "names": names, "summary": summary}
