"""A snapshot of a results folder: which files are meant, as they were when it was taken."""

from __future__ import annotations

import os
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, overload

from backends.errors import TransientError
from consumer.errors import NotNow, Undeliverable

CHANGED_AGAIN_SECONDS = 10.0
_NUMBERS = struct.Struct("<Qq2Q")  # size, mtime, device, inode


class Source(Protocol):
    """An open file of a snapshot; any number of threads may read it. Closing it again is fine.

    Attributes:
        in_order: it comes fastest from one end to the other, and by one thread.
    """

    in_order: bool

    def read(self, offset: int, into: memoryview) -> memoryview:
        """Fill ``into`` with the bytes from ``offset`` on.

        Raises:
            TransientError: there are fewer, or they cannot be had now.
            OSError: they cannot be read.
        """

    def read_all(self) -> bytes:
        """All bytes of a small file; raises as `read`, also where there are more of them."""

    def samples(self, offsets: Iterable[int], size: int) -> bytes:
        """Up to ``size`` bytes from each of ``offsets``, or as many from elsewhere."""

    def ensure_unchanged(self) -> None:
        """To be called after the last read; raises `TransientError` where this file is seen to have changed."""

    def close(self) -> None: ...


class Service(Protocol):
    """Opens files that are not on this machine.

    Attributes:
        at_once: how many small files are best asked for at a time by one thread.
    """

    at_once: int

    def source(self, file: SourceFile) -> Source: ...
    def stream(self, file: SourceFile) -> BinaryIO: ...


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A regular file as it was when the snapshot was taken.

    Args:
        name: its path within the results folder, with ``/``, as the archive names it.
        place: where it is, links resolved; on a service, as that names it.
        size: bytes; ``mtime_ns`` since the epoch, 0 where a service does not tell it.
        device, inode: tell it from a file put in its place; on a service, a digest of its version (ETag), or 0.
        service: where it is, if not on this machine.
    """

    name: str
    place: str
    size: int
    mtime_ns: int
    device: int
    inode: int
    service: Service | None = None

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.place)


class SourceFiles(Sequence[SourceFile]):
    """Files by name, in about 75 bytes and their name each: a folder may hold a hundred thousand of them.

    Args:
        folder: the results folder, links resolved.
        files: in any order.
        service: where all of them are, if not on this machine.
    """

    def __init__(self, folder: str, files: Iterable[SourceFile], service: Service | None = None) -> None:
        self._folder = folder
        self.service = service
        self._records: list[bytes] = []
        self.size = 0
        """Bytes of all files together."""
        self.newest: tuple[int, str] = (0, "")
        """Time stamp (ns) and name of the file that was written last, as far as it is known."""
        for file in files:
            self._records.append(self._record(file))
            self.size += file.size
            self.newest = max(self.newest, (file.mtime_ns, file.name))
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

    def changed(self, now: Iterable[SourceFile]) -> str | None:
        """What is different from the files that are there now, of one file: None, if nothing is."""
        seen = bytearray(len(self))
        for file in now:
            record = self._record(file)
            start = record[: record.index(0) + 1]
            index = bisect_left(self._records, start)
            if index == len(self) or not self._records[index].startswith(start):
                return f"The file {file.name} came"
            if self._records[index] != record:
                return f"The file {file.name} changed"
            seen[index] = True
        missing = seen.find(False)
        return f"The file {self[missing].name} vanished" if missing >= 0 else None

    def _record(self, file: SourceFile) -> bytes:
        """Name, zero byte, numbers, and the place where the name does not tell it."""
        numbers = _NUMBERS.pack(file.size, file.mtime_ns, file.device, file.inode)
        place = b"" if file.place == f"{self._folder}/{file.name}" else os.fsencode(file.place)
        return file.name.encode() + b"\0" + numbers + place

    def _file(self, record: bytes) -> SourceFile:
        end = record.index(0)
        name = record[:end].decode()
        place = os.fsdecode(record[end + 1 + _NUMBERS.size :]) or f"{self._folder}/{name}"
        size, mtime_ns, device, inode = _NUMBERS.unpack_from(record, end + 1)
        return SourceFile(name, place, size, mtime_ns, device, inode, self.service)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files to be packed, by name, and a sentence for each entry that is left out.

    Args:
        look: gives the files as they are now, and appends what is left out.
    """

    files: SourceFiles
    left_out: tuple[str, ...]
    look: Callable[[list[str]], Iterable[SourceFile]]

    def ensure_unchanged(self) -> None:
        """A second look, once every file has been read: what came, went or changed meanwhile makes half an archive.

        Raises:
            TransientError: something did.
            OSError: the folder cannot be looked at any more.
        """
        left_out: list[str] = []
        try:
            how = self.files.changed(self.look(left_out))
        except Undeliverable as error:  # it was there
            raise TransientError(str(error), CHANGED_AGAIN_SECONDS) from error
        if how is None and (odd := set(left_out) ^ set(self.left_out)):
            how = f"What is left out changed ({min(odd).rstrip('.')})"
        if how is not None:
            raise TransientError(f"{how} while the results were packed.", CHANGED_AGAIN_SECONDS)


def ensure_settled(snapshot: Snapshot, seconds: float, now: float) -> None:
    """Wait for results that somebody still writes.

    A time stamp from the future by more than ``seconds`` says nothing: a clock is wrong.

    Args:
        seconds: how old the newest file must be; 0: nothing is waited for.
        now: seconds since the epoch.

    Raises:
        NotNow: it is younger.
    """
    stamp, name = snapshot.files.newest
    age = now - stamp / 1e9
    if abs(age) < seconds:
        ago = f"{age:.0f} s ago" if age >= 1 else "just now"
        raise NotNow(f"The results are still being written: {name} changed {ago}.", seconds - age)
