"""Files on disk, readable with ``ls``: a folder per file, with the data and a small JSON record beside it.

``files/<id>/<sha256>`` and ``files/<id>/record.json``; ``incoming/`` holds what is not complete. The id is a digest of
the client's key, made by the server; names that a client sends are only written into the record. A file is there when
its record says so, and the record is replaced in one step, after the data is durable: a kill at any moment leaves the
old file or the new one.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import re
import secrets
import shutil
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from local_cloud.disk import disk_full_told, fsync_folder
from local_cloud.incoming import Incoming
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
        self._incoming = folder / "incoming"
        for part in (self._files, self._incoming):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_file = (folder / "server.lock").open("w")
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
        folder = self._files / file_id(key)
        with self._lock:
            before = read(folder)
            if before is not None and before.sha256 == incoming.sha256 and _is_whole(folder, before):
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
                title=before.title if before else "",
                password=before.password if before else "",
            )
            with disk_full_told():
                folder.mkdir(mode=0o700, exist_ok=True)
                fsync_folder(self._files)
                with written(folder, record):
                    incoming.path.rename(folder / record.sha256)
                    fsync_folder(folder)
            if before is not None and before.sha256 != record.sha256:
                (folder / before.sha256).unlink(missing_ok=True)
        return record

    def find(self, key: str) -> Record | None:
        """The record of ``key``; None where the data is not there, whoever took it away."""
        folder = self._files / file_id(key)
        record = read(folder)
        return record if record is not None and _is_whole(folder, record) else None

    def set_expiry(self, key: str, expires: str | None, **more: Any) -> Record | None:
        """Change when the link of ``key`` ends, and more of its record; None: there is no such file.

        Raises:
            Refusal: the disk is full.
        """
        with self._lock:
            record = self.find(key)
            if record is None:
                return None
            record = replace(record, expires=expires, **more)
            with disk_full_told(), written(self._files / file_id(key), record):
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

    def delete(self, key: str) -> None:
        """Remove a file and its link, durably; not there is fine."""
        folder = self._files / file_id(key)
        with self._lock:
            if not folder.exists():
                return
            (folder / RECORD).unlink(missing_ok=True)  # first: without it, the rest is no file
            fsync_folder(folder)
            shutil.rmtree(folder)

    def _remove_leftovers(self) -> None:
        """What a server that was killed has left half done; anything that is not ours is left alone."""
        for upload in self._incoming.iterdir():
            if OURS.fullmatch(upload.name):
                upload.unlink()
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
            for entry in folder.iterdir():
                if entry.name not in {RECORD, record.sha256}:
                    entry.unlink()


def _is_whole(folder: Path, record: Record) -> bool:
    try:
        return (folder / record.sha256).stat().st_size == record.size
    except FileNotFoundError:
        return False
