"""A snapshot of a results folder: which files are meant, as they were when it was taken."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

_NUMBERS = struct.Struct("<Qq2Q")  # size, mtime, device, inode


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A regular file as it was when the snapshot was taken.

    Args:
        name: its path within the results folder, with ``/``, as the archive names it.
        place: where it is, links resolved.
        size: bytes; ``mtime_ns`` since the epoch; ``device`` and ``inode`` tell it from a file put in its place.
    """

    name: str
    place: str
    size: int
    mtime_ns: int
    device: int
    inode: int

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.place)


class SourceFiles(Sequence[SourceFile]):
    """Files by name, in about 75 bytes and their name each: a folder may hold a hundred thousand of them.

    Args:
        folder: the results folder, links resolved.
        files: in any order.
    """

    def __init__(self, folder: str, files: Iterable[SourceFile]) -> None:
        self._folder = folder
        self._records: list[bytes] = []
        self.size = 0
        """Bytes of all files together."""
        for file in files:
            self._records.append(self._record(file))
            self.size += file.size
        self._records.sort()  # by name: the zero byte behind it is smaller than any letter

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[SourceFile]:
        return map(self._file, self._records)

    @overload
    def __getitem__(self, index: int) -> SourceFile: ...
    @overload
    def __getitem__(self, index: slice) -> list[SourceFile]: ...
    def __getitem__(self, index: int | slice) -> SourceFile | list[SourceFile]:
        if isinstance(index, slice):
            return [self._file(record) for record in self._records[index]]
        return self._file(self._records[index])

    def _record(self, file: SourceFile) -> bytes:
        """Name, zero byte, numbers, and the place where the name does not tell it."""
        numbers = _NUMBERS.pack(file.size, file.mtime_ns, file.device, file.inode)
        place = b"" if file.place == f"{self._folder}/{file.name}" else os.fsencode(file.place)
        return file.name.encode() + b"\0" + numbers + place

    def _file(self, record: bytes) -> SourceFile:
        end = record.index(0)
        name = record[:end].decode()
        place = os.fsdecode(record[end + 1 + _NUMBERS.size :]) or f"{self._folder}/{name}"
        return SourceFile(name, place, *_NUMBERS.unpack_from(record, end + 1))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files to be packed, by name, and a sentence for each entry that is left out."""

    files: SourceFiles
    left_out: tuple[str, ...]
