"""A stand-in as a test uses it: a process of its own, and its control port."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]


class StandinProcess:
    """Runs ``python -m <module> --folder <folder>``; what it says in its first line is in `facts`."""

    module = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", self.module, "--folder", str(self.folder)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.facts = json.loads(self._process.stdout.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate(timeout=120)

    def control(self, action: str, body: Any = None) -> Any:
        """Ask the control port."""
        url = f"http://127.0.0.1:{self.facts['control']}/{action}"
        request = urllib.request.Request(url, data=json.dumps(body).encode(), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            raise ValueError(refused.read().decode()) from refused

    def fail(self, name: str, *, count: int | None = 1, route: str = "", value: Any = None) -> None:
        """Let something go wrong."""
        self.control("fail", {"name": name, "count": count, "route": route, "value": value})

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        self.control("heal")

    def state(self) -> dict[str, Any]:
        """What the service holds and has seen."""
        return dict(self.control("state"))

    def advance(self, seconds: float) -> None:
        """Let the service's clock go forward."""
        self.control("advance", seconds)
