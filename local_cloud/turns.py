"""One at a time per upload, and the last to come is the one who counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from local_cloud.errors import Problem, Refusal

PATIENCE_SECONDS = 20.0


@dataclass(slots=True)
class _Place:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    stop: Callable[[], None] | None = None


class Turns:
    """Whose turn it is at each upload.

    A client that has lost its connection comes back while we still wait on the old one, which may take minutes to be
    seen as dead. So a newcomer ends whoever is at it, and waits until that one has stored what it had: only then is the
    offset true.
    """

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}

    @asynccontextmanager
    async def turn(self, name: str, stop: Callable[[], None]) -> AsyncIterator[None]:
        """Be the only one at ``name``.

        Args:
            stop: makes us end soon; called when somebody else wants to be it.

        Raises:
            Refusal: the one before did not end.
        """
        place = self._places.setdefault(name, _Place())
        place.users += 1
        try:
            if place.stop is not None:
                place.stop()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await place.lock.acquire()
            except TimeoutError as error:
                raise Refusal(Problem.LOCKED) from error
            place.stop = stop
            try:
                yield
            finally:
                place.stop = None
                place.lock.release()
        finally:
            place.users -= 1
            if not place.users:
                self._places.pop(name, None)

    def stop_all(self) -> None:
        """Make everybody end soon."""
        for place in self._places.values():
            if place.stop is not None:
                place.stop()
