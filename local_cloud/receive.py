"""From the network to the disk: one batch is written and hashed by a thread while the next one comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from local_cloud.uploads import Appending

if TYPE_CHECKING:
    from hashlib import _Hash

BATCH = 1024 * 1024  # bytes that are handed over at once
SYNC_EVERY = 64 * 1024 * 1024  # so that little is left to wait for in the end


class Pouring:
    """Bytes on their way to the end of an upload.

    Args:
        appending: the end.
        run: runs blocking work in a thread.
        verify: is to digest the same bytes; None: nothing else does.
    """

    def __init__(self, appending: Appending, run: Callable[..., Awaitable[Any]], verify: _Hash | None) -> None:
        self._appending = appending
        self._run = run
        self._verify = verify
        self._batch: list[bytes] = []
        self._size = 0
        self._writing: asyncio.Future[None] | None = None
        self._syncing: asyncio.Future[None] | None = None

    async def add(self, piece: bytes) -> None:
        """Take more bytes; waits only if the disk is a whole batch behind.

        Raises:
            Refusal: an earlier batch could not be written.
        """
        self._batch.append(piece)
        self._size += len(piece)
        if self._size < BATCH:
            return
        if self._writing is not None:
            await self._writing
        self._writing = asyncio.ensure_future(self._run(self._write, self._batch))
        self._batch, self._size = [], 0
        if self._appending.size - self._appending.synced >= SYNC_EVERY:
            await self._begin_sync()

    async def end(self) -> None:
        """Write what is left.

        Raises:
            Refusal: something could not be written.
        """
        try:
            if self._writing is not None:
                await self._writing
            if self._batch:
                await self._run(self._write, self._batch)
        finally:
            if self._syncing is not None:
                await self._syncing

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
