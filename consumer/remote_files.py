"""Files on a service, read in pieces: none is ever fetched as a whole before it is packed."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any, BinaryIO

from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.ftp import FTPFileSystem

from backends.errors import TransientError
from consumer.errors import Undeliverable
from consumer.packing.sources import changed
from consumer.remote_errors import Kind, in_words, kind
from consumer.remote_ftp import Connections, FtpFile
from consumer.snapshot import Source, SourceFile
from messaging.locations import Location

AT_ONCE = 4 * 1024 * 1024  # bytes; a request for each MiB would wait more than it reads
FILES_AT_ONCE = 8  # small ones that one thread asks for, where that needs no connection for each


class RemoteFiles:
    """Opens files of one folder on a service.

    Args:
        fs: reads its files, and nothing else.
        location: the folder.
        connect: gives another one.
    """

    def __init__(self, fs: AbstractFileSystem, location: Location, connect: Callable[[], AbstractFileSystem]) -> None:
        self._fs = fs
        self.location = location
        self._ftp = Connections(fs, connect) if isinstance(fs, FTPFileSystem) else None
        self._http = "http" in fs.protocol
        self._in_order = not isinstance(fs, AsyncFileSystem) or self._http
        self.at_once = FILES_AT_ONCE if isinstance(fs, AsyncFileSystem) else 1
        # The others have one connection, and are not made for threads.
        self._alone: AbstractContextManager[object] = nullcontext() if self._ftp or self._http else Lock()

    def source(self, file: SourceFile) -> Source:
        """See `consumer.packing.sources.source`."""
        return RemoteSource(self, file, in_order=self._in_order)

    def stream(self, file: SourceFile) -> BinaryIO:
        """See `consumer.packing.sources.opened`."""
        raw = _Raw(RemoteSource(self, file, in_order=self._in_order))
        return io.BufferedReader(raw, AT_ONCE)

    def piece(self, file: SourceFile, offset: int, size: int) -> bytes:
        """Any part of a file, from a service that has threads ask for any."""
        with in_words(self.location, f"The file {file.name}"):
            piece = bytes(self._fs.cat_file(file.place, start=offset, end=offset + size))
        if len(piece) < size:
            raise changed(file, "became shorter")
        return piece

    def opened(self, file: SourceFile) -> Any:
        """A file that is read from one end to the other."""
        with self._alone, in_words(self.location, f"The file {file.name}"):
            if self._ftp:
                return FtpFile(self._ftp, file.place)
            if self._http:  # one request, whether the server knows ranges or not
                return self._fs.open(file.place, "rb", block_size=0, size=file.size)
            return self._fs.open(file.place, "rb", block_size=AT_ONCE)

    def next_piece(self, file: SourceFile, handle: Any, size: int) -> bytes:
        """What comes next in a file that was `opened`."""
        with self._alone, in_words(self.location, f"The file {file.name}"):
            return bytes(handle.read(size))


class RemoteSource:
    """An open file of a service; see `consumer.snapshot.Source`."""

    def __init__(self, files: RemoteFiles, file: SourceFile, *, in_order: bool) -> None:
        self.file = file
        self.in_order = in_order
        self._files = files
        self._handle: Any = None
        self._at = 0  # how far the handle has been read
        self._head = b""

    def read(self, offset: int, into: memoryview) -> memoryview:
        done = 0
        while done < len(into):
            piece = self._fetch(offset + done, len(into) - done)
            if not piece:
                raise changed(self.file, "became shorter")
            into[done : done + len(piece)] = piece
            done += len(piece)
        return into

    def read_all(self) -> bytes:
        data = bytearray(self.file.size)
        with memoryview(data) as into:
            self.read(0, into)
        return bytes(data)

    def samples(self, offsets: Iterable[int], size: int) -> bytes:
        """From the beginning, where what lies further would have to be fetched and thrown away."""
        wanted = list(offsets)
        if not self.in_order:
            return b"".join(self._fetch(offset, size) for offset in wanted)
        with memoryview(bytearray(size * len(wanted))) as head:
            self._head = bytes(self.read(0, head))
        return self._head

    def ensure_unchanged(self) -> None:
        """A second look at the folder tells, in fewer requests; see `consumer.snapshot.Snapshot.ensure_unchanged`."""

    def close(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def _fetch(self, offset: int, size: int) -> bytes:
        """Between one and ``size`` bytes; none at the end."""
        size = min(size, self.file.size - offset)
        if size <= 0:
            return b""
        if offset < len(self._head):
            return self._head[offset : offset + size]
        try:
            piece = self._next(offset, size) if self.in_order else self._files.piece(self.file, offset, size)
        except Undeliverable as error:
            if error.__cause__ is not None and kind(error.__cause__) is Kind.MISSING:
                raise changed(self.file, "vanished") from error
            raise
        if len(piece) > size:
            raise TransientError(f"{self._files.location.service} sends more of {self.file.name} than was asked for.")
        return piece

    def _next(self, offset: int, size: int) -> bytes:
        if self._handle is not None and self._at > offset:
            self.close()
        if self._handle is None:
            self._handle, self._at = self._files.opened(self.file), 0
        while self._at < offset:
            skipped = self._read(min(AT_ONCE, offset - self._at))
            if not skipped:
                return b""
        return self._read(size)

    def _read(self, size: int) -> bytes:
        piece = self._files.next_piece(self.file, self._handle, size)
        self._at += len(piece)
        if self._at == self.file.size:
            self.close()  # at once: others may wait for the connection
        return piece


class _Raw(io.RawIOBase):
    """A source as a stream; what it raises is an `OSError`, which is what a reader of files expects."""

    def __init__(self, source: RemoteSource) -> None:
        self._source = source
        self._offset = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: self._source.file.size}[whence]
        self._offset = max(0, base + offset)
        return self._offset

    def tell(self) -> int:
        return self._offset

    def readinto(self, into: Any) -> int:
        view = memoryview(into).cast("B")
        wanted = view[: max(0, min(len(view), self._source.file.size - self._offset))]
        try:
            self._source.read(self._offset, wanted)
        except (TransientError, Undeliverable) as error:
            text = error.reason if isinstance(error, TransientError) else str(error)
            raise OSError(errno.EIO, text.rstrip(".")) from error
        self._offset += len(wanted)
        return len(wanted)

    def readall(self) -> bytes:
        """The base class would ask for 8 KiB at a time."""
        rest = bytearray(max(0, self._source.file.size - self._offset))
        with memoryview(rest) as view:
            self.readinto(view)
        return bytes(rest)

    def close(self) -> None:
        self._source.close()
        super().close()
