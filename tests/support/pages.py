"""The commands of the pages, to be typed as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from messaging.connect import connect
from messaging.engine import Outgoing
from messaging.topology import Topology
from tests.support.installation import ROOT
from tests.support.scratch import free_ports

FENCED = re.compile(r"^ *```(\w*)\n(.*?)```", re.DOTALL | re.MULTILINE)
HERE = "10.10.160.10:8976"  # the pages' storage server


def blocks(page: str, heading: str, language: str = "sh") -> list[str]:
    """The fenced blocks below a heading of a page, up to the next heading.

    Args:
        language: what the fence says; empty: nothing.
    """
    text = (ROOT / page).read_text("utf-8")
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", _without_comments(text), re.DOTALL | re.MULTILINE)
    assert found, f"{page} has no heading {heading!r}"
    return [body for fence, body in FENCED.findall(found.group(1)) if fence == language]


def _without_comments(text: str) -> str:
    """A line of a block that begins with ``#`` is no heading."""
    return FENCED.sub(lambda block: re.sub(r"^#", " #", block.group(), flags=re.MULTILINE), text)


class Desk:
    """A newcomer's machine: a home folder, a folder to work in, and ``up`` for as long as a block lasts.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.folder = folder / "desk"
        for made in (self.home, self.folder):
            made.mkdir(parents=True)
        self.site, self.cloud = free_ports(2)
        self.told: list[str] = []  # by what was typed, in order
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("SIMCOURIER_", "XDG_"))}
        self.environ = clean | {
            "HOME": str(self.home),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "SIMCOURIER_WEB_PORT": str(self.site),
            "SIMCOURIER_LOCAL_CLOUD_PORT": str(self.cloud),
            "SIMCOURIER_GRACE_SECONDS": "2",
            "SIMCOURIER_SWEEP_SECONDS": "0.5",
            "SIMCOURIER_OVERDUE_SECONDS": "1",
        }

    @property
    def data(self) -> Path:
        """Where ``up`` keeps everything."""
        return self.home / ".local" / "share" / "simcourier"

    def type(self, script: str, *, shell: str = "sh", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Type what a page says, with this machine's addresses in place of the page's."""
        script = script.replace(".venv/bin/", "").replace(HERE, f"127.0.0.1:{self.cloud}")
        done = subprocess.run(
            [shell, "-ec", script],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        self.told.append(done.stdout)
        assert not check or done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done

    @contextmanager
    def up(self, script: str = "simcourier up\n") -> Iterator[None]:
        """Type the line that starts everything; Ctrl-C comes when the block ends."""
        process = subprocess.Popen(
            ["sh", "-c", f"exec {script.replace('.venv/bin/', '').strip()}"],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            assert any(line.startswith("Stop with") for line in process.stdout)
            yield
        finally:
            process.terminate()
            process.communicate(timeout=60)
        assert process.returncode == 0

    def send(self, body: bytes) -> None:
        """Publish what no consumer can make sense of."""
        with connect(f"sqlite:///{self.data}/broker.db", Topology()).publisher() as publisher:
            publisher.publish(Outgoing("simulation.completed.single", body, "somebody's"))
