"""A slow service: a port before a server of this machine; each connection brings it so many bytes a second."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

PIECE = 65536


class Throttle:
    """Listens from `__enter__` on.

    Args:
        target: the server's port.
        rate: bytes a second of one connection, towards the server.
    """

    def __init__(self, target: int, rate: float) -> None:
        self._target = target
        self._rate = rate
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=_bring, args=(client, server, self._rate), daemon=True).start()
                threading.Thread(target=_bring, args=(server, client, None), daemon=True).start()


def _bring(source: socket.socket, target: socket.socket, rate: float | None) -> None:
    with suppress(OSError):
        while data := source.recv(PIECE):
            if rate is not None:
                time.sleep(len(data) / rate)
            target.sendall(data)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
