"""Files on disk, readable with ``ls``: a folder per file, with the data and a small JSON record beside it.

``files/<id>/<sha256>`` and ``files/<id>/record.json``; what is not complete yet is with `local_cloud.uploads`. The id
is a digest of the client's key, made by the server; names that a client sends are only written into the record. A file
is there when its record says so, and the record is replaced in one step, after the data is durable: a kill at any
moment leaves the old file or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hmac
import os
import re
import secrets
import shutil
import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from local_cloud.disk import disk_full_told, fsync_folder
from local_cloud.keys import DEFAULT
from local_cloud.record import RECORD, Record, Unreadable, file_id, read, written

log = structlog.get_logger()

SECRET_BYTES = 24  # 192 random bits
OURS = re.compile(r"[0-9a-f]{32}")  # names that the server makes
TOKEN = re.compile(r"[0-9a-f]{32}\.[A-Za-z0-9_-]{32}")


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
        self._files.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_file = (folder / "server.lock").open("w")
        self._held: Counter[str] = Counter()
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._remove_leftovers()
        except BaseException:
            self._lock_file.close()
            raise
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the folder."""
        self._lock_file.close()

    def free_bytes(self) -> int:
        """Room that is left for this user."""
        status = os.statvfs(self._files)
        return status.f_bavail * status.f_frsize

    def disk_bytes(self) -> int:
        """Size of the disk."""
        status = os.statvfs(self._files)
        return status.f_blocks * status.f_frsize

    def held_bytes(self, owner: str) -> int:
        """Of somebody's files, and of uploads on their way with the length that they will have."""
        with self._lock:
            return self._held[owner]

    def held_bytes_total(self) -> int:
        """Of everybody's."""
        with self._lock:
            return self._held.total()

    def held_by_owner(self) -> dict[str, int]:
        """The same for each of them."""
        with self._lock:
            return dict(self._held)

    def reserve(self, owner: str, count: int) -> None:
        """Count bytes of an upload on its way; negative: they are no more, or have become a file."""
        with self._lock:
            self._held[owner] += count

    def adopt(self, path: Path, *, key: str, name: str, owner: str, size: int, sha256: str) -> Record:
        """Make a file of data that is whole and durable, in place of what was there; a link that exists stays.

        Args:
            path: of the data, on the same file system. It may be gone afterwards, or left for the caller to remove.

        Raises:
            Refusal: the disk is full.
        """
        folder = self._files / file_id(key, owner)
        with self._lock:
            before = read(folder)
            if before is not None and before.sha256 == sha256 and _is_whole(folder, before):
                return before
            replaced = before.size if before is not None and _is_whole(folder, before) else 0
            record = Record(
                key=key,
                name=name,
                size=size,
                sha256=sha256,
                secret=before.secret if before else secrets.token_urlsafe(SECRET_BYTES),
                stored=datetime.now(UTC).isoformat(timespec="seconds"),
                expires=before.expires if before else None,
                title=before.title if before else "",
                password=before.password if before else "",
                owner=owner,
            )
            with disk_full_told():
                folder.mkdir(mode=0o700, exist_ok=True)
                fsync_folder(self._files)
                with written(folder, record):
                    _put(path, folder / sha256)
                    fsync_folder(folder)
            if before is not None and before.sha256 != sha256:
                (folder / before.sha256).unlink(missing_ok=True)
            self._held[owner] += size - replaced
        return record

    def find(self, key: str, owner: str = DEFAULT) -> Record | None:
        """The record of ``key``; None where the data is not there, whoever took it away."""
        folder = self._files / file_id(key, owner)
        record = read(folder)
        return record if record is not None and _is_whole(folder, record) else None

    def set_expiry(self, key: str, expires: str | None, owner: str = DEFAULT, **more: Any) -> Record | None:
        """Change when the link of ``key`` ends, and more of its record; None: there is no such file.

        Raises:
            Refusal: the disk is full.
        """
        with self._lock:
            record = self.find(key, owner)
            if record is None:
                return None
            record = replace(record, expires=expires, **more)
            with disk_full_told(), written(self._files / file_id(key, owner), record):
                pass
            return record

    def by_token(self, token: str) -> tuple[Record, Path] | None:
        """Record and data file behind a link."""
        if not TOKEN.fullmatch(token):
            return None
        folder = self._files / token.partition(".")[0]
        record = read(folder)
        if record is None or not hmac.compare_digest(record.token, token):
            return None
        return record, folder / record.sha256

    def delete(self, key: str, owner: str = DEFAULT) -> Record | None:
        """Remove a file and its link, durably; what it was, or None: it was not there, which is fine."""
        folder = self._files / file_id(key, owner)
        with self._lock:
            if not folder.exists():
                return None
            before, there = None, False
            with contextlib.suppress(Unreadable):
                before = read(folder)
                there = before is not None and _is_whole(folder, before)
            (folder / RECORD).unlink(missing_ok=True)  # first: without it, the rest is no file
            fsync_folder(folder)
            shutil.rmtree(folder)
            if before is not None and there:
                self._held[before.owner] -= before.size
            return before

    def ended_before(self, moment: datetime) -> list[Record]:
        """Files whose links ended before a moment, and whose data is still there."""
        found = []
        for folder in self._files.iterdir():
            try:
                record = read(folder) if OURS.fullmatch(folder.name) else None
            except Unreadable:
                continue
            ended = record is not None and record.expires and datetime.fromisoformat(record.expires) < moment
            if record is not None and ended and (folder / record.sha256).exists():
                found.append(record)
        return found

    def drop_data(self, record: Record) -> bool:
        """Remove the bytes of a file whose link has ended; its record stays, so that the link says what became of it.

        Returns:
            False: its link has been made longer meanwhile, or it is not there any more.
        """
        folder = self._files / record.id
        with self._lock:
            if read(folder) != record:
                return False
            (folder / record.sha256).unlink(missing_ok=True)
            self._held[record.owner] -= record.size
        return True

    def _remove_leftovers(self) -> None:
        """What a server that was killed has left half done; anything that is not ours is left alone."""
        for folder in self._files.iterdir():
            if not OURS.fullmatch(folder.name):
                continue
            try:
                record = read(folder)
            except Unreadable:
                # Somebody may mend it; the other files are served meanwhile.
                log.warning("record.unreadable", folder=str(folder))
                continue
            if record is None:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            if _is_whole(folder, record):
                self._held[record.owner] += record.size
            for entry in folder.iterdir():
                if entry.name not in {RECORD, record.sha256}:
                    entry.unlink()


def _is_whole(folder: Path, record: Record) -> bool:
    try:
        return (folder / record.sha256).stat().st_size == record.size
    except FileNotFoundError:
        return False


def _put(path: Path, place: Path) -> None:
    """Let the data be in its place. Until the record says so, it also stays where it was: a kill loses nothing."""
    place.unlink(missing_ok=True)
    try:
        place.hardlink_to(path)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK}:
            raise
        path.rename(place)  # a file system that has no hard links
