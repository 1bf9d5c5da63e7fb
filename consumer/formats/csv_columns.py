"""Plain tables: numbers in columns, separated by commas, semicolons, tabs or blanks.

Nothing says what such a file means, so only what can be seen is taken: a first row of names, or a comment of as many
words above the numbers; a first column that is named like a time and never falls is the time of the others; without
one, each column is a set of observations. One line is one row: a line break within quotes is not understood.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, ClassVar

import numpy as np

from consumer.formats.contract import HEAD, Floats, Run, Sink
from consumer.formats.csv_plain import table as plain_table

LONGEST_LINE = 1024 * 1024  # bytes
MOST_COLUMNS = 2000
PAGE = 4096  # bytes: a file that was cut off often ends at a multiple
_ROWS = 4096  # that are taken at once
_SAMPLE = 200  # rows that decide what the columns are
_SEPARATORS = ("\t", ";", ",", " ")  # a blank: any number of them
_COMMENTS = ("#", "%")
_MISSING = frozenset({"", "nan", "na", "n/a", "-", "null", "none", "-nan"})
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_UNIT = re.compile(r"(.*\S)\s*[\[(]\s*([^\])\s]{1,12})\s*[\])]")
_WORD = re.compile(r"[A-Z]*[a-z]+|[A-Z]+|[µ%]")
_TIMES = frozenset({"time", "t", "simtime", "timestamp", "second", "seconds", "sec", "zeit", "start"})
_SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0}
_UNITS = frozenset({
    *_SECONDS, "m", "km", "cm", "mm", "m/s", "km/h", "bit/s", "bps", "kbps", "Kbps", "Mbps", "kbit/s", "Mbit/s", "b",
    "B", "KB", "MB", "kB", "bit", "bits", "byte", "bytes", "Bytes", "%", "dB", "dBm", "W", "mW", "J", "mJ", "Wh", "V",
    "A", "Hz", "kHz", "MHz", "GHz", "deg", "rad", "mg", "g", "kg", "pk", "packets", "K", "°C",
})  # fmt: skip


class CsvColumns:
    """Tables with at least two columns, one of them of numbers."""

    name: ClassVar[str] = "CSV"

    def recognises(self, head: bytes) -> bool:
        """By rows of one width with columns of numbers."""
        return _layout(head) is not None

    def read(self, stream: BinaryIO, sink: Sink) -> None:
        """Read the rows; where a time may be, once more before, to see whether it ever falls."""
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        sink.run(Run(id="", simulator=""))
        layout = _layout(stream.read(HEAD))
        if layout is None:
            sink.warning("There is no table of numbers in this file.")
            return
        falls = None
        if layout.time_scale:
            stream.seek(0)
            falls = _first_fall(stream, layout)
            if falls:
                sink.warning("The first column is no time, since it falls: the rows are taken as observations.", falls)
        stream.seek(0)
        _Reader(sink, layout, size, timed=bool(layout.time_scale) and not falls).read(stream)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the beginning of a file shows.

    Args:
        separator: a blank stands for any number of blanks and tabs.
        names: one for each column.
        numeric: places of the columns of numbers.
        first: line number of the first row of values.
        time_scale: seconds in a unit of the first column; None: it is no time.
    """

    separator: str
    names: tuple[str, ...]
    numeric: tuple[int, ...]
    first: int
    time_scale: float | None

    def cells(self, line: str) -> list[str]:
        return _cells(line, self.separator)

    def plain(self, first: int, lines: Sequence[bytes]) -> Floats | None:
        """All cells of lines from the ``first`` one on, where they are numbers and nothing else."""
        if first < self.first or not lines:
            return None
        return plain_table(lines, self.separator, len(self.names))

    def fitted(self, cells: list[str]) -> list[str] | None:
        """The cells without empty ones beyond the last column; None where the row has another width."""
        cells = _trimmed(cells, len(self.names))
        return cells if len(cells) == len(self.names) else None


def _layout(head: bytes) -> _Layout | None:
    """What the head of a file shows, or None if there is no table of numbers."""
    if b"\x00" in head:
        return None
    lines = head.decode("utf-8-sig", "replace").split("\n")
    if len(head) >= HEAD:
        lines.pop()  # the rest of it is not here
    rows = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    data = [(number, line) for number, line in rows if not line.startswith(_COMMENTS)][: _SAMPLE + 1]
    if len(data) < 2:
        return None
    for separator in _SEPARATORS:
        split = [(number, _cells(line, separator)) for number, line in data]
        [(width, _)] = Counter(len(cells) for _, cells in split[1:]).most_common(1)
        if width > 1 and not any(cells[width - 1] for _, cells in split[1:] if len(cells) == width):
            width -= 1  # every row ends with a separator
        split = [(number, _trimmed(cells, width)) for number, cells in split]
        unlike = sum(1 for _, cells in split if len(cells) != width)
        if width >= 2 and unlike <= max(1, len(split) // 10):
            comments = [line.lstrip("#% ") for number, line in rows if number < data[0][0]]
            layout = _columns(split, separator, width, comments)
            if layout:
                return layout
    return None


def _columns(
    split: Sequence[tuple[int, list[str]]], separator: str, width: int, comments: Sequence[str]
) -> _Layout | None:
    header = split[0][1]
    rows = [cells for _, cells in split[1:] if len(cells) == width]
    numeric = [place for place in range(width) if _mostly_numbers([cells[place] for cells in rows])]
    if not rows or not numeric or (separator == " " and 2 * len(numeric) < width):
        return None
    above = [header[place] for place in numeric if place < len(header)]
    named = any(above) and all(not cell or _number(cell) is None for cell in above)
    if named:
        names, first = header, split[1][0]
    else:
        names, first = _cells(comments[-1], separator) if comments else [], split[0][0]
        rows = [header, *rows] if len(header) == width else rows
    if len(names) != width:  # names of another number name nothing for certain
        if _is_log(rows, separator, set(range(width)).difference(numeric)):
            return None
        names = [""] * width
    unique = _unique(names)
    scale = _time_scale(unique[0]) if 0 in numeric and _rises([cells[0] for cells in rows]) else None
    return _Layout(separator, unique, tuple(numeric), first, scale)


def _is_log(rows: Sequence[Sequence[str]], separator: str, words: set[int]) -> bool:
    """Whether columns without names are the sentences of a log, and not a table with a column of categories."""
    if separator == " ":
        return bool(words)
    return any(" " in row[place] or "=" in row[place] for row in rows for place in words)


def _cells(line: str, separator: str) -> list[str]:
    if '"' in line:
        reader = csv.reader([line], delimiter=separator, skipinitialspace=True)
        try:
            return [cell.strip() for cell in next(reader, []) if cell.strip() or separator != " "]
        except csv.Error:
            return []
    return line.split() if separator == " " else [cell.strip() for cell in line.split(separator)]


def _trimmed(cells: list[str], width: int) -> list[str]:
    return cells[:width] if len(cells) > width and not any(cells[width:]) else cells


def _number(cell: str) -> float | None:
    """A cell's number, NaN for "no value"; None: it is something else."""
    if cell.lower() in _MISSING:
        return math.nan
    if _DECIMAL_COMMA.fullmatch(cell):
        cell = cell.replace(",", ".")
    try:
        return float(cell) if "_" not in cell else None
    except ValueError:
        return None


def _mostly_numbers(cells: Sequence[str]) -> bool:
    """Whether a column is one of numbers: nine in ten that are not empty."""
    known = [_number(cell) for cell in cells if cell.lower() not in _MISSING]
    return sum(value is not None for value in known) >= 0.9 * len(known)


def _rises(cells: Sequence[str]) -> bool:
    known = [value for value in map(_number, cells) if value is not None and math.isfinite(value)]
    return known == sorted(known) and len(known) > 1 and known[0] < known[-1]


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for place, name in enumerate(names, 1):
        wanted = name[:200] or f"column {place}"
        while wanted in found:
            wanted = f"{wanted} ({place})"
        found[wanted] = None
    return tuple(found)


def _time_scale(name: str) -> float | None:
    """Seconds in a unit of a column that is named like a time; None: it is not."""
    bare, unit = _named_unit(name)
    words = [word.lower() for word in _WORD.findall(bare)]
    if not unit and len(words) > 1 and words[-1] in _SECONDS:
        unit = words.pop()
    if not words or words[-1] not in _TIMES:
        return None
    return _SECONDS.get(unit, 1.0)


def _named_unit(name: str) -> tuple[str, str]:
    """``Delay [ms]`` is a delay in ms."""
    match = _UNIT.fullmatch(name)
    return (match.group(1), match.group(2)) if match and match.group(2) in _UNITS else (name, "")


def _batches(stream: BinaryIO) -> Iterator[tuple[int, list[bytes]]]:
    """A megabyte of lines, or some thousand lines, at once: the first one's number, and the lines with their ends.

    Of a line that is too long there is its beginning, without an end.
    """
    first, batch, size = 1, list[bytes](), 0
    while line := stream.readline(LONGEST_LINE):
        rest = line
        while len(rest) == LONGEST_LINE and not rest.endswith(b"\n"):
            rest = stream.readline(LONGEST_LINE)
        batch.append(line)
        size += len(line)
        if size >= LONGEST_LINE or len(batch) >= _ROWS:
            yield first, batch
            first, batch, size = first + len(batch), [], 0
    yield first, batch


def _first_fall(stream: BinaryIO, layout: _Layout) -> int | None:
    """Line number at which the first column falls."""
    last = -math.inf
    for first, batch in _batches(stream):
        plain = layout.plain(first, batch)
        if plain is not None and plain[0, 0] >= last and (np.diff(plain[:, 0]) >= 0).all():
            last = float(plain[-1, 0])
            continue
        for number, raw in enumerate(batch, first):
            if number >= layout.first:
                cells = layout.cells(_text(raw))
                value = _number(cells[0]) if cells else None
                if value is not None and len(cells) >= len(layout.names):
                    if value < last:
                        return number
                    last = max(last, value)
    return None


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").strip("\ufeff \r\n\t\v\f" if b"\t" not in raw else "\ufeff \r\n")


class _Reader:
    """Takes some thousand rows at once."""

    def __init__(self, sink: Sink, layout: _Layout, size: int, *, timed: bool) -> None:
        self._sink = sink
        self._layout = layout
        self._size = size
        self._timed = timed
        self._columns = [place for place in layout.numeric if place or not timed][:MOST_COLUMNS]
        self._slots: list[int] = []
        self._taken = 0  # rows

    def read(self, stream: BinaryIO) -> None:
        self._declare()
        for first, batch in _batches(stream):
            offset = stream.tell()
            plain = self._layout.plain(first, batch)
            if plain is None or not self._hand_on_plain(plain):
                self._hand_on_each(first, batch, last=offset == self._size)
            self._sink.at(offset)

    def _hand_on_each(self, first: int, batch: Sequence[bytes], *, last: bool) -> None:
        rows, end = [], first + len(batch) - 1
        for number, raw in enumerate(batch, first):
            cells = self._row(number, raw, last=last and number == end)
            if cells is not None:
                rows.append((number, cells))
        if rows:
            self._hand_on(rows)

    def _declare(self) -> None:
        names = self._layout.names
        for place in self._columns:
            name, unit = _named_unit(names[place])
            attributes = {"unit": unit} if unit else {}
            self._slots.append(self._sink.vector("table", name, attributes, timed=self._timed))
        words = [name[:40] for place, name in enumerate(names) if place not in self._layout.numeric]
        if words:
            shown = ", ".join(words[:10]) + (f" and {len(words) - 10} more" if len(words) > 10 else "")
            self._sink.warning(f"Columns that hold no numbers are not summarised: {shown}.")
        if len(self._layout.numeric) > MOST_COLUMNS:
            self._sink.warning(f"The table has {len(names)} columns: only the first {MOST_COLUMNS} are summarised.")

    def _row(self, number: int, raw: bytes, *, last: bool) -> list[str] | None:
        if number < self._layout.first:
            return None
        whole = raw.endswith(b"\n")
        if len(raw) == LONGEST_LINE and not whole:
            self._sink.warning("The line is longer than 1 MiB: not read.", number)
            return None
        line = _text(raw)
        if not line or line.startswith(_COMMENTS):
            return None
        cells = self._layout.fitted(self._layout.cells(line))
        if last and not whole and (cells is None or self._size % PAGE == 0):
            self._sink.incomplete("The file ends in the middle of a row; what stands before it was read.", number)
            return None
        if cells is None:
            self._sink.warning("The row has another number of columns than the others: not read.", number)
        return cells

    def _hand_on_plain(self, table: Floats) -> bool:
        """False: a row has no time, and nothing was handed on."""
        times = self._numbers(len(table)) if not self._timed else table[:, 0] * (self._layout.time_scale or 1.0)
        if not np.isfinite(times).all():
            return False
        self._taken += len(table)
        for place, slot in zip(self._columns, self._slots, strict=True):
            self._sink.samples(np.full(len(table), slot, np.int32), times, np.ascontiguousarray(table[:, place]))
        return True

    def _numbers(self, rows: int) -> Floats:
        return np.arange(self._taken, self._taken + rows, dtype=np.float64)

    def _hand_on(self, rows: list[tuple[int, list[str]]]) -> None:
        times = self._numbers(len(rows))
        if self._timed:
            times = self._values(rows, 0) * (self._layout.time_scale or 1.0)
        sound = np.isfinite(times)
        for place in np.flatnonzero(~sound).tolist():
            self._sink.warning("The row has no time: not read.", rows[place][0])
        if not sound.all():
            rows = [row for row, good in zip(rows, sound.tolist(), strict=True) if good]
            times = times[sound]
        self._taken += len(rows)
        for place, slot in zip(self._columns, self._slots, strict=True):
            self._sink.samples(np.full(len(rows), slot, np.int32), times, self._values(rows, place))

    def _values(self, rows: list[tuple[int, list[str]]], place: int) -> Floats:
        cells = [row[place] for _, row in rows]
        try:
            if "_" not in "".join(cells):  # which Python's own numbers may hold
                return np.array([float(cell) for cell in cells], np.float64)
        except ValueError:
            pass
        values = []
        for number, row in rows:
            value = _number(row[place])
            if value is None:
                self._sink.warning("A cell is no number: taken as no value.", number)
            values.append(math.nan if value is None else value)
        return np.array(values, np.float64)
