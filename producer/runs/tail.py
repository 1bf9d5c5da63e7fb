"""The end of what a simulation has written, kept where it can be read whatever becomes of the processes."""

from __future__ import annotations

import mmap
import os
import re
import struct
from pathlib import Path

from pydantic import BaseModel

from messaging.messages import LOG_TAIL_CHARACTERS
from producer.durable import create

# The last 4000 characters in UTF-8, at their longest.
RING_BYTES = 4 * LOG_TAIL_CHARACTERS
HEAD = struct.Struct("<Q")
# Colours and cursor movements of terminals (ECMA-48, sections 5.4 and 5.5), and titles of windows.
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")


class Ring:
    """The last bytes of a stream, in memory that forked processes share.

    Args:
        path: a new file to keep them in, which outlives all processes; None, or no room on the disk: memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        try:
            self._map = mmap.mmap(-1, HEAD.size + RING_BYTES) if path is None else _mapped(path)
        except OSError:
            self.path = None
            self._map = mmap.mmap(-1, HEAD.size + RING_BYTES)

    def add(self, data: memoryview) -> None:
        """Append; what is too old goes."""
        (total,) = HEAD.unpack_from(self._map)
        total += len(data)
        last = data[-RING_BYTES:]
        place = HEAD.size + (total - len(last)) % RING_BYTES
        first = min(len(last), HEAD.size + RING_BYTES - place)
        self._map[place : place + first] = last[:first]
        self._map[HEAD.size : HEAD.size + len(last) - first] = last[first:]
        HEAD.pack_into(self._map, 0, total)

    def read(self) -> bytes:
        """What is kept."""
        return _unrolled(self._map[:])


class Source(BaseModel):
    """Where the end of a stream can be read.

    Args:
        name: what the stream is called, if there are several.
        path: a ring's file, or the log file that the simulation itself writes.
        offset: where in that log file the simulation began; None for a ring.
        device, inode: of that log file, lest another one is read in its place.
    """

    name: str
    path: str
    offset: int | None = None
    device: int = 0
    inode: int = 0

    def read(self) -> bytes:
        """The end of it; nothing if it is gone or cannot be read."""
        try:
            with Path(self.path).open("rb") as file:
                status = os.fstat(file.fileno())
                if self.offset is None:
                    return _unrolled(file.read(HEAD.size + RING_BYTES))
                if (status.st_dev, status.st_ino) != (self.device, self.inode):
                    return b""
                begin = self.offset if self.offset <= status.st_size else 0  # else it was emptied meanwhile
                file.seek(max(begin, status.st_size - RING_BYTES))
                return file.read(RING_BYTES)
        except OSError:
            return b""


def readable(tails: list[tuple[str, bytes]], note: str = "") -> str:
    """The ends of the streams as text for a mail, the most telling one (standard error) last and never crowded out.

    Args:
        tails: name and bytes of each stream.
        note: a sentence of ours, at the end.
    """
    texts = [(name, text) for name, data in tails if (text := _clean(data))]
    room = LOG_TAIL_CHARACTERS - len(note) - (2 if note else 0)
    if len(texts) == 1:
        log = texts[0][1][-room:]
    else:
        parts: list[str] = []
        for number, (name, text) in enumerate(reversed(texts)):
            share = room // (len(texts) - number)
            head = f"{name}:\n"
            part = head + text[-(share - len(head) - 2) :]
            parts.insert(0, part)
            room -= len(part) + 2
        log = "\n\n".join(parts)
    return f"{log}\n\n{note}".strip() if note else log


def _clean(data: bytes) -> str:
    """Text as a terminal would leave it on the screen."""
    text = ESCAPES.sub("", data.decode("utf-8", "replace")).replace("\r\n", "\n")
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return "".join(letter for letter in "\n".join(lines) if letter.isprintable() or letter in "\n\t").strip()


def _mapped(path: Path) -> mmap.mmap:
    descriptor = create(path, os.O_RDWR | os.O_EXCL)
    try:
        # Not just a length: a page that finds no room on the disk would kill whoever writes to it.
        os.posix_fallocate(descriptor, 0, HEAD.size + RING_BYTES)
        return mmap.mmap(descriptor, HEAD.size + RING_BYTES)
    finally:
        os.close(descriptor)


def _unrolled(content: bytes) -> bytes:
    if len(content) < HEAD.size + RING_BYTES:
        return b""
    (total,) = HEAD.unpack_from(content)
    ring = content[HEAD.size :]
    return ring[:total] if total <= RING_BYTES else ring[total % RING_BYTES :] + ring[: total % RING_BYTES]
