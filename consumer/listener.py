"""A small HTTP server of worker and email sender: ``/metrics``, ``/healthz`` and ``/readyz``, and nothing else."""

from __future__ import annotations

import hmac
import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import structlog

from messaging.errors import UserError
from messaging.listen import listen_address

log = structlog.get_logger()

CLIENT_SECONDS = 10.0


class CannotListen(UserError):
    """The address for the metrics is taken, or not of this machine."""


@dataclass(frozen=True, slots=True)
class Page:
    """What is answered.

    Args:
        make: status, type and body.
        private: for this machine, and for whoever has the token.
    """

    make: Callable[[], tuple[int, str, bytes]]
    private: bool = False


class Listener:
    """Listens in threads of its own from `__enter__` on; does nothing where no address is set.

    Args:
        address: as `messaging.listen.listen_address`; empty: none.
        variable: the setting that it comes from.
        pages: by path.
        token: of those who may see private pages from other machines; empty: nobody may.
    """

    def __init__(self, address: str, variable: str, pages: Mapping[str, Page], token: str = "") -> None:
        self._server = _listen(address, variable, pages, token) if address else None

    @property
    def port(self) -> int:
        """Where it listens; 0: nowhere."""
        return int(self._server.server_address[1]) if self._server else 0

    def __enter__(self) -> Self:
        if self._server:
            log.info("metrics.listening", host=self._server.server_address[0], port=self.port)
            threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()


def health(silence: Callable[[], float | None], within: float = 60.0) -> tuple[int, str, bytes]:
    """200 while every loop of this process was heard ``within`` so many seconds, as `simcourier health` says."""
    seconds = silence()
    if seconds is None:
        return _json(503, {"status": "error", "error": "It has not reached its broker yet."})
    if seconds > within:
        return _json(503, {"status": "error", "error": f"It has been silent for {seconds:.0f} s."})
    return _json(200, {"status": "ok", "silence_seconds": round(seconds, 1)})


def readiness(needs: Mapping[str, Callable[[], bool]]) -> tuple[int, str, bytes]:
    """200 while everything that it needs can be reached; which of it cannot, its log tells in full."""
    answers = {name: reached() for name, reached in needs.items()}
    told = {name: "ok" if reached else "cannot be reached" for name, reached in answers.items()}
    return _json(200 if all(answers.values()) else 503, {"status": "ok" if all(answers.values()) else "error", **told})


def _json(status: int, facts: Mapping[str, object]) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps(facts).encode() + b"\n"


def _listen(address: str, variable: str, pages: Mapping[str, Page], token: str) -> ThreadingHTTPServer:
    host, port = listen_address(address)

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

    class Handler(_Handler):
        shown = pages
        known_token = token

    try:
        return Server((host, port), Handler)
    except OSError as error:
        raise CannotListen(
            f"Nothing can listen on {host}:{port} ({error.strerror}); choose another address with {variable}."
        ) from error


class _Handler(BaseHTTPRequestHandler):
    shown: Mapping[str, Page]
    known_token: str
    timeout = CLIENT_SECONDS  # of a client that sends nothing
    server_version, sys_version = "simcourier", ""

    def do_GET(self) -> None:
        page = self.shown.get(urlsplit(self.path).path)
        if page is None:
            self._answer(404, "text/plain", f"There are only: {', '.join(self.shown)}\n".encode())
        elif page.private and not self._may_look():
            self._answer(403, "text/plain", b"For this machine, or with SIMCOURIER_METRICS_TOKEN as bearer token.\n")
        else:
            try:
                answer = page.make()
            except Exception:
                log.exception("metrics.bug", path=self.path)
                answer = 500, "text/plain", b"This could not be made; the log says why.\n"
            self._answer(*answer)

    do_HEAD = do_GET  # noqa: N815 - the base class's way to name them

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """A line for each scrape helps nobody."""

    def _may_look(self) -> bool:
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.known_token:
            return hmac.compare_digest(given.strip().encode(), self.known_token.encode())
        # A page in a browser of this machine names its origin.
        return ip_address(self.client_address[0].partition("%")[0]).is_loopback and "Origin" not in self.headers

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
