"""One unit of work with the database, in any thread, and the database's clock."""

from __future__ import annotations

import functools
import select
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

import psycopg
from django.db import InterfaceError, OperationalError, close_old_connections, connection, transaction
from django.db.models import DateTimeField, DurationField, ExpressionWrapper, F, Value
from django.db.models.functions import Now

from ledger.errors import unavailable

P = ParamSpec("P")
R = TypeVar("R")

# For so long after it was used, a connection of which nothing has been heard since is taken to be alive.
FRESH_SECONDS = 5.0
_used = threading.local()


def unit_of_work(function: Callable[P, R]) -> Callable[P, R]:
    """Run ``function`` on a connection that is alive, and tell a lost database as `LedgerUnavailable`.

    Outside a web request nobody closes stale connections, so each call looks at its own first. A call inside
    another one belongs to that one.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        inner = transaction.get_connection().in_atomic_block
        if not inner:
            close_old_connections()
            connection.health_check_done = _seems_alive()  # type: ignore[attr-defined] # not in its stubs
        try:
            return function(*args, **kwargs)
        except (OperationalError, InterfaceError) as error:
            raise unavailable(error) from error
        finally:
            if not inner:
                _used.connection, _used.at = connection.connection, time.monotonic()

    return wrapper


def _seems_alive() -> bool:
    """Whether this thread's connection to PostgreSQL need not be asked for a sign of life, which costs a query.

    A server that ends, or ends a connection, says so: then there is something to read, where there was nothing to come.
    """
    link = connection.connection
    if link is not getattr(_used, "connection", None) or not isinstance(link, psycopg.Connection):
        return False
    if time.monotonic() - _used.at > FRESH_SECONDS:
        return False
    try:
        looked = select.poll()
        looked.register(link.fileno(), select.POLLIN)
        return not looked.poll(0)
    except psycopg.Error:  # it was closed here
        return False


def reachable() -> bool:
    """Whether the ledger answers. Leaves no connection behind, for a thread that asks and ends."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (OperationalError, InterfaceError):
        return False
    finally:
        connection.close()
    return True


def from_now(seconds: float) -> Any:
    """The database's clock ``seconds`` from now; the clocks of the machines need not agree."""
    return ExpressionWrapper(Now() + Value(timedelta(seconds=seconds), DurationField()), output_field=DateTimeField())


def seconds_until(column: str) -> Any:
    """The seconds from now until ``column``, as an annotation (a `timedelta`, negative once it is past)."""
    return ExpressionWrapper(F(column) - Now(), output_field=DurationField())


def seconds(value: timedelta | None) -> float:
    """An annotation of `seconds_until` as seconds, 0 where there is nothing to wait for."""
    return max(0.0, value.total_seconds()) if value is not None else 0.0
