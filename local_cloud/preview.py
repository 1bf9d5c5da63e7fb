"""What can be shown of one file, from its first bytes."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

LONGEST_TEXT = 64 * 1024  # bytes
LONGEST_JSON = 128 * 1024
LARGEST_PICTURE = 32 * 1024 * 1024
ROWS, COLUMNS, CELL = 50, 30, 200
LINES, LINE = 1000, 1000

PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}
TABLES = {".csv", ".tsv"}
TYPES = PICTURES | {
    ".csv": "text/csv",
    ".json": "application/json",
    ".log": "text/plain",
    ".md": "text/plain",
    ".pdf": "application/pdf",
    ".txt": "text/plain",
    ".zip": "application/zip",
}
"""Everything else is ``application/octet-stream``, HTML before all."""
NEVER_TEXT = {
    ".7z", ".avi", ".bz2", ".doc", ".docx", ".gz", ".h5", ".hdf5", ".mat", ".mp3", ".mp4", ".npy", ".npz", ".pdf",
    ".pkl", ".ppt", ".pptx", ".rar", ".sqlite", ".tar", ".tgz", ".tif", ".tiff", ".xls", ".xlsx", ".xz", ".zip", ".zst",
}  # fmt: skip


def ending(name: str) -> str:
    """A name's, in small letters."""
    return PurePosixPath(name).suffix.lower()


def content_type(name: str) -> str:
    """By our own short table: what a file says of itself does not count."""
    return TYPES.get(ending(name), "application/octet-stream")


def is_picture(name: str, size: int) -> bool:
    """True for what is shown as a picture."""
    return ending(name) in PICTURES and size <= LARGEST_PICTURE


def can_be_shown(name: str, size: int) -> bool:
    """True if it is worth a try; binary data under another name shows only then."""
    return size > 0 and ending(name) not in NEVER_TEXT and (ending(name) not in PICTURES or is_picture(name, size))


@dataclass(frozen=True, slots=True)
class Picture:
    """The file itself is shown."""

    note: str = ""
    kind: str = "picture"


@dataclass(frozen=True, slots=True)
class Text:
    """The first part of a text.

    Args:
        note: what is shown of how much; empty: all of it.
    """

    text: str
    note: str
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """The first rows of a table.

    Args:
        head: names of the columns; may be empty.
        numeric: for each column, whether it holds numbers.
    """

    head: list[str]
    rows: list[list[str]]
    numeric: list[bool]
    note: str
    kind: str = "table"


@dataclass(frozen=True, slots=True)
class Nothing:
    """Why there is nothing to show, in a sentence."""

    note: str
    kind: str = "nothing"


def needed(name: str) -> int:
    """How many of its first bytes are looked at."""
    return LONGEST_JSON if ending(name) == ".json" else LONGEST_TEXT


def preview(name: str, begin: bytes, whole: bool) -> Text | Table | Nothing:
    """What to show.

    Args:
        name: decides about tables and JSON.
        begin: the first bytes.
        whole: there are no more.
    """
    text = _decoded(begin, whole)
    if text is None:
        return Nothing("This is no text; download it to look at it.")
    if ending(name) in TABLES and (table := _table(text, whole)) is not None:
        return table
    if ending(name) == ".json" and whole:
        text = _indented(text)
    return _text(text, whole)


def _decoded(begin: bytes, whole: bool) -> str | None:
    if begin.startswith((b"\xff\xfe", b"\xfe\xff")):
        return begin.decode("utf-16", errors="replace")
    if b"\0" in begin:
        return None
    for cut in (0,) if whole else (0, 1, 2, 3):  # a character may be cut
        try:
            return begin[: len(begin) - cut].decode("utf-8-sig")
        except UnicodeDecodeError:
            continue
    text = begin.decode("latin-1")
    strange = sum(not (c.isprintable() or c in "\t\r\n\f") for c in text[:4096])
    return None if strange * 20 > min(len(text), 4096) else text


def _text(text: str, whole: bool) -> Text:
    lines = text[:LONGEST_TEXT].splitlines()
    cut = len(lines) > LINES or len(text) > LONGEST_TEXT or not whole
    if cut and len(lines) > 1 and len(lines) <= LINES:
        lines.pop()  # it may be half of one
    shown = [_clean(line if len(line) <= LINE else line[:LINE] + " …") for line in lines[:LINES]]
    return Text("\n".join(shown), f"The first {len(shown):,} lines." if cut else "")


def _table(text: str, whole: bool) -> Table | None:
    lines = [line for line in text.splitlines() if line]
    if not whole and len(lines) > 1:
        lines.pop()
    comments = [line for line in lines if not line.startswith("#")] or lines
    mark = max(",;\t|", key=comments[0].count) if comments else ","
    if not comments or mark not in comments[0]:
        return None
    try:
        rows = _rows(csv.reader(comments, delimiter=mark))
    except csv.Error:
        return None
    width = max(len(row) for row in rows)
    cut_rows, cut_columns = len(rows) > ROWS + 1 or not whole, width > COLUMNS
    rows = [[_clean(cell[:CELL]) for cell in row[:COLUMNS]] for row in rows]
    width = min(width, COLUMNS)
    rows = [row + [""] * (width - len(row)) for row in rows]
    head = rows[0] if not any(map(_is_number, rows[0])) else []
    body = rows[1 : ROWS + 1] if head else rows[:ROWS]
    numeric = [bool(body) and all(_is_number(row[n]) or not row[n] for row in body) for n in range(width)]
    notes = [f"The first {len(body)} rows"] if cut_rows else []
    notes += [f"the first {COLUMNS} columns"] if cut_columns else []
    note = ", ".join(notes) + "." if notes else ""
    return Table(head, body, numeric, note[:1].upper() + note[1:])


def _rows(reader: Iterable[list[str]]) -> list[list[str]]:
    rows: list[list[str]] = []
    for row in reader:
        rows.append(row)
        if len(rows) > ROWS + 1:
            break
    return rows


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _indented(text: str) -> str:
    pieces, size = [], 0
    try:
        for piece in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(json.loads(text)):
            pieces.append(piece)
            size += len(piece)
            if size > LONGEST_TEXT:  # a deep one would grow a thousandfold
                break
    except (ValueError, RecursionError):
        return text
    return "".join(pieces)


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in text) if not text.isprintable() else text
