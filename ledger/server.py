"""Serves the site with gunicorn."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.db import InterfaceError, OperationalError
from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger

from ledger.addresses import PREFIX
from ledger.errors import LedgerUnavailable
from messaging.errors import UserError

Site = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
_PAGE = re.compile(rf"(/{PREFIX}/)[^/'\s]+")


class CannotListen(UserError):
    """The address of the site is taken, or not of this machine."""


class _Server(BaseApplication):  # type: ignore[misc] # gunicorn ships no types
    """gunicorn, configured by us rather than by files and environment variables of its own."""

    def __init__(self, application: Site, options: dict[str, Any]) -> None:
        self._application = application
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Site:
        return self._application


class _Logger(Logger):  # type: ignore[misc] # gunicorn ships no types
    """gunicorn's records go where all others go."""

    def setup(self, cfg: Config) -> None:
        del cfg
        self.error_log.propagate = True


def serve(host: str, port: int, threads: int) -> None:
    """Listen until SIGTERM; does not return.

    Raises:
        CannotListen: nothing can listen there.
    """
    options = {
        "bind": f"fd://{_listen(host, port).detach()}",  # gunicorn's own attempts end in a page of log
        "workers": 1,
        "worker_class": "gthread",
        "threads": threads,
        "accesslog": None,
        "logger_class": _Logger,
        "control_socket_disable": True,
        "proc_name": "simcourier web",
    }
    tidy_logs()
    _Server(_without_bodies(get_wsgi_application()), options).run()


def _without_bodies(site: Site) -> Site:
    """The site, which answers HEAD with headers alone, as the server expects it (RFC 9110, 9.3.2)."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        response = site(environ, start_response)
        if environ["REQUEST_METHOD"] != "HEAD":
            return response
        getattr(response, "close", bool)()
        return []

    return answer


def tidy_logs() -> None:
    """What Django tells of requests: in a line, and without the keys of deliveries' pages."""
    logging.getLogger("django.security.DisallowedHost").setLevel(logging.CRITICAL)  # ledger.views tells it in a line
    logging.getLogger("django.request").addFilter(_ledger_away_in_a_line)
    logging.getLogger("django.request").addFilter(_worth_a_line)
    for name in ("django.request", "django.security.csrf"):
        logging.getLogger(name).addFilter(_without_keys)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()  # now, since two can be bound where only one can listen
    except OSError as error:
        raise CannotListen(
            f"Nothing can listen on {host}:{port} ({error.strerror}); choose another address with SIMCOURIER_WEB_HOST "
            "and SIMCOURIER_WEB_PORT."
        ) from error
    return listener


def _ledger_away_in_a_line(record: logging.LogRecord) -> bool:
    """A database that is away is no bug of the page that asked for it."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, OperationalError | InterfaceError | LedgerUnavailable):
        record.exc_info = None
        record.msg = f"{record.msg} (the ledger cannot be reached)"
    return True


def _worth_a_line(record: logging.LogRecord) -> bool:
    """Whoever has just published asks for a delivery that no worker has written down yet."""
    asked = str(getattr(record, "request", ""))
    return not (getattr(record, "status_code", None) == HTTPStatus.NOT_FOUND and "/api/deliveries/" in asked)


def _without_keys(record: logging.LogRecord) -> bool:
    """Whoever reads a log is not to have the addresses of the pages."""
    if isinstance(record.args, tuple):
        record.args = tuple(_PAGE.sub(r"\1***", value) if isinstance(value, str) else value for value in record.args)
    if "request" in record.__dict__:
        record.__dict__["request"] = _PAGE.sub(r"\1***", repr(record.__dict__["request"]))
    return True
