"""The address of a delivery's page: who has it may look, and needs no account. A new one revokes the last."""

from __future__ import annotations

import secrets
from uuid import UUID

from ledger.models import Delivery
from ledger.work import unit_of_work

PREFIX = "d"


def new_key() -> str:
    """A part of an address that nobody guesses (192 bits)."""
    return secrets.token_urlsafe(24)


def path_of(key: str) -> str:
    """The page's address below that of the site."""
    return f"/{PREFIX}/{key}/"


@unit_of_work
def page_path(delivery_id: UUID) -> str:
    """The address below that of the site; a delivery from before there were pages gets its key now."""
    Delivery.objects.filter(id=delivery_id, page_key=None).exclude(simulation_id="").update(page_key=new_key())
    key = Delivery.objects.filter(id=delivery_id).values_list("page_key", flat=True).first()
    return path_of(key) if key else ""


@unit_of_work
def revoke(delivery_id: UUID) -> bool:
    """Nobody finds the page under its old address any more; the next mail tells the new one. False: not known."""
    changed = Delivery.objects.filter(id=delivery_id).exclude(simulation_id="").update(page_key=new_key())
    return changed == 1
