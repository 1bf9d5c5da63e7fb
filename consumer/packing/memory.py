"""Freed memory that is kept for the next block."""

from __future__ import annotations

LARGEST = 2 * 1024 * 1024  # bytes, more than any block in the work


def keep_freed_memory() -> None:
    """Let glibc keep what is freed rather than give it back to the system at once.

    Else each block gets fresh memory, which costs a page fault for every 4 KiB, one CPU second in twenty. glibc learns
    what to keep from the largest piece that was freed so far (mallopt(3), under M_MMAP_THRESHOLD). So one is allocated
    and freed; it is never touched and so never takes room. With another C library nothing happens.
    """
    bytes(LARGEST)
