"""Reads ``multipart/form-data`` (RFC 7578) as it arrives; file parts go to disk."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PIECE = 1024 * 1024
LONGEST_FIELD = 65536

Read = Callable[[int], bytes]


class Malformed(Exception):
    """The body is no multipart form."""


@dataclass(slots=True)
class Form:
    """Fields, and the files that were sent: name and where their bytes are."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, Path]] = field(default_factory=list)


def read_form(read: Read, boundary: bytes, fresh: Callable[[], Path]) -> Form:
    """Read a form.

    Args:
        read: at most so many bytes of the body; none at its end.
        boundary: from the Content-Type.
        fresh: where a file part goes.
    """
    form, stream = Form(), _Stream(read)
    delimiter = b"--" + boundary
    if stream.until(b"\r\n", LONGEST_FIELD) != delimiter:
        raise Malformed("no first boundary")
    while True:
        head = stream.until(b"\r\n\r\n", LONGEST_FIELD).decode("utf-8", "replace")
        name = re.search(r'[; ]name="([^"]*)"', head)
        file_name = re.search(r'filename="([^"]*)"', head)
        if name is None:
            raise Malformed("a part without a name")
        if file_name is None:
            form.fields[name[1]] = stream.until(b"\r\n" + delimiter, LONGEST_FIELD).decode("utf-8", "replace")
        else:
            path = fresh()
            with path.open("wb") as target:
                stream.copy_until(b"\r\n" + delimiter, target.write)
            form.files.append((file_name[1], path))
        end = stream.take(2)
        if end == b"--":
            return form
        if end != b"\r\n":
            raise Malformed("a boundary that is followed by something else")


class _Stream:
    def __init__(self, read: Read) -> None:
        self._read = read
        self._held = bytearray()

    def take(self, count: int) -> bytes:
        while len(self._held) < count:
            self._more()
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken

    def until(self, mark: bytes, most: int) -> bytes:
        while (found := self._held.find(mark)) < 0:
            if len(self._held) > most:
                raise Malformed("a part that is too long")
            self._more()
        taken = bytes(self._held[:found])
        del self._held[: found + len(mark)]
        return taken

    def copy_until(self, mark: bytes, write: Callable[[bytes], object]) -> None:
        while (found := self._held.find(mark)) < 0:
            keep = len(mark) - 1
            if len(self._held) > keep:
                write(bytes(self._held[:-keep]))
                del self._held[:-keep]
            self._more()
        write(bytes(self._held[:found]))
        del self._held[: found + len(mark)]

    def _more(self) -> None:
        piece = self._read(PIECE)
        if not piece:
            raise Malformed("the body ends early")
        self._held += piece
