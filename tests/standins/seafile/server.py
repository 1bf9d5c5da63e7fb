"""The wire: two servers behind one address, and the faults that have nothing to do with what is asked."""

from __future__ import annotations

import socket
import struct
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from tests.standins.seafile.fileserver import FileServer, TooMuch
from tests.standins.seafile.library import PIECE, Refused
from tests.standins.seafile.service import Answer, Request, Seafile, page
from tests.standins.seafile.sharing import WebApi

PROXY = 503
SLASHED = ("/api2/", "/api/", "/f/", "/d/", "/u/")


class Cut(Exception):
    """The connection is lost now."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes, the second would wait for the first one's receipt
    service: Seafile
    web: WebApi
    files: FileServer

    def do_GET(self) -> None:
        try:
            self._serve()
        except (Cut, ConnectionError):
            self.close_connection = True

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the names are the base class's

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        self._left = self._length = int(self.headers.get("Content-Length") or 0)
        self._cut_at: int | None = None
        path = unquote(parts.path)
        to_files = path.startswith("/seafhttp/")
        if to_files and self.service.switches.redirects:
            self._send(Answer(301, "text/html", headers={"Location": f"https://{self.headers['Host']}{self.path}"}))
            return
        if not to_files:
            prefix = self.service.switches.prefix
            if not path.startswith(prefix + "/"):
                self._send(page("Not found", 404))
                return
            path = path.removeprefix(prefix)
            if path.startswith(SLASHED) and not path.endswith("/"):
                query = f"?{parts.query}" if parts.query else ""
                self._send(Answer(301, "text/html", headers={"Location": f"{quote(prefix + path)}/{query}"}))
                return
        route = _route_of_file_server(path) if to_files else self.web.route(path)
        self.service.requests[route] += 1
        self._plan_cut(route)
        self._send(self._fault(route, to_files=to_files) or self._answer(path, parts.query, to_files=to_files), route)

    def _answer(self, path: str, query: str, *, to_files: bool) -> Answer:
        server = self.files if to_files else self.web
        request = Request(
            method="GET" if self.command == "HEAD" else self.command,
            path=path,
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers={name.lower(): _as_utf8(value) for name, value in self.headers.items()},
            length=self._length,
            read=self._read,
            client=self.client_address[0],
        )
        try:
            return server.answer(request)
        except TooMuch as error:
            if self.service.faults.take("reset", "upload"):
                self._reset()
            return server.refused(error)
        except Refused as error:
            return server.refused(error)

    def _fault(self, route: str, *, to_files: bool) -> Answer | None:
        """An answer that has nothing to do with the request; None: all is well."""
        faults = self.service.faults
        if fault := faults.take("unavailable", route):
            return page("Service unavailable", int(fault.value or PROXY))
        if faults.take("html", route):
            return page("Please sign in to the network")
        if faults.take("error", route):
            return self.files.refused(Refused(500)) if to_files else self.web.refused(Refused(500, "Internal error"))
        return None

    def _plan_cut(self, route: str) -> None:
        wanted = self.service.faults.next_value("cut")
        if wanted is not None and self._length >= wanted and self.service.faults.take("cut", route):
            self._cut_at = int(wanted)

    def _read(self, count: int) -> bytes:
        """Some of the body; none at its end. Raises `Cut`."""
        done = self._length - self._left
        count = min(count, self._left, PIECE)
        if self._cut_at is not None:
            count = min(count, self._cut_at - done)
            if not count:
                raise Cut
        piece = self.rfile.read1(count) if count else b""
        if count and not piece:
            raise Cut
        self._left -= len(piece)
        self.service.received += len(piece)
        return piece

    def _reset(self) -> None:
        """So that the client's next write fails and the answer, if there were one, is lost."""
        self._read(PIECE)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Cut

    def _send(self, answer: Answer, route: str = "") -> None:
        while self._left:
            self._read(PIECE)
        if self._cut_at is not None or self.service.faults.take("lost_answer", route):
            raise Cut
        size = answer.body.stat().st_size if isinstance(answer.body, Path) else len(answer.body)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(size))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if isinstance(answer.body, bytes):
            self.wfile.write(answer.body)
            return
        with answer.body.open("rb") as source:
            while piece := source.read(PIECE):
                self.wfile.write(piece)


def _route_of_file_server(path: str) -> str:
    kind = path.split("/")[2]
    return "files" if kind == "files" else kind.partition("-")[0]


def _as_utf8(value: str) -> str:
    """A header's bytes are read as Latin-1; clients send UTF-8."""
    return value.encode("latin-1").decode("utf-8", "surrogateescape")


def listen(service: Seafile) -> ThreadingHTTPServer:
    """A server for `service` on a free port."""

    class Bound(Handler):
        pass

    Bound.service = service
    Bound.web = WebApi(service)
    Bound.files = FileServer(service)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    server.daemon_threads = True
    service.address = f"127.0.0.1:{server.server_address[1]}"
    return server
