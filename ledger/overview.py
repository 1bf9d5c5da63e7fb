"""What the operator's front page shows: what waits and for how long, who works on what, what has failed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.db.models import Count, Min
from django.urls import reverse
from django.utils import timezone

from ledger import counts
from ledger.definitions import definitions
from ledger.free_space import Room, rooms
from ledger.lookup import doing, progress_of
from ledger.models import Delivery, Notification
from ledger.simulation import told, why
from ledger.states import NoticeState, State
from ledger.timeline import Timeline, timeline
from ledger.work import seconds, seconds_until, unit_of_work
from messaging.amounts import duration
from messaging.engine import BrokerError, Engine
from messaging.messages import Lane

LATE_SECONDS = 30 * 60.0  # what has waited for longer is marked
LANES = {Lane.SINGLE: "Single runs", Lane.CAMPAIGN: "Runs of campaigns"}
MOST_FAILURES = 8
MOST_REASONS = 5
# Of simulations, which are their researchers' to mend; and of how many deliveries the events are read for them.
MOST_SIMULATIONS, LAST_DELIVERED = 4, 100
MOST_WORK = 50


@dataclass(frozen=True, slots=True)
class Cell:
    """So many rows of the ledger.

    Args:
        address: of the list of them; empty: there is no such list.
    """

    count: int
    address: str = ""


@dataclass(frozen=True, slots=True)
class Queue:
    """A row of the first table.

    Args:
        name: what waits, in words.
        waiting: for a worker, an email sender, or a person.
        oldest: for how long the first of them has waited, in words; empty: none waits.
        late: it has for too long.
        busy: in work; ``later``: to be tried again. None: that is not so with these.
        broker: what lies in the broker's queue, in words; empty: the site was not told of the broker.
    """

    name: str
    waiting: Cell
    oldest: str
    late: bool
    busy: Cell | None = None
    later: Cell | None = None
    broker: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Deliveries that are tried again later, for the same reason.

    Args:
        since: for how long the first of them has not got on, in words.
        next: when the next of them is tried, in words.
    """

    reason: str
    cell: Cell
    since: str
    next: str


@dataclass(slots=True)
class Worker:
    """A process, and what it has in work.

    Args:
        alive: False: it has a delivery in work, and is not there any more; another worker takes over soon.
        work: deliveries.
    """

    role: str
    place: str
    alive: bool = True
    work: list[Work] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Work:
    """A delivery that somebody has in work.

    Args:
        far: stage and how far it is, in words.
    """

    title: str
    address: str
    far: str


@dataclass(frozen=True, slots=True)
class Backend:
    """A storage backend.

    Args:
        reason: why it cannot be used; empty: it can.
        room: what is known of its free space.
    """

    name: str
    address: str
    active: bool
    reason: str
    room: Room


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that only a person can mend: a delivery, a mail, or a simulation whose results were delivered."""

    what: str
    title: str
    address: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole page.

    Args:
        at: when it was looked at.
        broker: what is wrong with the broker, in a sentence.
        has_broker: the site was told of one.
    """

    at: datetime
    queues: list[Queue]
    waits: list[Wait]
    workers: list[Worker]
    timeline: Timeline
    backends: list[Backend]
    failures: list[Failure]
    broker: str
    has_broker: bool

    @property
    def missing(self) -> list[str]:
        """Roles of which nobody is alive."""
        return [role for role in counts.ROLES if not any(one.role == role and one.alive for one in self.workers)]


@unit_of_work
def overview(engine: Engine | None) -> Overview:
    """Look at everything once.

    Args:
        engine: the broker, where the site was told of one.
    """
    depths, trouble = _depths(engine)
    now = timezone.now()
    return Overview(
        at=now,
        queues=[*_lanes(engine, depths), *_rest(engine, depths)],
        waits=list(_waits(now)),
        workers=_workers(),
        timeline=timeline(now),
        backends=_backends(),
        failures=_failures(now),
        broker=trouble,
        has_broker=engine is not None,
    )


def _depths(engine: Engine | None) -> tuple[dict[str, str], str]:
    if engine is None:
        return {}, ""
    try:
        found = engine.depths()
    except BrokerError as error:
        return {}, str(error)
    return {name: f"{depth.ready} ready, {depth.waiting} later" for name, depth in found.items()}, ""


def _lanes(engine: Engine | None, depths: dict[str, str]) -> Iterator[Queue]:
    piles = {pile.key: pile for pile in counts.open_deliveries()}
    listed = reverse("admin:simcourier_delivery_changelist")
    for lane in Lane:
        received, busy, later = (
            piles.get((lane.value, state.value), counts.NONE)
            for state in (State.RECEIVED, State.WORKING, State.WAITING)
        )

        def cell(state: State, pile: counts.Pile, lane: Lane = lane) -> Cell:
            return Cell(pile.count, f"{listed}?state__exact={state.value}&lane__exact={lane.value}")

        yield Queue(
            LANES[lane],
            cell(State.RECEIVED, received),
            *_age(received),
            busy=cell(State.WORKING, busy),
            later=cell(State.WAITING, later),
            broker=depths.get(engine.topology.lane(lane), "") if engine else "",
        )


def _rest(engine: Engine | None, depths: dict[str, str]) -> Iterator[Queue]:
    mails = counts.open_mails()
    listed = reverse("admin:simcourier_notification_changelist")
    cells = [
        Cell(sum(pile.count for pile in mails if pile.key[1] == state), f"{listed}?state__exact={state.value}")
        for state in counts.OPEN_MAILS
    ]
    oldest = counts.Pile((), len(mails), max((pile.oldest for pile in mails), default=0.0))
    broker = depths.get(engine.topology.notifications, "") if engine else ""
    yield Queue("Mails", cells[0], *_age(oldest), busy=cells[1], broker=broker)
    letters = counts.open_dead_letters()
    address = reverse("admin:simcourier_deadletter_changelist") + "?state=open"
    broker = depths.get(engine.topology.dead, "") if engine else ""
    yield Queue("Dead letters", Cell(letters.count, address), *_age(letters), broker=broker)


def _waits(now: datetime) -> Iterator[Wait]:
    """What most of them wait for comes first."""
    listed = reverse("admin:simcourier_delivery_changelist")
    waiting = Delivery.objects.filter(state=State.WAITING).values("reason")
    told = waiting.annotate(count=Count("id"), since=Min("trouble_since"), next=Min("waiting_until"))
    for one in told.order_by("-count", "reason")[:MOST_REASONS]:
        left = max(0.0, (one["next"] - now).total_seconds()) if one["next"] else 0.0
        yield Wait(
            one["reason"],
            Cell(one["count"], f"{listed}?state__exact={State.WAITING.value}"),
            duration((now - one["since"]).total_seconds()) if one["since"] else "",
            f"in {duration(left)}" if left else "now",
        )


def _age(pile: counts.Pile) -> tuple[str, bool]:
    return (duration(pile.oldest), pile.oldest > LATE_SECONDS) if pile.count else ("", False)


def _workers() -> list[Worker]:
    found = {one.place: Worker(one.role, one.place) for one in counts.processes() if one.role in counts.ROLES}
    held = Delivery.objects.filter(state=State.WORKING).annotate(
        lease_left=seconds_until("lease_until"),
        stage_left=seconds_until("stage_since"),
        told_left=seconds_until("told_at"),
    )
    for row in held.order_by("started_at")[:MOST_WORK]:
        worker = found.get(row.worker)
        if worker is None:
            alive = seconds(row.lease_left) > 0 and not counts.has_ended(row.worker)
            worker = found[row.worker] = Worker("worker", row.worker, alive=alive)
        said = doing(row.stage, progress_of(row), alive=worker.alive)
        worker.work.append(Work(str(row), _delivery(row.pk), said))
    return sorted(found.values(), key=lambda one: (one.role != "worker", one.role, one.place))


def _backends() -> list[Backend]:
    known = definitions()
    room = rooms(known)
    listed = reverse("admin:simcourier_storagebackend_changelist")
    return [
        Backend(
            f"{one.name} ({one.identifier})",
            f"{listed}?q={one.identifier}",
            one.active,
            one.unhealthy_reason,
            room[one.identifier],
        )
        for one in known
    ]


def _failures(now: datetime) -> list[Failure]:
    since = now - timedelta(days=7)
    failed = Delivery.objects.filter(state=State.FAILED, ended_at__gte=since).order_by("-ended_at")[:MOST_FAILURES]
    unsent = Notification.objects.filter(state=NoticeState.FAILED, digest=None, created_at__gte=since)
    rows = [Failure("delivery", str(row), _delivery(row.pk), row.ended_at or now, why(row)) for row in failed]
    rows += [
        Failure(
            "mail",
            str(row),
            reverse("admin:simcourier_notification_change", args=[row.pk]),
            row.created_at,
            row.reason,
        )
        for row in unsent.select_related("delivery").order_by("-created_at")[:MOST_FAILURES]
    ]
    rows = sorted(rows, key=lambda one: one.at, reverse=True)[:MOST_FAILURES]
    return sorted([*rows, *_simulations(since)], key=lambda one: one.at, reverse=True)


def _simulations(since: datetime) -> list[Failure]:
    """Of the last deliveries those whose simulation did not succeed; they keep no failure of ours from its place."""
    delivered = Delivery.objects.filter(state=State.DELIVERED, received_at__gte=since).only(  # as the index has them
        "id", "title", "simulation_id", "body", "ended_at"
    )
    found = (
        Failure("simulation", str(row), _delivery(row.pk), row.ended_at, why(row))
        for row in delivered.order_by("-received_at")[:LAST_DELIVERED]
        if row.ended_at and told(row)
    )
    return list(islice(found, MOST_SIMULATIONS))


def _delivery(key: Any) -> str:
    return reverse("admin:simcourier_delivery_change", args=[key])
