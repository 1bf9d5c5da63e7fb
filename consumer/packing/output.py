"""The archive's bytes, in order and never changed afterwards, with what the central directory needs of them."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from operator import itemgetter
from typing import BinaryIO, Protocol

from consumer.packing import zipformat
from consumer.packing.deflate import join_crc32
from consumer.packing.members import Block, Whole
from consumer.packing.zipformat import Member

PIECE = 1024 * 1024
DIGEST = 32  # bytes of a SHA-256
MARK = 8 * 1024 * 1024  # bytes between places whose digest is kept


class Sink(Protocol):
    """Where an archive's bytes go."""

    def write(self, data: bytes, /) -> object:
        """Take all of ``data``."""


class Output:
    """An archive that is being written.

    It keeps, for each member, its record of the central directory (some 60 bytes and its name) and its SHA-256.

    Args:
        sink: gets the bytes.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._sha256 = hashlib.sha256()
        self._central = bytearray()
        self._digests = bytearray()
        self._marks = [(0, hashlib.sha256())]
        self.size = 0
        """Bytes written."""

    @property
    def members(self) -> int:
        """How many are written."""
        return len(self._digests) // DIGEST

    @property
    def sha256(self) -> str:
        """Digest of the bytes written, lower-case hex."""
        return self._sha256.hexdigest()

    def write(self, data: bytes) -> None:
        """Go on."""
        self._sink.write(data)
        self._sha256.update(data)
        self.size += len(data)
        if self.size >= self._marks[-1][0] + MARK:
            self._marks.append((self.size, self._sha256.copy()))

    def prefix_sha256(self, reader: BinaryIO, size: int) -> str:
        """Digest of the first ``size`` bytes, lower-case hex; another thread may be writing what follows.

        Args:
            reader: of the bytes written, seekable.
        """
        marked, digest = self._marks[bisect_right(self._marks, size, key=itemgetter(0)) - 1]
        digest = digest.copy()
        reader.seek(marked)
        while marked < size:
            piece = reader.read(min(PIECE, size - marked))
            if not piece:
                raise ValueError(f"{size} bytes are not there yet.")
            digest.update(piece)
            marked += len(piece)
        return digest.hexdigest()

    def write_whole(self, complete: Iterable[Whole]) -> None:
        """Write members that are complete, at once."""
        offset = self.size
        pieces: list[bytes] = []
        for one in complete:
            pieces += (one.header, one.packed)
            self.note(one.member, offset, one.digest)
            offset += len(one.header) + len(one.packed)
        self.write(b"".join(pieces))

    def note(self, member: Member, offset: int, digest: bytes) -> None:
        """Remember a member that is written."""
        self._central += zipformat.central_record(member, offset)
        self._digests += digest

    def digests(self) -> Iterator[tuple[str, str]]:
        """Name and SHA-256 (lower-case hex) of all members written so far, in their order."""
        names = islice(zipformat.names(self._central), self.members)
        return (
            (name, self._digests[number * DIGEST : (number + 1) * DIGEST].hex()) for number, name in enumerate(names)
        )

    def finish(self) -> None:
        """Write the central directory."""
        end = zipformat.end_records(self.members, self.size, len(self._central))
        for start in range(0, len(self._central), PIECE):
            self.write(bytes(self._central[start : start + PIECE]))
        self.write(end)


class Stream:
    """A member of several blocks: what is not known before its data follows it.

    Args:
        member: name, method, time stamp, and whether it may need zip64.
    """

    def __init__(self, output: Output, member: Member) -> None:
        self._output = output
        self._member = replace(member, streamed=True)
        self._sha256 = hashlib.sha256()
        self._offset: int | None = None

    def add(self, block: Block) -> None:
        """Write the next block."""
        member = self._member
        if self._offset is None:
            self._offset = self._output.size
            self._output.write(zipformat.local_header(member))
        for piece in block.packed:
            self._output.write(piece)
        self._sha256.update(block.raw)
        self._member = replace(
            member,
            size=member.size + len(block.raw),
            packed=member.packed + sum(map(len, block.packed)),
            crc=join_crc32(member.crc, block.crc, len(block.raw)),
        )

    def end(self) -> None:
        """After the last block."""
        assert self._offset is not None
        self._output.write(zipformat.descriptor(self._member))
        self._output.note(self._member, self._offset, self._sha256.digest())
