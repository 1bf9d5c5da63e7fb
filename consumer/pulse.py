"""Signs of life of the consumer programs, for health checks.

A process keeps one file whose time stamp is that of its most silent loop, and holds a lock on it, by which whoever
looks tells a living process from one that left its file behind.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

FOLDER = "health"  # of the data folder
# After which the file of a process that was killed is removed by the next one; a container's host name never returns.
FORGET_SECONDS = 24 * 3600.0


class Pulse:
    """The file of this process.

    Args:
        folder: where the files are; shared by all roles, and by all machines that share a data folder.
        role: the program's name.
    """

    def __init__(self, folder: Path, role: str) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        _forget(folder)
        self._path = folder / f"{_stem(role)}{os.getpid()}"
        self._handle = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        self._lock = threading.Lock()
        self._beats: dict[str, float] = {}
        self._touch(0)

    def part(self, name: str) -> Callable[[], None]:
        """What a loop is to call whenever it has done what it must do all the time."""
        with self._lock:
            self._beats[name] = 0
        return partial(self._beat, name)

    def silence(self) -> float | None:
        """Seconds since the most silent part was heard; None: one of them never was."""
        with self._lock:
            heard = min(self._beats.values(), default=0.0)
        return max(0.0, time.time() - heard) if heard else None

    def close(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        with self._lock:
            os.close(self._handle)
            self._handle = -1  # a loop that is still on its way touches nothing more

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _beat(self, name: str) -> None:
        with self._lock:
            self._beats[name] = time.time()
            self._touch(min(self._beats.values()))

    def _touch(self, moment: float) -> None:
        with suppress(OSError):  # then the file grows old, and somebody comes to look
            os.utime(self._handle, (moment, moment))


def silences(folder: Path, role: str) -> dict[int, float | None]:
    """Process id to seconds of silence, for each process of ``role`` on this machine; None: never heard so far."""
    found: dict[int, float | None] = {}
    now = time.time()
    for path in folder.glob(f"{_stem(role)}*"):
        with suppress(FileNotFoundError):
            heard = path.stat().st_mtime
            if not _abandoned(path):
                found[int(path.name.rpartition(".")[2])] = now - heard if heard else None
    return found


def _stem(role: str) -> str:
    return f"{role}@{socket.gethostname()}."


def _abandoned(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _forget(folder: Path) -> None:
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_ctime > FORGET_SECONDS and _abandoned(path):
                path.unlink()
