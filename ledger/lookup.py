"""Where is my result? Read-only views of deliveries for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from string import hexdigits
from typing import Any
from uuid import UUID

from django.db.models import Prefetch, Q

from ledger import counts
from ledger.addresses import path_of
from ledger.models import Delivery, Notification
from ledger.operators import STARTED_AGAIN
from ledger.simulation import Simulation, both, capital, simulation_of
from ledger.states import ENDS, MAIL_ABOUT, OWED, NoticeState, Stage, State
from ledger.work import seconds, seconds_until, unit_of_work
from messaging.amounts import amount, duration, how_far

LEAST_OF_ID, ID_DIGITS = 4, 32  # digits by which an id may be named
FRESH_SECONDS = 15.0  # workers tell how far they are every few seconds; what is older says nothing of the speed now
RESULTS, ARCHIVE = "results", "archive"  # what the bytes of a progress are of


@dataclass(frozen=True, slots=True)
class NoticeView:
    """A mail that is owed or was sent.

    Args:
        reason: why it has not gone out yet, or never will.
        failed_tries: how often the mail server did not take it.
        next_in: seconds until it is tried again; None: it is not, or is being sent.
        uncertain: how often it was sent again without knowing whether it had arrived.
        digest: id of the mail that tells it together with other runs of its campaign; the four above are that one's.
    """

    recipient: str
    kind: str
    state: str
    reason: str
    failed_tries: int
    next_in: float | None
    sent_at: datetime | None
    uncertain: int
    digest: UUID | None = None

    def __str__(self) -> str:
        """For a line: what became of it."""
        told = f"{self.recipient}, {MAIL_ABOUT[self.kind]}: {self.state}"
        if self.digest is not None:
            told += " in a digest"
        elif self.state == NoticeState.GATHERED:
            told += ", goes into the digest of its campaign"
        if self.sent_at:
            told += f" ({self.sent_at:%Y-%m-%d %H:%M:%S} UTC)"
        if self.failed_tries and self.next_in is not None:
            told += f", tried again in {duration(self.next_in)}"
        if self.uncertain:
            times = "once" if self.uncertain == 1 else f"{self.uncertain} times"
            told += f", sent again {times} without knowing whether it had arrived"
        return f"{told}: {self.reason}" if self.reason else told


@dataclass(frozen=True, slots=True)
class NamedView:
    """What a delivery is called, and where it stands."""

    id: UUID
    simulation_id: str
    title: str
    state: str

    @property
    def told(self) -> str:
        """In a few words."""
        return f"{self.state}, {self.title}" if self.title else self.state


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is.

    Args:
        of: what the bytes are of: ``results`` that are packed, and read for the summary, while the archive is being
            made; ``archive`` once it is whole, and what is sent of it counts.
        done: bytes of ``total``; a total of 0 is not known.
        rate: bytes a second of late; None: not known, or not any more.
        seconds: since the stage began.
        age: seconds since the worker has said so.
    """

    of: str
    done: int
    total: int
    rate: float | None
    seconds: float
    age: float = 0.0

    def __str__(self) -> str:
        """Bytes, rate, time left; nothing before the first byte."""
        if not self.done:
            return ""
        verb = "to read" if self.of == RESULTS else ""
        since = f", nothing new for {duration(self.age)}" if self.age > FRESH_SECONDS else ""
        return how_far(self.done, self.total, self.rate, verb) + since

    @property
    def whole(self) -> bool:
        """Whether no byte is missing; what follows then takes nobody knows how long."""
        return 0 < self.total <= self.done


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """A delivery, to be looked at.

    Args:
        simulation: how the simulation itself ended; None: not known (any more).
        ahead: how many deliveries of its lane were received before it and wait as well; only while RECEIVED.
        next_in: seconds until the next try, while WAITING.
        failed_tries: tries in a row that have failed; 0 once it has ended.
        keep_until: the day until which mails, or its page, promise the archive; None: for ever, or not promised yet.
        progress: how far the stage is, while WORKING.
        lease_over: seconds since the lease of the worker has run out, while WORKING; None: it holds.
        lease_left: seconds until the lease of a worker runs out that has ended, while WORKING; None: it has not, or
            nobody knows.
        statistics: label and value of the key ones; ``notes``: what to know before trusting them.
        warnings: what is not in the archive, and why.
        page: address of its page below that of the site; empty: it has none (any more).
        link_expires: when the service itself ends the link: later than promised, or earlier where it must.
    """

    id: UUID
    body_digest: str
    simulation_id: str
    title: str
    campaign_id: str
    backend: str
    lane: str
    state: str
    simulation: Simulation | None
    stage: str
    reason: str
    ahead: int | None
    next_in: float | None
    failed_tries: int
    worker: str
    progress: Progress | None
    lease_over: float | None
    lease_left: float | None
    received_at: datetime
    ended_at: datetime | None
    sent_bytes: int
    archive_name: str
    archive_size: int | None
    archive_sha256: str
    link: str
    keep_until: date | None
    link_expires: datetime | None
    statistics: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    notices: tuple[NoticeView, ...]
    page: str

    @property
    def ended(self) -> bool:
        """True if nothing more will happen by itself."""
        return self.state in ENDS

    @property
    def trouble(self) -> str:
        """That the simulation itself did not succeed, in a few words; empty: it did, or nobody knows."""
        return self.simulation.told if self.simulation else ""

    @property
    def why(self) -> str:
        """What went wrong with simulation or delivery, in a line; empty: nothing."""
        return both(self.trouble, self.reason)

    def sentence(self) -> str:
        """How the simulation ended, if not well, and where its delivery is now."""
        return f"{capital(self.trouble)}. {self.whereabouts()}" if self.trouble else self.whereabouts()

    def whereabouts(self) -> str:
        """Where the delivery is now, in a sentence."""
        if not self.simulation_id:
            return f"It ended ({State(self.state).label}); what it was about is not kept any more."
        gathered = sum(notice.state == NoticeState.GATHERED for notice in self.notices)
        rest = f"; gathered for the digest of its campaign: {gathered}" if gathered else ""
        queue = f" (received before it and still waiting: {self.ahead})" if self.ahead else ""
        it, its = ("What it left behind", "Its delivery") if self.trouble else ("It", "It")
        kept = f"kept until {self.keep_until:%d %B %Y}, and " if self.keep_until else ""
        sentences = {
            State.RECEIVED: f"{it} waits in the queue for a worker{queue}.",
            State.WORKING: self._in_work(),
            State.WAITING: f"{it} waits and is tried again in {duration(self.next_in or 0)}: {self.reason}",
            State.DELIVERED: f"{it} is stored; {self._mailed()}{rest}.",
            State.FAILED: f"{its} failed{f' while {self.stage}' if self.stage else ''}: {self.reason}",
            State.CANCELLED: f"{its} was cancelled.",
            State.EXPIRED: f"Its archive was {kept}removed after its keep days.",
        }
        return sentences[State(self.state)]

    def _mailed(self) -> str:
        """How many mails are sent, and how many never will be; never an address, since whoever has the page sees it."""
        mailed = sum(notice.state == NoticeState.SENT for notice in self.notices)
        failed = sum(one.state == NoticeState.FAILED and one.reason != STARTED_AGAIN for one in self.notices)
        if len(self.notices) == 1 and self.notices[0].state != NoticeState.GATHERED:
            never = "could not be sent and is not tried again"
            return f"the mail {never if failed else 'is sent' if mailed else 'is not sent yet'}"
        never = f"; {failed} could not be sent and {'is' if failed == 1 else 'are'} not tried again" if failed else ""
        return f"{mailed} of {len(self.notices)} mails are sent{never}"

    def _in_work(self) -> str:
        if self._held:
            return f"A worker ({self.worker}) has it in work: {self.doing}."
        had = f"The worker ({self.worker}) that had it in work ({doing(self.stage, self.progress, alive=False)}) is "
        if self.lease_over is None:
            left = duration(self.lease_left or 0)
            return f"{had}gone; another worker takes over after its lease, which ends in {left}."
        return (
            f"{had}not heard of any more, its lease ran out {duration(self.lease_over)} ago; another worker takes over."
        )

    @property
    def _held(self) -> bool:
        return self.lease_over is None and self.lease_left is None

    @property
    def doing(self) -> str:
        """What the worker that has it does, and how far it is, in a few words; empty: none has it."""
        return doing(self.stage, self.progress) if self.progress and self._held else ""

    def as_json(self, site_url: str) -> dict[str, Any]:
        """All of it, ready for JSON, with `sentence` and `doing`, and the whole address of its page."""
        page = f"{site_url}{self.page}" if self.page else ""
        return {**asdict(self), "page": page, "sentence": self.sentence(), "doing": self.doing}


def doing(stage: str, progress: Progress | None, *, alive: bool = True) -> str:
    """What a worker does, in a few words; of one that is not ``alive``, no rate and no time left are told."""
    if progress is None:
        return stage
    if stage == Stage.STORING and progress.of == RESULTS:
        stage = f"{Stage.PACKAGING} and {Stage.STORING}"  # what is there is sent while the rest is made
    far = str(progress) if alive else ""
    if progress.whole:
        rest = "read, the summary is being made"
        if progress.of == ARCHIVE:
            rest = "sent, the service has not confirmed yet"
        far = f"all {amount(progress.total)} {rest}"
    return f"{stage}, {far}" if far else stage


@unit_of_work
def find(text: str) -> list[DeliveryView]:
    """Deliveries by event id, or by simulation id (the newest first)."""
    try:
        wanted = Q(id=UUID(text)) | Q(simulation_id=text)
    except ValueError:
        wanted = Q(simulation_id=text)
    return [_view(row, look_ahead=True) for row in _rows().filter(wanted)[:20]]


@unit_of_work
def ids_of(text: str, limit: int = 5) -> list[UUID]:
    """Ids of deliveries, the newest first: ``text`` is an id, its beginning, or their simulation id.

    For operators alone: whoever may ask by a beginning can find ids that he does not know.

    Args:
        limit: how many at most.
    """
    wanted = Q(simulation_id=text)
    digits = text.replace("-", "").lower()
    if LEAST_OF_ID <= len(digits) <= ID_DIGITS and set(digits) <= set(hexdigits):
        wanted |= Q(id__range=(UUID(digits.ljust(ID_DIGITS, "0")), UUID(digits.ljust(ID_DIGITS, "f"))))
    return list(Delivery.objects.filter(wanted).order_by("-received_at").values_list("id", flat=True)[:limit])


@unit_of_work
def recent(*, state: str | None = None, limit: int = 50) -> list[DeliveryView]:
    """The newest deliveries, all or of one state."""
    rows = _rows().filter(state=state) if state else _rows()
    return [_view(row, look_ahead=False) for row in rows[:limit]]


@unit_of_work
def names(states: Sequence[str] = (), limit: int = 500) -> list[NamedView]:
    """What the newest deliveries are called, all or those in some states."""
    rows = Delivery.objects.filter(state__in=states) if states else Delivery.objects.all()
    chosen = rows.order_by("-received_at")[:limit]
    return [NamedView(*values) for values in chosen.values_list("id", "simulation_id", "title", "state")]


def _rows() -> Any:
    left = {
        "wait_left": seconds_until("waiting_until"),
        "stage_left": seconds_until("stage_since"),
        "told_left": seconds_until("told_at"),
        "lease_left": seconds_until("lease_until"),
    }
    notices = Notification.objects.select_related("digest").annotate(
        due_left=seconds_until("due_at"), digest_left=seconds_until("digest__due_at")
    )
    return Delivery.objects.annotate(**left).prefetch_related(Prefetch("notifications", queryset=notices))


def promised(row: Any) -> date | None:
    """The day until which mails, or its page, promise a delivery's archive; None: for ever, or not promised yet."""
    days = [one.keep_until for one in row.notifications.all() if one.keep_until]
    return max([*days, *([row.kept_until] if row.kept_until else [])], default=None)


def progress_of(row: Any) -> Progress | None:
    """How far the stage of a row is; None: it is not in work.

    Args:
        row: with ``stage_left`` and ``told_left`` as `seconds_until` tells them.
    """
    if row.state != State.WORKING or row.stage_left is None:
        return None
    of = ARCHIVE if row.stage == Stage.STORING and row.archive_size is not None else RESULTS
    age = max(0.0, -row.told_left.total_seconds()) if row.told_left is not None else 0.0
    rate = row.rate if age <= FRESH_SECONDS else None
    return Progress(of, row.done_bytes, row.total_bytes, rate, -row.stage_left.total_seconds(), age)


def _lease_over(row: Any) -> float | None:
    if row.state != State.WORKING or row.lease_left is None or row.lease_left.total_seconds() > 0:
        return None
    return float(-row.lease_left.total_seconds())


def _view(row: Any, *, look_ahead: bool) -> DeliveryView:
    ahead = None
    if look_ahead and row.state == State.RECEIVED:
        # Compared within the database: a moment loses digits on its way through Python and SQLite's texts.
        own = Delivery.objects.filter(id=row.id).values("received_at")
        ahead = Delivery.objects.filter(lane=row.lane, state=State.RECEIVED, received_at__lt=own).count()
    return DeliveryView(
        id=row.id,
        body_digest=row.body_digest,
        simulation_id=row.simulation_id,
        title=row.title,
        campaign_id=row.campaign_id,
        backend=row.stored_backend or row.backend,
        lane=row.lane,
        state=row.state,
        simulation=simulation_of(row),
        stage=row.stage,
        reason=row.reason,
        ahead=ahead,
        next_in=seconds(row.wait_left) if row.state == State.WAITING else None,
        failed_tries=row.attempts,
        worker=row.worker,
        progress=progress_of(row),
        lease_over=_lease_over(row),
        lease_left=seconds(row.lease_left) if row.state == State.WORKING and counts.has_ended(row.worker) else None,
        received_at=row.received_at,
        ended_at=row.ended_at,
        sent_bytes=row.sent_bytes,
        archive_name=row.archive_name,
        archive_size=row.archive_size,
        archive_sha256=row.archive_sha256,
        link=row.link,
        keep_until=promised(row),
        link_expires=row.link_expires,
        statistics=tuple((one["label"], one["value"]) for one in row.statistics),
        notes=tuple(row.notes),
        warnings=tuple(row.warnings),
        notices=tuple(map(_notice, row.notifications.all())),
        page=path_of(row.page_key) if row.page_key else "",
    )


def _notice(row: Any) -> NoticeView:
    mail, left = (row.digest, row.digest_left) if row.digest else (row, row.due_left)
    waits = mail.state == NoticeState.PENDING and row.state in OWED
    return NoticeView(
        recipient=row.recipient,
        kind=row.kind,
        state=row.state,
        reason=row.reason or mail.reason,
        failed_tries=mail.attempts,
        next_in=seconds(left) if waits else None,
        sent_at=row.sent_at,
        uncertain=mail.uncertain,
        digest=row.digest_id,
    )
