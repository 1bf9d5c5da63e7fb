"""The ledger's tables: brought up to date by the first process that needs it, while nobody else uses them.

Every process that works with the ledger is known as a user of it for as long as it lives, and becomes one in its turn:
one at a time. Whoever has the turn, and sees no other user, may change the tables (docs/adr/0008).
"""

from __future__ import annotations

import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog
from django.core.management import call_command
from django.db import DatabaseError, InterfaceError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from ledger.errors import LedgerRefused, LedgerUnavailable
from ledger.processes import this_process
from messaging.sqlite_files import SETUP_LOCK, LifeLine, exclusive, is_alive

LABEL: Final = "simcourier"
# For short commands to end, that are in the way of a change.
PATIENCE_SECONDS: Final = 3.0
TURN_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 0.1
PING_SECONDS: Final = 15.0
# PostgreSQL's advisory locks with two numbers: ours, and which.
LOCKS: Final = 0x51C0
TURN, USER = 1, 2
LONGEST_NAME: Final = 63  # NAMEDATALEN of PostgreSQL, which cuts application_name

log = structlog.get_logger()


class Users(ABC):
    """The processes that use one ledger."""

    @abstractmethod
    def turn(self) -> AbstractContextManager[None]:
        """Wait for our turn to change the tables or to become a user.

        Raises:
            LedgerUnavailable: somebody has had it for too long.
        """

    @abstractmethod
    def others(self, *, clear: bool = True) -> list[str]:
        """Names of the other users; with ``clear`` for whoever has the turn, since it removes what the dead left."""

    @abstractmethod
    def enter(self) -> None:
        """Become a user until this process ends; for whoever has the turn."""


_entered: dict[str, Users] = {}


def ready(role: str) -> None:
    """Bring the tables up to date if they are not, and become a user of them until this process ends.

    Raises:
        LedgerRefused: they are those of a newer SimCourier, or must be changed and others use them.
    """
    key = _name()
    if key in _entered:
        return
    users = _users(role)
    with users.turn():
        if unapplied():
            _wait_until_alone(users)
            call_command("migrate", verbosity=0, interactive=False)
        users.enter()
    _entered[key] = users


def users() -> list[str]:
    """Names of the processes that use the ledger at this moment. Looking changes nothing."""
    if connection.vendor == "sqlite":
        return _users("doctor").others(clear=False)
    return _sessions(connection)


@contextmanager
def changing(*, only_forward: bool) -> Iterator[None]:
    """Have the tables to ourselves for the time of the block.

    Args:
        only_forward: the block brings them up to date and does no more; if they are, nobody is in its way.

    Raises:
        LedgerRefused: others use them.
    """
    users = _users("manage")
    with users.turn():
        if not only_forward or unapplied():
            _wait_until_alone(users)
        yield


def unapplied() -> bool:
    """Whether the tables wait for a change that this code knows.

    Raises:
        LedgerRefused: they have seen a change that this code does not know.
    """
    executor = MigrationExecutor(connection)
    loader = executor.loader
    newer = sorted(
        name for app, name in loader.applied_migrations if app == LABEL and (app, name) not in loader.disk_migrations
    )
    if newer:
        raise LedgerRefused(
            f"The ledger's tables are those of a newer SimCourier ({newer[-1]} is not known here); update SimCourier "
            "on this machine."
        )
    return bool(executor.migration_plan(loader.graph.leaf_nodes()))


def _wait_until_alone(users: Users) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while others := users.others():
        if time.monotonic() > deadline:
            raise LedgerRefused(
                f"The ledger's tables must be brought up to date, and {len(others)} of SimCourier's processes still "
                f"use them as they are: {', '.join(sorted(others))}. Stop these, then start this again."
            )
        time.sleep(LOOK_SECONDS)


def _users(role: str) -> Users:
    if connection.vendor == "sqlite":
        return _OfFile(Path(_name()), f"{role}-{os.getpid()}")
    return _OfServer(f"simcourier {role} {this_process()}")


def _name() -> str:
    configured = connection.settings_dict
    return str(configured["NAME"]) if connection.vendor == "sqlite" else f"{configured['HOST']}/{configured['NAME']}"


class _OfFile(Users):
    """Users of a SQLite file: a locked file each, beside it; the kernel lets go of the lock when the process ends."""

    def __init__(self, database: Path, name: str) -> None:
        self._folder = database.with_name(f"{database.name}.users")
        self._name = name
        self._life: LifeLine | None = None

    def turn(self) -> AbstractContextManager[None]:
        return exclusive(self._folder / SETUP_LOCK)

    def others(self, *, clear: bool = True) -> list[str]:
        files = self._folder.iterdir() if self._folder.is_dir() else ()
        names = [file.name for file in files if file.name not in {SETUP_LOCK, self._name}]
        return [name for name in names if is_alive(self._folder, name, clear=clear)]

    def enter(self) -> None:
        self.others()  # clears away the files of those that have ended
        self._life = LifeLine(self._folder, self._name)


class _OfServer(Users):
    """Users of a PostgreSQL database: a session each, with a shared advisory lock.

    The session is looked at from time to time: a server that was started again, or a network that drops idle
    connections, has forgotten the lock.
    """

    def __init__(self, name: str) -> None:
        self._name = name[:LONGEST_NAME]
        self._session: BaseDatabaseWrapper = self._connect()

    @contextmanager
    def turn(self) -> Iterator[None]:
        deadline = time.monotonic() + TURN_SECONDS
        while not self._ask("SELECT pg_try_advisory_lock(%s, %s)", LOCKS, TURN):
            if time.monotonic() > deadline:
                raise LedgerUnavailable(
                    f"Another process has been changing the ledger's tables for {TURN_SECONDS:.0f} s; try again later."
                )
            time.sleep(LOOK_SECONDS)
        try:
            yield
        finally:
            with suppress(DatabaseError, InterfaceError):  # then it is gone with the session
                self._ask("SELECT pg_advisory_unlock(%s, %s)", LOCKS, TURN)

    def others(self, *, clear: bool = True) -> list[str]:
        del clear
        return _sessions(self._session)

    def enter(self) -> None:
        self._hold()
        threading.Thread(target=self._keep, name="ledger-user", daemon=True).start()

    def _hold(self) -> None:
        self._ask("SELECT pg_advisory_lock_shared(%s, %s) IS NULL", LOCKS, USER)

    def _keep(self) -> None:
        while True:
            time.sleep(PING_SECONDS)
            try:
                self._ask("SELECT true")
            except (DatabaseError, InterfaceError):
                with suppress(DatabaseError, InterfaceError, LedgerUnavailable):
                    self._enter_again()

    def _enter_again(self) -> None:
        """After the session was lost. The tables may have been changed meanwhile: then this process must end."""
        self._session.close()
        self._session.ensure_connection()
        with self.turn():
            loader = MigrationLoader(self._session)
            if {key for key in loader.applied_migrations if key[0] == LABEL} != {
                key for key in loader.disk_migrations if key[0] == LABEL
            }:
                log.error("ledger.changed", error="The ledger's tables were changed while it was away; start again.")
                os.kill(os.getpid(), signal.SIGTERM)
                return
            self._hold()

    def _ask(self, query: str, *values: int) -> bool:
        with self._session.cursor() as cursor:
            cursor.execute(query, values)
            row = cursor.fetchone()
        return bool(row and row[0])

    def _connect(self) -> BaseDatabaseWrapper:
        session = connection.copy()
        session.inc_thread_sharing()
        session.settings_dict["OPTIONS"]["application_name"] = self._name
        session.ensure_connection()
        return session


def _sessions(session: BaseDatabaseWrapper) -> list[str]:
    """Names of the users of a PostgreSQL ledger, without this session itself."""
    with session.cursor() as cursor:
        cursor.execute(
            "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND objsubid = 2 AND granted"
            " AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND pid <> pg_backend_pid()",
            [LOCKS, USER],
        )
        return [name.removeprefix("simcourier ") or "?" for (name,) in cursor.fetchall()]
