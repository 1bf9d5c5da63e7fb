"""Reading what a client sends, without waiting for ever for one that sends nothing any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import HttpVersion11, hdrs, web

from local_cloud.errors import Problem, Refusal

READ_SECONDS = web.AppKey("read_seconds", float)
"""How long nothing may come in the middle of a body."""


async def pieces(request: web.Request) -> AsyncIterator[bytes]:
    """The body's bytes as they arrive.

    Raises:
        Refusal: nothing came for too long.
        RequestPayloadError, ConnectionError: the client has gone, or sends what is no body.
    """
    await ask_for(request)
    while True:
        try:
            async with asyncio.timeout(request.app[READ_SECONDS]):
                piece = await request.content.readany()
        except TimeoutError as error:
            raise Refusal(Problem.STALLED) from error
        if not piece:
            return
        yield piece


async def whole(request: web.Request) -> bytes:
    """A body that fits into memory; all of it must come within the time that others have between two pieces.

    Raises:
        Refusal: it did not.
    """
    await ask_for(request)
    try:
        async with asyncio.timeout(request.app[READ_SECONDS]):
            return await request.read()
    except TimeoutError as error:
        raise Refusal(Problem.STALLED) from error


async def expected(request: web.Request) -> None:
    """Instead of aiohttp's own handler for ``Expect: 100-continue``, which would let the client send at once.

    Raises:
        HTTPExpectationFailed: something else is expected.
    """
    if request.headers[hdrs.EXPECT].lower() != "100-continue":
        raise web.HTTPExpectationFailed


async def ask_for(request: web.Request) -> None:
    """Tell a client that waits for it that its body is wanted: it was not refused (RFC 9110, section 10.1.1)."""
    if hdrs.EXPECT in request.headers and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
