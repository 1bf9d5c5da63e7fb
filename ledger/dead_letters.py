"""Messages that no consumer could make sense of: one open row per body."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db.models import F
from django.db.models.functions import Now

from ledger.models import DeadLetter
from ledger.work import unit_of_work


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
    body: bytes

    def as_json(self) -> dict[str, Any]:
        """All of it, ready for JSON; bytes of the body that are no UTF-8 are shown as \\x..."""
        return {**asdict(self), "body": self.body.decode("utf-8", "backslashreplace")}


@unit_of_work
def file_dead_letter(
    body: bytes, *, headers: Mapping[str, str], queue: str, reason: str, publisher: str | None
) -> None:
    """Keep a dead letter; the same body again is counted in the row that is open for it.

    An event fans out: its copy from another queue than the first is the same trouble, and is not counted.
    """
    fingerprint = hashlib.sha256(body).hexdigest()
    row = DeadLetter(
        digest=fingerprint,
        body=body,
        headers={_plain(name): _plain(value) for name, value in headers.items()},
        queue=_plain(queue)[:255],
        publisher=_plain(publisher or "")[:255],
        reason=_plain(reason),
        times=0,
        first_at=Now(),
        last_at=Now(),
    )
    DeadLetter.objects.bulk_create([row], ignore_conflicts=True)
    DeadLetter.objects.filter(digest=fingerprint, closed_at=None, queue=row.queue).update(
        times=F("times") + 1, last_at=Now()
    )


@unit_of_work
def dead_letters(*, everything: bool = False, limit: int = 100) -> list[DeadLetterView]:
    """The open ones (or all), the newest first."""
    rows = DeadLetter.objects.all() if everything else DeadLetter.objects.filter(closed_at=None)
    return [_view(row) for row in rows[:limit]]


@unit_of_work
def dead_letter(number: int) -> DeadLetterView | None:
    """One of them."""
    row = DeadLetter.objects.filter(id=number).first()
    return _view(row) if row else None


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
        body=bytes(row.body),
    )
