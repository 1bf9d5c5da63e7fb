"""npm's tus client and tus server: their packages, as ``tests/node/package-lock.json`` pins them, and the server."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.scratch import Scratch, wait_until

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "tests" / "node"
INSTALLED = ROOT / ".cache" / "node"
MANIFESTS = ("package.json", "package-lock.json", ".npmrc")
STAMP = "installed"
LOG = "server.log"


class NoNode(Exception):
    """The packages cannot be used here; the text says why and what to do."""


def script(name: str) -> list[str]:
    """The command that runs ``tests/node/NAME``; the packages are installed if they are not yet.

    Raises:
        NoNode: there is no Node.js, an old one, or npm cannot get the packages.
    """
    with _installed() as node:
        # A module finds packages beside itself only.
        copy, part = INSTALLED / name, INSTALLED / f"{name}.part"
        shutil.copyfile(SOURCES / name, part)
        part.replace(copy)
    return [node, str(copy)]


def package_file(path: str) -> str:
    """The text of a file of a package, by its path in ``node_modules``; the packages are installed if they are not yet.

    Raises:
        NoNode: as `script`.
    """
    with _installed():
        return (INSTALLED / "node_modules" / path).read_text("utf-8")


def packages() -> Path:
    """The folder ``node_modules``; the packages are installed if they are not yet.

    Raises:
        NoNode: as `script`.
    """
    with _installed():
        return INSTALLED / "node_modules"


@contextmanager
def _installed() -> Iterator[str]:
    """The path of Node.js; for the time of the block nobody else installs."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NoNode("Node.js and npm are not installed (apt-get install nodejs npm).")
    _check_version(node)
    INSTALLED.mkdir(parents=True, exist_ok=True)
    with (INSTALLED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(npm)
        yield node


def _check_version(node: str) -> None:
    wanted = json.loads((SOURCES / "package.json").read_text())["engines"]["node"]
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if _numbers(told) < _numbers(wanted):
        raise NoNode(f"Node.js {wanted.removeprefix('>=')} or newer is needed; {node} is {told}.")


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _install(npm: str) -> None:
    digest = hashlib.sha256(b"".join((SOURCES / name).read_bytes() for name in MANIFESTS)).hexdigest()
    stamp = INSTALLED / STAMP
    if stamp.exists() and stamp.read_text() == digest:
        return
    stamp.unlink(missing_ok=True)
    for name in MANIFESTS:
        shutil.copyfile(SOURCES / name, INSTALLED / name)
    done = subprocess.run([npm, "ci"], cwd=INSTALLED, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoNode(f"npm could not install what tests/node/package-lock.json names:\n{done.stderr[-2000:]}")
    stamp.write_text(digest)


class NpmTusServer:
    """npm's ``@tus/server`` with its file store; it asks for no key, hashes nothing and syncs nothing.

    Args:
        bare: it neither shows nor removes what is stored; the protocol does not ask for it.

    Raises:
        NoNode: it cannot run here.
    """

    def __init__(self, *, bare: bool = False) -> None:
        self._command = script("server.mjs")
        self._scratch = Scratch("npm-tus", signal.SIGKILL)
        self._folder = self._scratch.path / "files"
        self._bare = bare
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        address = self._scratch.path / "address"
        command = [*self._command, str(self._folder), str(address), *(["bare"] if self._bare else [])]
        self._process = process = self._scratch.spawn(command, log=LOG)

        def listens() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"npm's tus server ended on start:\n{self._scratch.tail(LOG)}")
            return address.exists()

        try:
            wait_until(listens, "the start of npm's tus server")
        except BaseException:
            self._scratch.remove()
            raise
        self.url = address.read_text()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(self._scratch.tail(LOG))
        self._scratch.remove()

    @property
    def endpoint(self) -> str:
        """Where uploads are created."""
        return f"{self.url}/files"

    @property
    def port(self) -> int:
        """On which it listens."""
        return int(self.url.rpartition(":")[2])

    def data(self) -> list[bytes]:
        """What it holds, finished or not."""
        return [file.read_bytes() for file in self._folder.iterdir() if file.suffix != ".json"]

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid
