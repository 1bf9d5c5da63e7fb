"""What time takes away: uploads that nobody went on with, and files whose links have ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import structlog
from aiohttp import web

from local_cloud import audit
from local_cloud.storage import Storage
from local_cloud.uploads import Uploads

log = structlog.get_logger()

EVERY_SECONDS = 600.0


async def sweeping(storage: Storage, uploads: Uploads, grace: timedelta, app: web.Application) -> AsyncIterator[None]:
    """While the server runs, sweep at once and then from time to time.

    Args:
        grace: how long after the end of its link a file stays.
    """
    del app
    task = asyncio.create_task(_for_ever(storage, uploads, grace))
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _for_ever(storage: Storage, uploads: Uploads, grace: timedelta) -> None:
    while True:
        try:
            await asyncio.to_thread(sweep, storage, uploads, grace)
        except OSError as error:
            log.error("sweep.failed", told=error.strerror)
        await asyncio.sleep(EVERY_SECONDS)


def sweep(storage: Storage, uploads: Uploads, grace: timedelta) -> None:
    """Remove what is due."""
    for upload in uploads.overdue():
        size = 0 if upload.done else uploads.offset(upload)
        uploads.remove(upload)
        if not upload.done:
            audit.expired(upload.id, upload.owner, size)
    for record in storage.ended_before(datetime.now(UTC) - grace):
        if storage.drop_data(record):
            audit.expired(record.id, record.owner, record.size)
