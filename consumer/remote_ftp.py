"""Files over FTP: one transfer for each, on a connection that is used again when the transfer has come to its end.

What fsspec does to read a part of a file, to break the transfer off, not every server survives; and it lists the folder
to open a file.
"""

from __future__ import annotations

import ftplib
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Semaphore
from typing import BinaryIO

from fsspec.implementations.ftp import FTPFileSystem

MOST = 4  # connections: many servers allow few; a packer's thread and a reader's keep one each, others pass theirs on
AS_BYTES = "TYPE I"  # RFC 959, section 3.1.1: or else line ends are changed


class Connections:
    """Connections to one server, each for one transfer at a time; any thread may take one, or waits for it.

    Args:
        first: one that is idle.
        connect: makes another.
    """

    def __init__(self, first: FTPFileSystem, connect: Callable[[], FTPFileSystem]) -> None:
        self._idle = deque([first])
        self._connect = connect
        self._free = Semaphore(MOST)

    def take(self) -> FTPFileSystem:
        """One that is idle and that the server has not given up meanwhile, or a new one; ready for bytes."""
        self._free.acquire()
        try:
            return self._ready()
        except BaseException:
            self._free.release()
            raise

    def give_back(self, fs: FTPFileSystem | None) -> None:
        """It can be used again; None: it was dropped."""
        if fs is not None:
            self._idle.append(fs)
        self._free.release()

    def _ready(self) -> FTPFileSystem:
        while self._idle:
            with suppress(IndexError, *ftplib.all_errors):
                fs = self._idle.pop()
                fs.ftp.voidcmd(AS_BYTES)
                return fs
        fs = self._connect()
        fs.ftp.voidcmd(AS_BYTES)
        return fs


class FtpFile:
    """A file that is read from one end to the other.

    Raises, here and when it is read:
        ftplib.Error, OSError, EOFError: the server refuses, or the line is cut.
    """

    def __init__(self, connections: Connections, place: str) -> None:
        self._connections = connections
        self._fs = connections.take()
        try:
            with self._fs.ftp.transfercmd(f"RETR {place}") as line:
                self._reader: BinaryIO = line.makefile("rb")  # keeps the line open
        except BaseException as error:
            connections.give_back(self._fs if isinstance(error, ftplib.error_perm) else None)
            raise

    def read(self, size: int) -> bytes:
        """So many bytes, or fewer at the end."""
        return self._reader.read(size)

    def close(self) -> None:
        """The connection goes on if the whole file was read, and else is dropped. Again: fine."""
        if self._reader.closed:
            return
        whole = False
        with suppress(*ftplib.all_errors):
            whole = not self._reader.read(1)
        self._reader.close()
        with suppress(*ftplib.all_errors):
            if whole:
                self._fs.ftp.voidresp()
                self._connections.give_back(self._fs)
                return
        self._fs.ftp.close()
        self._connections.give_back(None)
