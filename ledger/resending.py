"""The mail once more, asked for on a delivery's page: to the same recipients, and not too often."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from ledger.models import Delivery, Step
from ledger.operators import Forgotten, resend
from ledger.states import StepKind
from ledger.work import from_now, unit_of_work
from messaging.errors import UserError

PAUSE_SECONDS = 600.0
MOST_A_DAY = 5
DAY_SECONDS = 86400.0


class Refused(UserError):
    """The mail is not sent again; ``later``: it may be, after a while."""

    def __init__(self, text: str, *, later: bool = False) -> None:
        super().__init__(text)
        self.later = later


@unit_of_work
def not_yet(delivery_id: UUID) -> str:
    """Why its mail cannot be asked for at the moment, in a sentence; empty: it can."""
    asked = Step.objects.filter(delivery_id=delivery_id, what=StepKind.RESENT)
    if asked.filter(at__gt=from_now(-PAUSE_SECONDS)).exists():
        return (
            f"The mail was asked for less than {PAUSE_SECONDS / 60:.0f} minutes ago: look into the inbox, and into the "
            "folder for spam."
        )
    if asked.filter(at__gt=from_now(-DAY_SECONDS)).count() >= MOST_A_DAY:
        return f"The mail was asked for {MOST_A_DAY} times today; try again tomorrow."
    return ""


@unit_of_work
def send_again(delivery_id: UUID) -> None:
    """Have the mail sent again to everybody whom the event names.

    Raises:
        Refused: it was sent again just now or often today, or cannot be any more.
    """
    with transaction.atomic():
        list(Delivery.objects.select_for_update().filter(id=delivery_id).values_list("id"))  # one press at a time
        if too_soon := not_yet(delivery_id):
            raise Refused(too_soon, later=True)
        try:
            told = resend(delivery_id)
        except Forgotten:
            raise Refused("This ended so long ago that its recipients are not kept any more.") from None
        if not told:
            raise Refused("There is no mail to send again: the delivery has not ended, or its archive was removed.")
