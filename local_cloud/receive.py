"""From the network to the disk: one batch is written and hashed by a thread while the next one comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from local_cloud.uploads import Appending

if TYPE_CHECKING:
    from hashlib import _Hash

LARGEST_BATCH = 1024 * 1024  # bytes that are handed over at once
SMALLEST_BATCH = 64 * 1024
MEMORY = 16 * 1024 * 1024  # for the batches of all uploads together
FEW = 16  # uploads that may read from the network as much at once as they like
SYNC_EVERY = 64 * 1024 * 1024  # so that little is left to wait for in the end


class Memory:
    """What all that pour share, so that hundreds of clients need no more of it than a few."""

    def __init__(self) -> None:
        self._users = 0

    @property
    def batch(self) -> int:
        """Bytes that each may hold back; as many again are just being written."""
        return max(SMALLEST_BATCH, min(LARGEST_BATCH, MEMORY // (2 * max(1, self._users))))

    def enter(self, transport: asyncio.BaseTransport | None) -> None:
        """One more; ``transport`` is the connection that it reads from."""
        self._users += 1
        if self._users > FEW and transport is not None and hasattr(transport, "max_size"):
            transport.max_size = SMALLEST_BATCH  # asyncio would read four times as much, for each of them

    def leave(self) -> None:
        """One less."""
        self._users -= 1


class Pouring:
    """Bytes on their way to the end of an upload. To be ended, whatever happens.

    What has come is written as soon as the disk has nothing else of this upload to do: a fast client makes large
    batches in this way, and of a slow one nothing is kept in memory.

    Args:
        appending: the end.
        run: runs blocking work in a thread.
        verify: is to digest the same bytes; None: nothing else does.
        memory: shared with others; entered already.
    """

    def __init__(
        self, appending: Appending, run: Callable[..., Awaitable[Any]], verify: _Hash | None, memory: Memory
    ) -> None:
        self._appending = appending
        self._run = run
        self._verify = verify
        self._memory = memory
        self._batch: list[bytes] = []
        self._size = 0
        self._taken = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._syncing: asyncio.Future[None] | None = None

    async def add(self, piece: bytes) -> None:
        """Take more bytes; waits only if the disk is a whole batch behind.

        Raises:
            Refusal: earlier ones could not be written.
        """
        self._batch.append(piece)
        self._size += len(piece)
        if self._writing is None or self._writing.done():
            if self._writing is not None:
                await self._writing
            self._writing = asyncio.create_task(self._write_all())
        while self._size >= self._memory.batch and not self._writing.done():
            self._taken.clear()
            await self._taken.wait()

    async def end(self) -> None:
        """Write what is left.

        Raises:
            Refusal: something could not be written.
        """
        try:
            if self._writing is not None:
                await self._writing
        finally:
            self._memory.leave()
            if self._syncing is not None:
                await self._syncing

    async def _write_all(self) -> None:
        try:
            while self._batch:
                batch, self._batch, self._size = self._batch, [], 0
                self._taken.set()
                await self._run(self._write, batch)
                if self._appending.size - self._appending.synced >= SYNC_EVERY:
                    await self._begin_sync()
        finally:
            self._taken.set()

    async def _begin_sync(self) -> None:
        if self._syncing is not None:
            if not self._syncing.done():
                return
            await self._syncing
        self._syncing = asyncio.ensure_future(self._run(self._appending.sync))

    def _write(self, pieces: list[bytes]) -> None:
        self._appending.write(pieces)
        if self._verify is not None:
            for piece in pieces:
                self._verify.update(piece)
