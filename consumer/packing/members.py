"""What threads make of files: members, or blocks of members, ready to be written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from consumer.packing import zipformat
from consumer.packing.deflate import BLOCK, Bytes, Compression, crc32, deflate, worth_deflating
from consumer.packing.sources import contents
from consumer.packing.zipformat import DEFLATED, STORED, Member
from consumer.snapshot import SourceFile

SAMPLES = 16
SAMPLE_BYTES = 4096
PROBE_FROM = 4 * SAMPLES * SAMPLE_BYTES  # bytes; what is smaller is deflated to see


@dataclass(frozen=True, slots=True)
class Whole:
    """A member of one block: the bytes of local header and data, and the SHA-256 of the member's own bytes."""

    member: Member
    header: bytes
    packed: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a longer member: its bytes, what is written of them, and their CRC-32."""

    raw: Bytes
    packed: list[bytes]
    crc: int


def whole(name: bytes, mtime_ns: int, data: Bytes, compression: Compression) -> Whole:
    """Pack a member that is no longer than a block."""
    packed, method = bytes(data), STORED
    if len(data) < PROBE_FROM or worth_deflating(samples(data)):
        deflated = b"".join(deflate(data, compression, 0, last=True))
        if len(deflated) < len(data):
            packed, method = deflated, DEFLATED
    member = Member(name, method, mtime_ns, len(data), len(packed), crc32(data))
    return Whole(member, zipformat.local_header(member), packed, hashlib.sha256(data).digest())


def small_files(files: Sequence[SourceFile], compression: Compression) -> list[Whole]:
    """Pack files of at most a block each.

    Raises:
        TransientError: one of them changed since the snapshot.
        OSError: one of them cannot be read.
    """
    return [
        whole(file.name.encode(), file.mtime_ns, data, compression)
        for file, data in zip(files, contents(files), strict=True)
    ]


def block(read: Callable[[], Bytes], method: int, compression: Compression, number: int, *, last: bool) -> Block:
    """Pack a piece of a longer member: its ``number`` counts from 0."""
    raw = read()
    packed = deflate(raw, compression, number, last=last) if method == DEFLATED else [bytes(raw)]
    return Block(raw, packed, crc32(raw))


def blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks, all of them full but the last."""
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        while len(waiting) >= BLOCK:
            yield bytes(memoryview(waiting)[:BLOCK])
            del waiting[:BLOCK]
    if waiting:
        yield bytes(waiting)


def sample_offsets(size: int) -> Iterator[int]:
    """Where samples begin that come from all over ``size`` bytes."""
    return (number * (size // SAMPLES) for number in range(SAMPLES))


def samples(data: Bytes) -> bytes:
    """Some kilobytes from all over ``data``."""
    return b"".join(data[offset : offset + SAMPLE_BYTES] for offset in sample_offsets(len(data)))
