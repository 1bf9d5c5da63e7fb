"""How much may be stored: refused before the first byte, where it can be known then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from local_cloud.access import Uploader
from local_cloud.errors import Problem, Refusal
from local_cloud.sizes import readable

LOOK_EVERY = 16 * 1024 * 1024  # bytes that arrive between two looks at the disk
LARGEST_FLOOR = 1024**3
FLOOR_SHARE = 20  # a twentieth of the disk
BURST_SECONDS = 1.0


class Room(Protocol):
    """What the limits must know of the storage."""

    def free_bytes(self) -> int:
        """Room that the disk has."""

    def disk_bytes(self) -> int:
        """Size of the disk."""

    def held_bytes(self, owner: str) -> int:
        """Of somebody's files, finished or not; those that are not, with the length that they will have."""

    def held_bytes_total(self) -> int:
        """Of everybody's files."""


@dataclass(slots=True)
class _Pace:
    ready: float
    """When the next byte may come."""


class Limits:
    """The server's limits, and the uploaders' own.

    Args:
        room: the storage.
        max_file: bytes of the largest file; None: no limit.
        quota: bytes of all files together; None: no limit.
        keep_free: bytes of the disk that stay free; None: a twentieth of it, at most 1 GiB.
        clock: seconds.
    """

    def __init__(
        self,
        room: Room,
        *,
        max_file: int | None = None,
        quota: int | None = None,
        keep_free: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._room = room
        self.max_file = max_file
        self._quota = quota
        self._keep_free = keep_free
        self._clock = clock
        self._paces: dict[str, _Pace] = {}
        self._unseen = 0

    def largest(self, uploader: Uploader) -> int | None:
        """Bytes that one file may have; None: no limit. Tus-Max-Size."""
        sizes = [self.max_file, uploader.max_bytes, self._quota, uploader.quota_bytes]
        return min((size for size in sizes if size is not None), default=None)

    def admit(self, uploader: Uploader, size: int | None, have: int = 0) -> None:
        """Let an upload begin, or one whose length was not known go on.

        Args:
            size: bytes that are to come; None: not known yet.
            have: bytes of it that have come already.

        Raises:
            Refusal: 413, where it could never be stored; 507, where there is no room now.
        """
        largest = self.largest(uploader)
        if size is not None and largest is not None and have + size > largest:
            told = f"The file has {'more than ' * bool(have)}{readable(have or size)}"
            raise Refusal(Problem.TOO_LARGE, f"{told}; the largest that is taken has {readable(largest)}.")
        wanted = size if size is not None else 1
        left = self._left(uploader)
        if left is not None and wanted > left:
            told = f"The files that are stored take up their quota: {readable(left)} are left"
            raise Refusal(Problem.QUOTA, f"{told}, {readable(wanted)} are wanted." if size else f"{told}.")
        if wanted > self._free():
            told = f"The server has no room left: {readable(self._free())} can be stored"
            raise Refusal(Problem.DISK_FULL, f"{told}, {readable(wanted)} are wanted." if size else f"{told}.")

    def room(self, uploader: Uploader, have: int = 0) -> int:
        """Bytes that may still come from an uploader, in one file of which ``have`` bytes have come already."""
        largest = self.largest(uploader)
        limits = [None if largest is None else max(0, largest - have), self._left(uploader), self._free()]
        return min(limit for limit in limits if limit is not None)

    def check(self, count: int) -> None:
        """Count bytes that arrive, and look at the disk from time to time.

        Raises:
            Refusal: what must stay free would be used up.
        """
        self._unseen += count
        if self._unseen >= LOOK_EVERY:
            self._unseen = 0
            if self._free() <= 0:
                raise Refusal(Problem.DISK_FULL)

    def delay(self, uploader: Uploader, count: int) -> float:
        """Count bytes that have arrived; seconds to wait before more are taken, so that the rate is kept."""
        if uploader.bytes_per_second is None:
            return 0.0
        now = self._clock()
        pace = self._paces.setdefault(uploader.name, _Pace(now))
        pace.ready = max(pace.ready, now - BURST_SECONDS) + count / uploader.bytes_per_second
        return max(0.0, pace.ready - now)

    async def pace(self, uploader: Uploader, count: int) -> None:
        """`check`, and wait for `delay`."""
        self.check(count)
        if seconds := self.delay(uploader, count):
            await asyncio.sleep(seconds)

    def _left(self, uploader: Uploader) -> int | None:
        """Of the quotas."""
        left = []
        if uploader.quota_bytes is not None:
            left.append(uploader.quota_bytes - self._room.held_bytes(uploader.name))
        if self._quota is not None:
            left.append(self._quota - self._room.held_bytes_total())
        return max(0, min(left)) if left else None

    def _free(self) -> int:
        keep = self._keep_free
        if keep is None:
            keep = min(LARGEST_FLOOR, self._room.disk_bytes() // FLOOR_SHARE)
        return max(0, self._room.free_bytes() - keep)
