"""How much room storage backends have left, asked in the background and seldom: services are far away, and count."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings

from backends.http import session
from backends.registry import build
from ledger.definitions import Definition
from messaging.amounts import file_size

log = structlog.get_logger()

AGAIN_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Room:
    """What is known.

    Args:
        told: in words.
        asked_at: monotonic seconds.
    """

    told: str
    asked_at: float


UNKNOWN = Room("not known", float("-inf"))
_known: dict[str, Room] = {}
_asking = threading.Lock()


def rooms(chosen: Iterable[Definition]) -> Mapping[str, Room]:
    """What is known at this moment, by identifier; what is old is asked for meanwhile, and known the next time."""
    chosen = list(chosen)
    now = time.monotonic()
    # One that cannot be used is not signed in to again and again: some services lock an account for that.
    old = [one for one in chosen if _of(one).asked_at < now - AGAIN_SECONDS and not one.unhealthy_reason]
    if old and _asking.acquire(blocking=False):
        threading.Thread(target=_ask_all, args=(old,), name="free-space", daemon=True).start()
    return {one.identifier: _of(one) for one in chosen}


def _of(one: Definition) -> Room:
    return _known.get(one.identifier, UNKNOWN)


def _ask_all(chosen: Iterable[Definition]) -> None:
    try:
        for one in chosen:
            _known[one.identifier] = Room(_ask(one), time.monotonic())
    finally:
        _asking.release()


def _ask(one: Definition) -> str:
    """In words. Whether the backend is healthy is not decided here: deliveries and "Check" do so."""
    try:
        with session() as http:
            site: Mapping[str, Any] = getattr(settings, "SIMCOURIER_SITE", {})
            backend = build(one.identifier, one.token.get_secret_value(), one.config_values(), http, site)
            free = backend.check().free_bytes
    except Exception as error:  # noqa: BLE001 - a plugin of anybody's
        log.info("backend.room_unknown", backend=one.identifier, error=str(error))
        return "not known"
    return f"{file_size(free)} free" if free is not None else "does not say"
