"""A clock that a test turns on: of the embedded broker, and of a SQLite ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.db import connections
from django.db.backends.signals import connection_created


class Clock:
    """Real time, and what it was advanced by."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.ahead += max(0.0, seconds)


@contextmanager
def ledger_clock(clock: Clock) -> Iterator[None]:
    """Every connection to the SQLite ledger tells the time of ``clock``; the processes' own clocks are as they are."""

    def strftime(form: str, moment: str) -> str:
        assert (form, moment.lower()) == ("%Y-%m-%d %H:%M:%f", "now"), "what Django asks for"
        return datetime.fromtimestamp(clock(), UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]

    def tell(connection: Any, **_: Any) -> None:
        connection.connection.create_function("strftime", 2, strftime)

    connections.close_all()
    connection_created.connect(tell)
    try:
        yield
    finally:
        connection_created.disconnect(tell)
        connections.close_all()
