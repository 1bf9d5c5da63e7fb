"""Each active definition of a storage backend, asked through its plugin. Needs a started ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from backends.contract import Status
from backends.errors import PermanentError, TransientError
from backends.http import session
from consumer.store import open_backend, translate
from ledger.api import Definition
from messaging.amounts import file_size
from simcourier.doctor.findings import Check, Finding, Mark

PATIENCE_SECONDS = 12.0


def checks(definitions: list[Definition], site: Mapping[str, Any]) -> list[Check]:
    """A check for each definition; ``site``: site-wide values for plugins."""
    return [Check(_name(one), partial(_backend, one, site), PATIENCE_SECONDS) for one in definitions]


def _backend(chosen: Definition, site: Mapping[str, Any]) -> Iterator[Finding]:
    name = _name(chosen)
    if not chosen.active:
        yield Finding(name, Mark.NOTE, "Not active, so not looked at.")
        return
    try:
        with session() as http:
            status: Status = translate(open_backend(chosen, http, site).check)
    except TransientError as error:
        yield Finding(name, Mark.TROUBLE, error.reason, "See that the service runs and can be reached from here.")
    except PermanentError as error:
        yield Finding(name, Mark.TROUBLE, error.reason, "Correct the definition in the admin.")
    else:
        room = "" if status.free_bytes is None else f", {file_size(status.free_bytes)} free"
        yield Finding(name, Mark.OK, f"{status.account}{room}.")
    if chosen.unhealthy_reason:
        yield Finding(
            name,
            Mark.WARNING,
            f"It failed before: {chosen.unhealthy_reason}",
            f"Its deliveries wait; the next one tries it again in {chosen.unhealthy_seconds:.0f} s. Saving the "
            "definition, or 'simcourier backends check', ends that at once.",
        )


def _name(chosen: Definition) -> str:
    return f"backend {chosen.identifier}"
