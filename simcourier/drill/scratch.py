"""A temporary folder and the processes that live in it, both gone when this process is, however it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from simcourier.installation import free_port

# Waits until the pipe on its standard input is closed, which the kernel does whatever becomes of the process at the
# other end. Then ends the processes named in the folder's file `pids` and removes the folder.
_WATCHDOG = """
cat >/dev/null
for pid in $(cat "$0/pids" 2>/dev/null); do kill "-$1" "$pid" 2>/dev/null; done
for pid in $(cat "$0/pids" 2>/dev/null); do
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
done
rm -rf "$0" || { sleep 1; rm -rf "$0"; }
"""


class Scratch:
    """A folder for one node.

    Args:
        name: appears in the folder's name.
        last_signal: what ends the processes if this process dies without ending them.
    """

    def __init__(self, name: str, last_signal: signal.Signals) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"simcourier-{name}-"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, str(self.path), str(int(last_signal))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def spawn(
        self, command: list[str], *, log: str, env: dict[str, str] | None = None, user: str | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process whose output goes to the file ``log`` of the folder."""
        with (self.path / log).open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=self.path,
                user=user,
                start_new_session=True,
            )
        self.adopt(process)
        return process

    def adopt(self, process: subprocess.Popen[bytes]) -> None:
        """This process, started by somebody else, lives in this folder too."""
        self._processes.append(process)
        self._note()

    def end(self, process: subprocess.Popen[bytes], how: signal.Signals, timeout: float = 30) -> None:
        """Send a signal and wait; after ``timeout`` seconds, kill."""
        process.send_signal(how)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._processes.remove(process)
        self._note()

    def remove(self) -> None:
        """Kill what still runs and delete the folder."""
        for process in list(self._processes):
            self.end(process, signal.SIGKILL)
        shutil.rmtree(self.path, ignore_errors=True)
        self._watchdog.communicate()

    def tail(self, log: str) -> str:
        """The last lines of a log, for an error's text."""
        path = self.path / log
        return "\n".join(path.read_text(errors="replace").splitlines()[-30:]) if path.exists() else ""

    def _note(self) -> None:
        (self.path / "pids").write_text(" ".join(str(process.pid) for process in self._processes))


def find_binary(name: str, *patterns: str) -> str | None:
    """A program in the first place that has it: glob patterns below ``/``, the highest version first, then PATH."""
    for pattern in patterns:
        for folder in sorted(Path("/").glob(pattern.lstrip("/")), reverse=True):
            if os.access(folder / name, os.X_OK):
                return str(folder / name)
    return shutil.which(name)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on just now, nor is given meanwhile."""
    return [free_port() for _ in range(count)]


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 120, step: float = 0.05) -> None:
    """Return as soon as ``condition`` holds.

    Raises:
        TimeoutError: it did not within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(step)
