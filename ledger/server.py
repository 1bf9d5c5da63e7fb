"""Serves the site with gunicorn."""

from __future__ import annotations

from typing import Any

from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from gunicorn.app.base import BaseApplication


class _Server(BaseApplication):  # type: ignore[misc] # gunicorn ships no types
    """gunicorn, configured by us rather than by files and environment variables of its own."""

    def __init__(self, application: WSGIHandler, options: dict[str, Any]) -> None:
        self._application = application
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> WSGIHandler:
        return self._application


def serve(bind: str, threads: int) -> None:
    """Listen on ``bind`` (HOST:PORT) until SIGTERM; does not return."""
    options = {
        "bind": bind,
        "workers": 1,
        "worker_class": "gthread",
        "threads": threads,
        "accesslog": None,
        "control_socket_disable": True,
        "proc_name": "simcourier web",
    }
    _Server(get_wsgi_application(), options).run()
