"""A SQLite database that somebody else wrote, opened so that reading it does no harm.

The file is never written to and never locked. Only plain tables are read: views, virtual tables and computed columns
could make the reader do anything. A damaged database may hold loops: no more rows and no more text are taken than the
file has room for, nothing is sorted, and a query that works for long without a row is stopped.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from consumer import no_follow

MAGIC = b"SQLite format 3\x00"
_HEADER = 100  # bytes
_PAGE_SIZES = frozenset({1, *(2**power for power in range(9, 16))})  # 1 stands for 65,536
LONGEST_TEXT = 16 * 1024 * 1024  # bytes of one value
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_SMALLEST_ROW = 7  # bytes, with its place in the page's index
_STEP = 100_000  # of SQLite's virtual machine, between two looks at how long a query takes
_MOST_STEPS = 100 * _STEP  # that a query may work without a row
_BATCH = 8192  # rows
_COPY = 1024 * 1024  # bytes
_SPARE = 64 * 1024 * 1024  # bytes of disk that a copy leaves free

# Python cannot always decode what SQLite says about a damaged schema.
_FAILURES = (sqlite3.Error, MemoryError, UnicodeError)
_LONGEST_REASON = 100  # characters

T = TypeVar("T")
Value = str | int | float | None


def header_is_sound(head: bytes) -> bool:
    """Whether what begins like a database may be one; source: "Database File Format" of SQLite's documentation."""
    return len(head) >= _HEADER and int.from_bytes(head[16:18]) in _PAGE_SIZES and head[21:24] == b"\x40\x20\x20"


class Unreadable(Exception):
    """The database, or the rest of a table, cannot be read; the text says why."""


class Opened(NamedTuple):
    """A database that can be read.

    Args:
        database: for reading.
        note: what a journal beside the file made of it; empty: there was none.
    """

    database: Database
    note: str


@contextmanager
def opened(stream: BinaryIO) -> Iterator[Opened]:
    """The database in an open file.

    A file on this machine is opened a second time through its descriptor, so that it is the same file whatever has
    become of its name; anything else is copied to the temporary folder. If the simulation was killed in the middle of
    a transaction, a journal lies beside the file: then a copy of both is mended, as SQLite would do on opening it.

    Raises:
        Unreadable: it is no database, or there is no room for the copy.
        OSError: it cannot be read.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    path = _path(stream)
    journal = _journal(path) if path else None
    if path and not journal:
        before = _held(path)
        with closing(_connected(f"file:{path}?mode=ro&immutable=1")) as connection:
            with suppress(*_FAILURES):  # which it opens when it must
                connection.execute("PRAGMA schema_version").fetchone()
            if _held(path) > before:
                yield Opened(Database(connection, size), "")
                return
    with tempfile.TemporaryDirectory(prefix="simcourier-") as folder:
        copy = Path(folder, "copy.db")
        most = size + (journal.stat().st_size if journal else 0)
        if shutil.disk_usage(folder).free < most + _SPARE:
            raise Unreadable("there is no room for the temporary copy that this needs")
        with copy.open("wb") as target:
            shutil.copyfileobj(stream, target, _COPY)
        note = _mend(copy, journal) if journal else ""
        with closing(_connected(f"file:{copy}?mode=ro&immutable=1")) as connection:
            yield Opened(Database(connection, min(copy.stat().st_size, most)), note)


def _path(stream: BinaryIO) -> str | None:
    """A path that leads to the stream's own file, if this system has one."""
    try:
        descriptor = stream.fileno()
        for folder in ("/proc/self/fd", "/dev/fd"):
            path = f"{folder}/{descriptor}"
            # SQLite follows the link to a name: it must still be the name of this file, and not of another.
            if Path(path).is_symlink() and os.path.samestat(Path(path).readlink().stat(), os.fstat(descriptor)):
                return path
    except OSError:  # io.UnsupportedOperation is one
        return None
    return None


def _held(path: str) -> int:
    """How often this process has the file open that a descriptor is of.

    SQLite opens it by its name, which may lead to another file by then: if there is not one more of this very file
    afterwards, that is what has happened.
    """
    own, found = Path(path).stat(), 0
    for descriptor in Path(path).parent.iterdir():
        with suppress(OSError):
            found += os.path.samestat(descriptor.stat(), own)
    return found


def _journal(path: str) -> Path | None:
    """The journal or write-ahead log beside the file, if it holds anything."""
    real = Path(path).readlink()
    for suffix in ("-journal", "-wal"):
        beside = real.with_name(real.name + suffix)
        try:
            found = beside.lstat()
        except OSError:
            continue
        if stat.S_ISREG(found.st_mode) and found.st_size > 0:
            return beside
    return None


def _mend(copy: Path, journal: Path) -> str:
    """Give the copy its journal and let SQLite undo or complete what was under way; says what came of it."""
    suffix = journal.name[journal.name.rindex("-") :]
    beside = copy.with_name(copy.name + suffix)
    not_used = (
        f"A {suffix.removeprefix('-')} file lies beside the database and could not be used: samples may be wrong."
    )
    try:
        with os.fdopen(no_follow.open_file(str(journal)), "rb") as source, beside.open("wb") as target:
            shutil.copyfileobj(source, target, _COPY)
        with beside.open("rb") as written:
            start = written.read(len(_JOURNAL_MAGIC))
            written.seek(-len(_JOURNAL_MAGIC), os.SEEK_END)
            end = written.read()
        if suffix == "-journal" and start != _JOURNAL_MAGIC:  # a transaction that was completed
            beside.unlink()
            return ""
        if suffix == "-journal" and end == _JOURNAL_MAGIC:
            # It names another journal, which SQLite would delete: no simulator writes one.
            beside.unlink()
            return not_used
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except (OSError, *_FAILURES):
        beside.unlink(missing_ok=True)
        return not_used
    return "The simulation was killed while it wrote to the database; what it had completed was read."


def _connected(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_TEXT)
    try:
        for pragma in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON", "temp_store = FILE"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA mmap_size = 0")
    except _FAILURES as error:
        connection.close()
        raise Unreadable(_sentence(error)) from error
    return connection


class Database:
    """Plain tables of a database, in the order in which their rows were written.

    Args:
        connection: for reading.
        size: of the file, in bytes.
    """

    def __init__(self, connection: sqlite3.Connection, size: int) -> None:
        self.size = size
        self._connection = connection
        self._text_left = size + 65_536
        self._steps = 0
        connection.set_progress_handler(self._step, _STEP)

    def tables(self) -> dict[str, frozenset[str]]:
        """Name of each plain table and of its columns, in lower case; computed columns left out.

        Raises:
            Unreadable: it is no database, or its first page is damaged.
        """
        found = {}
        names = [row[0] for row in self._rows("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0")]
        for name in names:
            if isinstance(name, str) and name.isidentifier():
                columns = self._rows(f"SELECT name FROM pragma_table_info('{name}')")  # noqa: S608, an identifier
                found[name.lower()] = frozenset(str(column).lower() for (column,) in columns)
        return found

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[tuple[Value, ...]]:
        """Rows of a table.

        Args:
            table: its name, as `tables` gives it; as are the columns.
            columns: an empty string is NULL in every row.

        Raises:
            Unreadable: in the middle, perhaps: the rest is damaged.
        """
        chosen = _columns(columns, "typeof({0}) <> 'blob'")
        yield from self._rows(f'SELECT {chosen} FROM "{table}"')  # noqa: S608, names that are identifiers

    def numbers(self, table: str, columns: Sequence[str]) -> Iterator[list[tuple[Value, ...]]]:
        """Rows of a table whose columns are numbers or NULL, many at once; anything else is given as ``?``.

        Arguments and errors as `rows`.
        """
        chosen = _columns(columns, "typeof({0}) IN ('integer', 'real', 'null')")
        sql = f'SELECT {chosen} FROM "{table}"'  # noqa: S608, names that are identifiers
        count = 0
        cursor = self._execute(sql)
        while batch := self._fetched(lambda: cursor.fetchmany(_BATCH)):
            count += len(batch)
            self._hold_to_limits(count)
            yield batch

    def _rows(self, sql: str) -> Iterator[tuple[Value, ...]]:
        cursor = self._execute(sql)
        count = 0
        while (row := self._fetched(cursor.fetchone)) is not None:
            count += 1
            self._text_left -= sum(len(value) for value in row if isinstance(value, str))
            self._hold_to_limits(count)
            yield row

    def _execute(self, sql: str) -> sqlite3.Cursor:
        return self._fetched(lambda: self._connection.execute(sql))

    def _fetched(self, fetch: Callable[[], T]) -> T:
        self._steps = 0
        try:
            return fetch()
        except _FAILURES as error:
            raise Unreadable(_sentence(error)) from error

    def _hold_to_limits(self, rows: int) -> None:
        if rows > self.size // _SMALLEST_ROW + 1 or self._text_left < 0:
            raise Unreadable("it holds more than the file has room for")

    def _step(self) -> int:
        self._steps += _STEP
        return self._steps > _MOST_STEPS


def _sentence(error: Exception) -> str:
    """What SQLite says, without what the file may have put into it."""
    if str(error) == "interrupted":
        return "a query took too long"
    if isinstance(error, UnicodeError):
        return "malformed database schema"
    text = "".join(character if character.isprintable() else " " for character in str(error)[:_LONGEST_REASON])
    return text or "out of memory"


def _columns(columns: Sequence[str], sound: str) -> str:
    """What to select: each column where its value is ``sound``, and text that is no number where it is not."""
    return ", ".join(
        f"""CASE WHEN {sound.format(f'"{column}"')} THEN "{column}" ELSE '?' END""" if column else "NULL"
        for column in columns
    )
