"""Packs files of a test as a worker does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from consumer.collect import look
from consumer.packing.archive import ArchiveWriter, Written, never
from consumer.packing.deflate import Compression
from consumer.packing.manifest import add_manifest


def pack(
    folder: Path,
    target: Path,
    compression: Compression = "fast",
    threads: int = 2,
    ensure: Callable[[], None] = never,
    *,
    manifest: bool = False,
) -> Written:
    """All files of ``folder``, into ``target``."""
    with target.open("wb") as sink, ArchiveWriter(sink, compression, threads, ensure) as writer:
        for file in look(folder).files:
            writer.add_file(file)
        if manifest:
            add_manifest(writer)
        return writer.close()
