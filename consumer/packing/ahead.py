"""Calls on threads, a bounded number ahead of whoever takes their results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

MOST_THREADS = 6  # SHA-256 of one file, on one core, keeps up with no more; each takes 5 MiB
SPARE = 3  # results that may wait while the oldest one is made


def cores() -> int:
    """Cores that this process may use, up to `MOST_THREADS`."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        allowed = os.cpu_count() or 1
    return min(allowed, MOST_THREADS)


class Ahead:
    """Runs calls on threads and hands each result to a function in this thread, in the order of the calls.

    Args:
        threads: how many.
        ensure: called before each result is handed on; raises when the work is to stop.
    """

    def __init__(self, threads: int, ensure: Callable[[], None]) -> None:
        self._pool = ThreadPoolExecutor(threads, "packing")
        self._room = threads + SPARE
        self._ensure = ensure
        self._waiting: deque[tuple[Future[Any], Callable[[Any], None]]] = deque()

    def call(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Run ``work`` on a thread, and ``then`` with its result here, in a later `call` or in `drain`."""
        if len(self._waiting) >= self._room:
            self._take()
        self._waiting.append((self._pool.submit(work), then))

    def drain(self) -> None:
        """Wait for all calls; what one of them raised is raised here."""
        while self._waiting:
            self._take()

    def close(self) -> None:
        """End the threads, after the calls that are being made; the others are dropped."""
        self._waiting.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _take(self) -> None:
        self._ensure()
        future, then = self._waiting.popleft()
        then(future.result())
