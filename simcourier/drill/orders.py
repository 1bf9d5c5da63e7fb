"""Orders to fail at a fault point: files that the first process to pass that point takes, and obeys."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

How = Literal["kill", "raise", "full", "slow", "hang"]
TAKEN = "taken"


class Rehearsed(Exception):
    """An error that nobody expects, raised on purpose."""


class Orders:
    """What is to fail next; one order per point at a time.

    Args:
        folder: shared with the processes that obey.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / TAKEN).mkdir(parents=True, exist_ok=True)

    def give(self, point: str, how: How, seconds: float = 0) -> None:
        """Let the next process that passes ``point`` fail there.

        Args:
            point: name of a fault point (`simcourier.drill.points`).
            how: ``kill`` (SIGKILL), ``raise`` (an unexpected exception), ``full`` (as a full disk), ``slow`` (that
                thread waits), ``hang`` (the whole process stops, and goes on where it was).
            seconds: how long it waits or stops.
        """
        part = self._folder / f".{point}.part"
        part.write_text(json.dumps({"how": how, "seconds": seconds}))
        part.replace(self._folder / point)

    def pending(self, point: str) -> bool:
        """True until somebody has taken the order."""
        return (self._folder / point).exists()

    def withdraw_all(self) -> None:
        """Take back what nobody has taken."""
        for order in self._folder.iterdir():
            if order.is_file():
                order.unlink(missing_ok=True)


def obey(folder: Path) -> Callable[[str], None]:
    """A hook for `messaging.faults` that obeys the orders in ``folder``."""
    numbers = itertools.count()

    def hook(point: str) -> None:
        mine = folder / TAKEN / f"{point}.{os.getpid()}.{next(numbers)}"
        try:
            (folder / point).rename(mine)  # of two processes, one gets it
        except FileNotFoundError:
            return
        order = json.loads(mine.read_text())
        _fail(point, order["how"], float(order["seconds"]))

    return hook


def _fail(point: str, how: How, seconds: float) -> None:
    match how:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise Rehearsed(f"ordered at {point}")
        case "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case "slow":
            time.sleep(seconds)
        case "hang":
            # A process that stands still cannot wake itself.
            script = f"sleep {seconds}; kill -CONT {os.getpid()}"
            subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True)
            os.kill(os.getpid(), signal.SIGSTOP)
