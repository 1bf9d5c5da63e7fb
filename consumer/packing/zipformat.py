"""The records of a zip file, for an archive that can only be written forward.

Source: APPNOTE.TXT 6.3.10 (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT), sections 4.3 and 4.5; the time
stamp 0x5455 is that of Info-ZIP (proginfo/extrafld.txt). Names are UTF-8 (general purpose bit 11).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

STORED = 0
DEFLATED = 8

MOST_32 = 0xFFFF_FFFF
MOST_16 = 0xFFFF
UTF_8 = 1 << 11
HAS_DESCRIPTOR = 1 << 3
NEEDS = 20  # version of the format: deflate, folders
NEEDS_ZIP64 = 45
MADE_ON_UNIX = 3 << 8  # whatever we run on, so that the bytes are the same; names keep their backslashes
REGULAR_FILE = 0o100644 << 16
EARLIEST = (1980, 1, 1, 0, 0, 0)
LATEST = (2107, 12, 31, 23, 59, 58)

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LENGTHS = struct.Struct("<2H")  # of name and extra field
_LENGTHS_AT = 28
_END_64 = struct.Struct("<4sQ2H2I4Q")
_END_64_LOCATOR = struct.Struct("<4sIQI")
_END = struct.Struct("<4s4H2IH")


@dataclass(frozen=True, slots=True)
class Member:
    """What the records of one member say.

    Args:
        name: as UTF-8.
        method: `STORED` or `DEFLATED`.
        mtime_ns: since the epoch.
        size, packed, crc: bytes, bytes within the archive, CRC-32 of the bytes.
        streamed: the local header was written before these three were known: they follow the data.
        zip64: sizes take eight bytes. Fixed before the local header, so it goes by what the size may become.
    """

    name: bytes
    method: int
    mtime_ns: int
    size: int = 0
    packed: int = 0
    crc: int = 0
    streamed: bool = False
    zip64: bool = False


def local_header(member: Member) -> bytes:
    """What stands before a member's data."""
    size, packed, crc = (0, 0, 0) if member.streamed else (member.size, member.packed, member.crc)
    extra = _time_extra(member.mtime_ns)
    if member.zip64:
        extra = struct.pack("<2H2Q", 1, 16, size, packed) + extra
        size = packed = MOST_32
    fixed = _LOCAL.pack(
        b"PK\x03\x04", *_common(member), crc, packed, size, len(member.name), len(extra)
    )  # fmt: skip
    return fixed + member.name + extra


def descriptor(member: Member) -> bytes:
    """What follows a streamed member's data."""
    return struct.pack("<4sI2Q" if member.zip64 else "<4s3I", b"PK\x07\x08", member.crc, member.packed, member.size)


def central_record(member: Member, offset: int) -> bytes:
    """A member's record in the central directory; ``offset`` is that of its local header."""
    large = [member.size, member.packed] if member.zip64 else []
    size, packed = (MOST_32, MOST_32) if member.zip64 else (member.size, member.packed)
    if offset >= MOST_32:
        large.append(offset)
        offset = MOST_32
    extra = struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    extra += _time_extra(member.mtime_ns)
    needs, *rest = _common(member)
    needs = NEEDS_ZIP64 if large else needs
    fixed = _CENTRAL.pack(
        b"PK\x01\x02", MADE_ON_UNIX | NEEDS_ZIP64, needs, *rest, member.crc, packed, size,
        len(member.name), len(extra), 0, 0, 0, REGULAR_FILE, offset,
    )  # fmt: skip
    return fixed + member.name + extra


def end_records(count: int, offset: int, size: int) -> bytes:
    """What stands at the end: ``count`` records in a central directory of ``size`` bytes at ``offset``."""
    end_64 = b""
    if count >= MOST_16 or offset >= MOST_32 or size >= MOST_32:
        version = MADE_ON_UNIX | NEEDS_ZIP64
        end_64 = _END_64.pack(b"PK\x06\x06", 44, version, NEEDS_ZIP64, 0, 0, count, count, size, offset)
        end_64 += _END_64_LOCATOR.pack(b"PK\x06\x07", 0, offset + size, 1)
    few, near, small = min(count, MOST_16), min(offset, MOST_32), min(size, MOST_32)
    return end_64 + _END.pack(b"PK\x05\x06", 0, 0, few, few, small, near, 0)


def names(central: bytearray) -> Iterator[str]:
    """The names in a central directory of ours, in its order."""
    at = 0
    while at < len(central):
        name, extra = _LENGTHS.unpack_from(central, at + _LENGTHS_AT)
        at += _CENTRAL.size
        yield central[at : at + name].decode()
        at += name + extra


def most_bytes(name: bytes) -> int:
    """An upper bound of what all records of a member take together."""
    extras = (4 + 16 + 9) + (4 + 24 + 9)
    return _LOCAL.size + _CENTRAL.size + 2 * len(name) + extras + 24


def most_bytes_at_the_end() -> int:
    """An upper bound of what `end_records` gives."""
    return _END_64.size + _END_64_LOCATOR.size + _END.size


def _common(member: Member) -> tuple[int, int, int, int, int]:
    """What local header and central record share: version needed, flags, method, time, date."""
    time_of_day, date = _dos(member.mtime_ns // 1_000_000_000)
    return (
        NEEDS_ZIP64 if member.zip64 else NEEDS,
        UTF_8 | (HAS_DESCRIPTOR if member.streamed else 0),
        member.method,
        time_of_day,
        date,
    )


@lru_cache(maxsize=256)
def _dos(seconds: int) -> tuple[int, int]:
    """Time and date as a zip has them, which knows no zone: UTC, so that the bytes do not depend on the worker's."""
    try:
        moment = min(max(time.gmtime(seconds)[:6], EARLIEST), LATEST)
    except (OverflowError, OSError, ValueError):
        moment = LATEST if seconds > 0 else EARLIEST
    year, month, day, hour, minute, second = moment
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day


def _time_extra(mtime_ns: int) -> bytes:
    """Seconds since the epoch, in UTC; nothing where 32 bits do not hold them (before 1901, after 2038)."""
    seconds = mtime_ns // 1_000_000_000
    if not -(1 << 31) <= seconds < 1 << 31:
        return b""
    return struct.pack("<2HBi", 0x5455, 5, 1, seconds)
