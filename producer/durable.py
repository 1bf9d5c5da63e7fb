"""Files that a power cut leaves whole, in folders that are closed to others."""

from __future__ import annotations

import os
from pathlib import Path


def write_new(path: Path, body: bytes) -> None:
    """Write a file that is not there yet, readable by its owner only, down to the disk.

    Raises:
        OSError: it could not be written; a part of it may be there.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
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
