"""Telling whether a process that another one of this machine has written down is still the same and alive.

Source of the fields: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from pydantic import BaseModel

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
GONE = {"Z", "X"}


class Process(BaseModel):
    """A process of a machine.

    Args:
        host: the machine; processes of another one (the data folder may be shared) cannot be looked at.
        boot: changes when the machine starts again; empty where the system does not tell.
        start: start time in clock ticks since then, which tells the process from a later one with its number.
    """

    host: str
    boot: str
    pid: int
    start: str

    @classmethod
    def of(cls, pid: int) -> Process:
        """A process that lives now."""
        return cls(host=socket.gethostname(), boot=_boot(), pid=pid, start=_look(pid)[1])

    @property
    def here(self) -> bool:
        """True if it is one of this machine."""
        return self.host == socket.gethostname()

    @property
    def alive(self) -> bool:
        """True if it still runs; only for one of this machine."""
        if self.boot != _boot():
            return False
        state, start = _look(self.pid)
        return bool(state) and state not in GONE and start == self.start


def _boot() -> str:
    try:
        return BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""


def _look(pid: int) -> tuple[str, str]:
    """State and start time; an empty state if there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        pass
    try:  # no /proc, as on macOS
        os.kill(pid, 0)
    except ProcessLookupError:
        return "", ""
    except PermissionError:
        pass
    return ("?", "") if not Path("/proc/self/stat").exists() else ("", "")
