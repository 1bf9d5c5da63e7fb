"""The least that a server must do who hashes and syncs: recv_into, SHA-256, write, fsync, answer.

    python benchmarks/bare_loop.py FOLDER FILE_FOR_ITS_ADDRESS

One thread per connection; every request is an upload with a Content-Length into a file named by its path.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
import threading
from pathlib import Path

PIECE = 1024 * 1024
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


def main() -> None:
    """Serve for ever."""
    folder, address = map(Path, sys.argv[1:])
    folder.mkdir(exist_ok=True)
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    part = address.with_suffix(".part")
    part.write_text(f"http://127.0.0.1:{listener.getsockname()[1]}")
    part.replace(address)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, folder), daemon=True).start()


def serve(connection: socket.socket, folder: Path) -> None:
    """The uploads of one connection."""
    buffer = memoryview(bytearray(PIECE))
    early = b""
    with connection:
        while True:
            while b"\r\n\r\n" not in early:
                piece = connection.recv(65536)
                if not piece:
                    return
                early += piece
            head, _, early = early.partition(b"\r\n\r\n")
            found = LENGTH.search(head)
            size = int(found[1]) if found else 0
            name = head.split(maxsplit=2)[1].rpartition(b"/")[2].decode()
            digest = store(connection, folder / name, early[:size], size, buffer)
            early = early[size:]
            connection.sendall(f"HTTP/1.1 201 Created\r\nX-SHA256: {digest}\r\nContent-Length: 0\r\n\r\n".encode())


def store(connection: socket.socket, path: Path, early: bytes, size: int, buffer: memoryview) -> str:
    """One upload; its digest, once it is durable."""
    digest = hashlib.sha256(early)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(file, early)
        size -= len(early)
        while size:
            count = connection.recv_into(buffer[: min(size, PIECE)])
            if not count:
                raise ConnectionError("the body ended early")
            digest.update(buffer[:count])
            os.write(file, buffer[:count])
            size -= count
        os.fsync(file)
    finally:
        os.close(file)
    return digest.hexdigest()


if __name__ == "__main__":
    main()
