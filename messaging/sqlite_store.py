"""The embedded broker's tables, and one connection to them.

Each queue's messages are rows in the order of ``seq``, which is never used twice. A row is ready, held by a consumer
(``holder``), or waits until ``not_before``. `messaging.sqlite` gives these the meaning of a broker.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from messaging.engine import BrokerError, BrokerUnavailable, Refused
from messaging.sqlite_files import SETUP_LOCK, exclusive, make_private, refuse_network
from messaging.topology import Topology

VERSION: Final = 1
# Instead of the version: this broker's messages were carried over to another one.
CLOSED: Final = 1_000_000
BUSY_SECONDS: Final = 15.0

_SCHEMA: Final = f"""
CREATE TABLE queues (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE bindings (
    exchange TEXT NOT NULL, routing_key TEXT NOT NULL, queue TEXT NOT NULL,
    PRIMARY KEY (exchange, routing_key, queue)
) WITHOUT ROWID;
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    message_id TEXT NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL,
    deliveries INTEGER NOT NULL DEFAULT 0,
    holder TEXT,
    not_before REAL
);
CREATE INDEX ready ON messages (queue, seq) WHERE holder IS NULL AND not_before IS NULL;
CREATE INDEX waiting ON messages (queue, not_before) WHERE not_before IS NOT NULL;
CREATE INDEX held ON messages (holder) WHERE holder IS NOT NULL;
PRAGMA user_version = {VERSION};
"""

# What somebody must put right first; whatever else goes wrong may pass.
_FORBIDDEN: Final = ("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH", "SQLITE_CANTOPEN")
_NO_ROOM: Final = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN")


class Closed(BrokerError):
    """The messages of this broker were carried over to another one."""


class Store:
    """A connection to the broker's file. Belongs to the thread that made it.

    Args:
        path: the file, which must exist.

    Raises:
        BrokerUnavailable: there is no such file, or it cannot be used.
        Closed: its messages were carried over to another broker.
        NetworkFolder: it lies on a network file system.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        refuse_network(path.parent)
        with _errors(path):
            try:
                self._inode = _inode(path)
            except FileNotFoundError:
                raise _nobody(path) from None
            self._connection = sqlite3.connect(
                f"file:{quote(str(path))}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None
            )
            try:
                self._connection.execute("PRAGMA synchronous = FULL")
                _check_version(self._connection, path)
            except BaseException:
                self._connection.close()
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for single queries."""
        self._same_file()
        with _errors(self._path):
            yield self._connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection in a transaction that is durable when the block ends, and undone if it raises."""
        self._same_file()
        with _errors(self._path):
            # IMMEDIATE: a transaction that reads first and writes later could not wait for another writer.
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connection. Never raises."""
        with suppress(sqlite3.Error):
            self._connection.close()

    def _same_file(self) -> None:
        """What is written to a file that was deleted or replaced would be lost without a word."""
        with _errors(self._path):
            try:
                same = _inode(self._path) == self._inode
            except FileNotFoundError:
                raise _nobody(self._path) from None
            if not same:
                raise BrokerUnavailable(f"The broker's file {self._path} was replaced while it was in use.")


def lifelines(path: Path) -> Path:
    """The folder beside the broker's file in which its consumers have their life lines."""
    return path.with_name(path.name + ".consumers")


def prepare(path: Path, topology: Topology) -> None:
    """Make the file, its tables, and the queues and bindings of ``topology``, where they are missing.

    Raises:
        BrokerUnavailable: it cannot be done now.
        Refused: we may not write there.
        NetworkFolder: the file would lie on a network file system.
    """
    refuse_network(path.parent)
    with _errors(path):
        with exclusive(lifelines(path) / SETUP_LOCK):
            make_private(path)
            _create_tables(path, topology)
        store = Store(path)
        try:
            _declare(store, topology)
        finally:
            store.close()


def close_for_good(path: Path) -> bool:
    """Let nobody publish or consume here any more; False: there are messages, nothing was changed.

    Raises:
        BrokerError: as `Store`.
    """
    store = Store(path)
    try:
        with store.writing() as db:
            (left,) = db.execute("SELECT EXISTS (SELECT 1 FROM messages)").fetchone()
            if not left:
                db.execute("DELETE FROM bindings")  # of this, publishers that are connected take notice
                db.execute(f"PRAGMA user_version = {CLOSED}")
    finally:
        store.close()
    return not left


def _create_tables(path: Path, topology: Topology) -> None:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA}")
            # In one transaction with the tables: a publisher that finds these also finds where messages go.
            _insert_topology(connection, *_topology_rows(topology))
            connection.execute("COMMIT")
    finally:
        connection.close()


def _declare(store: Store, topology: Topology) -> None:
    queues, bindings = _topology_rows(topology)
    with store.reading() as db:
        missing = queues - set(db.execute("SELECT name FROM queues"))
        unbound = bindings - set(db.execute("SELECT exchange, routing_key, queue FROM bindings"))
    if missing or unbound:
        with store.writing() as db:
            _insert_topology(db, missing, unbound)


def _topology_rows(topology: Topology) -> tuple[set[tuple[str]], set[tuple[str, str, str]]]:
    queues = {(name,) for name in topology.queues}
    bindings = {(topology.exchange, key, queue) for key, names in topology.bindings.items() for queue in names}
    return queues, bindings


def _insert_topology(db: sqlite3.Connection, queues: set[tuple[str]], bindings: set[tuple[str, str, str]]) -> None:
    db.executemany("INSERT OR IGNORE INTO queues VALUES (?)", queues)
    db.executemany("INSERT OR IGNORE INTO bindings VALUES (?, ?, ?)", bindings)


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        raise _nobody(path)
    if version == CLOSED:
        raise Closed(
            f"The broker in {path} was carried over to another one; set SIMCOURIER_BROKER_URL to that one's address."
        )
    if version != VERSION:
        raise BrokerError(f"{path} was written by another version of SimCourier (format {version}); update this one.")


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise Refused(f"The broker's file {path} may not be used by this user ({error.strerror}).") from error
    except OSError as error:
        raise BrokerUnavailable(f"The broker's file {path} cannot be used: {error.strerror or error}.") from error
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        # Without room for a file beside it, SQLite speaks of an I/O error, or of one that cannot be opened.
        if name.startswith(_NO_ROOM) and not _room(path.parent):
            raise BrokerUnavailable(f"The broker's file {path} cannot be used: the disk is full.") from error
        if name.startswith(_FORBIDDEN):
            raise Refused(f"The broker's file {path} may not be written by this user ({error}).") from error
        if name.startswith("SQLITE_BUSY"):
            raise BrokerUnavailable(f"The broker's file {path} is busy; try again.") from error
        raise BrokerUnavailable(f"The broker's file {path} cannot be used: {error}.") from error


def _room(folder: Path) -> bool:
    """Whether one block can still be written."""
    try:
        return os.statvfs(folder).f_bavail > 0
    except OSError:
        return True


def _nobody(path: Path) -> BrokerUnavailable:
    return BrokerUnavailable(
        f"Nobody has started SimCourier here yet (there is no broker in {path}); start `simcourier up` or a worker."
    )


def _inode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
