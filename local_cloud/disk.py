"""What the rest asks of the disk: that it keeps what it was given, and that it says when it is full."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from local_cloud.errors import Problem, Refusal


@contextlib.contextmanager
def disk_full_told() -> Iterator[None]:
    """Turn the system's error for a full disk, or a used-up quota, into a `Refusal`."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Refusal(Problem.DISK_FULL) from error
        raise


def fsync_folder(folder: Path) -> None:
    """Make durable which names the folder has."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
