"""An archive that is sent while it is packed: one thread writes it, others read what is there and wait for more."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Condition
from typing import BinaryIO

CHUNK = 1024 * 1024
WAITING_SECONDS = 2.0


class GrowingArchive:
    """A file on this machine's disk that only grows (see `backends.contract.Archive`); also a writer's sink.

    Whoever packs calls `write` again and again, then `finish` or `fail`, once. Where it does neither, readers wait for
    ever: use `fail` in an ``except BaseException``.

    Args:
        path: a new file, or one that begins with bytes of the same archive and is to be written anew.
        name, key: as in the contract.
    """

    waiting: Callable[[], None] | None = None
    """Called again and again, by whoever waits for bytes; may raise."""

    reading: Callable[[], None] | None = None
    """Called before bytes are read; may raise."""

    def __init__(self, path: Path, *, name: str, key: str) -> None:
        self.name = name
        self.key = key
        self._path = path
        self._file = path.open("wb", buffering=0)
        self._grew = Condition()
        self._written = 0
        self._sha256: str | None = None
        self._error: BaseException | None = None

    @property
    def size(self) -> int | None:
        """Bytes; None while it is being packed."""
        with self._grew:
            return self._written if self._sha256 is not None else None

    @property
    def sha256(self) -> str:
        """Digest of all bytes, lower-case hex; waits for it.

        Raises:
            what `fail` was given.
        """
        self._wait_for(self._ended)
        assert self._sha256 is not None
        return self._sha256

    @property
    def path(self) -> Path:
        """Where it lies at present."""
        with self._grew:
            return self._path

    @property
    def written(self) -> int:
        """Bytes that can be read by now."""
        with self._grew:
            return self._written

    def write(self, data: bytes, /) -> None:
        """Append ``data``; readers see it at once."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        with self._grew:
            self._written += len(data)
            self._grew.notify_all()

    def finish(self, sha256: str, path: Path | None = None) -> None:
        """All bytes are written, and here is their digest; the file becomes durable, and gets the name ``path``."""
        os.fsync(self._file.fileno())
        self._file.close()
        with self._grew:
            if path is not None:
                self._path = self._path.rename(path)
            self._sha256 = sha256
            self._grew.notify_all()

    def fail(self, error: BaseException) -> None:
        """Packing has failed: whoever reads, or waits, gets ``error``. After `finish`: nothing happens."""
        self._file.close()
        with self._grew:
            if self._sha256 is None:
                self._error = error
            self._grew.notify_all()

    def open(self, offset: int = 0) -> BinaryIO:
        """A reader from byte ``offset`` on; ``read(n)`` waits until there are ``n`` bytes, or the end has come.

        Raises, when it is read:
            what `fail` was given; at once, even if there are bytes that were not read yet.
        """
        with self._grew:  # so that the file is not just getting its other name
            self._raise_failure()
            return io.BufferedReader(_Reader(self, self._path, offset), CHUNK)

    def wait_beyond(self, offset: int) -> int:
        """Wait for bytes after ``offset``; how many there are, 0: it ends here.

        Raises:
            what `fail` was given.
        """
        self._wait_for(lambda: self._written > offset or self._ended())
        return max(0, self.written - offset)

    def wait(self, size: int, seconds: float) -> bool:
        """Wait, at most so long, until there are ``size`` bytes or the end has come; whether that is so.

        Raises:
            what `fail` was given.
        """
        return self._wait_for(lambda: self._written >= size or self._ended(), seconds)

    def _wait_for(self, condition: Callable[[], bool], seconds: float = float("inf")) -> bool:
        until = time.monotonic() + seconds
        while True:
            with self._grew:
                there = self._grew.wait_for(condition, max(0.0, min(WAITING_SECONDS, until - time.monotonic())))
                self._raise_failure()
            if there or time.monotonic() >= until:
                return there
            if self.waiting is not None:
                self.waiting()

    def _ended(self) -> bool:
        return self._sha256 is not None or self._error is not None

    def _raise_failure(self) -> None:
        if self._error is not None:
            raise self._error


class _Reader(io.RawIOBase):
    def __init__(self, archive: GrowingArchive, path: Path, offset: int) -> None:
        self._archive = archive
        self._file = path.open("rb", buffering=0)
        self._at = offset

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # typeshed: Buffer, 3.12
        if self._archive.reading is not None:
            self._archive.reading()
        there = self._archive.wait_beyond(self._at)
        count = os.preadv(self._file.fileno(), [memoryview(buffer)[:there]], self._at) if there else 0
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def prefix_sha256(archive: GrowingArchive, size: int, ensure: Callable[[], None]) -> str | None:
    """Digest of the first ``size`` bytes, lower-case hex, which are waited for; None: the archive is shorter.

    After a crash the archive is packed anew; what was sent of the earlier one is a part of it only if this digest is
    the one that was noted then.

    Args:
        ensure: called between chunks; raises when the work is to stop.

    Raises:
        what `GrowingArchive.fail` was given.
    """
    digest = hashlib.sha256()
    left = size
    with archive.open() as reader:
        while left:
            ensure()
            piece = reader.read(min(CHUNK, left))
            if not piece:
                return None
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()
