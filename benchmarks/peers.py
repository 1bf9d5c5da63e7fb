"""The servers that are measured, each a process (or several) with its own folder on the same file system."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ClassVar

import psutil

from benchmarks.cheap_client import Answer, Connection
from benchmarks.memory import peak
from tests.support.local_cloud import LocalCloud
from tests.support.node import NoNode, NpmTusServer
from tests.support.scratch import Scratch, free_ports, wait_until

TUS = "Tus-Resumable: 1.0.0"
BODY = "Content-Type: application/offset+octet-stream"
NGINX = """
daemon off;
{user}
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/temp;
    proxy_temp_path {folder}/temp-proxy;
    fastcgi_temp_path {folder}/temp-fastcgi;
    uwsgi_temp_path {folder}/temp-uwsgi;
    scgi_temp_path {folder}/temp-scgi;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port} backlog=512;
        root {folder}/www;
        location / {{ dav_methods PUT; }}
    }}
}}
"""


class Missing(Exception):
    """A peer cannot be measured here; the text says what to do."""


class Peer(ABC):
    """A server that takes uploads.

    Args:
        port: on which it listens.
        process: its first process.
    """

    name: ClassVar[str]

    def __init__(self, port: int, process: int) -> None:
        self.port = port
        self._process = psutil.Process(process)

    @abstractmethod
    def large(self, connection: Connection, file: int, size: int) -> str:
        """Upload the beginning of ``file``; by what `remove` knows it."""

    @abstractmethod
    def small(self, connection: Connection, file: int, offset: int, size: int) -> str:
        """The same for a small piece of it, in as few requests as the server can do with."""

    @abstractmethod
    def remove(self, connection: Connection, what: str) -> None:
        """Make room."""

    def cpu_seconds(self) -> float:
        """Spent so far by all its processes."""
        times = [one.cpu_times() for one in self._processes()]
        return float(sum(one.user + one.system for one in times))

    def peak(self) -> float:
        """MiB at most so far, over all its processes."""
        return sum(peak(one.pid) for one in self._processes())

    def _processes(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]


class TusPeer(Peer):
    """It speaks tus 1.0.0."""

    def large(self, connection: Connection, file: int, size: int) -> str:
        """Two requests, as clients do it: the upload is created, then all bytes in one PATCH."""
        made = _good(connection.ask("POST", "/files", TUS, f"Upload-Length: {size}"))
        where = urllib.parse.urlsplit(made.headers["location"]).path
        _good(connection.ask("PATCH", where, TUS, BODY, "Upload-Offset: 0", file=file, size=size))
        return where

    def small(self, connection: Connection, file: int, offset: int, size: int) -> str:
        """One request: creation-with-upload."""
        lines = (TUS, BODY, f"Upload-Length: {size}")
        made = _good(connection.ask("POST", "/files", *lines, file=file, offset=offset, size=size))
        if made.headers.get("upload-offset") != str(size):
            raise RuntimeError(f"{self.name} did not take the bytes: {made}")
        return urllib.parse.urlsplit(made.headers["location"]).path

    def remove(self, connection: Connection, what: str) -> None:
        """Termination."""
        _good(connection.ask("DELETE", what, TUS))


class Ours(TusPeer):
    """The local cloud: hashes, syncs, keeps a record."""

    name = "local cloud"


class NpmTus(TusPeer):
    """npm's @tus/server: neither hashes nor syncs."""

    name = "@tus/server"


class PutPeer(Peer):
    """It stores what is PUT in a folder.

    Args:
        folder: that folder.
    """

    def __init__(self, port: int, process: int, folder: Path) -> None:
        super().__init__(port, process)
        self._folder = folder
        self._count = 0

    def large(self, connection: Connection, file: int, size: int) -> str:
        """One request."""
        return self.small(connection, file, 0, size)

    def small(self, connection: Connection, file: int, offset: int, size: int) -> str:
        """One request."""
        self._count += 1
        name = f"upload-{self._count}"
        _good(connection.ask("PUT", f"/{name}", file=file, offset=offset, size=size))
        return name

    def remove(self, connection: Connection, what: str) -> None:
        """Not over the network: not every one of them can."""
        del connection
        (self._folder / what).unlink()


class Nginx(PutPeer):
    """Its DAV module: neither hashes nor syncs."""

    name = "nginx"


class BareLoop(PutPeer):
    """`benchmarks.bare_loop`: hashes and syncs."""

    name = "bare loop"


@contextmanager
def ours() -> Iterator[Ours]:
    """Started without a key, so that it takes files from this machine."""
    with LocalCloud(key="", lean=True) as server:
        yield Ours(server.port, server.pid)


@contextmanager
def npm_tus() -> Iterator[NpmTus]:
    """Started.

    Raises:
        Missing: it cannot be.
    """
    try:
        server = NpmTusServer()
    except NoNode as reason:
        raise Missing(str(reason)) from reason
    with server:
        yield NpmTus(server.port, server.pid)


@contextmanager
def nginx(shared: Path | None = None) -> Iterator[Nginx]:
    """Started; ``shared`` is a file that it serves under its name.

    Raises:
        Missing: it is not installed.
    """
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        raise Missing("nginx is not installed: sudo apt-get install --no-install-recommends nginx-light")
    with _scratch("nginx") as scratch:
        (port,) = free_ports(1)
        folder = scratch.path
        www = folder / "www"
        www.mkdir()
        if shared is not None:
            os.link(shared, www / shared.name)
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(NGINX.format(user=user, folder=folder, port=port))
        process = scratch.spawn([program, "-c", str(folder / "nginx.conf"), "-p", str(folder)], log="nginx.log")
        _wait(scratch, process, folder / "nginx.pid", "nginx.log")
        yield Nginx(port, process.pid, www)


@contextmanager
def bare_loop() -> Iterator[BareLoop]:
    """Started."""
    with _scratch("bare-loop") as scratch:
        address, folder = scratch.path / "address", scratch.path / "files"
        command = [sys.executable, str(Path(__file__).parent / "bare_loop.py"), str(folder), str(address)]
        process = scratch.spawn(command, log="log")
        _wait(scratch, process, address, "log")
        yield BareLoop(int(address.read_text().rpartition(":")[2]), process.pid, folder)


@contextmanager
def all_of_them() -> Iterator[list[Peer]]:
    """Those that are installed, the bare loop first; who is missing is told."""
    with ExitStack() as stack:
        peers: list[Peer] = []
        for start in (bare_loop, ours, npm_tus, nginx):
            try:
                peers.append(stack.enter_context(start()))
            except Missing as reason:
                print(f"not measured: {reason}")
        yield peers


def _good(answer: Answer) -> Answer:
    if not 200 <= answer.status < 300:  # noqa: PLR2004 - RFC 9110, section 15.3
        raise RuntimeError(f"an answer that does not fit: {answer}")
    return answer


@contextmanager
def _scratch(name: str) -> Iterator[Scratch]:
    scratch = Scratch(name, signal.SIGKILL)
    try:
        yield scratch
    finally:
        scratch.remove()


def _wait(scratch: Scratch, process: subprocess.Popen[bytes], sign: Path, log: str) -> None:
    def runs() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"it ended on start:\n{scratch.tail(log)}")
        return sign.exists() and bool(sign.read_text())

    wait_until(runs, "a server's start")
