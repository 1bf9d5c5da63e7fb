"""Runs the roles of an installation as child processes: starts them, starts them again, stops them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

from messaging.errors import UserError
from simcourier.lifeline import VARIABLE

LARGEST_LOG = 10 * 1024 * 1024
RESTART_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)
SETTLED_SECONDS = 60.0
READY_SECONDS = 60.0


class RoleFailed(UserError):
    """A role could not be started; the text says where its log is."""


class Child(Protocol):
    """A process that runs a role: as much of `subprocess.Popen` as is needed here."""

    pid: int
    returncode: Any

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, number: int, /) -> None: ...


Start = Callable[[Sequence[str], Mapping[str, str], IO[bytes], int], Child]


def start_process(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    output: IO[bytes],
    lifeline: int,
    *,
    module: str = "simcourier",
) -> Child:
    """Start ``module`` with ``arguments``; it ends when nobody holds the other end of ``lifeline`` any more."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env={**environ, VARIABLE: str(lifeline)},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        pass_fds=[lifeline],
        start_new_session=True,  # Ctrl-C on the terminal is ours to hand on
    )


@dataclass(slots=True)
class Role:
    """A child process.

    Args:
        name: for people, and of its log.
        arguments: of the ``simcourier`` command.
        ready: true once it does its work; asked until then.
    """

    name: str
    arguments: Sequence[str]
    ready: Callable[[], bool]
    process: Child | None = None
    started_at: float = 0.0
    restarts: int = 0
    restart_at: float | None = None


@dataclass(slots=True)
class Roles:
    """The child processes of one installation; a context manager that leaves none behind.

    Args:
        environ: their environment.
        logs: folder of their logs.
        tell: told in a line what happens.
        grace: seconds they get to stop.
        start: starts a process.
        pauses: seconds before a role that ended is started again, the first time and later ones.
    """

    environ: Mapping[str, str]
    logs: Path
    tell: Callable[[str], None]
    grace: float
    start: Start = start_process
    pauses: Sequence[float] = RESTART_SECONDS
    roles: list[Role] = field(default_factory=list)
    _lifeline: tuple[int, int] = field(init=False)

    def __enter__(self) -> Self:
        self._lifeline = os.pipe()
        self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for handle in self._lifeline:
            os.close(handle)

    def launch(self, role: Role) -> None:
        """Start a role without waiting for it; `wait_ready` does that."""
        self.roles.append(role)
        self._spawn(role)

    def wait_ready(self, role: Role, stop: threading.Event) -> bool:
        """Wait until a role that was launched does its work; False: ``stop`` was set before.

        Raises:
            RoleFailed: it ended, or was not ready in time.
        """
        deadline = time.monotonic() + READY_SECONDS
        while not role.ready():
            if stop.wait(0.05):
                return False
            assert role.process is not None
            if role.process.poll() is not None:
                raise RoleFailed(f"The {role.name} ended at once: {self._last_words(role)}")
            if time.monotonic() > deadline:
                raise RoleFailed(f"The {role.name} was not ready within {READY_SECONDS:.0f} s; see {self._log(role)}.")
        return True

    def tend(self, stop: threading.Event) -> None:
        """Until ``stop``: start again what ended by itself, after a time that grows."""
        while not stop.wait(0.25):
            now = time.monotonic()
            for role in self.roles:
                self._tend(role, now)

    def stop(self) -> None:
        """Ask all to stop, wait for them, and end those that do not."""
        running = [role.process for role in self.roles if role.process is not None and role.process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self.grace
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _tend(self, role: Role, now: float) -> None:
        if role.process is None or role.process.poll() is None:
            return
        if role.restart_at is None:
            if now - role.started_at > SETTLED_SECONDS:
                role.restarts = 0
            pause = self.pauses[min(role.restarts, len(self.pauses) - 1)]
            role.restart_at = now + pause
            self.tell(
                f"The {role.name} ended ({_ending(role.process.returncode)}); it is started again in {pause:g} s."
            )
        elif now >= role.restart_at:
            role.restarts += 1
            self._spawn(role)

    def _spawn(self, role: Role) -> None:
        log = self._log(role)
        if log.is_file() and log.stat().st_size > LARGEST_LOG:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as output, _uninterrupted():
            role.process = self.start(role.arguments, self.environ, output, self._lifeline[0])
        role.started_at = time.monotonic()
        role.restart_at = None

    def _log(self, role: Role) -> Path:
        return self.logs / f"{role.name.replace(' ', '-')}.log"

    def _last_words(self, role: Role) -> str:
        lines = self._log(role).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = lines[-1].removeprefix("Error: ") if lines else "it said nothing"
        return f"{last} (log: {self._log(role)})"


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits: between the start of a child and the note of it, it would leave one that nobody stops.

    The child, which has a session of its own, inherits that SIGINT is blocked; it is stopped by SIGTERM.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
