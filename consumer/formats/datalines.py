"""The lines of a vector file in bulk: numbers to arrays, block by block, on several cores for a large file.

A data line is ``ID column column ...`` with one to three columns, by far the most of a vector file. `blocks` takes the
file apart into such lines, as arrays, and all the others, as text with their place. Two ways to do that give the same:
one in plain Python, without any start-up cost, and one compiled (`consumer.formats.datalines_compiled`), as soon as
there is enough to read.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BufferedIOBase
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from consumer.compiled.load import Unavailable, kept, loaded, loops
from consumer.formats.contract import Floats

BLOCK = 2 * 1024 * 1024  # bytes
# Bytes that a process has to read from which on the compiled way is the shorter one.
WORTH_LOADING, WORTH_COMPILING = 512 * 1024, 16 * 1024 * 1024
LARGE = 8 * 1024 * 1024  # bytes of a file that several cores take apart
_SPARE = 4096  # bytes of a buffer for the beginning of a line that was cut
LONGEST_LINE = 16 * 1024 * 1024  # bytes; what is longer is no line of a result file
MOST_COLUMNS = 3
PADDING = 32  # bytes of zero after a piece: the compiled way need not ask for the end
LARGEST_ID = 2**31 - 1
MOST_DIGITS, MOST_EXPONENT = 19, 22  # of numbers that are exact after one operation
_EASY_LENGTH = 19  # bytes of a number that cannot have more digits than that
_NUMBER = re.compile(rb"[+-]?(?:([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]+))?|inf|nan)", re.IGNORECASE)
_ODD = (b"\r", b"\v", b"\f")  # which Python takes for blanks, and which separate no numbers


@dataclass(frozen=True, slots=True)
class OtherLine:
    """A line that is no plain data line.

    Args:
        before: number of data lines of the block before it.
        number: its line number within the block, from 0.
        text: without the line end.
    """

    before: int
    number: int
    text: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines of a file.

    Args:
        ids: first column of each data line; shape (n,), as are the next two.
        widths: number of columns after it, 1 to 3.
        columns: the numbers, each of shape (n,); what lies beyond a line's width means nothing.
        others: all the other lines, blank ones and comments left out.
        lines: how many lines of any kind.
        data: the bytes, to find a data line's number when it is asked for.
        end: bytes of the file up to and with this block.
    """

    ids: NDArray[np.int32]
    widths: NDArray[np.int8]
    columns: tuple[Floats, Floats, Floats]
    others: list[OtherLine]
    lines: int
    data: bytes | memoryview
    end: int

    def line_of(self, sample: int) -> int:
        """Line number within the block, from 0, of a data line."""
        line = sample
        for other in self.others:
            if other.before > sample:
                break
            line += 1
        passed = -1
        for number, text in enumerate(bytes(self.data).split(b"\n")):  # blank lines and comments were not kept
            if _tells(text):
                passed += 1
                if passed == line:
                    return number
        return self.lines


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole lines that were read: the first ``size`` bytes of a buffer, zeros after them.

    Args:
        end: bytes of the file up to and with this piece.
    """

    buffer: bytearray
    size: int
    end: int

    @property
    def data(self) -> memoryview:
        return memoryview(self.buffer)[: self.size]


Scan = Callable[[Piece], Block]


def blocks(stream: BinaryIO, size: int) -> Iterator[Block]:
    """Every line of a file, in order.

    Args:
        stream: at the beginning of a line.
        size: of the file in bytes, as far as it is known: it decides on the way and nothing else.

    Yields:
        blocks; the last one holds the last line even when no line end closes it. A block's ``data`` is there until the
        next one is asked for.
    """
    pieces = _Pieces(stream, min(BLOCK, size + 1))
    way = _way(size)
    if size < LARGE:
        yield from map(way, pieces)
        return
    cores = min(os.cpu_count() or 1, 4)
    waiting: deque[tuple[Future[Block], Piece]] = deque()
    with ThreadPoolExecutor(cores, "results") as pool:
        try:
            for piece in pieces:
                waiting.append((pool.submit(way, piece), piece))
                if len(waiting) > cores:
                    future, read = waiting.popleft()
                    yield future.result()
                    pieces.use_again(read)
            while waiting:
                yield waiting.popleft()[0].result()
        finally:
            for future, _ in waiting:
                future.cancel()


def _way(size: int) -> Scan:
    """How the next ``size`` bytes are taken apart."""
    _Given.size += size
    if not loaded() and (_Given.size < WORTH_LOADING or (_Given.size < WORTH_COMPILING and not kept())):
        return _scan_piece
    try:
        loops()
    except Unavailable:  # numba is not to be had for every Python at once: slower, and the same
        return _scan_piece
    from consumer.formats.datalines_compiled import scan_piece

    return scan_piece


class _Given:
    """What this process has been given to take apart, in bytes, by either way."""

    size = 0


class _Pieces:
    """The file in pieces that end with a line. Where they are cut depends on its bytes alone."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream = cast("BufferedIOBase", stream)
        self._most = most  # bytes to read at once
        self._free: list[bytearray] = []

    def use_again(self, piece: Piece) -> None:
        """Nobody needs the piece's bytes any more: fresh memory costs a page fault for every 4 KiB."""
        self._free.append(piece.buffer)

    def __iter__(self) -> Iterator[Piece]:
        rest, end = b"", 0
        while True:
            buffer = self._free.pop() if self._free else bytearray()
            if len(buffer) < len(rest) + self._most + PADDING:
                buffer = bytearray(len(rest) + self._most + PADDING + _SPARE)
            buffer[: len(rest)] = rest
            size = len(rest) + self._fill(memoryview(buffer)[len(rest) : len(rest) + self._most])
            end += size - len(rest)
            if size == len(rest):
                break
            cut = buffer.rfind(b"\n", len(rest), size) + 1
            if not cut and size < LONGEST_LINE:
                rest = bytes(buffer[:size])
                continue
            cut = cut or size
            rest = bytes(buffer[cut:size])
            buffer[cut : cut + PADDING] = bytes(PADDING)
            yield Piece(buffer, cut, end - len(rest))
        if rest:
            buffer[size : size + PADDING] = bytes(PADDING)
            yield Piece(buffer, size, end)

    def _fill(self, room: memoryview) -> int:
        """Read until there is no room, or nothing more; streams may give less than they are asked for."""
        done = 0
        while done < len(room):
            count = self._stream.readinto(room[done:])
            if not count:
                break
            done += count
        return done


def _scan_piece(piece: Piece) -> Block:
    return scan(bytes(piece.data), piece.end)


def scan(data: bytes, end: int) -> Block:
    """Take whole lines apart, in plain Python."""
    ids: list[int] = []
    widths: list[int] = []
    columns: tuple[list[float], list[float], list[float]] = ([], [], [])
    others: list[OtherLine] = []
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    odd = any(mark in data for mark in _ODD)
    for number, line in enumerate(lines):
        if not _tells(line):
            continue
        parts = line.split()
        if not _is_data(line, parts) or (odd and any(mark in line.removesuffix(b"\r") for mark in _ODD)):
            others.append(OtherLine(len(ids), number, line))
            continue
        try:
            values = [_number(part) for part in parts[1:]]
        except ValueError:
            others.append(OtherLine(len(ids), number, line))
            continue
        ids.append(int(parts[0]))
        widths.append(len(values))
        for column, value in zip(columns, values + [0.0] * (MOST_COLUMNS - len(values)), strict=True):
            column.append(value)
    a, b, c = (np.array(column, np.float64) for column in columns)
    return Block(np.array(ids, np.int32), np.array(widths, np.int8), (a, b, c), others, len(lines), data, end)


def _number(part: bytes) -> float:
    """A number that the compiled way tells as well.

    Raises:
        ValueError: it is none, or one that is left to `consumer.formats.omnetpp_tokens.number`.
    """
    if len(part) > _EASY_LENGTH or part.strip(b"+-.0123456789"):
        found = _NUMBER.fullmatch(part)
        if not found:
            raise ValueError
        whole, fraction, exponent = (found[group] or b"" for group in (1, 2, 3))
        power = exponent.lstrip(b"+-").lstrip(b"0")[:4] or b"0"  # so few that int() never sees thousands of digits
        shift = (-int(power) if exponent.startswith(b"-") else int(power)) - len(fraction)
        if len(whole) + len(fraction) > MOST_DIGITS or abs(shift) > MOST_EXPONENT:
            raise ValueError
    return float(part)


def _tells(line: bytes) -> bool:
    """Whether it is neither blank nor a comment."""
    text = line.strip(b" \t\r")
    return bool(text) and not text.startswith(b"#")


def _is_data(line: bytes, parts: list[bytes]) -> bool:
    return (
        bool(parts)
        and parts[0].isdigit()
        and 2 <= len(parts) <= MOST_COLUMNS + 1
        and len(parts[0]) <= len(str(LARGEST_ID))
        and int(parts[0]) <= LARGEST_ID
        and b"_" not in line  # which Python's own numbers may hold
    )
