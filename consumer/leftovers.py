"""Archives on this machine that nobody needs any more."""

from __future__ import annotations

from uuid import UUID

import structlog

from consumer.workshop import Workshop
from ledger.api import find

log = structlog.get_logger()


def clear_leftovers(workshop: Workshop) -> None:
    """Remove archives of deliveries that have ended elsewhere.

    Another machine may have gone on with a delivery, or an operator may have cancelled it; while it is under way, its
    archive stays, since this machine may be the next to go on.
    """
    if not workshop.archives.is_dir():
        return
    for folder in workshop.archives.iterdir():
        try:
            delivery_id = UUID(folder.name)
        except ValueError:
            continue
        if any(one.id == delivery_id and one.ended for one in find(folder.name)):
            workshop.clear(delivery_id)
            log.info("leftovers.removed", delivery_id=folder.name)
