"""Stores a made-up archive in a process of its own, which may die on the way: ``python -m tests.support.stores``.

What is to be done comes as JSON on standard input (see `Order`); what came of it goes to standard output.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backends.contract import Json
from backends.registry import build
from backends.suite_doubles import SampleArchive
from tests.support.local_cloud import session

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be stored, and where.

    Args:
        checkpoint: a file; what is saved there is there for the next process.
        dies_before_save: the number of the call to ``progress.save`` that kills the process, before anything is kept.
        link: make a link too.
    """

    identifier: str
    config: dict[str, str]
    key: str
    size: int
    checkpoint: str
    grows: bool = False
    dies_before_save: int = 0
    link: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    code: int
    told: dict[str, Any]
    errors: str


def store(order: Order, environment: Mapping[str, str]) -> Outcome:
    """Run it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.stores"],
        input=json.dumps(asdict(order)),
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    return Outcome(done.returncode, json.loads(done.stdout or "{}"), done.stderr)


class _Kept:
    """Progress in a file."""

    def __init__(self, file: Path, dies_before: int) -> None:
        self._file = file
        self._left = dies_before

    @property
    def checkpoint(self) -> Json | None:
        return json.loads(self._file.read_text()) if self._file.exists() else None

    def save(self, checkpoint: Json, sent: int) -> None:
        del sent
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._file.write_text(json.dumps(checkpoint))

    def ensure(self) -> None:
        pass


def _peak_kib() -> int:
    """The most memory that this process had so far; getrusage counts in the process that started it."""
    found = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found.group(1))


def main() -> None:
    """Obey the order on standard input."""
    order = Order(**json.load(sys.stdin))
    with session() as http:
        http.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        backend = build(order.identifier, "", order.config, http)
        archive = SampleArchive(order.size, key=order.key, name=order.key.rpartition("/")[2], grows=order.grows)
        before = _peak_kib()
        stored = backend.store(archive, _Kept(Path(order.checkpoint), order.dies_before_save))
        url = backend.link(stored, None).url if order.link else ""
    print(json.dumps({"size": stored.size, "url": url, "peak_kib": _peak_kib(), "before_kib": before}))


if __name__ == "__main__":
    main()
