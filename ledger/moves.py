"""What an operator may do with deliveries in the admin: from the list with many, from the page of one with that one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from ledger.addresses import revoke
from ledger.models import Delivery
from ledger.operators import cancel, resend, retry
from ledger.states import ENDS, State


@dataclass(frozen=True, slots=True)
class Move:
    """One of these.

    Args:
        name: in addresses.
        label: of the button on the page of one.
        states: those in which it can be done.
        run: does it; what is empty or false: it could not be done.
        refusal: why not, to stand behind the delivery's name.
        done: what happens now, to stand behind how many.
        note: for the history.
    """

    name: str
    label: str
    states: frozenset[State]
    run: Callable[[UUID], object]
    refusal: str
    done: str
    note: str

    def of(self, row: Delivery) -> str:
        """Do it; returns why it was not done."""
        return "" if self.run(row.pk) else f"{row}: {self.refusal}"


SOON = "within seconds, if a worker is running"
RETRY = Move(
    "retry", "Try again", frozenset({State.FAILED, State.WAITING}), retry,
    "it is neither failed nor waiting.", f"will be tried again {SOON}.", "Another try.",
)  # fmt: skip
CANCEL = Move(
    "cancel", "Cancel", frozenset(State) - ENDS, cancel,
    "it has ended already.", "cancelled; nobody is mailed.", "Cancelled.",
)  # fmt: skip
RESEND = Move(
    "resend", "Send the mail again", frozenset({State.DELIVERED, State.FAILED}), resend,
    "it is neither delivered nor failed.", f"will be mailed again {SOON}.", "Mailed again.",
)  # fmt: skip
REVOKE = Move(
    "revoke", "Give its page a new address", frozenset(State), revoke,
    "what it was about is not kept any more.", "will be found at a new address; the next mail tells it.",
    "New page address.",
)  # fmt: skip
MOVES = {move.name: move for move in (RETRY, CANCEL, RESEND, REVOKE)}


def possible(row: Delivery) -> list[Move]:
    """What can be done with a delivery as it is."""
    return [move for move in MOVES.values() if row.state in move.states]
