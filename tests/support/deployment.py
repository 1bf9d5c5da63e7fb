"""Reads what deploys us (compose.yaml, Dockerfile, systemd units) and runs the processes that are named there.

There is no container and no service manager in the tests. What they would do with a file is done here: variables and
specifiers are put in, the path of a secret or a volume becomes one in a folder of the test's own, and a service's host
name becomes an address of this machine.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
_VARIABLE = re.compile(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}")


class Missing(Exception):
    """A variable that must be set is not; the text is what its file says of it."""


def compose(environ: Mapping[str, str]) -> dict[str, Any]:
    """compose.yaml with its variables put in, as `docker compose config` shows it."""

    def put_in(match: re.Match[str]) -> str:
        name, how, text = match.groups()
        if environ.get(name):
            return environ[name]
        if how == ":?":
            raise Missing(f"{name}: {text}")
        return text or ""

    loaded = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    put = _each_text(loaded, lambda text: _VARIABLE.sub(put_in, text))
    assert isinstance(put, dict)
    return put


def _each_text(part: Any, change: Any) -> Any:
    if isinstance(part, dict):
        return {key: _each_text(value, change) for key, value in part.items()}
    if isinstance(part, list):
        return [_each_text(one, change) for one in part]
    return change(part) if isinstance(part, str) else part


@dataclass(frozen=True)
class Stage:
    """One stage of the Dockerfile: its base, its name or number, and its instructions with their arguments."""

    base: str
    name: str
    lines: tuple[tuple[str, str], ...]

    def all(self, instruction: str) -> list[str]:
        """The arguments of every such instruction."""
        return [argument for name, argument in self.lines if name == instruction]


def dockerfile() -> list[Stage]:
    """The Dockerfile's stages."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    stages: list[tuple[str, str, list[tuple[str, str]]]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, _, argument = line.partition(" ")
        if instruction == "FROM":
            base, _, name = argument.partition(" AS ")
            stages.append((base, name or str(len(stages)), []))
        else:
            stages[-1][2].append((instruction, argument))
    return [Stage(base, name, tuple(lines)) for base, name, lines in stages]


def image_environment() -> dict[str, str]:
    """The variables of ours that the image sets."""
    words = [word for line in dockerfile()[-1].all("ENV") for word in shlex.split(line)]
    values = dict(word.split("=", 1) for word in words)
    return {name: value for name, value in values.items() if name != "PATH"}


def entry_point() -> list[str]:
    """What the image runs; a service's command follows it."""
    (line,) = dockerfile()[-1].all("ENTRYPOINT")
    return list(json.loads(line))


def unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """A systemd unit: section and name to the values, in order."""
    sections: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            section.setdefault(name, []).append(value)
    return sections


def settings_lines(path: Path) -> dict[str, str]:
    """An environment file, as systemd reads ours."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def make_secrets(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run deploy/make-secrets."""
    return subprocess.run([DEPLOY / "make-secrets", folder], capture_output=True, text=True, check=False)


def with_addresses(secrets: Path, addresses: Mapping[str, str]) -> None:
    """Put addresses of this machine into the files that name services: ``host:port`` to ``host:port``."""
    for name in ("broker_url", "database_url", "email_url", "simulator_broker_url"):
        file = secrets / name
        text = file.read_text("ascii")
        for there, here in addresses.items():
            text = text.replace(there, here)
        file.chmod(0o600)
        file.write_text(text, "ascii")


class Processes:
    """Processes with an environment of their own and nothing of ours; ended with the block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []
        folder.mkdir(exist_ok=True)

    def start(self, command: list[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start one; its output goes to a file that pytest shows where a test has failed."""
        with (self._folder / f"{len(self._running):02}.log").open("wb") as log:
            process = subprocess.Popen(
                _here(command), env=_bare(environ), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        self._running.append(process)
        return process

    def run(self, command: list[str], environ: Mapping[str, str], typed: str = "") -> subprocess.CompletedProcess[str]:
        """Run one to its end."""
        return subprocess.run(
            _here(command), env=_bare(environ), input=typed, capture_output=True, text=True, timeout=300, check=False
        )

    def stop(self) -> list[int]:
        """End all by SIGTERM, as whoever runs them does; their exit codes."""
        for process in self._running:
            process.send_signal(signal.SIGTERM)
        return [process.wait(120) for process in self._running]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
            process.wait()
        for log in sorted(self._folder.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}")


def _here(command: list[str]) -> list[str]:
    program = Path(command[0]).name
    assert program in {"simcourier", "local-cloud"}
    return [str(BIN / program), *command[1:]]


def _bare(environ: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": f"{BIN}:{os.environ['PATH']}", **environ}
