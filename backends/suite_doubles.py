"""An archive and a progress whose faults are chosen: what the contract suite hands to a plugin."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, BinaryIO, cast

from backends.contract import Json
from backends.errors import Superseded, TransientError

BLOCK = 1024 * 1024
# Reads of a growing archive are short: as much as there is.
PORTION = 300_000


class SampleArchive:
    """Made-up bytes, a block at a time (see `backends.contract.Archive`).

    Args:
        size: bytes that it has.
        key, name: as in the contract.
        grows: its size is not known before it was read to its end, and reads are short.
        announced: the size that it says it has, if not the right one.
        ends_after: the source ends after so many bytes, without an error.
        fails_after: the source raises ``error`` after so many bytes.
        seed: another one makes other bytes.
    """

    def __init__(
        self,
        size: int,
        *,
        key: str,
        name: str,
        grows: bool = False,
        announced: int | None = None,
        ends_after: int | None = None,
        fails_after: int | None = None,
        error: Exception | None = None,
        seed: int = 0,
    ) -> None:
        self.name = name
        self.key = key
        self.was_read = False
        """Whether a reader has come to the end."""
        self._length = size
        self._announced = size if announced is None else announced
        self._grows = grows
        self._end = size if ends_after is None else ends_after
        self._fails_after = fails_after
        self._error = error or TransientError("The results could not be packed.")
        self._seed = seed

    @property
    def size(self) -> int | None:
        """As announced; None while it grows."""
        return None if self._grows and not self.was_read else self._announced

    @cached_property
    def sha256(self) -> str:
        """Digest of all bytes that it should have."""
        digest = hashlib.sha256()
        for block in self._blocks():
            digest.update(block)
        return digest.hexdigest()

    def content(self) -> bytes:
        """All bytes that it should have."""
        return b"".join(self._blocks())

    def open(self, offset: int = 0) -> BinaryIO:
        """A reader with the chosen faults."""
        reader = _Reader(self, offset)
        return cast("BinaryIO", reader) if self._grows else io.BufferedReader(reader)

    def wait(self, size: int, seconds: float) -> bool:
        """Its readers never wait."""
        del size, seconds
        return True

    def piece(self, start: int, length: int) -> bytes:
        """What a reader gets: at most ``length`` bytes from ``start``; none at the end."""
        if self._fails_after is not None and start >= self._fails_after:
            raise self._error
        stop = min(start + (min(length, PORTION) if self._grows else length), self._end)
        if self._fails_after is not None:
            stop = min(stop, self._fails_after)
        if start >= self._end:
            stop = start
        if stop >= self._end:
            self.was_read = True
        inside = start % BLOCK
        return self._block(start // BLOCK)[inside : inside + stop - start]

    def _blocks(self) -> Iterator[bytes]:
        for number in range(-(-self._length // BLOCK)):
            yield self._block(number)[: self._length - number * BLOCK]

    def _block(self, number: int) -> bytes:
        """Differs from block to block, so that none can be mistaken for another."""
        line = hashlib.sha256(f"{self._seed}.{number}".encode()).digest()
        return line * (BLOCK // len(line))


class _Reader(io.RawIOBase):
    def __init__(self, archive: SampleArchive, offset: int) -> None:
        self._archive = archive
        self._at = offset

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._archive.piece(self._at, len(buffer))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


class SampleProgress:
    """Remembers what was saved (see `backends.contract.Progress`).

    Args:
        checkpoint: from an earlier try.
        superseded: asked by `ensure`: has another worker taken over?
        refuses_to_save: another one has, and `save` notices.
    """

    def __init__(
        self,
        checkpoint: Json | None = None,
        *,
        superseded: Callable[[], bool] = lambda: False,
        refuses_to_save: bool = False,
    ) -> None:
        self.checkpoint = checkpoint
        self.checkpoints: list[Json] = []
        self.saved: list[int] = []
        """Bytes that were said to be sent."""
        self._superseded = superseded
        self._refuses_to_save = refuses_to_save

    def save(self, checkpoint: Json, sent: int) -> None:
        """Keep it, if it is JSON."""
        if self._refuses_to_save:
            raise Superseded
        self.checkpoint = json.loads(json.dumps(checkpoint))
        self.checkpoints.append(checkpoint)
        self.saved.append(sent)

    def ensure(self) -> None:
        """Raise `Superseded` if another worker has taken over."""
        if self._superseded():
            raise Superseded
