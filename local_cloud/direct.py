"""From the network to the disk by the short way: a thread takes the body from the socket itself.

What comes through the event loop is copied several times and handed from one thread to another. A large body is read
here instead as the barest server would: recv_into, write, hash. While nothing comes no thread and no buffer is held, so
that many slow clients cost nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from local_cloud.bodies import READ_SECONDS
from local_cloud.errors import Problem, Refusal
from local_cloud.uploads import Appending

if TYPE_CHECKING:
    from hashlib import _Hash

    Buffer = bytes | memoryview

LEAST = 1024 * 1024  # bytes for which it is worth its while: the connection is not used again
PIECE = 1024 * 1024
SLICE_BYTES = 64 * 1024 * 1024  # after which others have a turn, and what is written is made durable
SLICE_SECONDS = 0.5
WAIT_MILLISECONDS = 5  # for more, before the thread is given back
DIRECT = "local_cloud.direct"
"""Under which a request keeps its `Direct`."""

_own = threading.local()


class Direct:
    """The rest of a request's body, taken from its socket; afterwards the connection can be answered on, and no more.

    Args:
        request: of its body nothing may have been read before.
        slice_bytes: after how many the rate is looked at.
    """

    def __init__(self, request: web.Request, slice_bytes: int = SLICE_BYTES) -> None:
        assert request.transport is not None
        self._transport = request.transport
        self._content = request.content
        self._seconds = request.app[READ_SECONDS]
        self._slice_bytes = slice_bytes
        self._early = self._take_over()
        self._left = (request.content_length or 0) - len(self._early)
        self._socket: socket.socket = self._transport.get_extra_info("socket").dup()
        self._socket.setblocking(False)
        request[DIRECT] = self

    @staticmethod
    def fits(request: web.Request) -> bool:
        """Whether it is of use: a large body of known length, and no TLS."""
        return (
            (request.content_length or 0) - request.content.total_bytes >= LEAST
            and request.transport is not None
            and request.transport.get_extra_info("sslcontext") is None
            and request.transport.get_extra_info("socket") is not None
        )

    async def pour(
        self,
        appending: Appending,
        verify: _Hash | None,
        run: Callable[..., Awaitable[Any]],
        arrived: Callable[[int], Awaitable[None]],
    ) -> None:
        """Take it all.

        Args:
            verify: is to digest the same bytes; None: nothing else does.
            run: runs blocking work in a thread.
            arrived: told how many bytes came; waits, if no more are to come at the moment.

        Raises:
            ConnectionError: the client has gone.
            Refusal: nothing came for too long; the disk is full.
        """
        syncing: asyncio.Future[None] | None = None
        try:
            await self._pour_early(appending, verify, run, arrived)
            while self._left:
                await self._readable()
                await arrived(await run(self._slice, appending, verify))
                if appending.size - appending.synced >= SLICE_BYTES and (syncing is None or syncing.done()):
                    if syncing is not None:
                        await syncing
                    syncing = asyncio.ensure_future(run(appending.sync))
        finally:
            try:
                if syncing is not None:
                    await syncing
            finally:
                self._give_back()

    def stop(self) -> None:
        """Make `pour` end soon, as if the client had gone; what has arrived is taken first."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    async def _pour_early(
        self,
        appending: Appending,
        verify: _Hash | None,
        run: Callable[..., Awaitable[Any]],
        arrived: Callable[[int], Awaitable[None]],
    ) -> None:
        early, self._early = self._early, b""  # it is not kept while the rest comes
        await run(_add, appending, verify, early)
        await arrived(len(early))

    def _take_over(self) -> bytes:
        """Let nothing more come by the event loop; what has come so already."""
        early = []
        self._transport.pause_reading()
        while piece := self._content.read_nowait():
            early.append(piece)
            self._transport.pause_reading()  # reading from the stream makes it go on
        taken = b"".join(early)
        if len(taken) != self._content.total_bytes:
            raise RuntimeError("a part of the body was read before")
        return taken

    def _give_back(self) -> None:
        self._socket.close()
        if self._left:
            # What still comes is thrown away, so that the client sees the answer.
            self._transport.resume_reading()
        elif not self._content.is_eof():
            self._content.feed_eof()
            self._transport.pause_reading()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        loop.add_reader(self._socket, _set, ready)
        try:
            async with asyncio.timeout(self._seconds):
                await ready
        except TimeoutError as error:
            raise Refusal(Problem.STALLED) from error
        finally:
            loop.remove_reader(self._socket)

    def _slice(self, appending: Appending, verify: _Hash | None) -> int:
        """In a thread: what comes without a pause; how many bytes."""
        if not hasattr(_own, "buffer"):
            _own.buffer = memoryview(bytearray(PIECE))
        buffer: memoryview = _own.buffer
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        begun, ends, least = self._left, time.monotonic() + SLICE_SECONDS, max(0, self._left - self._slice_bytes)
        while self._left > least and time.monotonic() < ends:
            try:
                count = self._socket.recv_into(buffer[: min(self._left - least, PIECE)])
            except BlockingIOError:
                if not poll.poll(WAIT_MILLISECONDS):
                    break
                continue
            if not count:
                raise ConnectionResetError("the client has gone")
            self._left -= count
            _add(appending, verify, buffer[:count])
        return begun - self._left


def _add(appending: Appending, verify: _Hash | None, piece: Buffer) -> None:
    appending.write([piece])
    if verify is not None:
        verify.update(piece)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
