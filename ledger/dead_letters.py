"""Messages that no consumer could make sense of: one open row per body."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from ledger.models import DeadLetter
from ledger.telling import tell_of_letter
from ledger.work import unit_of_work
from messaging.engine import DEATH_HEADER
from messaging.terminal import printable

# How a row is closed. While it is REPLAYING its message may be out or not: it counts as open, since only then is it
# certain that nothing is lost.
REPLAYING: Final = "replaying"
REPLAYED: Final = "replayed"
DISCARDED: Final = "discarded"
OPEN: Final = Q(closed_at=None) | Q(closed_as=REPLAYING)


@dataclass(frozen=True, slots=True)
class Death:
    """What the broker itself has counted (``x-death``): why, in which queue, how often."""

    reason: str
    queue: str
    count: int

    def __str__(self) -> str:
        return f"{self.reason} in {self.queue}, {'once' if self.count == 1 else f'{self.count} times'}"


@dataclass(frozen=True, slots=True)
class DeadLetterView:
    """A dead letter, to be looked at."""

    id: int
    queue: str
    reason: str
    times: int
    publisher: str
    first_at: datetime
    last_at: datetime
    closed_as: str
    headers: Mapping[str, str]
    deaths: tuple[Death, ...]
    body: bytes

    @property
    def open(self) -> bool:
        """False once it was replayed or discarded."""
        return self.closed_as in {"", REPLAYING}

    def as_json(self) -> dict[str, Any]:
        """All of it, ready for JSON; bytes of the body that are no UTF-8 are shown as \\x..."""
        return {**asdict(self), "body": self.body.decode("utf-8", "backslashreplace")}


@unit_of_work
def file_dead_letter(
    body: bytes, *, headers: Mapping[str, str], queue: str, reason: str, publisher: str | None, operator: str = ""
) -> None:
    """Keep a dead letter; the same body again is counted in the row that is open for it.

    An event fans out: its copy from another queue than the first is the same trouble, and is not counted.

    Args:
        operator: address that is mailed about a new one; empty: nobody.
    """
    fingerprint = hashlib.sha256(body).hexdigest()
    row = DeadLetter(
        digest=fingerprint,
        body=body,
        headers={_plain(name): _plain(value) for name, value in headers.items()},
        queue=_plain(queue)[:255],
        publisher=_plain(publisher or "")[:255],
        reason=printable(_plain(reason), keep="\n"),
        times=0,
        first_at=Now(),
        last_at=Now(),
    )
    open_one = DeadLetter.objects.filter(digest=fingerprint, closed_at=None)
    with transaction.atomic():
        DeadLetter.objects.bulk_create([row], ignore_conflicts=True)
        counted = open_one.filter(queue=row.queue).update(times=F("times") + 1, last_at=Now())
        if counted and (new := open_one.filter(times=1).first()):
            tell_of_letter(new, operator)


@unit_of_work
def dead_letters(
    *, everything: bool = False, queue: str = "", reason: str = "", limit: int = 100
) -> list[DeadLetterView]:
    """The open ones (or all), the newest first.

    Args:
        everything: also those that were replayed or discarded.
        queue, reason: only those in which this text occurs, in capitals or not.
        limit: how many at most.
    """
    rows = _like(queue, reason)
    return [_view(row) for row in (rows if everything else rows.filter(OPEN))[:limit]]


@unit_of_work
def open_numbers(*, queue: str = "", reason: str = "") -> list[int]:
    """Numbers of all that are open, the oldest first; filtered as by `dead_letters`."""
    return list(_like(queue, reason).filter(OPEN).order_by("id").values_list("id", flat=True))


def _like(queue: str, reason: str) -> QuerySet[DeadLetter]:
    return DeadLetter.objects.filter(queue__icontains=queue, reason__icontains=reason)


@unit_of_work
def dead_letter(number: int) -> DeadLetterView | None:
    """One of them."""
    row = DeadLetter.objects.filter(id=number).first()
    return _view(row) if row else None


@unit_of_work
def discard(number: int) -> bool:
    """Close one, as what nobody needs; it is kept for a while and can still be replayed. False: it is not open."""
    return DeadLetter.objects.filter(OPEN, id=number).update(closed_at=Now(), closed_as=DISCARDED) == 1


def deaths(headers: Mapping[str, str]) -> tuple[Death, ...]:
    """What ``x-death`` says, the last one first; whoever published may have put anything there."""
    try:
        listed = json.loads(headers.get(DEATH_HEADER, "[]"))
        return tuple(Death(str(one["reason"]), str(one["queue"]), int(one.get("count", 1))) for one in listed)
    except (ValueError, LookupError, TypeError, AttributeError):
        return ()


def _plain(text: str) -> str:
    """Without what a text column of PostgreSQL does not hold; whoever published may have put it there."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()


def _view(row: DeadLetter) -> DeadLetterView:
    return DeadLetterView(
        id=row.id,
        queue=row.queue,
        reason=row.reason,
        times=row.times,
        publisher=row.publisher,
        first_at=row.first_at,
        last_at=row.last_at,
        closed_as=row.closed_as,
        headers=row.headers,
        deaths=deaths(row.headers),
        body=bytes(row.body),
    )
