"""``multipart/form-data`` as it arrives: one part after the other, none held in memory (RFC 7578)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

PIECE = 1024 * 1024
LONGEST_HEAD = 64 * 1024
BOUNDARY = re.compile(r'^multipart/form-data;.*boundary="?([^";]+)"?', re.IGNORECASE)
PARAMETER = re.compile(r';\s*([A-Za-z*]+)=("([^"]*)"|[^;]*)')


class Malformed(ValueError):
    """What arrives is no form, or ends before its last boundary."""


@dataclass(frozen=True, slots=True)
class Part:
    """One field.

    Args:
        name: of the field.
        filename: as sent, nothing decoded; None: a plain field.
        extended: ``filename*`` decoded (RFC 5987), which old servers do not understand; empty: there is none.
        pieces: the content, to be read before the next part is asked for.
    """

    name: str
    filename: str | None
    extended: str
    pieces: Iterator[bytes]

    def text(self) -> str:
        """All of a plain field. Raises `Malformed` if it is not UTF-8."""
        try:
            return b"".join(self.pieces).decode()
        except UnicodeDecodeError as error:
            raise Malformed(f"field {self.name} is not UTF-8") from error


def parameters(header: str) -> dict[str, str]:
    """Those of a ``Content-Disposition`` header, by lower-case name; quotes are taken off, nothing else is decoded."""
    return {
        found[1].lower(): found[3] if found[3] is not None else found[2].strip() for found in PARAMETER.finditer(header)
    }


class Form:
    """The parts of one request's body.

    Args:
        content_type: the request's header. Raises `Malformed` if it is no form's.
        read: gives at most so many bytes of the body, and none at its end.
    """

    def __init__(self, content_type: str, read: Callable[[int], bytes]) -> None:
        found = BOUNDARY.match(content_type)
        if found is None:
            raise Malformed("no multipart/form-data with a boundary")
        self._delimiter = b"\r\n--" + found[1].encode("latin-1")
        self._read = read
        self._held = b"\r\n"  # so that the first boundary is found like the others

    def parts(self) -> Iterator[Part]:
        """One after the other; what is left of a part is skipped."""
        for _ in self._until_delimiter():
            raise Malformed("there is something before the first boundary")
        while self._take(2) == b"\r\n":
            head = self._head()
            given = parameters(head.get("content-disposition", ""))
            extended = given.get("filename*", "").rpartition("''")[2]
            pieces = self._until_delimiter()
            yield Part(given.get("name", ""), given.get("filename"), unquote(extended), pieces)
            for _ in pieces:
                pass

    def _head(self) -> dict[str, str]:
        """A part's headers, by lower-case name."""
        while (end := self._held.find(b"\r\n\r\n")) < 0:
            if len(self._held) > LONGEST_HEAD:
                raise Malformed("a part's head does not end")
            self._more()
        text, self._held = self._held[:end].decode("utf-8", "surrogateescape"), self._held[end + 4 :]
        lines = (line.partition(":") for line in text.split("\r\n"))
        return {name.strip().lower(): value.strip() for name, _, value in lines}

    def _until_delimiter(self) -> Iterator[bytes]:
        while (end := self._held.find(self._delimiter)) < 0:
            ready = len(self._held) - len(self._delimiter)
            if ready > 0:
                yield self._held[:ready]
                self._held = self._held[ready:]
            self._more()
        if end:
            yield self._held[:end]
        self._held = self._held[end + len(self._delimiter) :]

    def _take(self, count: int) -> bytes:
        while len(self._held) < count:
            self._more()
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def _more(self) -> None:
        piece = self._read(PIECE)
        if not piece:
            raise Malformed("the body ends before its last boundary")
        self._held += piece
