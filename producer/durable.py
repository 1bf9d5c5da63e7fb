"""Files that a power cut leaves whole, in folders that are closed to others."""

from __future__ import annotations

import os
from pathlib import Path


def create(path: Path, flags: int) -> int:
    """Open a file, made for its folder's owner only if it is not there; the descriptor.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, flags | os.O_CREAT, 0o600)
    try:
        _hand_over(descriptor, path.parent)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def create_folder(folder: Path) -> None:
    """Make a folder, for the owner of the one above only.

    Raises:
        OSError: it cannot be made, or is there.
    """
    folder.mkdir(mode=0o700)
    _hand_over(folder, folder.parent)


def write_new(path: Path, body: bytes) -> None:
    """Write a file that is not there yet, readable by its owner only, down to the disk.

    Raises:
        OSError: it could not be written; a part of it may be there.
    """
    with os.fdopen(create(path, os.O_WRONLY | os.O_EXCL), "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def overwrite(path: Path, body: bytes) -> None:
    """Put ``body`` in the place of what a file holds.

    On a full disk the file's own room is used, if it has enough: then a power cut in this moment leaves neither.

    Raises:
        OSError: it could not be written; what was there is there.
    """
    hidden = path.with_name(f".{path.name}.tmp")
    try:
        try:
            write_new(hidden, body)
            hidden.rename(path)
        finally:
            hidden.unlink(missing_ok=True)
    except OSError:
        with path.open("r+b") as file:
            if os.fstat(file.fileno()).st_size < len(body):
                raise
            file.write(body)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
    sync(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder of the data folder and, where that is missing, the data folder itself, both for their owner only.

    Raises:
        OSError: it cannot be made.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o700 if one in {folder, folder.parent} else 0o777, exist_ok=True)
        _hand_over(one, one.parent)
        sync(one.parent)


def sync(folder: Path) -> None:
    """Bring the names in a folder down to the disk.

    Raises:
        OSError: it could not be done.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hand_over(made: int | Path, folder: Path) -> None:
    """What root makes in somebody's folder is that one's: else its owner could neither send nor remove it."""
    if os.geteuid() != 0:
        return
    owner = folder.stat()
    if owner.st_uid != 0:
        os.chown(made, owner.st_uid, owner.st_gid)
