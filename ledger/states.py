"""The states of a delivery and of a notification, and the moves between them; docs/state_machine.md draws the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from django.db.models import TextChoices


class State(TextChoices):
    """Where a delivery stands. Each comment says who moves it on."""

    RECEIVED = "RECEIVED", "received"  # a results worker that claims it
    WORKING = "WORKING", "in work"  # the worker that holds the lease; another one once the lease is dead
    WAITING = "WAITING", "waiting"  # its wake-up, when the time has come
    DELIVERED = "DELIVERED", "delivered"  # the expiry, after its keep days
    FAILED = "FAILED", "failed"  # an operator, on purpose
    EXPIRED = "EXPIRED", "expired"  # nobody
    CANCELLED = "CANCELLED", "cancelled"  # nobody


# Nothing more happens by itself.
ENDS: Final = frozenset({State.DELIVERED, State.FAILED, State.EXPIRED, State.CANCELLED})


class Stage(TextChoices):
    """What a worker is doing with a delivery that is WORKING."""

    COLLECTING = "collecting", "collecting"
    PACKAGING = "packaging", "packaging"
    STORING = "storing", "storing"
    LINKING = "linking", "linking"


MOVES: Final[Mapping[State, frozenset[State]]] = {
    State.RECEIVED: frozenset({State.WORKING, State.CANCELLED}),
    # WORKING again: a dead lease taken over. RECEIVED: given back at shutdown.
    State.WORKING: frozenset(
        {State.DELIVERED, State.WAITING, State.FAILED, State.WORKING, State.RECEIVED, State.CANCELLED}
    ),
    State.WAITING: frozenset({State.WORKING, State.CANCELLED}),
    State.FAILED: frozenset({State.RECEIVED}),
    State.DELIVERED: frozenset({State.EXPIRED}),
    State.EXPIRED: frozenset(),
    State.CANCELLED: frozenset(),
}


def may_become(target: State) -> list[State]:
    """The states from which a delivery may move to ``target``: what a conditional update asks for."""
    return [state for state, targets in MOVES.items() if target in targets]


class NoticeState(TextChoices):
    """Where a notification stands."""

    GATHERED = "GATHERED", "gathered"  # the digest that it is told in; it is sent or has failed with that
    PENDING = "PENDING", "pending"  # an email sender that claims it
    SENDING = "SENDING", "being sent"  # the sender that holds the lease; another one once the lease is dead
    SENT = "SENT", "sent"
    FAILED = "FAILED", "failed"


# Somebody is still to be told: what the mail is about must not go before.
OWED: Final = (NoticeState.GATHERED, NoticeState.PENDING, NoticeState.SENDING)


class Kind(TextChoices):
    """What a notification tells."""

    DELIVERED = "delivered", "delivered"
    FAILED = "failed", "failed"
    REMINDER = "reminder", "reminder"
    DIGEST = "digest", "digest of a campaign"
    OPERATOR = "operator", "for the operator"


# Beside the state of a mail, which may have failed itself.
MAIL_ABOUT: Final[Mapping[str, str]] = {
    Kind.DELIVERED: "with the link",
    Kind.FAILED: "about the failure",
    Kind.REMINDER: "reminder",
    Kind.DIGEST: "digest",
    Kind.OPERATOR: "for the operator",
}


class StepKind(TextChoices):
    """What was done for a delivery, as its receipt tells it."""

    TAKEN_OVER = "taken over", "taken over by another worker"
    PACKED = "packed", "packed"
    STORED = "stored", "stored, and confirmed by the service"
    LINKED = "linked", "linked"
    WAITS = "waits", "could not go on"
    GIVEN_BACK = "given back", "given back by a worker that stopped"
    FAILED = "failed", "failed"
    RETRIED = "retried", "started again by an operator"
    CANCELLED = "cancelled", "cancelled by an operator"
    RESENT = "resent", "mail asked for once more"
    KEPT = "kept", "to be kept longer"
    RELINKED = "relinked", "link lives longer"
    REMOVED = "removed", "removed after its keep days"
