"""Sending files and parts of files: conditions and ranges after RFC 9110, bytes by sendfile."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import IO

from aiohttp import ETag, hdrs, web

SLICE = 8 * 1024 * 1024
STALLED_SECONDS = 600.0  # for a slice; whoever takes less than 14 kB/s has gone, or means harm
ONE_RANGE = re.compile(r"bytes=(\d{1,19})?-(\d{1,19})?", re.IGNORECASE)
PROTECTED = {
    "Cache-Control": "private, no-cache, no-transform",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
"""With every answer to whoever follows a link: the address is the secret."""
CONTENT = PROTECTED | {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}
"""With bytes that somebody has uploaded: whatever they are, nothing in them runs."""


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a file on disk.

    Args:
        tag: a strong entity tag, without its quotes.
        size: None: to the end.
    """

    path: Path
    tag: str
    offset: int = 0
    size: int | None = None


Told = Callable[[int, bool], None]
"""Told once, at the end: bytes that were sent, and whether those are all that were asked for."""


async def send(request: web.Request, part: Part, headers: dict[str, str], told: Told) -> web.StreamResponse:
    """Answer a request with a file or part of one, or with one range of it.

    Raises:
        FileNotFoundError: it is not there.
        ConnectionError: the client has gone, or takes nothing.
    """
    handle = await asyncio.to_thread(os.open, part.path, os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(handle, "rb", buffering=0) as stream:
        status = os.fstat(handle)
        size = status.st_size if part.size is None else part.size
        headers = headers | {"Accept-Ranges": "bytes"}
        answer = unmodified(request, part.tag, status.st_mtime, headers)
        if answer is not None:
            return answer
        first, count = 0, size
        code = 200
        asked = _range(request, part.tag, status.st_mtime)
        if asked is not None:
            first, last = _within(asked, size)
            if first > last:
                return web.Response(status=416, headers=PROTECTED | {"Content-Range": f"bytes */{size}"})
            code, count = 206, last - first + 1
            headers |= {"Content-Range": f"bytes {first}-{last}/{size}"}
        response = started(code, headers, part.tag, status.st_mtime, count)
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD:
            begin = part.offset + first
            sent = 0
            try:
                while sent < count:
                    sent += await _send_slice(request, stream, begin + sent, min(SLICE, count - sent))
            finally:
                told(max(sent, stream.tell() - begin), sent == count)  # a slice that was cut moved the position
        await response.write_eof()
        return response


async def _send_slice(request: web.Request, stream: IO[bytes], offset: int, length: int) -> int:
    transport = request.transport
    if transport is None:
        raise ConnectionResetError
    try:
        async with asyncio.timeout(STALLED_SECONDS):
            sent = await asyncio.get_running_loop().sendfile(transport, stream, offset, length)
    except TimeoutError as error:
        transport.abort()
        raise ConnectionResetError from error
    if not sent:  # somebody has cut the file
        transport.abort()
        raise ConnectionResetError
    return sent


def unmodified(request: web.Request, tag: str, modified: float, headers: dict[str, str]) -> web.StreamResponse | None:
    """The answer to a condition that forbids to send the bytes (sections 13.1 and 13.2.2)."""
    if (wanted := request.if_match) is not None:
        if not _lists(wanted, tag, weak=False):
            return web.Response(status=412, headers=PROTECTED)
    elif (since := request.if_unmodified_since) is not None and int(modified) > since.timestamp():
        return web.Response(status=412, headers=PROTECTED)
    if (known := request.if_none_match) is not None:
        same = _lists(known, tag, weak=True)
    else:
        since = request.if_modified_since
        same = since is not None and int(modified) <= since.timestamp()
    if not same:
        return None
    answer = web.Response(status=304, headers={n: v for n, v in headers.items() if n != "Content-Type"})
    answer.headers["ETag"] = f'"{tag}"'
    return answer


def started(code: int, headers: dict[str, str], tag: str, modified: float, count: int) -> web.StreamResponse:
    """The head of an answer with bytes."""
    response = web.StreamResponse(status=code, headers=headers)
    response.headers["ETag"] = f'"{tag}"'
    response.headers["Last-Modified"] = _http_date(modified)
    response.content_length = count
    return response


def _lists(tags: tuple[ETag, ...], tag: str, *, weak: bool) -> bool:
    return any(one.value == "*" or (one.value == tag and (weak or not one.is_weak)) for one in tags)


def _range(request: web.Request, tag: str, modified: float) -> tuple[int | None, int | None] | None:
    """One range, if it is asked for and If-Range allows it; whoever asks for several gets all (section 14.2)."""
    found = ONE_RANGE.fullmatch(request.headers.get(hdrs.RANGE, "").strip())
    if found is None or found.groups() == (None, None):
        return None
    first, last = (None if text is None else int(text) for text in found.groups())
    if first is not None and last is not None and first > last:
        return None
    condition = request.headers.get(hdrs.IF_RANGE, "").strip()
    if condition.endswith('"'):
        return (first, last) if condition == f'"{tag}"' else None
    return (first, last) if not condition or condition == _http_date(modified) else None


def _within(asked: tuple[int | None, int | None], size: int) -> tuple[int, int]:
    """First and last byte; the first behind the last: there are none."""
    first, last = asked
    if first is None:
        return max(0, size - (last or 0)), size - 1
    return (first, size - 1 if last is None else min(last, size - 1)) if first < size else (size, size - 1)


def _http_date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(int(seconds), UTC), usegmt=True)
