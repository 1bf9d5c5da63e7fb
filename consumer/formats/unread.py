"""Why no format reads a file: told for every such file, and as a warning where it was meant to be a result.

Most files beside results are none, and nobody wants a warning for each of them. What begins like a result and is
damaged, hostile or in an encoding that no simulator writes is worth one, and so is a file whose name promises a result:
the name decides nothing else.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from consumer.formats.carried import carried
from consumer.formats.contract import BYTE_ORDER, Format
from consumer.formats.gzipped import MAGIC as GZIP
from consumer.formats.gzipped import head_within
from consumer.formats.sqlite_file import MAGIC as SQLITE
from consumer.formats.sqlite_file import header_is_sound
from consumer.formats.xml_elements import read_elements

NO_RESULT = "not a result file"
_RESULTS = frozenset({".sca", ".vec", ".vci", ".flowmon"})  # endings that promise a result
_DECLARED = re.compile(rb"<!DOCTYPE[^<>\[]*\[")
_WIDE = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_GUESSED = 200  # bytes that are looked at where no byte order mark tells
_XML = (b"<?xml", BYTE_ORDER, *_WIDE)


class Unread(NamedTuple):
    """Why a file was not read.

    Args:
        reason: some words, for the list of files.
        warning: a sentence with what to do, where the researcher has to know; empty: it was no result anyway.
        line: where in the file; None: nowhere.
    """

    reason: str
    warning: str = ""
    line: int | None = None


def why_not(name: str, head: bytes, recognise: Callable[[bytes], Format | None]) -> Unread:
    """Why no format reads a file.

    Args:
        name: of the file.
        head: its first bytes, for which no format was found.
        recognise: finds the format of other first bytes.
    """
    found = _why_not(head, recognise)
    promised = PurePosixPath(name).suffix.lower() in _RESULTS
    if promised and not found.warning:
        return Unread(found.reason, _PROMISED.get(found.reason, f"Not read: {found.reason}."), found.line)
    return found


_PROMISED = {
    "empty": "The file is empty: the simulation was killed before it wrote its results, or it recorded none.",
    NO_RESULT: "Not read: no known result format begins like this file. Was it damaged, or written by something else?",
}


def _why_not(head: bytes, recognise: Callable[[bytes], Format | None]) -> Unread:
    if not head:
        return Unread("empty")
    if head.startswith(GZIP):
        within = head_within(head)
        if not within:
            return Unread("damaged gzip file", "Not read: the file begins like a gzip file and cannot be unpacked.")
        inner = _why_not(within, recognise)
        return Unread(f"{inner.reason}, packed by gzip", inner.warning, inner.line)
    if head.startswith(SQLITE) and not header_is_sound(head):
        return Unread(
            "damaged SQLite database", "Not read: the file begins like a SQLite database, but its header is damaged."
        )
    encoding = _wide(head)
    text = head.decode(encoding, "replace").removeprefix("\ufeff") if encoding else ""
    if text and not text.lstrip().startswith("<"):
        form = recognise(text.encode())
        told = f"Not read: this is {form.name} in UTF-16. Saved as UTF-8 it can be read." if form else ""
        return Unread("UTF-16 text", told)
    kind = carried(head)
    if kind:
        return Unread(kind)
    start = head.removeprefix(BYTE_ORDER).lstrip()
    if start.startswith(b"<") or encoding:
        return _xml(head)
    return Unread(NO_RESULT)


def _xml(head: bytes) -> Unread:
    """A file that begins like XML: which root it has, or what is wrong before."""
    root = _Root()
    stopped = read_elements(io.BytesIO(head), root, lambda _: None)
    if root.name:
        return Unread(f"XML with the root {root.name[:60]}, which no format reads")
    if stopped is None or stopped.cut_off:
        return Unread("XML without an element in its first 64 KiB")
    meant = bool(_DECLARED.search(head)) or head.lstrip().startswith(_XML)  # a page of HTML need not be XML
    return Unread("XML that cannot be read", stopped.text, stopped.line) if meant else Unread(NO_RESULT)


def _wide(head: bytes) -> str:
    """The encoding of text in UTF-16, by its mark or by every other byte being 0; empty: it is none."""
    if head[:2] in _WIDE:
        return _WIDE[head[:2]]
    even, odd = head[:_GUESSED:2], head[1:_GUESSED:2]
    if len(odd) > 2 and not any(odd) and all(even):  # letters of Latin
        return "utf-16-le"
    return "utf-16-be" if len(even) > 2 and not any(even) and all(odd) else ""


class _Root:
    """Takes the first element."""

    def __init__(self) -> None:
        self.name = ""

    def start(self, path: tuple[str, ...], _attributes: Mapping[str, str], _line: int) -> None:
        self.name = self.name or path[0]

    def end(self, path: tuple[str, ...]) -> None:
        """Nothing to do."""

    def comment(self, text: str) -> None:
        """Nothing to do."""
