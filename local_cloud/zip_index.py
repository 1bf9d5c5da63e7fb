"""What is inside a zip archive, folder by folder, without unpacking it.

Of each file only numbers are kept, in the order of paths; names are read again from the archive when they are needed.
So an archive with 100,000 files takes 2 MB of memory, and finding one of them 17 reads.
"""

from __future__ import annotations

import os
import threading
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

from local_cloud.zip_format import LOCAL, Broken, Directory, Entry, entries, entry_at, find_directory

MOST_FILES = 250_000
LARGEST_LIST = 48 * 1024 * 1024  # bytes of an archive's list of files
KEPT = 8  # archives whose numbers are kept, unless they hold more files than
KEPT_FILES = 500_000  # in all: 12 MB
MOST = 2**64 - 1
OVERLAP = "Some of its files share the same bytes, as in an archive made to do harm: unpack it with care."


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder with all that is below it.

    Args:
        path: ends with a slash.
        count: files.
        size: bytes, unpacked.
    """

    path: str
    count: int
    size: int

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path[:-1].rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class File:
    """A file.

    Args:
        copy: 1; or more, where several files have the same path.
    """

    entry: Entry
    copy: int


@dataclass(frozen=True, slots=True)
class Index:
    """The numbers.

    Args:
        offsets: of each file's line in the list of files, in the order of paths.
        sizes: sums of the sizes of all files before each one, and in all.
        counts: of all files before each one, and in all; folders that are listed by themselves are none.
        warnings: sentences on the archive as a whole.
    """

    directory: Directory
    offsets: array[int]
    sizes: array[int]
    counts: array[int]
    warnings: tuple[str, ...]


class Archive:
    """An open archive; for the length of a block.

    Args:
        path: the file.
        index: its numbers.
    """

    def __init__(self, path: Path, index: Index) -> None:
        self.index = index
        self.handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Before the block's end; again is fine."""
        handle, self.handle = self.handle, -1
        if handle >= 0:
            os.close(handle)

    def entry(self, place: int) -> Entry:
        """The one at a place in the order of paths."""
        return entry_at(self.handle, self.index.offsets[place], self.index.directory.shift)

    def find(self, path: str, copy: int = 1) -> Entry | None:
        """The file of a path."""
        place = self._first(path) + copy - 1
        if copy < 1 or place >= len(self.index.offsets):
            return None
        entry = self.entry(place)
        return entry if entry.path == path and not entry.is_folder else None

    def folder(self, path: str) -> Folder:
        """A folder, also where nothing is in it; the empty path is the whole archive."""
        low, high = self._span(path)
        return Folder(path, self.index.counts[high] - self.index.counts[low], self._size(low, high))

    def children(self, path: str, after: str = "") -> Iterator[Folder | File]:
        """What lies directly in a folder, in the order of paths.

        Args:
            path: of the folder.
            after: begin behind what has this path.
        """
        place, high = self._span(path)
        if after:
            place = max(place, self._first(_behind(after) if after.endswith("/") else after + "\0", place, high))
        before, copy = "", 0
        while place < high:
            entry = self.entry(place)
            name, deeper, _ = entry.path[len(path) :].partition("/")
            if deeper:
                below = f"{path}{name}/"
                end = self._first(_behind(below), place, high)
                yield Folder(below, self.index.counts[end] - self.index.counts[place], self._size(place, end))
                place = max(end, place + 1)
                continue
            if name:
                copy = copy + 1 if entry.path == before else 1
                before = entry.path
                yield File(entry, copy)
            place += 1

    def _span(self, path: str) -> tuple[int, int]:
        high = len(self.index.offsets)
        return (self._first(path), self._first(_behind(path))) if path else (0, high)

    def _size(self, low: int, high: int) -> int:
        return self.index.sizes[high] - self.index.sizes[low]

    def _first(self, path: str, low: int = 0, high: int | None = None) -> int:
        """The first place whose path is not before this one."""
        return bisect_left(range(len(self.index.offsets)), path, low, high, key=lambda place: self.entry(place).path)


class Indexes:
    """The numbers of archives that were asked for lately."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Index] = OrderedDict()
        self._lock = threading.Lock()  # one is made at a time: only then a long list takes memory

    def open(self, path: Path, sha256: str) -> Archive:
        """An archive by its file and digest.

        Raises:
            NoArchive, Broken, OSError.
        """
        with self._lock:
            index = self._kept.get(sha256) or _read(path)
            self._kept[sha256] = index
            self._kept.move_to_end(sha256)
            while len(self._kept) > 1 and (len(self._kept) > KEPT or self._files() > KEPT_FILES):
                self._kept.popitem(last=False)
        return Archive(path, index)

    def _files(self) -> int:
        return sum(len(index.offsets) for index in self._kept.values())


def _read(path: Path) -> Index:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        directory = find_directory(handle)
        if directory.count > MOST_FILES:
            raise Broken(f"The archive holds {directory.count:,} files, more than can be listed here.")
        if directory.size > LARGEST_LIST:
            raise Broken("The archive's list of files is longer than can be shown here.")
        return _index(handle, directory)
    finally:
        os.close(handle)


def _index(handle: int, directory: Directory) -> Index:
    paths: list[bytes] = []  # UTF-8, which sorts as its characters do and takes a quarter of the room of some texts
    offsets, sizes, begins, ends, folders = array("Q"), array("Q"), array("Q"), array("Q"), array("B")
    warnings: list[str] = []
    try:
        for at, entry in entries(handle, directory):
            if len(paths) == MOST_FILES:  # more than the archive says
                warnings.append(f"Only its first {MOST_FILES:,} files are listed.")
                break
            paths.append(entry.path.encode(errors="surrogatepass"))
            offsets.append(at)
            sizes.append(entry.size)
            folders.append(entry.is_folder)
            begins.append(min(entry.begin, MOST))
            ends.append(min(entry.begin + LOCAL.size + len(entry.raw_name) + entry.packed, MOST))
    except Broken as error:
        if not paths:
            raise
        warnings.append(f"{error} What follows its first {len(paths):,} lines is not shown.")
    if _overlap(begins, ends):
        warnings.append(OVERLAP)
    order = sorted(range(len(paths)), key=paths.__getitem__)
    sums, counts = array("Q", [0]), array("L", [0])
    for place in order:
        sums.append(min(sums[-1] + sizes[place], MOST))
        counts.append(counts[-1] + 1 - folders[place])
    return Index(directory, array("Q", (offsets[place] for place in order)), sums, counts, tuple(warnings))


def _overlap(begins: array[int], ends: array[int]) -> bool:
    order = sorted(range(len(begins)), key=begins.__getitem__)
    return any(begins[later] < ends[earlier] for earlier, later in pairwise(order))


def _behind(folder: str) -> str:
    """The first path that is behind all in a folder: "0" comes after the slash."""
    return folder[:-1] + "0"
