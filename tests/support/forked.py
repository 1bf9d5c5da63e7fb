"""Starts ``simcourier`` as real processes in a tenth of the time: forked from a server that has imported the libraries.

Starting Python and importing Django, numpy and the rest takes most of a second of processor time, and the tests start
hundreds of processes. What is forked is a process of its own in every way that a test looks at; what is ours is
imported after the fork. How a start from nothing goes is tested where it matters (``tests/e2e/test_start.py``).
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
MODULE = "simcourier"
MOST = 1024 * 1024  # bytes of a request


class ForkedProcess(subprocess.Popen[bytes]):
    """What `subprocess.Popen` would be for the same process, as far as tests ask it."""

    def __init__(self, server: ForkServer, pid: int, handle: int, arguments: Sequence[str]) -> None:
        self.args: Any = list(arguments)
        self.pid = pid
        self.returncode: Any = None
        self.stdin = self.stdout = self.stderr = None
        self._server = server
        self._handle = handle
        self._asking = threading.Lock()
        self._child_created = False  # which tells the base class that it has nothing to tidy up

    def poll(self) -> int | None:
        """Its exit code once it has ended, negative for a signal."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        code = self._ended(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def send_signal(self, sig: int) -> None:
        """Nothing happens if it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, sig)

    def _ended(self, timeout: float | None) -> int | None:
        if timeout != 0 and self.returncode is None:
            _readable(self._handle, timeout)
        with self._asking:  # of two threads that ask, one reaps
            if self.returncode is None and _readable(self._handle, 0):
                self.returncode = self._server.reap(self.pid)
                os.close(self._handle)
            code: int | None = self.returncode
        return code


def _readable(handle: int, timeout: float | None) -> bool:
    """Wait for a descriptor of any number; `select.select` takes those below 1024."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


class ForkServer:
    """The process that others are forked from; it and they end when this process does."""

    def __init__(self) -> None:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SIMCOURIER_")}
        self._socket = ours
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forkserver", str(its.fileno())],
            cwd=ROOT, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL,
            env=environ | {"OPENBLAS_NUM_THREADS": "1"},  # a fork takes one thread along and no more
        )  # fmt: skip
        its.close()
        atexit.register(self.close)

    def close(self) -> None:
        """End it, and all that it has started."""
        self._socket.close()
        self._process.wait()

    def start(
        self, arguments: Sequence[str], env: Mapping[str, str], stdout: IO[bytes], stderr: IO[bytes], module: str
    ) -> ForkedProcess:
        """See `start`."""
        request = {"module": module, "arguments": list(arguments), "env": dict(env)}
        pid = int(self._ask(request, [stdout.fileno(), stderr.fileno()])["pid"])
        return ForkedProcess(self, pid, os.pidfd_open(pid), [module, *arguments])

    def reap(self, pid: int) -> int:
        """The exit code of a process that has ended."""
        return int(self._ask({"reap": pid}, [])["code"])

    def _ask(self, request: Mapping[str, Any], handles: list[int]) -> dict[str, Any]:
        message = json.dumps(request).encode()
        assert len(message) < MOST
        with self._lock:
            socket.send_fds(self._socket, [message], handles)
            answer = self._socket.recv(MOST)
        assert answer, "the fork server has ended"
        return dict(json.loads(answer))


_server: list[ForkServer] = []


def start(
    arguments: Sequence[str], env: Mapping[str, str], stdout: IO[bytes], stderr: IO[bytes], *, module: str = MODULE
) -> subprocess.Popen[bytes]:
    """``python -m MODULE ARGUMENTS...`` in the checkout, with exactly this environment and nothing to read."""
    if "PYTHONPATH" in env:  # it is to find other modules than we do
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
        )  # fmt: skip
    if not _server:
        _server.append(ForkServer())
    return _server[0].start(arguments, env, stdout, stderr, module)


def run(
    arguments: Sequence[str], env: Mapping[str, str], *, module: str = MODULE, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as `subprocess.run` does with captured text."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = start(arguments, env, stdout, stderr, module=module)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
            process.wait()
        told = []
        for output in (stdout, stderr):
            output.seek(0)
            told.append(output.read().decode())
    return subprocess.CompletedProcess(process.args, code, *told)
