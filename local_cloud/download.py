"""The answer to whoever follows a link."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from local_cloud.names import attachment

PIECE = 1024 * 1024
ONE_RANGE = re.compile(r"bytes=(\d+-\d*|-\d+)", re.IGNORECASE)


class Download(web.FileResponse):
    """A file as an attachment, whole or one range of it.

    Two things that aiohttp's class does not do: it minds an entity tag in If-Range (RFC 9110, section 13.1.5), without
    which whoever goes on with a download of bytes that have been replaced gets a mixture; and it sends the whole file
    where it cannot send what Range asks for, such as several ranges (section 14.2), instead of an error.

    Args:
        path: the data.
        name: what the file is called for people.
    """

    def __init__(self, path: Path, name: str) -> None:
        headers = {
            "Content-Type": "application/zip" if name.lower().endswith(".zip") else "application/octet-stream",
            "Content-Disposition": attachment(name),
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-transform",
            "Referrer-Policy": "no-referrer",
        }
        super().__init__(path, headers=headers, chunk_size=PIECE)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the head."""
        if hdrs.RANGE in request.headers and not await self._can_send_range(request):
            headers = request.headers.copy()
            headers.popall(hdrs.RANGE)
            request = request.clone(headers=headers)
        return await super().prepare(request)

    async def _can_send_range(self, request: web.BaseRequest) -> bool:
        if not ONE_RANGE.fullmatch(request.headers[hdrs.RANGE].strip()):
            return False
        wanted = request.headers.get(hdrs.IF_RANGE, "")
        return not wanted.endswith('"') or wanted == await asyncio.to_thread(self._tag)

    def _tag(self) -> str:
        """As `aiohttp.web.FileResponse` makes it."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return ""
        return f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
