"""Moves of a delivery: each one a conditional update, and, once claimed, conditional on the claim's fence.

Zero rows changed means that somebody else was first. Nothing here publishes; what has to be told is returned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Case, DateTimeField, F, IntegerField, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce, Greatest, Now

from backends.contract import Link, Stored
from backends.errors import Superseded
from ledger.addresses import new_key
from ledger.models import Delivery, Notification, Picture, Placement, Step
from ledger.states import OWED, Kind, NoticeState, Stage, State, StepKind
from ledger.steps import note
from ledger.work import from_now, seconds, seconds_until, unit_of_work
from messaging.messages import SimulationCompleted, digest, parse_event
from messaging.terminal import harmless

MOST_WARNINGS = 100
LONGEST_WARNING = 500
STORED_WITH = "Stored with "  # begins the note that it is not the storage backend that was asked for
MOST_RUNS = 2**31 - 1  # of a campaign, that a column can hold
DAY_SECONDS = 86400.0
# A worker that was taken for dead may still be sending for a while.
LEFTOVER_SECONDS = DAY_SECONDS


class OtherBody(Exception):
    """The event's id is known with another body; an id is used once."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a delivery, as long as its fence is the row's and its lease is renewed.

    Args:
        publisher: the broker's user who published the event, if it vouches for one.
        stored: what the service confirmed earlier, if this delivery came so far before; with ``stored_backend``.
        attempts: counted failures in a row before this one.
        trouble_seconds: since when it has been failing or waiting; 0 at the first try.
        failing_seconds: since when it has been failing in a row, without anything else to wait for between.
        crashes: claims in a row that ended without outcome or progress.
        round: how often an operator has asked for another try.
    """

    delivery_id: UUID
    fence: int
    event: SimulationCompleted
    publisher: str
    attempts: int
    trouble_seconds: float
    failing_seconds: float
    crashes: int
    round: int
    generation: int
    archive_name: str
    archive_size: int | None
    archive_sha256: str
    warnings: tuple[str, ...]
    checkpoint: Mapping[str, Any] | None
    sent_digest: Mapping[str, Any] | None
    stored: Stored | None
    stored_backend: str

    @property
    def begun(self) -> bool:
        """Whether an earlier try came so far that its storage backend was accepted."""
        return self.generation > 0 or self.attempts > 0 or self.trouble_seconds > 0


@dataclass(frozen=True, slots=True)
class Far:
    """How far a stage is.

    Args:
        done: bytes of ``total``: of the results while the archive grows, of the archive once it is whole.
        total: 0: not known.
        rate: bytes a second of late; None: not known.
    """

    done: int
    total: int = 0
    rate: float | None = None

    def columns(self) -> dict[str, Any]:
        """As a row has it."""
        return {"done_bytes": self.done, "total_bytes": self.total, "rate": self.rate, "told_at": Now()}


@dataclass(frozen=True, slots=True)
class Held:
    """Not to be claimed before ``seconds`` have passed: a live lease, or WAITING before its time."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing is left to be done for the delivery itself; its notifications may still be ``owed``."""

    owed: bool


class Deliveries:
    """A worker's access to the deliveries.

    Args:
        worker: who this is, for people.
        lease: seconds that a claim holds without renewal.
        overdue: seconds past its time after which the sweep wakes a row.
        digests: how runs of campaigns ended is gathered for `ledger.digests`; else each has a mail of its own.
    """

    def __init__(self, worker: str, *, lease: float, overdue: float, digests: bool = True) -> None:
        self.worker = worker
        self.lease = lease
        self.overdue = overdue
        self.digests = digests

    @unit_of_work
    def record(self, event: SimulationCompleted, body: bytes, publisher: str | None) -> None:
        """Write the delivery as RECEIVED unless it is there already.

        Raises:
            OtherBody: it is there with another body.
        """
        body_digest = digest(body)
        data = event.data
        Delivery.objects.bulk_create(
            [
                Delivery(
                    id=event.id,
                    body=body,
                    body_digest=body_digest,
                    publisher=publisher or "",
                    lane=data.lane.value,
                    simulation_id=data.simulation_id,
                    title=data.title,
                    campaign_id=data.campaign.id if data.campaign else "",
                    campaign_runs=min(data.campaign.runs, MOST_RUNS) if data.campaign and data.campaign.runs else None,
                    backend=data.backend,
                    page_key=new_key(),
                    received_at=Now(),
                    wake_at=from_now(self.overdue),
                    wake_seconds=self.overdue,
                )
            ],
            ignore_conflicts=True,
        )
        if not Delivery.objects.filter(id=event.id, body_digest=body_digest).exists():
            raise OtherBody(f"The event id {event.id} was used before with another body.")

    @unit_of_work
    def claim(self, event: SimulationCompleted, body: bytes, publisher: str | None) -> Claim | Held | Ended:
        """Try to become the one who works on it; records it first if nobody has.

        Raises:
            OtherBody: as `record`.
        """
        body_digest = digest(body)
        for _ in range(3):
            if self._take(event.id, body_digest):
                claim = self._claimed(event.id)
                if claim.crashes:
                    note(event.id, StepKind.TAKEN_OVER, worker=self.worker)
                return claim
            answer = self._why_not(event.id, body_digest)
            if answer is None:
                self.record(event, body, publisher)
            elif not (
                isinstance(answer, Held) and answer.seconds <= 0
            ):  # else it is free by now: the recorder was first
                return answer
        return Held(1.0)  # it changed under our eyes again and again

    def _take(self, delivery_id: UUID, body_digest: str) -> bool:
        free = (
            Q(state=State.RECEIVED)
            | Q(state=State.WAITING, waiting_until__lte=Now())
            | Q(state=State.WORKING, lease_until__lt=Now())
        )
        changed = Delivery.objects.filter(free, id=delivery_id, body_digest=body_digest).update(
            crashes=Case(
                When(state=State.WORKING, then=F("crashes") + 1), default=F("crashes"), output_field=IntegerField()
            ),
            state=State.WORKING,
            **_entered(Stage.COLLECTING),
            fence=F("fence") + 1,
            worker=self.worker,
            started_at=Coalesce(F("started_at"), Now()),
            waiting_until=None,
            **self._lease(),
        )
        return changed == 1

    def _why_not(self, delivery_id: UUID, body_digest: str) -> Held | Ended | None:
        row = (
            Delivery.objects.filter(id=delivery_id)
            .annotate(lease_left=seconds_until("lease_until"), wait_left=seconds_until("waiting_until"))
            .values("state", "body_digest", "lease_left", "wait_left")
            .first()
        )
        if row is None:
            return None
        if row["body_digest"] != body_digest:
            raise OtherBody(f"The event id {delivery_id} was used before with another body.")
        if row["state"] == State.WORKING:
            return Held(seconds(row["lease_left"]))
        if row["state"] == State.WAITING:
            return Held(seconds(row["wait_left"]))
        if row["state"] == State.RECEIVED:
            return Held(0)
        return Ended(owed=owed(delivery_id))

    def _claimed(self, delivery_id: UUID) -> Claim:
        row = Delivery.objects.annotate(
            trouble=seconds_until("trouble_since"), failing=seconds_until("failing_since")
        ).get(id=delivery_id)
        return Claim(
            delivery_id=row.id,
            fence=row.fence,
            event=parse_event(bytes(row.body)),
            publisher=row.publisher,
            attempts=row.attempts,
            trouble_seconds=_since(row.trouble),
            failing_seconds=_since(row.failing),
            crashes=row.crashes,
            round=row.round,
            generation=row.generation,
            archive_name=row.archive_name,
            archive_size=row.archive_size,
            archive_sha256=row.archive_sha256,
            warnings=tuple(row.warnings),
            checkpoint=row.checkpoint,
            sent_digest=row.sent_digest,
            stored=Stored.model_validate(row.stored) if row.stored else None,
            stored_backend=row.stored_backend,
        )

    @unit_of_work
    def renew(self, claim: Claim) -> bool:
        """Prolong the lease; False: the fence is gone, stop at once."""
        return self._mine(claim).update(**self._lease()) == 1

    @unit_of_work
    def ensure(self, claim: Claim) -> datetime:
        """Raise `Superseded` if somebody else has taken over; else the database's clock."""
        held = self._mine(claim).filter(lease_until__gte=Now()).annotate(now=Now()).values_list("now", flat=True)
        now: datetime | None = held.first()
        if now is None:
            raise Superseded("another worker has taken over")
        return now

    @unit_of_work
    def enter(self, claim: Claim, stage: Stage) -> None:
        """Write which stage is being worked on."""
        self._write(claim, **_entered(stage))

    @unit_of_work
    def begin(self, claim: Claim, *, name: str, anew: bool = False) -> int:
        """An archive is begun that is sent while it grows; returns its generation.

        It is that of an earlier try which did not come to its end, since the same results make the same bytes; with
        ``anew``, when they did not, it is a new one.
        """
        row = self._row(claim)
        if row["generation"] and not row["archive_sha256"] and row["archive_name"] == name and not anew:
            return int(row["generation"])
        return self._new_generation(claim, row["generation"] + 1, archive_name=name)

    @unit_of_work
    def packed(
        self,
        claim: Claim,
        *,
        name: str,
        size: int,
        sha256: str,
        warnings: Sequence[str],
        notes: Sequence[str] = (),
        statistics: Sequence[Mapping[str, Any]] = (),
        contents: Mapping[str, Any] | None = None,
        pictures: Sequence[Mapping[str, Any]] = (),
        sent_meanwhile: bool = False,
    ) -> int:
        """Write what the archive is; returns its generation, a new one if the bytes are not those of the last.

        A new generation begins a new upload: checkpoint and confirmation of the old one are let go.

        Args:
            warnings: what is not in it, and why.
            notes: what the researcher should know before trusting the numbers.
            statistics: the key ones, each with label, value (for people), number and unit.
            contents: how many ``files`` of the results with how many ``bytes``, first ``names``, and whether there is
                a ``summary``.
            pictures: plots, each with title, note, alt and png.
            sent_meanwhile: it is the one that `begin` gave its generation to.
        """
        row = self._row(claim)
        about = {
            "archive_size": size,
            "archive_sha256": sha256,
            "warnings": _shortened(warnings),
            "notes": _shortened(notes),
            "statistics": [dict(one) for one in statistics],
            "contents": dict(contents or {}),
        }
        same = row["archive_sha256"] == sha256 or (sent_meanwhile and not row["archive_sha256"])
        with transaction.atomic():
            if row["generation"] and row["archive_name"] == name and same:
                generation = int(row["generation"])
                self._write(claim, crashes=0, **about)
            else:
                generation = self._new_generation(claim, row["generation"] + 1, archive_name=name, **about)
            if sent_meanwhile:  # how far the stage is tells from now on how much of the archive is sent
                self._write(claim, done_bytes=F("sent_bytes"), total_bytes=size, rate=None, told_at=Now())
            note(claim.delivery_id, StepKind.PACKED, worker=self.worker, size=size, sha256=sha256)
            if pictures or claim.generation:
                Picture.objects.filter(delivery_id=claim.delivery_id).delete()
            Picture.objects.bulk_create(Picture(delivery_id=claim.delivery_id, **one) for one in pictures)
        return generation

    def _row(self, claim: Claim) -> Mapping[str, Any]:
        row = self._mine(claim).values("generation", "archive_name", "archive_sha256").first()
        if row is None:
            raise Superseded("another worker has taken over")
        return row

    def _new_generation(self, claim: Claim, generation: int, **values: Any) -> int:
        nothing: dict[str, Any] = {
            "archive_size": None,
            "archive_sha256": "",
            "warnings": [],
            "notes": [],
            "statistics": [],
            "contents": {},
        }
        upload = {"checkpoint": None, "sent_bytes": 0, "sent_digest": None, "stored": None, "stored_backend": ""}
        self._write(claim, **(nothing | upload | values), generation=generation, crashes=0)
        return generation

    @unit_of_work
    def progress(self, claim: Claim, far: Far) -> None:
        """Write how far the present stage is."""
        self._write(claim, **far.columns())

    @unit_of_work
    def place(self, claim: Claim, *, backend: str, generation: int, key: str) -> Mapping[str, Any] | None:
        """Write where the archive is about to be put, before the first byte goes there; returns the checkpoint.

        A checkpoint belongs to one service: going to another one than the last time lets it go.
        """
        with transaction.atomic():
            self._write(claim, **_entered(Stage.STORING))
            places = Placement.objects.filter(delivery_id=claim.delivery_id, generation=generation)
            last = places.order_by("-placed_at").values("backend")[:1]
            row = self._mine(claim).annotate(last=Subquery(last)).values("checkpoint", "last").get()
            kept: Mapping[str, Any] | None = row["checkpoint"]
            if row["last"] not in {None, backend}:
                self._write(claim, checkpoint=None, sent_bytes=0, sent_digest=None)
                kept = None
            Placement.objects.bulk_create(
                [
                    Placement(
                        delivery_id=claim.delivery_id, backend=backend, generation=generation, key=key, placed_at=Now()
                    )
                ],
                update_conflicts=True,
                unique_fields=["delivery", "backend", "generation"],
                update_fields=["key", "placed_at", "remove_at", "remove_tries"],
            )
        return kept

    @unit_of_work
    def checkpoint(
        self,
        claim: Claim,
        checkpoint: Mapping[str, Any],
        sent: int,
        *,
        far: Far | None = None,
        sha256: str | None = None,
    ) -> None:
        """Keep the plugin's checkpoint; more bytes than ever before are progress.

        Args:
            far: how far the stage is; None: nobody knows more than what was sent.
            sha256: digest of the ``sent`` bytes, where the archive is still growing; None: where it is not.
        """
        self._write(
            claim,
            checkpoint=dict(checkpoint),
            sent_digest={"bytes": sent, "sha256": sha256} if sha256 else None,
            **(far or Far(sent)).columns(),
            crashes=Case(When(sent_bytes__lt=sent, then=0), default=F("crashes"), output_field=IntegerField()),
            sent_bytes=Greatest(F("sent_bytes"), Value(sent)),
        )

    @unit_of_work
    def stored(self, claim: Claim, *, backend: str, generation: int, stored: Stored, passed_over: str = "") -> None:
        """Write that the service has confirmed the archive.

        Args:
            passed_over: why it is not with the backend that was asked for, which is noted; empty: it is.
        """
        record = stored.model_dump(mode="json")
        with transaction.atomic():
            noted = self._noted(claim, backend, passed_over) if claim.event.data.fallback_backends else {}
            self._write(
                claim,
                **_entered(Stage.LINKING),
                stored=record,
                stored_backend=backend,
                **noted,
                checkpoint=None,
                sent_bytes=stored.size,
                crashes=0,
            )
            Placement.objects.filter(delivery_id=claim.delivery_id, backend=backend, generation=generation).update(
                stored=record
            )
            note(claim.delivery_id, StepKind.STORED, worker=self.worker, size=stored.size, detail=backend)

    @staticmethod
    def _noted(claim: Claim, backend: str, passed_over: str) -> dict[str, list[str]]:
        """The notes, with why another backend was not used; an earlier try may have gone to yet another."""
        notes: list[str] = Delivery.objects.values_list("notes", flat=True).get(id=claim.delivery_id)
        notes = [one for one in notes if not one.startswith(STORED_WITH)]
        if passed_over:
            notes.insert(0, harmless(f"{STORED_WITH}'{backend}': {passed_over[:1].lower()}{passed_over[1:]}"))
        return {"notes": _shortened(notes)}

    @unit_of_work
    def finish(self, claim: Claim, link: Link, *, keep_days: int) -> None:
        """Link, DELIVERED, and a notification per recipient, in one transaction."""
        with transaction.atomic():
            self._end(
                claim,
                State.DELIVERED,
                stage="",
                reason="",
                link=link.url,
                link_expires=link.expires,
                keep_days=keep_days,
                kept_until=None,
                relink_at=None,
            )
            note(claim.delivery_id, StepKind.LINKED, worker=self.worker)
            self._owe(claim, Kind.DELIVERED)
            kept = from_now(keep_days * DAY_SECONDS) if keep_days else Value(None, DateTimeField())
            own = Delivery.objects.filter(id=claim.delivery_id)
            current = Q(backend=own.values("stored_backend")[:1], generation=own.values("generation")[:1])
            Placement.objects.filter(delivery_id=claim.delivery_id).update(
                remove_at=Case(When(current, then=kept), default=from_now(LEFTOVER_SECONDS))
            )

    @unit_of_work
    def fail(self, claim: Claim, reason: str) -> None:
        """FAILED, and a notification per recipient, in one transaction. The stage says where it failed."""
        reason = harmless(reason)
        with transaction.atomic():
            self._end(claim, State.FAILED, reason=reason)
            note(claim.delivery_id, StepKind.FAILED, worker=self.worker, detail=reason)
            self._owe(claim, Kind.FAILED)
            leave(claim.delivery_id)

    @unit_of_work
    def wait(self, claim: Claim, delay: float, reason: str, *, counted: bool) -> None:
        """WAITING for ``delay`` seconds. Counted: a failed try; else something that will pass."""
        reason = harmless(reason)
        with transaction.atomic():
            self._write(
                claim,
                state=State.WAITING,
                waiting_until=from_now(delay),
                reason=reason,
                # What will pass ends a row of failures: the next failure is the first of a new one.
                attempts=F("attempts") + 1 if counted else 0,
                failing_since=Coalesce(F("failing_since"), Now()) if counted else None,
                trouble_since=Coalesce(F("trouble_since"), Now()),
                crashes=0,
                lease_until=None,
                worker="",
                **self._wake(delay),
            )
            last = Step.objects.filter(delivery_id=claim.delivery_id).values_list("what", "detail").last()
            if last != (StepKind.WAITS, reason):  # days of the same are one step
                note(claim.delivery_id, StepKind.WAITS, worker=self.worker, detail=reason)

    @unit_of_work
    def give_back(self, claim: Claim) -> None:
        """RECEIVED again, uncounted: this worker stops, another one goes on."""
        with transaction.atomic():
            self._write(claim, state=State.RECEIVED, stage="", crashes=0, lease_until=None, worker="", **self._wake(0))
            note(claim.delivery_id, StepKind.GIVEN_BACK, worker=self.worker)

    def _mine(self, claim: Claim) -> QuerySet[Delivery]:
        return Delivery.objects.filter(id=claim.delivery_id, fence=claim.fence, state=State.WORKING)

    def _write(self, claim: Claim, **values: Any) -> None:
        if self._mine(claim).update(**values) != 1:
            raise Superseded("another worker has taken over")

    def _end(self, claim: Claim, state: State, **values: Any) -> None:
        self._write(
            claim,
            state=state,
            ended_at=Now(),
            attempts=0,
            trouble_since=None,
            failing_since=None,
            crashes=0,
            waiting_until=None,
            lease_until=None,
            wake_at=None,
            **values,
        )

    def _owe(self, claim: Claim, kind: Kind) -> None:
        recipients = dict.fromkeys(claim.event.data.recipients)
        gathered = self.digests and claim.event.data.campaign is not None
        Notification.objects.bulk_create(
            [
                Notification(
                    delivery_id=claim.delivery_id,
                    recipient=recipient,
                    kind=kind,
                    occasion=claim.round,  # nobody asks for another one while this one is in work
                    state=NoticeState.GATHERED if gathered else NoticeState.PENDING,
                    created_at=Now(),
                    due_at=Now(),
                    wake_at=None if gathered else from_now(self.overdue),
                    wake_seconds=self.overdue,
                )
                for recipient in recipients
            ],
            ignore_conflicts=True,
        )

    def _lease(self) -> dict[str, Any]:
        return {"lease_until": from_now(self.lease), **self._wake(self.lease)}

    def _wake(self, after: float) -> dict[str, Any]:
        return {"wake_at": from_now(after + self.overdue), "wake_seconds": self.overdue}


def _entered(stage: Stage) -> dict[str, Any]:
    return {"stage": stage, "stage_since": Now(), **Far(0).columns()}


def _since(left: timedelta | None) -> float:
    return max(0.0, -left.total_seconds()) if left is not None else 0.0


def _shortened(warnings: Sequence[str]) -> list[str]:
    """They travel in a message, whose size has a limit."""
    if len(warnings) <= MOST_WARNINGS:
        return [warning[:LONGEST_WARNING] for warning in warnings]
    kept = [warning[:LONGEST_WARNING] for warning in warnings[:MOST_WARNINGS]]
    return [*kept, f"and {len(warnings) - MOST_WARNINGS} more"]


def leave(delivery_id: UUID) -> None:
    """Nothing that was stored for this delivery will be linked: the expiry removes it, unless it is started again."""
    Placement.objects.filter(delivery_id=delivery_id).update(remove_at=from_now(LEFTOVER_SECONDS))


def owed(delivery_id: UUID) -> bool:
    """True while a notification of this delivery is not sent and not given up."""
    return Notification.objects.filter(delivery_id=delivery_id, state__in=OWED).exists()
