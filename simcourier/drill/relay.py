"""A port that leads to a server: one that is down and comes up, or one to which connections break."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from simcourier.drill.scratch import free_ports

PIECE = 65536


class Relay:
    """Once `open`, whoever connects to ``port`` speaks with the server at ``target``, a port of this machine."""

    def __init__(self, target: int) -> None:
        self._target = target
        (self.port,) = free_ports(1)
        self._listeners: list[socket.socket] = []
        self._servers: dict[socket.socket, socket.socket] = {}  # of those who are connected, by their own sockets
        self._closed = False
        self._lock = threading.Lock()
        self._until_cut: int | None = None
        self._tells_server = True
        self.sent = 0
        """Bytes that have gone to the server."""

    def open(self) -> None:
        """The server is up."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self._listeners.append(listener)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self, after: int, *, silently: bool = False) -> None:
        """Break, once, the connection that brings the server the ``after``-th byte from now on; later ones hold.

        Args:
            silently: the server is not told, as where a cable is pulled: to it, its client is just slow.
        """
        with self._lock:
            self._until_cut, self._tells_server = after, not silently

    @property
    def cut_pending(self) -> bool:
        """True until the connection that `cut` asked for is broken."""
        with self._lock:
            return self._until_cut is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closed = True
            left = [*self._listeners, *self._servers, *self._servers.values()]
        for one in left:
            _end(one)
            one.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:  # it is down
                    client.close()
                    continue
                with self._lock:
                    if not self._closed:
                        self._servers[client] = server
                if self._closed:
                    client.close()
                    server.close()
                    return
                threading.Thread(target=self._speak, args=(client, server), daemon=True).start()

    def _speak(self, client: socket.socket, server: socket.socket) -> None:
        answers = threading.Thread(target=_copy, args=(server, client), daemon=True)
        answers.start()
        self._bring(client, server)
        answers.join()
        del self._servers[client]
        client.close()
        server.close()

    def _bring(self, client: socket.socket, server: socket.socket) -> None:
        tells_server = True
        with suppress(OSError):
            while data := client.recv(PIECE):
                passes, tells_server = self._pass(len(data))
                server.sendall(data[:passes])
                if passes < len(data):
                    _end(client)
                    client.close()  # with data in it that nobody has read: the client is told at once
                    break
            else:
                server.shutdown(socket.SHUT_WR)
                return
        if tells_server:  # cut; or the client was killed, which resets its connection
            _end(server)

    def _pass(self, size: int) -> tuple[int, bool]:
        """How many of the next bytes go through: fewer than ``size``, if the cut comes now; and what it is like."""
        with self._lock:
            tells_server = self._tells_server
            if self._until_cut is not None:
                if self._until_cut < size:
                    size, self._until_cut = self._until_cut, None
                else:
                    self._until_cut -= size
            self.sent += size
            return size, tells_server


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(PIECE):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
