"""What every delivery of a worker needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from backends.errors import PermanentError
from consumer.errors import NotNow
from consumer.packing.deflate import Compression
from ledger.api import PROBE_SECONDS, Definition, Deliveries, mark_unhealthy

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every delivery of this worker needs.

    Args:
        archives: folder for archives that are being made and sent.
        roots: folders and URL prefixes that results may come from, some perhaps of certain users alone.
        site: site-wide values for plugins.
        operator: address that is told when a storage backend needs mending; empty: nobody.
        mail_patience: for how long a mail may be tried after the link was made; links live that much longer.
        compression: how archives are packed.
        settle_seconds: how old the newest result must be before it is packed; 0: it need not be.
    """

    deliveries: Deliveries
    archives: Path
    roots: Sequence[str]
    site: Mapping[str, Any]
    operator: str
    mail_patience: timedelta
    compression: Compression = "fast"
    settle_seconds: float = 0

    def folder(self, delivery_id: UUID) -> Path:
        """Where the archives of a delivery lie on this machine."""
        return self.archives / str(delivery_id)

    def clear(self, delivery_id: UUID) -> None:
        """Remove them; the results themselves are never touched."""
        shutil.rmtree(self.folder(delivery_id), ignore_errors=True)


@contextmanager
def usable(workshop: Workshop, chosen: Definition) -> Iterator[None]:
    """Mark a definition that only a person can mend, so that the next hundred deliveries need not find out each."""
    try:
        yield
    except PermanentError as error:
        if error.scope != "backend":
            raise
        if mark_unhealthy(chosen.identifier, error.reason, operator=workshop.operator):
            log.error("backend.unhealthy", backend=chosen.identifier, error=error.reason)
        raise NotNow(
            f"The storage backend '{chosen.identifier}' cannot be used at present: {error.reason}", PROBE_SECONDS
        ) from error
