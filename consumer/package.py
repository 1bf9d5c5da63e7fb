"""Packs a snapshot into a zip whose bytes depend on the files alone: names, contents and time stamps.

Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT; names are UTF-8 (general purpose bit 11), zip64
where a size or the number of entries asks for it.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
import unicodedata
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from backends.errors import TransientError
from consumer.collect import Snapshot, SourceFile

CHUNK = 1024 * 1024
LONGEST_NAME = 120  # characters, well below the 255 bytes that most file systems allow
EARLIEST = (1980, 1, 1, 0, 0, 0)
LATEST = (2107, 12, 31, 23, 59, 58)
CHANGED_AGAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Packed:
    """A finished archive on this machine's disk."""

    path: Path
    name: str
    size: int
    sha256: str


def archive_name(title: str, simulation_id: str) -> str:
    """A file name for people, from the event alone: any Unicode text, no slash, no control character."""
    text = unicodedata.normalize("NFC", title or simulation_id)
    text = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]+', " ", text)
    text = re.sub(r"\s+", " ", text).strip(" .")[:LONGEST_NAME].strip(" .")
    return f"{text or 'results'}.zip"


def package(snapshot: Snapshot, target: Path, name: str, ensure: Callable[[], None]) -> Packed:
    """Write the archive to ``target``, durably.

    Args:
        snapshot: what to pack.
        target: a new file.
        name: the archive's name for people.
        ensure: called between chunks; raises when this work is to stop.

    Raises:
        TransientError: a file changed, grew, shrank or vanished since the snapshot.
        OSError: reading or writing failed.
    """
    with target.open("xb") as raw:
        out = _Hashing(raw)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6, allowZip64=True) as archive:
            for file in snapshot.files:
                _add(archive, file, ensure)
        raw.flush()
        os.fsync(raw.fileno())
    return Packed(path=target, name=name, size=out.size, sha256=out.digest.hexdigest())


class _Hashing:
    """A file that can only be written on, so that `zipfile` never goes back and the digest is made in one pass."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self._raw.write(data)

    def flush(self) -> None:
        self._raw.flush()

    def close(self) -> None:
        """Whoever opened the file closes it."""


def _add(archive: zipfile.ZipFile, file: SourceFile, ensure: Callable[[], None]) -> None:
    entry = zipfile.ZipInfo(file.name, _dos_time(file.mtime_ns))
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # Unix, whatever we run on, so that the bytes are the same
    entry.external_attr = 0o100644 << 16
    entry.file_size = file.size
    with _open(file) as source, archive.open(entry, "w") as sink:
        left = file.size
        while left:
            ensure()
            piece = source.read(min(CHUNK, left))
            if not piece:
                raise _changed(file, "became shorter")
            sink.write(piece)
            left -= len(piece)
        if source.read(1):
            raise _changed(file, "became longer")
        if os.fstat(source.fileno()).st_mtime_ns != file.mtime_ns:
            raise _changed(file, "was written to")


def _open(file: SourceFile) -> BinaryIO:
    """Open the very file of the snapshot: another one, or a link, in its place is noticed."""
    try:
        handle = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _changed(file, "vanished") from error
    source = os.fdopen(handle, "rb")
    status = os.fstat(handle)
    if (status.st_dev, status.st_ino) != (file.device, file.inode):
        source.close()
        raise _changed(file, "was replaced")
    return source


def _changed(file: SourceFile, how: str) -> TransientError:
    return TransientError(f"The file {file.name} {how} while it was packed.", CHANGED_AGAIN_SECONDS)


def _dos_time(mtime_ns: int) -> tuple[int, int, int, int, int, int]:
    """The time stamp in UTC: a zip knows no zone, and the bytes must not depend on the worker's."""
    try:
        moment = time.gmtime(mtime_ns // 1_000_000_000)[:6]
    except (OverflowError, OSError, ValueError):
        return EARLIEST
    return min(max(moment, EARLIEST), LATEST)
