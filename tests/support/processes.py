"""Starting `tests.support.client` and hearing what it says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from messaging.topology import Topology

ROOT = Path(__file__).resolve().parent.parent.parent


@contextmanager
def client(url: str, topology: Topology, part: str, count: int) -> Iterator[subprocess.Popen[str]]:
    """A running client; killed at the end, if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.client", url, topology.prefix, part, str(count)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    """The next ``count`` lines that it says."""
    assert process.stdout is not None
    said = [process.stdout.readline().rstrip("\n") for _ in range(count)]
    assert all(said), f"the process ended early: {said}"
    return said
