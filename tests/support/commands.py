"""The ``simcourier`` command as somebody starts it who has set some variables."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support import forked

ROOT = Path(__file__).resolve().parents[2]


def environ(**settings: object) -> dict[str, str]:
    """This process's environment with just these settings, by their lower-case names."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SIMCOURIER_")}
    return clean | {f"SIMCOURIER_{name.upper()}": str(value) for name, value in settings.items()}


def simcourier(
    *arguments: str, env: Mapping[str, str], module: str = "simcourier", before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; ``before``: a program that starts it."""
    if not before:
        return forked.run(arguments, env, module=module)
    return subprocess.run(
        [*before, sys.executable, "-m", module, *arguments],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@contextmanager
def started(
    *arguments: str, env: Mapping[str, str], log: Path, module: str = "simcourier"
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a role that says what it does to ``log``; killed at the end, if it still runs."""
    with log.open("wb") as output:
        process = forked.start(arguments, env, output, output, module=module)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """What a command that was refused said: one line on standard error, no traceback."""
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: ")
    return lines[0]
