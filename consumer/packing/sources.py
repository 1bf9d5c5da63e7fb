"""Reads the very files of a snapshot: one that grows, shrinks, vanishes or is replaced in the meantime is noticed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from backends.errors import TransientError
from consumer import no_follow
from consumer.snapshot import CHANGED_AGAIN_SECONDS, Source, SourceFile


def source(file: SourceFile) -> Source:
    """Open a file of a snapshot; raises as `LocalSource`, or what its service raises."""
    return file.service.source(file) if file.service else LocalSource(file)


class LocalSource:
    """An open file of this machine; see `consumer.snapshot.Source`.

    Args:
        file: as the snapshot saw it.

    Raises:
        TransientError: it has vanished, or another one is in its place.
        OSError: it cannot be read.
    """

    in_order = False

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self._handle = _descriptor(file)

    def read(self, offset: int, into: memoryview) -> memoryview:
        """Fill ``into`` with the bytes from ``offset`` on.

        Raises:
            TransientError: there are fewer.
        """
        done = 0
        while done < len(into):
            try:
                count = os.preadv(self._handle, [into[done:]], offset + done)
            except OSError as error:
                raise self._named(error) from error
            if not count:
                raise changed(self.file, "became shorter")
            done += count
        return into

    def read_all(self) -> bytes:
        """All bytes of a small file.

        Raises:
            TransientError: they are not as many as the snapshot saw.
        """
        try:
            data = os.pread(self._handle, self.file.size + 1, 0)
        except OSError as error:
            raise self._named(error) from error
        if len(data) != self.file.size:
            raise changed(self.file, "became shorter" if len(data) < self.file.size else "became longer")
        return data

    def samples(self, offsets: Iterable[int], size: int) -> bytes:
        """Up to ``size`` bytes from each of ``offsets``."""
        return b"".join(os.pread(self._handle, size, offset) for offset in offsets)

    def ensure_unchanged(self) -> None:
        """To be called after the last read.

        Raises:
            TransientError: it is not as it was when the snapshot was taken.
        """
        status = os.fstat(self._handle)
        if status.st_size < self.file.size:
            raise changed(self.file, "became shorter")
        if status.st_size > self.file.size:
            raise changed(self.file, "became longer")
        if status.st_mtime_ns != self.file.mtime_ns:
            raise changed(self.file, "was written to")

    def _named(self, error: OSError) -> OSError:
        """A disk that fails; the system does not say with which file."""
        return OSError(error.errno, error.strerror, self.file.place)

    def close(self) -> None:
        """Again: fine."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def opened(file: SourceFile) -> BinaryIO:
    """The very file, to be read from one end to the other; raises as `source`."""
    if file.service:
        return file.service.stream(file)
    return os.fdopen(_descriptor(file), "rb")


def _descriptor(file: SourceFile) -> int:
    try:
        handle = no_follow.open_file(file.place)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise changed(file, "vanished") from error
    except OSError as error:
        if error.errno == errno.ELOOP:  # a folder on the way to it, or itself
            raise changed(file, "became a link") from error
        raise
    status = os.fstat(handle)
    if (status.st_dev, status.st_ino) != (file.device, file.inode):
        os.close(handle)
        raise changed(file, "was replaced")
    return handle


def content(file: SourceFile) -> bytes:
    """All bytes of a small file.

    Raises:
        TransientError: it changed since the snapshot.
        OSError: it cannot be read.
    """
    opened_file = source(file)
    try:
        data = opened_file.read_all()
        opened_file.ensure_unchanged()
    finally:
        opened_file.close()
    return data


def contents(files: Sequence[SourceFile]) -> Iterator[bytes]:
    """All bytes of each of some small files, in their order; raises as `content`."""
    at_once = files[0].service.at_once if files and files[0].service else 1
    if at_once == 1:
        yield from map(content, files)
        return
    with ThreadPoolExecutor(at_once, "fetching") as pool:  # a service answers late, and many at a time
        yield from pool.map(content, files)


def changed(file: SourceFile, how: str) -> TransientError:
    """What is raised where a file is not the one of the snapshot any more."""
    return TransientError(f"The file {file.name} {how} while it was read.", CHANGED_AGAIN_SECONDS)
