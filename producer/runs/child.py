"""Starting a simulation and passing signals on to it.

It stays in our process group, so that the terminal's keys and the shell's job control reach it as they would without
us. Signals that are sent to us are sent on; one that the kernel has sent to the whole group is there already.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Mapping
from shutil import which
from typing import NoReturn

from messaging.errors import UserError

# How siginfo says that a signal came from the kernel: a terminal's key, say. (A sender outside of our container has the
# number 0, as the kernel has.)
SI_KERNEL = 128
NOT_FORWARDED = {
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGPIPE,
    # What a process brings upon itself.
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS),
}
STOPS = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
NOT_FOUND, NOT_EXECUTABLE = 127, 126
REPORT = struct.Struct("i")
PR_SET_DUMPABLE = 4


class CannotStart(UserError):
    """The command is not there, or is no program."""

    def __init__(self, command: str, code: int) -> None:
        missing = code in {errno.ENOENT, errno.ENOTDIR}
        self.exit_code = NOT_FOUND if missing else NOT_EXECUTABLE
        problem = "was not found" if missing else f"cannot be executed ({os.strerror(code)})"
        super().__init__(f"The command '{command}' {problem}; nothing was started, and there is nothing to tell.")


class Signals:
    """Keeps all signals that can be passed on waiting, so that none gets lost; also for processes forked meanwhile."""

    def __init__(self) -> None:
        self._child_status = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        wanted = {one for one in signal.valid_signals() if one not in NOT_FORWARDED}
        self.held = {one for one in wanted if signal.getsignal(one) != signal.SIG_IGN}
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, self.held)

    def restore(self) -> None:
        """In a process that is about to become another program: what we were started with, as far as Python tells."""
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, other programs must not
            signal.signal(ignored, signal.SIG_DFL)
        if self._child_status == signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def let_through(self, hurry: Callable[[], NoReturn]) -> None:
        """From now on, those that ask for an end call ``hurry``; the others mean nothing any more."""
        for one in self.held - {signal.SIGCHLD}:
            asks = one in {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
            with contextlib.suppress(OSError, ValueError):
                signal.signal(one, (lambda *_: hurry()) if asks else signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


class Child:
    """The simulation's process. It waits until `go`, and ends if we die before.

    Args:
        command: program and arguments.
        targets: what is to be its standard output (1) and error (2), where that is not ours.
    """

    def __init__(self, command: tuple[str, ...], targets: Mapping[int, int], signals: Signals) -> None:
        self._command = command
        self._signals = signals
        self._stopped = self._asked_to_stop = False
        wait, self._go = os.pipe()
        self._report, report = os.pipe()
        try:
            self.pid = os.fork()
        except OSError as error:
            raise CannotStart(command[0], error.errno or errno.EAGAIN) from error
        if self.pid == 0:
            try:
                os.close(self._go)
                if os.read(wait, 1):
                    for number, target in targets.items():
                        os.dup2(target, number)
                    signals.restore()
                    _execute(command)
            except OSError as error:
                os.write(report, REPORT.pack(error.errno or errno.ENOEXEC))
            finally:
                os._exit(NOT_FOUND)
        os.close(wait)
        os.close(report)

    def go(self) -> None:
        """Let it begin.

        Raises:
            CannotStart: there is no such program.
        """
        with contextlib.suppress(BrokenPipeError):  # it was killed already
            os.write(self._go, b".")
        os.close(self._go)
        problem = os.read(self._report, REPORT.size)
        os.close(self._report)
        if problem:
            os.waitpid(self.pid, 0)
            raise CannotStart(self._command[0], *REPORT.unpack(problem))

    def wait(self, resized: Callable[[], None]) -> int:
        """Pass signals on until it ends; its exit code, or the negative number of the signal that ended it.

        Args:
            resized: called when the terminal has got another size.
        """
        while True:
            info = signal.sigwaitinfo(self._signals.held)
            number = info.si_signo
            if number == signal.SIGWINCH:
                resized()
            if number == signal.SIGCHLD:
                ended = self._look()
                if ended is not None:
                    return ended
            elif self._has_it_not(number, info.si_code):
                with contextlib.suppress(OSError):  # it runs as somebody else
                    os.kill(self.pid, number)
            if number == signal.SIGCONT:
                self._asked_to_stop = False
            elif number in STOPS:
                self._asked_to_stop = True
            if self._asked_to_stop and self._stopped:
                # The shell must see its job stop, and continues both of us.
                self._asked_to_stop = self._stopped = False
                os.kill(os.getpid(), signal.SIGSTOP)

    def _has_it_not(self, number: int, code: int) -> bool:
        """False if the kernel has sent it to the whole group.

        The exceptions: a terminal that goes away tells the session's leader only, and one that has got another size
        told the simulation before the terminal in between had it.
        """
        alone = number == signal.SIGWINCH or (number == signal.SIGHUP and os.getsid(0) == os.getpid())
        return code != SI_KERNEL or alone

    def _look(self) -> int | None:
        while True:
            found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WSTOPPED | os.WCONTINUED | os.WNOHANG)
            if found is None:
                return None
            if found.si_code == os.CLD_EXITED:
                return found.si_status
            if found.si_code in {os.CLD_KILLED, os.CLD_DUMPED}:
                return -found.si_status
            self._stopped = found.si_code == os.CLD_STOPPED


def die_by(number: int) -> NoReturn:
    """End as the simulation has: whoever called us must see the same. Leaves no core dump."""
    _forbid_core_dumps()
    with contextlib.suppress(OSError, ValueError):  # SIGKILL has no other disposition
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _forbid_core_dumps() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # a program that collects core dumps does not mind the limit
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _execute(command: tuple[str, ...]) -> NoReturn:
    try:
        os.execvp(command[0], command)  # noqa: S606 - the user's command, as it is
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        # A script without "#!": as execvp(3) and every shell do.
        os.execv("/bin/sh", ["sh", which(command[0]) or command[0], *command[1:]])  # noqa: S606
