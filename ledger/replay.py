"""Dead letters back to where they belong.

Asked for first, then published, confirmed, and only then closed: whatever is killed in between, the row still counts as
open, and the sweep of a worker publishes it again. Twice does no harm, since an event is told by its id. A letter that
is still not accepted comes back as a new row, because the old one is not open for it any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models.functions import Now

from ledger.dead_letters import REPLAYED, REPLAYING
from ledger.models import DeadLetter, Delivery
from ledger.work import unit_of_work
from messaging.engine import DEATH_HEADER, QUEUE_HEADER, REASON_HEADER, Outgoing
from messaging.errors import UserError
from messaging.messages import InvalidMessage, SimulationCompleted, digest, parse
from messaging.topology import Topology

BATCH = 100  # of up to a megabyte each


class NotReplayable(UserError):
    """It cannot be published as it is."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A letter that is to go back: publish ``message``, then call `replayed`.

    Args:
        doubt: why it will not be accepted this time either, as far as can be seen here; empty: nothing speaks against.
    """

    number: int
    message: Outgoing
    doubt: str


@unit_of_work
def replay(number: int, topology: Topology) -> Replay:
    """Mark one, open or closed, as to be replayed.

    Raises:
        NotReplayable: there is none, or nobody can tell where it belongs, or it is too large.
    """
    row = DeadLetter.objects.filter(id=number).first()
    if row is None:
        raise NotReplayable(f"There is no dead letter number {number}.")
    found = _replay(row, topology)
    DeadLetter.objects.filter(id=number).update(closed_at=Now(), closed_as=REPLAYING)
    return found


@unit_of_work
def to_be_replayed(topology: Topology) -> list[Replay]:
    """Those that were asked for and may not be out yet."""

    def found() -> Iterator[Replay]:
        for row in DeadLetter.objects.filter(closed_as=REPLAYING).order_by("closed_at", "id")[:BATCH]:
            try:
                yield _replay(row, topology)
            except NotReplayable:  # queues of another name than when it was asked for: it stays open, behind the others
                DeadLetter.objects.filter(id=row.id, closed_as=REPLAYING).update(closed_at=Now())

    return list(found())


@unit_of_work
def replayed(number: int) -> None:
    """The broker has it."""
    DeadLetter.objects.filter(id=number, closed_as=REPLAYING).update(closed_at=Now(), closed_as=REPLAYED)


def _replay(row: DeadLetter, topology: Topology) -> Replay:
    body = bytes(row.body)
    if len(body) > topology.max_bytes:
        raise NotReplayable(
            f"Dead letter {row.id} has {len(body)} bytes; at most {topology.max_bytes} are accepted. Publish it anew, "
            "shorter, and discard this one."
        )
    doubt, message_id = "", row.digest
    key = next((key for key, queues in topology.bindings.items() if row.queue in queues), "")
    try:
        message = parse(body)
    except InvalidMessage as error:
        doubt = str(error)
    else:
        key, message_id = message.routing_key, str(message.id)
        other = Delivery.objects.filter(id=message.id).exclude(body_digest=digest(body))
        if isinstance(message, SimulationCompleted) and other.exists():
            doubt = f"The event id {message.id} was used before with another body."
    if not key:
        raise NotReplayable(
            f"Nobody can tell where dead letter {row.id} belongs: it names no queue that is there, and it cannot be "
            f"read. 'simcourier dead show {row.id} --raw' writes its bytes."
        )
    ours = {DEATH_HEADER, QUEUE_HEADER, REASON_HEADER}
    headers = {name: value for name, value in row.headers.items() if name not in ours}
    return Replay(row.id, Outgoing(key, body, message_id, headers, on_behalf_of=row.publisher), doubt)
