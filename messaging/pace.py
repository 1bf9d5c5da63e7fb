"""How fast something goes on of late: files of different kinds are read at speeds that differ by a factor of fifty."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW_SECONDS = 3.0


class Pace:
    """The rate of the last seconds, from what is said to be done now and then.

    Args:
        start: what is done at the beginning; None: the first call tells.
        clock: seconds that never go back.
    """

    def __init__(self, start: float | None = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen = deque[tuple[float, float]]()
        if start is not None:
            self._seen.append((clock(), start))

    def __call__(self, done: float) -> float | None:
        """So much is done by now; the rate in a second, None: nobody can tell yet."""
        now = self._clock()
        while len(self._seen) > 1 and self._seen[1][0] <= now - WINDOW_SECONDS:  # what came seldom is kept for longer
            self._seen.popleft()
        self._seen.append((now, done))
        since, before = self._seen[0]
        return max(0.0, done - before) / (now - since) if now > since else None
