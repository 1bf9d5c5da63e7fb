"""Deflate in blocks that know nothing of one another, so that each can be made on a thread of its own.

Blocks of one member, joined, are one raw deflate stream (RFC 1951): all but the last end with a sync flush, that is on
a byte's border. Both libraries release the GIL. `fast` is ISA-L (zlib-ng below 64 KiB), `small` zlib-ng;
docs/adr/0011-packing.md has the measured reasons for these levels.
"""

from __future__ import annotations

import struct
from typing import Literal, get_args

from isal import isal_zlib
from zlib_ng import zlib_ng

Bytes = bytes | bytearray | memoryview
Compression = Literal["fast", "small"]
COMPRESSIONS: tuple[Compression, ...] = get_args(Compression)

BLOCK = 1024 * 1024
# The levels below are up to six times as fast where text repeats itself, no faster on numbers, and make other bytes
# of the same block once in 20,000 to 60,000 times, depending on where things lie in memory (isal 1.9.1 with AVX-512).
FAST_LEVEL = 3
FAST_LEAST = 64 * 1024  # bytes; less is left to zlib-ng
# Of the blocks of a member, in turn: level 7 alone is twice as slow as 5, and 5 alone larger than `zip -6`.
SMALL_LEVELS = (7, 5, 5, 5)
RAW = -15  # a window of 32 KiB, without zlib's header
STORED_MOST = 65535  # bytes in one stored block of deflate
STORED_COST = 5
WORTH_IT = 0.97  # samples that do not even get this small are stored


def deflate(data: Bytes, compression: Compression, number: int, *, last: bool) -> list[bytes]:
    """One block of a stream, in pieces; together never longer than `most_bytes`.

    Args:
        number: of the block within its member, from 0.
        last: whether the stream ends with it.
    """
    if compression == "fast" and len(data) >= FAST_LEAST:
        fast = isal_zlib.compressobj(FAST_LEVEL, isal_zlib.DEFLATED, RAW)
        packed = [fast.compress(data), fast.flush(isal_zlib.Z_FINISH if last else isal_zlib.Z_SYNC_FLUSH)]
    else:
        level = SMALL_LEVELS[number % len(SMALL_LEVELS)] if compression == "small" else SMALL_LEVELS[-1]
        small = zlib_ng.compressobj(level, zlib_ng.DEFLATED, RAW)
        packed = [small.compress(data), small.flush(zlib_ng.Z_FINISH if last else zlib_ng.Z_SYNC_FLUSH)]
    return packed if sum(map(len, packed)) <= most_bytes(len(data)) else _as_it_is(data, last=last)


def most_bytes(size: int) -> int:
    """The most that one block of ``size`` bytes takes, within a stream."""
    return size + STORED_COST * max(1, -(-size // STORED_MOST))


def worth_deflating(samples: Bytes) -> bool:
    """False for what is compressed or encrypted already."""
    return sum(map(len, deflate(samples, "fast", 0, last=True))) < WORTH_IT * len(samples)


def crc32(data: Bytes, value: int = 0) -> int:
    """CRC-32 of a zip, going on from ``value``."""
    return isal_zlib.crc32(data, value)


def join_crc32(first: int, second: int, length: int) -> int:
    """CRC-32 of two pieces in a row; the second one has ``length`` bytes."""
    return isal_zlib.crc32_combine(first, second, length)


def _as_it_is(data: Bytes, *, last: bool) -> list[bytes]:
    """Stored blocks (RFC 1951, 3.2.4)."""
    pieces: list[bytes] = []
    for start in range(0, len(data), STORED_MOST):
        piece = data[start : start + STORED_MOST]
        final = last and start + len(piece) == len(data)
        pieces += [struct.pack("<B2H", final, len(piece), len(piece) ^ 0xFFFF), bytes(piece)]
    return pieces
