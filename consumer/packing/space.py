"""How much room an archive may need, and how much there is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from consumer.packing import zipformat
from consumer.packing.deflate import BLOCK, most_bytes
from consumer.snapshot import SourceFile


def free_bytes(folder: Path) -> int:
    """What this user may still write to the disk of ``folder``."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def of_archive(files: Iterable[SourceFile]) -> int:
    """An upper bound of the archive's bytes: nothing in it can be compressed."""
    members = sum(of_member(file.name, file.size) for file in files)
    return members + zipformat.most_bytes_at_the_end()


def of_member(name: str, size: int) -> int:
    """An upper bound of what one member takes, records included."""
    return of_data(size) + zipformat.most_bytes(name.encode())


def of_data(size: int) -> int:
    """An upper bound of what ``size`` bytes take."""
    full, rest = divmod(size, BLOCK)
    return full * most_bytes(BLOCK) + most_bytes(rest)
