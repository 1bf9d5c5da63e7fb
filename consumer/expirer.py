"""Removes archives after their keep days, and what deliveries left behind at storage services."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import requests
import structlog

from backends.contract import Link
from backends.errors import BackendError, PermanentError
from backends.http import session
from consumer.stop import Stop
from consumer.store import open_backend, translate
from ledger.api import (
    Relink,
    Removal,
    UnknownBackend,
    definition,
    expiry,
    lock,
    mark_unhealthy,
    relink_later,
    relinked,
    to_relink,
    unlock,
)
from messaging import faults
from messaging.errors import UserError

log = structlog.get_logger()

LOCK = "expire"
LOCK_SECONDS = 600.0
REMINDER_LOCK, REMINDER_SECONDS = "reminders", 3600.0


class Busy(UserError):
    """Somebody else has the lock."""


def expire_round(
    worker: str, site: Mapping[str, Any], operator: str, remind: Callable[[], int] | None, stop: Stop
) -> None:
    """Remove what is due, unless somebody else does so, until it is done or a stop is requested.

    And, once an hour, remind of what will be removed; None: nobody is reminded.
    """
    if remind and lock(REMINDER_LOCK, uuid.uuid4().hex, REMINDER_SECONDS):
        owed = remind()
        if owed:
            log.info("reminders.owed", reminders=owed)
    relink(site, stop)
    try:
        for _ in expire(worker, site, operator):
            if stop.requested:
                return
    except Busy:
        return


def relink(site: Mapping[str, Any], stop: Stop) -> None:
    """Let links live as long as their archives are kept now."""
    waiting = to_relink()
    if not waiting:
        return
    with session() as http:
        for one in waiting:
            if stop.requested:
                return
            _relink(one, http, site)


def expire(worker: str, site: Mapping[str, Any], operator: str) -> Iterator[tuple[Removal, str]]:
    """Remove what is due, one after the other; each with why it could not be removed, or an empty text.

    Args:
        worker: who does so.
        site: site-wide values for plugins.
        operator: address that is told when a storage backend needs mending; empty: nobody.

    Raises:
        Busy: somebody else does so at this moment.
    """
    if not lock(LOCK, worker, LOCK_SECONDS):
        raise Busy("A worker is removing what is due at this moment; look at its log, or try again later.")
    try:
        with session() as http:
            while batch := [removal for removal in expiry.due() if expiry.begin(removal)]:
                for removal in batch:
                    yield removal, _remove(removal, http, site, operator)
                    if not lock(LOCK, worker, LOCK_SECONDS):  # this one took so long that it was thought dead
                        return
    finally:
        unlock(LOCK, worker)


def _relink(one: Relink, http: requests.Session, site: Mapping[str, Any]) -> None:
    facts = {"delivery_id": str(one.delivery_id), "backend": one.backend}
    try:
        backend = open_backend(definition(one.backend), http, site)
        link: Link = translate(lambda: backend.link(one.stored, one.expires))
    except (BackendError, UnknownBackend) as error:
        relink_later(one, give_up=isinstance(error, PermanentError) and error.scope != "backend")
        log.warning("link.not_prolonged", **facts, error=str(error))
        return
    relinked(one, link)
    log.info("link.prolonged", **facts, expires=link.expires.isoformat() if link.expires else None)


def _remove(removal: Removal, http: requests.Session, site: Mapping[str, Any], operator: str) -> str:
    facts = {"delivery_id": str(removal.delivery_id), "backend": removal.backend, "expired": removal.expired}
    try:
        backend = open_backend(definition(removal.backend), http, site)
        translate(lambda: backend.delete(removal.stored))
    except (BackendError, UnknownBackend) as error:
        if isinstance(error, PermanentError) and error.scope == "backend":
            mark_unhealthy(removal.backend, error.reason, operator=operator)
        expiry.not_removed(removal)
        log.warning("archive.not_removed", **facts, error=str(error))
        return str(error)
    faults.point("expiry.deleted")
    expiry.removed(removal)
    log.info("archive.removed", **facts)
    return ""
