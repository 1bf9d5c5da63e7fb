"""The parts of a zip archive that lead to its files, read with care: whoever made it may mean harm.

Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, whose sections are named below.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

PIECE = 256 * 1024
LONGEST_PATH = 1000  # characters; what is longer is cut, so that a page stays small
LONGEST_COMMENT = 0xFFFF

END = struct.Struct("<4s4H2LH")  # 4.3.16
END_64_LOCATOR = struct.Struct("<4sLQL")  # 4.3.15
END_64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
CENTRAL = struct.Struct("<4s6H3L5H2L")  # 4.3.12
LOCAL = struct.Struct("<4s5H3L2H")  # 4.3.7

FIELD = struct.Struct("<2H")  # 4.5.1

STORED, DEFLATED = 0, 8
ENCRYPTED, UTF8 = 0x1, 0x800
ZIP64 = 0x1
IN_ZIP64 = 0xFFFFFFFF
UNIX = 3
METHODS = {1: "shrink", 6: "implode", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 98: "PPMd"}


class NoArchive(Exception):
    """The file is no zip archive."""


class Broken(Exception):
    """The archive, or one file in it, is not as it should be; the text is a sentence for people."""


@dataclass(frozen=True, slots=True)
class Directory:
    """Where the list of files lies.

    Args:
        offset: of its first byte.
        size: bytes.
        count: of files, as the archive says.
        shift: bytes before the archive's begin, such as a program that unpacks it; stated offsets do not count them.
    """

    offset: int
    size: int
    count: int
    shift: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What the list says of one file or folder.

    Args:
        path: for people, and to ask for it; folders end with a slash. No empty or "." part, nothing unprintable.
        raw_name: the name's bytes.
        size: bytes, unpacked.
        packed: bytes in the archive.
        begin: offset of its own header in the file.
        modified: in an unknown time zone; None: not said.
        odd: a sentence on what is strange about it, or nothing.
    """

    path: str
    raw_name: bytes
    size: int
    packed: int
    begin: int
    method: int
    flags: int
    crc: int
    modified: datetime | None
    odd: str

    @property
    def is_folder(self) -> bool:
        """A folder that is listed by itself."""
        return self.path.endswith("/")

    @property
    def name(self) -> str:
        """The last part of its path."""
        return PurePosixPath(self.path).name

    @property
    def refused(self) -> str:
        """Why it cannot be taken out here, in a sentence; empty: it can."""
        if self.flags & ENCRYPTED:
            return "It is encrypted; download the whole archive and unpack it with its password."
        if self.method not in {STORED, DEFLATED}:
            method = METHODS.get(self.method, f"number {self.method}")
            return f"It is packed by a method that cannot be unpacked here ({method}); download the whole archive."
        return ""


def find_directory(handle: int) -> Directory:
    """The list of files of an open file.

    Raises:
        NoArchive: it has none.
        Broken: it has one that cannot be used.
    """
    size = os.fstat(handle).st_size
    tail = min(size, END.size + LONGEST_COMMENT)
    end = os.pread(handle, tail, size - tail)
    at = _end_record(end)
    if at < 0:
        raise NoArchive
    _, disk, _, _, count, length, offset, _ = END.unpack_from(end, at)
    at += size - tail
    located = os.pread(handle, END_64_LOCATOR.size, at - END_64_LOCATOR.size) if at >= END_64_LOCATOR.size else b""
    if located.startswith(b"PK\x06\x07"):
        at, count, length, offset = _zip64(handle, located, at - END_64_LOCATOR.size)
    elif disk not in {0, 0xFFFF}:
        raise Broken("It is one part of an archive in several parts.")
    shift = at - length - offset
    if shift < 0:
        raise Broken("The archive is damaged: it ends before its list of files does.")
    return Directory(offset + shift, length, count, shift)


def _end_record(end: bytes) -> int:
    """The last one whose comment reaches the file's end, else the last one whose comment was cut."""
    at = found = end.rfind(b"PK\x05\x06", 0, max(0, len(end) - END.size + 4))
    while at >= 0:
        if at + END.size + END.unpack_from(end, at)[7] == len(end):
            return at
        at = end.rfind(b"PK\x05\x06", 0, at)
    return found


def _zip64(handle: int, located: bytes, before: int) -> tuple[int, int, int, int]:
    """Begin of the record, number of files, and the list's length and offset."""
    stated = END_64_LOCATOR.unpack(located)[2]
    # Bytes before the archive move it; then it lies right before its locator.
    for at in (stated, before - END_64.size):
        record = os.pread(handle, END_64.size, at) if 0 <= at <= before - END_64.size else b""
        if len(record) == END_64.size and record.startswith(b"PK\x06\x06"):
            *_, count, length, offset = END_64.unpack(record)
            return at, count, length, offset
    raise Broken("The archive is damaged: its zip64 record is missing.")


def entries(handle: int, directory: Directory) -> Iterator[tuple[int, Entry]]:
    """Each file with the offset of its line in the list, which is read piece by piece.

    Raises:
        Broken: on the first line that is none.
    """
    at, end = directory.offset, directory.offset + directory.size
    held, begin = b"", at
    while at < end:
        if at + CENTRAL.size + 3 * 0xFFFF > begin + len(held) and begin + len(held) < end:
            held, begin = os.pread(handle, min(PIECE + CENTRAL.size + 3 * 0xFFFF, end - at), at), at
        entry, length = _entry(held, at - begin, directory.shift)
        yield at, entry
        at += length


def entry_at(handle: int, at: int, shift: int) -> Entry:
    """The file whose line in the list begins at an offset."""
    line = os.pread(handle, CENTRAL.size + 1024, at)
    try:
        return _entry(line, 0, shift)[0]
    except Broken:  # a line that is longer than usual, if it is one
        return _entry(os.pread(handle, CENTRAL.size + 3 * 0xFFFF, at), 0, shift)[0]


def _entry(held: bytes, at: int, shift: int) -> tuple[Entry, int]:
    if len(held) - at < CENTRAL.size or held[at : at + 4] != b"PK\x01\x02":
        raise Broken("The archive's list of files is damaged.")
    (_, maker, _, flags, method, clock, date, crc, packed, size, n, e, c, _, _, attributes, begin) = (
        CENTRAL.unpack_from(held, at)
    )
    names = at + CENTRAL.size
    if len(held) < names + n + e:
        raise Broken("The archive's list of files is damaged.")
    raw_name = held[names : names + n]
    if IN_ZIP64 in {size, packed, begin}:
        size, packed, begin = _large(held[names + n : names + n + e], size, packed, begin)
    path, odd = _path(raw_name)
    if maker >> 8 == UNIX and stat.S_ISLNK(attributes >> 16):
        odd = "It is a symbolic link; its content is where it leads to."
    entry = Entry(path, raw_name, size, packed, begin + shift, method, flags, crc, _time(date, clock), odd)
    return entry, CENTRAL.size + n + e + c


def _large(extra: bytes, size: int, packed: int, begin: int) -> tuple[int, int, int]:
    """Values that did not fit into 32 bits (4.5.3)."""
    while len(extra) >= FIELD.size:
        kind, length = FIELD.unpack_from(extra)
        if kind == ZIP64:
            field = extra[FIELD.size : FIELD.size + length]
            values = [value for (value,) in struct.iter_unpack("<Q", field[: len(field) // 8 * 8])]
            stated = [size, packed, begin]
            for number, value in enumerate(stated):
                if value == IN_ZIP64 and values:
                    stated[number] = values.pop(0)
            return stated[0], stated[1], stated[2]
        extra = extra[FIELD.size + length :]
    return size, packed, begin


def _path(raw: bytes) -> tuple[str, str]:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("cp437")  # Appendix D
    text = text.replace("\\", "/")
    parts = [part for part in text.split("/") if part not in {"", "."}]
    path, odd = "/".join(parts), ""
    if text.startswith("/") or ".." in parts or (parts and parts[0][1:] == ":"):
        odd = "Its name leads out of the folder that the archive is unpacked into."
    if not path.isprintable():
        path = "".join(c if c.isprintable() else "\ufffd" for c in path)
        odd = odd or "Its name holds characters that cannot be shown."
    if len(path) > LONGEST_PATH:
        path, odd = path[:LONGEST_PATH] + "…", odd or "Its name is longer than can be shown."
    if not path:
        path, odd = "\ufffd", odd or "It has no name."
    return path + "/" * text.endswith("/"), odd


def _time(date: int, clock: int) -> datetime | None:
    """4.4.6."""
    try:
        return datetime(  # noqa: DTZ001 - the format knows no zone
            1980 + (date >> 9), date >> 5 & 15, date & 31, clock >> 11, clock >> 5 & 63, 2 * (clock & 31)
        )
    except ValueError:
        return None
