"""What a delivery's page tells: the receipt, what the results were, and what may be asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from uuid import UUID

from ledger.expiry import end_of, keeps_until, until_when
from ledger.keeping import longer
from ledger.lookup import DeliveryView, find
from ledger.models import Delivery, Step
from ledger.operators import TOLD
from ledger.repeat import repeat
from ledger.resending import not_yet
from ledger.results import Contents, contents_of
from ledger.simulation import capital
from ledger.states import MAIL_ABOUT, State, StepKind
from ledger.study import Compared, compared
from ledger.work import from_now, unit_of_work
from messaging.amounts import file_size

FRESH_SECONDS = 120.0  # for so long the page says what a button has done
HEADLINES = {
    State.RECEIVED: "On its way",
    State.WORKING: "In work",
    State.WAITING: "Waiting",
    State.DELIVERED: "Delivered",
    State.FAILED: "Could not be delivered",
    State.CANCELLED: "Cancelled",
    State.EXPIRED: "Not kept any more",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One step of the receipt."""

    at: datetime
    what: str
    worker: str = ""
    size: str = ""
    sha256: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """What is on the page.

    Args:
        size: of the archive, in words; ``inside``: what is in it.
        until: until when the link can be used, in words; empty: there is none (any more).
        early: why that is before the archive is removed; empty: it is not.
        longer: until when it could be kept instead.
        again: a command that has the results delivered again; empty: where they lie is not kept any more.
        choose: what is to be chosen in it.
        not_yet: why its mail cannot be sent again at the moment; empty: it can.
        fresh: kinds of the steps of the last minutes.
        recipients_known: the event is kept still, and this version can read it.
        pictures: number, title, note and description of each plot.
    """

    view: DeliveryView
    size: str
    until: str
    early: str
    longer: date | None
    again: str
    choose: str
    inside: str
    lines: tuple[Line, ...]
    statistics: tuple[Compared, ...]
    not_yet: str
    fresh: frozenset[str]
    recipients_known: bool
    pictures: tuple[tuple[int, str, str, str], ...] = field(default=())

    @property
    def over(self) -> bool:
        """Whether there is nothing to be fetched, and nothing more to come."""
        return self.view.ended and self.view.state != State.DELIVERED

    @property
    def headline(self) -> str:
        """Where it is, in a word or two, and how the simulation ended if not well."""
        where = HEADLINES[State(self.view.state)]
        return f"{where}; {self.view.trouble}" if self.view.trouble else where

    @property
    def tone(self) -> str:
        """Class of the box that tells it."""
        return "failed" if self.view.trouble else self.view.state.lower()

    @property
    def log_tail(self) -> str:
        """The end of the simulation's log, where something went wrong."""
        simulation = self.view.simulation
        return simulation.log_tail if simulation and (self.view.trouble or self.view.state == State.FAILED) else ""

    @property
    def simulation(self) -> tuple[tuple[str, str], ...]:
        """Name and value of what is known of the simulation's run."""
        one = self.view.simulation
        if one is None:
            return ()
        known = {
            "Outcome": capital(one.how),
            "Ran": one.ran,
            "Ended": f"{one.finished.astimezone(UTC):%d %B %Y, %H:%M} UTC" if one.finished else "",
            "Host": one.host,
        }
        told = tuple((name, value) for name, value in known.items() if value)
        return told if self.view.trouble or len(told) > 1 else ()  # that it succeeded goes without saying

    @property
    def can_send(self) -> bool:
        """Whether its mail can be sent again, now or, if there is a reason why `not_yet`, later."""
        return self.view.state in TOLD and self.recipients_known

    def lately(self, what: str) -> bool:
        """Whether that was done within the last minutes, so that somebody wants to hear of it."""
        return what in self.fresh


@unit_of_work
def shown(key: str, most_days: int) -> Shown | None:
    """The page whose address has ``key``; None: there is none."""
    row = Delivery.objects.filter(page_key=key).first()
    if row is None:
        return None
    (view,) = [one for one in find(str(row.id)) if one.id == row.id]
    until, early = _until(row)
    again, choose = repeat(row)
    return Shown(
        view=view,
        size=file_size(row.archive_size or 0),
        until=until,
        early=early,
        longer=longer(row.id, most_days),
        again=again,
        choose=choose,
        inside=_inside(contents_of(row), numbers=bool(row.statistics)),
        lines=tuple(sorted(_lines(row, view), key=lambda line: line.at)),
        statistics=compared(row),
        not_yet=not_yet(row.id),
        fresh=frozenset(row.steps.filter(at__gt=from_now(-FRESH_SECONDS)).values_list("what", flat=True)),
        recipients_known=view.simulation is not None,
        pictures=tuple(row.pictures.values_list("id", "title", "note", "alt")),
    )


@unit_of_work
def id_of(key: str) -> UUID | None:
    """The delivery whose page has ``key`` in its address."""
    return Delivery.objects.filter(page_key=key).values_list("id", flat=True).first()


@unit_of_work
def picture(key: str, number: int) -> bytes | None:
    """A plot of the delivery whose page has ``key`` in its address."""
    row = Delivery.objects.filter(page_key=key).first()
    found = row.pictures.filter(id=number).first() if row else None
    return bytes(found.png) if found else None


def masked(address: str) -> str:
    """An address by which its owner knows it: whoever has the page's address may not be one of the others."""
    name, at, domain = address.partition("@")
    return f"{name[:1]}…@{domain}" if at else "somebody"


def _until(row: Delivery) -> tuple[str, str]:
    if row.state != State.DELIVERED:
        return "", ""
    promised = keeps_until(row) if row.keep_days else None
    told = until_when(promised, row.link_expires)
    if promised is None or row.link_expires is None or row.link_expires >= end_of(promised):
        return told, ""
    wish = f"the archive is kept until {promised:%d %B %Y}"
    if row.relink_at:
        return told, f"{wish}, and the storage service is being asked to let the link live as long."
    return told, f"{wish}, but the storage service ends the link earlier. Fetch it in time."


def _lines(row: Delivery, view: DeliveryView) -> Iterator[Line]:
    yield Line(row.received_at, "received")
    steps = list(row.steps.all())
    if row.started_at:
        worker = _first_worker(row, steps)
        yield Line(row.started_at, "taken" if worker else "taken by a worker", worker)
    for step in steps:
        size = "" if step.size is None else file_size(step.size)
        yield Line(step.at, step.get_what_display(), step.worker, size, step.sha256, step.detail)
    for notice in view.notices:
        if notice.sent_at:
            how = f"{MAIL_ABOUT[notice.kind]}{', in a digest' if notice.digest else ''}"
            yield Line(notice.sent_at, "mailed", detail=f"{how}, to {masked(notice.recipient)}")


def _first_worker(row: Delivery, steps: Sequence[Step]) -> str:
    """Who took it first: whoever did the first step, unless that was to take it over."""
    first = next((step for step in steps if step.worker), None)
    if first is None:
        return row.worker
    return "" if first.what == StepKind.TAKEN_OVER else first.worker


def _inside(contents: Contents | None, *, numbers: bool) -> str:
    if contents is None:
        return ""
    files = f"{contents.files} {'file' if contents.files == 1 else 'files'} of the results, {file_size(contents.bytes)}"
    if contents.summary and numbers:
        files += f"; {contents.summary}/report.html, with plots and tables of all numbers"
    return files
