"""An HTTP client that costs next to nothing, so that a measurement shows the server: raw sockets, sendfile."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Self

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Args:
        headers: by their lower-case names.
        size: of the body, which is thrown away.
    """

    status: int
    headers: dict[str, str]
    size: int


class Connection:
    """One connection to a server on this machine, for one request after the other."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = self._connected()
        self._early = b""
        self._over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, method: str, path: str, *lines: str, file: int = -1, offset: int = 0, size: int = 0) -> Answer:
        """A request whose body is ``size`` bytes of the open ``file``, and its answer."""
        self.begin(method, path, *lines, size=size)
        self.send(file, offset, size)
        return self.answer()

    def begin(self, method: str, path: str, *lines: str, size: int = 0) -> None:
        """The head of a request; on a new connection, if the server wants to end this one."""
        if self._over:
            self._socket.close()
            self._socket, self._early, self._over = self._connected(), b"", False
        head = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self._port}", f"Content-Length: {size}", *lines]
        more = socket.MSG_MORE if size else 0
        self._socket.sendall("".join(f"{line}\r\n" for line in head).encode() + b"\r\n", more)

    def send(self, file: int, offset: int, size: int) -> None:
        """A part of its body."""
        end = offset + size
        while offset < end:
            offset += os.sendfile(self._socket.fileno(), file, offset, end - offset)

    def answer(self) -> Answer:
        """Wait for it.

        Raises:
            ConnectionError: the server closed the connection.
        """
        head = self._until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        status = int(first.split()[1])
        self._over = headers.get("connection", "").lower() == "close"
        if headers.get("transfer-encoding") == "chunked":  # so are sentences sent, and nothing large
            return Answer(status, headers, len(self._until(b"0\r\n\r\n")))
        size = int(headers.get("content-length", "0"))
        self._throw_away(size)
        return Answer(status, headers, size)

    def _connected(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self._port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._early:
            piece = self._socket.recv(65536)
            if not piece:
                raise ConnectionError("the server closed the connection")
            self._early += piece
        found, _, self._early = self._early.partition(mark)
        return found

    def read_some(self) -> int:
        """Throw away some bytes, whatever they are; how many."""
        return self._socket.recv_into(bytearray(65536))

    def _throw_away(self, size: int) -> None:
        there = min(size, len(self._early))
        self._early = self._early[there:]
        size -= there
        buffer = bytearray(min(size, MIB))
        while size:
            # Linux drops the bytes without copying them; a client that keeps them costs more than any server here.
            count = self._socket.recv_into(buffer, min(size, MIB), socket.MSG_TRUNC)
            if not count:
                raise ConnectionError("the body ended early")
            size -= count
