"""An upload on its way."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from local_cloud.disk import disk_full_told


class Incoming:
    """Bytes that are counted and hashed as they are written, under a temporary name.

    Args:
        path: of the file, which must not exist.

    Raises:
        Refusal: the disk is full (so for `write` and `finish`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._digest = hashlib.sha256()
        with disk_full_told():
            self._stream: BinaryIO = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    @property
    def sha256(self) -> str:
        """Digest of what was written so far."""
        return self._digest.hexdigest()

    def write(self, piece: bytes) -> None:
        """Add bytes."""
        with disk_full_told():
            self._stream.write(piece)
        self._digest.update(piece)
        self.size += len(piece)

    def finish(self) -> None:
        """Make what was written durable; an error on closing is an error."""
        with disk_full_told():
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()

    def discard(self) -> None:
        """Remove it."""
        with contextlib.suppress(OSError):
            self._stream.close()
        self.path.unlink(missing_ok=True)
