"""A command at a terminal."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def at_terminal(entry: str, name: str, *arguments: str, environment: Mapping[str, str]) -> Terminal:
    """A command of ours, whose entry is ``module:function``."""
    module, _, function = entry.partition(":")
    program = f"from {module} import {function} as main; main(prog_name='{name}')"
    return Terminal([sys.executable, "-c", program, *arguments], environment=environment)


class Terminal:
    """A command with a terminal for its questions and a pipe for its result.

    Args:
        command: program and arguments.
        environment: what is added to ours.
        folder: where it runs; None: here.
    """

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path | None = None) -> None:
        self._ours, theirs = os.openpty()
        self.shown = ""
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        os.close(theirs)

    def answer(self, question: str, text: str) -> None:
        """Type when it is asked for."""
        self.read_until(lambda: question in self.shown.rpartition("\n")[2])
        os.write(self._ours, f"{text}\n".encode())
        self.read_until(lambda: question not in self.shown.rpartition("\n")[2])

    def read_until(self, seen: Callable[[], bool]) -> None:
        """Take in what it shows until the condition holds, or the command has ended."""
        deadline = time.monotonic() + 120
        while not seen():
            assert time.monotonic() < deadline, self.shown
            if self._process.poll() is not None and not select.select([self._ours], [], [], 0)[0]:
                return
            if select.select([self._ours], [], [], 0.2)[0]:
                try:
                    self.shown += os.read(self._ours, 4096).decode()
                except OSError:  # the other end is closed
                    return

    def end(self) -> tuple[int, str]:
        """Its exit code, and what it wrote to standard output."""
        assert self._process.stdout is not None
        told = self._process.stdout.read().decode()
        self._process.stdout.close()
        code = self._process.wait(120)
        self.read_until(lambda: False)
        os.close(self._ours)
        return code, told

    def refused(self) -> str:
        """The one sentence that it ended with."""
        code, told = self.end()
        assert (code, told) == (1, ""), self.shown
        assert "Traceback" not in self.shown
        lines = self.shown.replace("\r", "").strip().splitlines()
        assert [line for line in lines if line.startswith("Error: ")] == lines[-1:]
        return lines[-1]
