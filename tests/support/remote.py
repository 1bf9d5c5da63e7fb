"""Services of this machine that hold results: a web server's index pages, and an FTP server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aioftp


class Site(ThreadingHTTPServer):
    """Serves a folder with index pages and without ranges, as Python's `http.server` does.

    Attributes:
        answers: status to answer with instead, by path; with a redirect goes an address.
        asked: paths that were asked for, redirects left out.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.answers: dict[str, tuple[int, str]] = {}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(SimpleHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        if not self._answered():
            super().do_GET()

    def do_HEAD(self) -> None:
        if not self._answered():
            super().do_HEAD()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, the base class calls it so
        pass

    def _answered(self) -> bool:
        self.server.asked.append(self.path)
        status, location = self.server.answers.get(self.path, (0, ""))
        if status:
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()
        return bool(status)


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """A web server for a while."""
    with Site(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def ftp_server(folder: Path) -> Iterator[str]:
    """An FTP server for a while, open to everybody; its address."""
    loop = asyncio.new_event_loop()
    user = aioftp.User(base_path=folder)
    server = aioftp.Server([user], path_io_factory=aioftp.PathIO)
    loop.run_until_complete(server.start("127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"ftp://127.0.0.1:{server.server_port}"
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(120)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
