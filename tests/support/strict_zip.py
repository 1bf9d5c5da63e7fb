"""A strict reader of zip files: every byte is accounted for, and what is said twice is said alike.

Written from APPNOTE.TXT 6.3.10, and not with the packer's own records.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

PIECE = 1024 * 1024


@dataclass(frozen=True)
class Entry:
    name: str
    method: int
    size: int
    packed: int
    crc: int
    offset: int
    mtime: int | None
    zip64: bool
    streamed: bool


class NotStrict(Exception):
    """What is wrong with the file."""


def check(condition: object, what: str) -> None:
    if not condition:
        raise NotStrict(what)


def read(path: Path, *, inflate: bool = True) -> list[Entry]:
    """The entries of an archive that is in order.

    Raises:
        NotStrict: it is not.
    """
    with path.open("rb") as stream:
        size = path.stat().st_size
        count, start, length, end = _end(stream, size)
        check(start + length == end, "a gap before the end records")
        stream.seek(start)
        entries = _central(stream.read(length), count)
        at = 0
        for entry in entries:
            check(entry.offset == at, f"a gap before {entry.name!r}")
            at = _member(stream, entry, inflate=inflate)
        check(at == start, "a gap before the central directory")
    return entries


def _end(stream: BinaryIO, size: int) -> tuple[int, int, int, int]:
    """Count, offset and length of the central directory; where the end records begin."""
    stream.seek(size - 22)
    magic, disk, first, here, count, length, start, comment = struct.unpack("<4s4H2IH", stream.read(22))
    check(magic == b"PK\x05\x06" and (disk, first, comment) == (0, 0, 0), "no end record")
    check(here == count, "counts differ")
    if (count, length, start) != (min(count, 0xFFFE), min(length, 0xFFFFFFFE), min(start, 0xFFFFFFFE)):
        stream.seek(size - 22 - 20)
        magic, disk, at, disks = struct.unpack("<4sIQI", stream.read(20))
        check(magic == b"PK\x06\x07" and (disk, disks) == (0, 1), "no locator")
        check(at == size - 22 - 20 - 56, "a gap after the zip64 end record")
        stream.seek(at)
        fields = struct.unpack("<4sQ2H2I4Q", stream.read(56))
        check(fields[:2] == (b"PK\x06\x06", 44) and fields[4:6] == (0, 0), "no zip64 end record")
        for short, long, most in (
            (count, fields[7], 0xFFFF),
            (length, fields[8], 0xFFFFFFFF),
            (start, fields[9], 0xFFFFFFFF),
        ):
            check(short == min(long, most), "the end records differ")
        check(fields[6] == fields[7], "counts differ")
        return fields[7], fields[9], fields[8], at
    return count, start, length, size - 22


def _central(data: bytes, count: int) -> list[Entry]:
    entries, at = [], 0
    while at < len(data):
        fields = struct.unpack_from("<4s6H3I5H2I", data, at)
        magic, _, _, flags, method, time, date, crc, packed, size, name, extra, comment, disk, _, _, offset = fields
        check(magic == b"PK\x01\x02" and (comment, disk) == (0, 0), "no central record")
        check(flags & ~(1 << 3 | 1 << 11) == 0 and flags & 1 << 11, "flags")
        at += 46
        raw, extras = data[at : at + name], _extras(data[at + name : at + name + extra])
        at += name + extra
        wide = extras.get(1, b"")
        longs = list(struct.unpack(f"<{len(wide) // 8}Q", wide))
        zip64 = size == 0xFFFFFFFF
        size = longs.pop(0) if size == 0xFFFFFFFF else size
        packed = longs.pop(0) if packed == 0xFFFFFFFF else packed
        offset = longs.pop(0) if offset == 0xFFFFFFFF else offset
        check(not longs, "zip64 fields that nobody asked for")
        check(date >> 5 & 15 in range(1, 13) and date & 31 in range(1, 32) and time & 31 < 30, "no date")
        mtime = struct.unpack("<Bi", extras[0x5455])[1] if 0x5455 in extras else None
        streamed = bool(flags & 1 << 3)
        entries.append(Entry(raw.decode(), method, size, packed, crc, offset, mtime, zip64, streamed))
    check(len(entries) == count, "another count than told")
    check(len({entry.name for entry in entries}) == count, "a name twice")
    return entries


def _extras(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(data):
        tag, length = struct.unpack_from("<2H", data, at)
        check(tag not in found and at + 4 + length <= len(data), "extra fields")
        found[tag] = data[at + 4 : at + 4 + length]
        at += 4 + length
    return found


def _member(stream: BinaryIO, entry: Entry, *, inflate: bool) -> int:
    """Compare the local header and the descriptor with the central record; where the next one begins."""
    stream.seek(entry.offset)
    header = struct.unpack("<4s5H3I2H", stream.read(30))
    magic, needs, flags, method, _, _, crc, packed, size, name, extra = header
    check(magic == b"PK\x03\x04" and method == entry.method, f"local header of {entry.name!r}")
    check(stream.read(name).decode() == entry.name, "the names differ")
    extras = _extras(stream.read(extra))
    zip64 = 1 in extras
    check(zip64 == entry.zip64 and bool(flags & 1 << 3) == entry.streamed, "local header and central record differ")
    check(needs == (45 if zip64 else 20), "version needed")
    if zip64:
        check((size, packed) == (0xFFFFFFFF, 0xFFFFFFFF), "sizes beside zip64 fields")
        size, packed = struct.unpack("<2Q", extras[1])
    told = (0, 0, 0) if entry.streamed else (entry.size, entry.packed, entry.crc)
    check((size, packed, crc) == told, f"sizes of {entry.name!r} differ")
    mtime = struct.unpack("<Bi", extras[0x5455])[1] if 0x5455 in extras else None
    check(mtime == entry.mtime, "time stamps differ")
    if inflate:
        _data(stream, entry)
    else:
        stream.seek(entry.packed, 1)
    if entry.streamed:
        form = "<4sI2Q" if zip64 else "<4s3I"
        check(
            struct.unpack(form, stream.read(struct.calcsize(form)))
            == (b"PK\x07\x08", entry.crc, entry.packed, entry.size),
            "the descriptor differs",
        )
    return stream.tell()


def _data(stream: BinaryIO, entry: Entry) -> None:
    inflater, left, size, crc = zlib.decompressobj(-15), entry.packed, 0, 0
    while left:
        piece = stream.read(min(PIECE, left))
        check(piece, "it ends early")
        left -= len(piece)
        check(entry.method in {0, 8}, "method")
        while piece:  # a piece of zeros may become a thousand times as large
            data = inflater.decompress(piece, 16 * PIECE) if entry.method == 8 else piece
            piece = inflater.unconsumed_tail
            size += len(data)
            crc = zlib.crc32(data, crc)
    if entry.method == 8:
        check(inflater.eof and not inflater.unused_data, "deflate ends elsewhere")
    check((size, crc) == (entry.size, entry.crc), f"the data of {entry.name!r} are others")
