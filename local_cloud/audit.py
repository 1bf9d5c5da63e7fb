"""The audit log: what happened to which file, and by whom. Lines ``audit.*`` of the log, and counters beside them.

``file`` is the file's own id, the name of its folder: it begins a link, and is not enough to make one. Links, keys and
what clients call their files are in no line.
"""

from __future__ import annotations

import structlog

from local_cloud.metrics import COUNTERS
from local_cloud.record import Record

log = structlog.get_logger()


def uploaded(record: Record, owner: str, peer: str) -> None:
    """A file is whole.

    Args:
        owner: name of the key.
        peer: the client's address.
    """
    log.info("audit.uploaded", file=record.id, bytes=record.size, by=owner, peer=peer)
    COUNTERS.add("uploads_total")


def downloaded(record: Record, peer: str, sent: int, *, complete: bool) -> None:
    """Bytes of a file were sent to whoever has its link.

    Args:
        complete: they are all that was asked for, which may be a part.
    """
    facts = {"bytes": sent, "size": record.size, "complete": complete}
    log.info("audit.downloaded", file=record.id, peer=peer, owner=record.owner, **facts)
    COUNTERS.add("downloads_total", complete=str(complete).lower())
    COUNTERS.add("sent_bytes_total", sent)


def expired(file: str, owner: str, size: int) -> None:
    """A file, or an upload that nobody went on with, was removed because its time was over.

    Args:
        file: its id.
    """
    log.info("audit.expired", file=file, bytes=size, owner=owner)
    COUNTERS.add("expired_total")


def deleted(file: str, owner: str, size: int, peer: str) -> None:
    """Its owner has deleted a file, or an upload on its way.

    Args:
        file: its id.
    """
    log.info("audit.deleted", file=file, bytes=size, by=owner, peer=peer)
    COUNTERS.add("deleted_total")
