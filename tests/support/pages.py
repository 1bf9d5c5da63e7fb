"""The commands of the pages, to be typed as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
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

    ``tests/unit/test_commands_shown.py`` reads the calls of this function, so page and heading are written out there.

    Args:
        language: what the fence says; empty: nothing.
    """
    found = [part for title, part in _parts(page) if title == heading]
    assert len(found) == 1, f"{page} has {len(found)} headings {heading!r}"
    return [body for fence, body in FENCED.findall(found[0]) if fence == language]


def every_block(page: str) -> list[tuple[str, str]]:
    """All fenced blocks of a page in their order, each with what its fence says."""
    return FENCED.findall((ROOT / page).read_text("utf-8"))


def headings(page: str) -> list[str]:
    """Those of a page, in their order."""
    return [title for title, _ in _parts(page)]


def only_settings(block: str) -> bool:
    """It is a file of settings; ``tests/unit/test_docs.py`` reads each."""
    return all(re.fullmatch(r"SIMCOURIER_\w+=(\S*|\"[^\"]*\")|#.*", line) for line in block.splitlines())


def _parts(page: str) -> list[tuple[str, str]]:
    """The headings of a page, each with what stands below it, up to the next one."""
    parts: list[tuple[str, list[str]]] = []
    fenced = False
    for line in (ROOT / page).read_text("utf-8").splitlines(keepends=True):
        fenced ^= line.lstrip().startswith("```")
        if line.startswith("#") and not fenced:  # in a block it is a comment
            parts.append((line.lstrip("#").strip(), []))
        elif parts:
            parts[-1][1].append(line)
    return [(title, "".join(lines)) for title, lines in parts]


def type_at(
    environ: Mapping[str, str], folder: Path, script: str, here: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Type what a page says, once each key of ``here``, which stands there, is replaced by its value."""
    script = adapted(script, here or {})
    done = subprocess.run(
        ["sh", "-ec", script],
        cwd=folder,
        env=with_programs(environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done


def adapted(script: str, here: Mapping[str, str]) -> str:
    """``script`` with each key of ``here`` replaced by its value."""
    for shown, ours in here.items():
        assert shown in script, f"{shown!r} does not stand in:\n{script}"
        script = script.replace(shown, ours)
    return script


def with_programs(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` with our commands, and those of RabbitMQ, in the path."""
    folders = [str(Path(sys.executable).parent), "/usr/lib/rabbitmq/bin", environ.get("PATH", os.environ["PATH"])]
    return {**environ, "PATH": os.pathsep.join(folders)}


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
        self.environ = with_programs(clean) | {
            "HOME": str(self.home),
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
            timeout=300,
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
            process.communicate(timeout=120)
        assert process.returncode == 0

    def send(self, body: bytes) -> None:
        """Publish what no consumer can make sense of."""
        with connect(f"sqlite:///{self.data}/broker.db", Topology()).publisher() as publisher:
            publisher.publish(Outgoing("simulation.completed.single", body, "somebody's"))
