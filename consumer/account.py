"""What one try of a delivery took: for its line in the log, and for the metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from consumer import metrics
from ledger.api import Stage


class Account:
    """Keeps the seconds of each stage, and the bytes.

    An archive that is sent while it is packed counts as storing from its first byte on.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._since = clock()
        self._stage = Stage.COLLECTING
        self._seconds: dict[Stage, float] = {}
        self._facts: dict[str, Any] = {}

    def enter(self, stage: Stage) -> None:
        """The stage before ends, this one begins."""
        now = self._clock()
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now

    def packed(self, size: int, files: int) -> None:
        """An archive was made."""
        self._facts |= {"bytes": size, "files": files}
        metrics.PACKED_BYTES.inc(size)

    def stored(self, backend: str, size: int) -> None:
        """A storage service has confirmed an archive."""
        self._facts |= {"bytes": size, "stored_backend": backend}
        metrics.STORED_BYTES.labels(backend).inc(size)

    def close(self, verdict: str, *, attempt: int, ended: bool) -> dict[str, Any]:
        """Count it all; returns it for the log.

        Args:
            attempt: number of this try in a row of counted failures.
            ended: nothing more will be tried.
        """
        self.enter(self._stage)
        seconds = self._clock() - self._began
        metrics.HANDLED.labels(verdict).inc()
        metrics.DELIVERY_SECONDS.observe(seconds)
        for stage, took in self._seconds.items():
            metrics.STAGE_SECONDS.labels(stage.value).observe(took)
        if ended:
            metrics.ATTEMPTS.observe(attempt)
        stages = {f"{stage.value}_seconds": round(took, 3) for stage, took in self._seconds.items()}
        return {"verdict": verdict, "attempt": attempt, "seconds": round(seconds, 3), **stages, **self._facts}
