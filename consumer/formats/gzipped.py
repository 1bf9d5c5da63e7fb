"""Results within gzip: SUMO writes them so when the file's name ends in .gz, and people pack what is large."""

from __future__ import annotations

import io
import os
import zlib
from typing import TYPE_CHECKING, BinaryIO

from consumer.formats.contract import HEAD, Format, Sink
from consumer.formats.relay import Relay

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAGIC = b"\x1f\x8b"
_GZIP = 31  # zlib's number for a window of 32 KiB and gzip's header
_PIECE = 65_536  # bytes
_ALWAYS = 256 * 1024 * 1024  # bytes that any file may unpack to
_MOST_TIMES = 300  # what is larger may be so many times its packed size; tables of text reach 20 to 50


def head_within(head: bytes) -> bytes:
    """The beginning of what is packed, as far as ``head`` reaches."""
    try:
        return zlib.decompressobj(_GZIP).decompress(head, HEAD)
    except zlib.error:
        return b""


class Gzipped:
    """A format whose files are packed.

    Args:
        inner: reads what is packed.
    """

    def __init__(self, inner: Format) -> None:
        self._inner = inner

    @property
    def name(self) -> str:
        return f"{self._inner.name}, gzip"

    def recognises(self, head: bytes) -> bool:
        """By what is packed."""
        return head.startswith(MAGIC) and self._inner.recognises(head_within(head))

    def read(self, stream: BinaryIO, sink: Sink) -> None:
        """Unpack and read; what is damaged or cut off ends where the sound part ends."""
        unpacked = Unpacked(stream)
        relay = Relay(sink, lambda: unpacked.packed)
        self._inner.read(io.BufferedReader(unpacked, _PIECE), relay)
        if unpacked.trouble == CUT_OFF:
            relay.incomplete(CUT_OFF)
        elif unpacked.trouble:
            sink.warning(unpacked.trouble)


CUT_OFF = "The packed file ends in the middle; what stands before it was read."


class Unpacked(io.RawIOBase):
    """What a gzip file holds, as a stream that can be read again from its beginning.

    Args:
        stream: the packed file.

    Attributes:
        packed: bytes of the packed file that have been read.
        trouble: why the stream ended before the file did, in a sentence; empty: it did not.
    """

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self._size: int | None = None
        self._begin()

    def _begin(self) -> None:
        self._stream.seek(0)
        self.packed = 0
        self.trouble = ""
        self._place = 0  # in what is unpacked
        self._waiting = b""  # packed bytes that were read
        self._ended = False
        self._member = zlib.decompressobj(_GZIP)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._next(min(len(view), _PIECE))
        view[: len(data)] = data
        self._place += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place by unpacking up to it; to the end, for the size, once."""
        if whence == os.SEEK_END:
            if self._size is None:
                self._skip(None)
                self._size = self._place
            offset += self._size
        elif whence == os.SEEK_CUR:
            offset += self._place
        if offset < self._place:
            self._begin()
        self._skip(offset)
        return self._place

    def _skip(self, until: int | None) -> None:
        while until is None or self._place < until:
            data = self._next(_PIECE if until is None else min(_PIECE, until - self._place))
            if not data:
                return
            self._place += len(data)

    def _next(self, most: int) -> bytes:
        while not self._ended:
            if not self._waiting:
                self._waiting = self._stream.read(_PIECE)
                self.packed += len(self._waiting)
            at_end = not self._waiting
            if self._member.eof and not at_end:  # another one may follow, and so may padding
                self._waiting = self._waiting.lstrip(b"\x00")
                if self._waiting:
                    self._member = zlib.decompressobj(_GZIP)
                else:
                    continue
            data = self._unpack(most)
            if data:
                return data
            if at_end:
                self._end("" if self._member.eof else CUT_OFF)
        return b""

    def _unpack(self, most: int) -> bytes:
        try:
            data = self._member.decompress(self._waiting, most)
        except zlib.error:
            self._end("The packed file is damaged here; what stands before was read.")
            return b""
        self._waiting = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        if self._place > max(_ALWAYS, _MOST_TIMES * self.packed):
            self._end(f"The file unpacks to more than {_MOST_TIMES} times its size: the rest was not read.")
        return data

    def _end(self, trouble: str) -> None:
        self._ended = True
        self.trouble = self.trouble or trouble
