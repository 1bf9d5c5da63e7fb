"""Files on disk, readable with ``ls``: a folder per file, with the data and a small JSON record beside it.

``files/<id>/<sha256>`` and ``files/<id>/record.json``; ``incoming/`` holds what is not complete. The id is a digest of
the client's key, made by the server; names that a client sends are only written into the record. A file is there when
its record says so, and the record is replaced in one step, after the data is durable: a kill at any moment leaves the
old file or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from local_cloud.errors import Problem, Refusal

RECORD = "record.json"
RECORD_PART = "record.part"
SECRET_BYTES = 24  # 192 random bits
OURS = re.compile(r"[0-9a-f]{32}")  # names that the server makes
TOKEN = re.compile(r"[0-9a-f]{32}\.[A-Za-z0-9_-]{32}")


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a file.

    Args:
        key: the client's name for it.
        name: the file name offered on download.
        size: bytes.
        sha256: lower-case hex.
        secret: the unguessable part of its link.
        stored: RFC 3339.
        expires: RFC 3339; None: never.
    """

    key: str
    name: str
    size: int
    sha256: str
    secret: str
    stored: str
    expires: str | None = None

    @property
    def token(self) -> str:
        """What stands in its link."""
        return f"{_id(self.key)}.{self.secret}"

    @property
    def expired(self) -> bool:
        """True once the link has ended."""
        return self.expires is not None and datetime.fromisoformat(self.expires) <= datetime.now(UTC)


class Storage:
    """The server's files.

    Args:
        folder: made if missing.

    Raises:
        BlockingIOError: another server runs on this folder.
        OSError: it cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self._files = folder / "files"
        self._incoming = folder / "incoming"
        for part in (self._files, self._incoming):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_file = (folder / "server.lock").open("w")
        fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._lock = threading.Lock()
        self._remove_leftovers()

    def close(self) -> None:
        """Let go of the folder."""
        self._lock_file.close()

    def free_bytes(self) -> int:
        """Room that is left for this user."""
        status = os.statvfs(self._files)
        return status.f_bavail * status.f_frsize

    def receive(self) -> Incoming:
        """Begin an upload.

        Raises:
            Refusal: the disk is full.
        """
        return Incoming(self._incoming / secrets.token_hex(16))

    def commit(self, incoming: Incoming, key: str, name: str) -> Record:
        """Make a complete upload visible under ``key``, in place of what was there; a link that exists stays.

        Raises:
            Refusal: the disk is full.
        """
        incoming.finish()
        folder = self._files / _id(key)
        with self._lock:
            before = self._read(folder)
            if before is not None and before.sha256 == incoming.sha256:
                incoming.discard()
                return before
            record = Record(
                key=key,
                name=name,
                size=incoming.size,
                sha256=incoming.sha256,
                secret=before.secret if before else secrets.token_urlsafe(SECRET_BYTES),
                stored=datetime.now(UTC).isoformat(timespec="seconds"),
                expires=before.expires if before else None,
            )
            with _disk_full_told():
                folder.mkdir(mode=0o700, exist_ok=True)
                _fsync_folder(self._files)
                with _written(folder, record):
                    incoming.path.rename(folder / record.sha256)
                    _fsync_folder(folder)
            if before is not None:
                (folder / before.sha256).unlink(missing_ok=True)
        return record

    def find(self, key: str) -> Record | None:
        """The record of ``key``."""
        return self._read(self._files / _id(key))

    def set_expiry(self, key: str, expires: str | None) -> Record | None:
        """Change when the link of ``key`` ends; None: there is no such file.

        Raises:
            Refusal: the disk is full.
        """
        with self._lock:
            folder = self._files / _id(key)
            record = self._read(folder)
            if record is None:
                return None
            record = replace(record, expires=expires)
            with _disk_full_told(), _written(folder, record):
                pass
            return record

    def by_token(self, token: str) -> tuple[Record, Path] | None:
        """Record and data file behind a link."""
        if not TOKEN.fullmatch(token):
            return None
        folder = self._files / token.partition(".")[0]
        record = self._read(folder)
        if record is None or not hmac.compare_digest(record.token, token):
            return None
        return record, folder / record.sha256

    def delete(self, key: str) -> None:
        """Remove a file and its link; not there is fine."""
        with self._lock:
            folder = self._files / _id(key)
            (folder / RECORD).unlink(missing_ok=True)  # first: without it, the rest is no file
            shutil.rmtree(folder, ignore_errors=True)

    def _remove_leftovers(self) -> None:
        """What a server that was killed has left half done; anything that is not ours is left alone."""
        for upload in self._incoming.iterdir():
            if OURS.fullmatch(upload.name):
                upload.unlink()
        for folder in self._files.iterdir():
            if not OURS.fullmatch(folder.name):
                continue
            record = self._read(folder)
            if record is None:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            for entry in folder.iterdir():
                if entry.name not in {RECORD, record.sha256}:
                    entry.unlink()

    @staticmethod
    def _read(folder: Path) -> Record | None:
        try:
            return Record(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return None


class Incoming:
    """An upload on its way: counted and hashed as it is written, under a temporary name.

    Raises:
        Refusal: the disk is full (so for `write` and `finish`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._digest = hashlib.sha256()
        with _disk_full_told():
            self._stream: BinaryIO = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    @property
    def sha256(self) -> str:
        """Digest of what was written so far."""
        return self._digest.hexdigest()

    def write(self, piece: bytes) -> None:
        """Add bytes."""
        with _disk_full_told():
            self._stream.write(piece)
        self._digest.update(piece)
        self.size += len(piece)

    def finish(self) -> None:
        """Make what was written durable; an error on closing is an error."""
        with _disk_full_told():
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()

    def discard(self) -> None:
        """Remove it."""
        with contextlib.suppress(OSError):
            self._stream.close()
        self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def _disk_full_told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Refusal(Problem.DISK_FULL) from error
        raise


def _id(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


@contextlib.contextmanager
def _written(folder: Path, record: Record) -> Iterator[None]:
    """Write the record beside the one in force, let the block do its part, then put it in force in one step."""
    part = folder / RECORD_PART
    try:
        with part.open("w", encoding="utf-8") as stream:
            json.dump(asdict(record), stream, indent=1, ensure_ascii=False)
            stream.flush()
            os.fsync(stream.fileno())
        yield
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    part.replace(folder / RECORD)
    _fsync_folder(folder)


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
