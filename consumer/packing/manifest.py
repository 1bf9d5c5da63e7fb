"""MANIFEST.sha256, the last member: what was packed, in the form that ``sha256sum -c`` reads.

Form: that of GNU coreutils, "sha2 utilities" in its manual. Before a name with a backslash, a line feed or a carriage
return stands a backslash, and in it they are written as ``\\\\``, ``\\n`` and ``\\r``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from consumer.packing.archive import ArchiveWriter

NAME = "MANIFEST.sha256"
ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r"})
LINES = 4096  # in a piece


def add_manifest(writer: ArchiveWriter) -> str:
    """Add the digests of all members so far; the name that it got."""
    name = free_name(NAME, (member for member, _ in writer.digests() if "/" not in member))
    writer.add_chunks(name, lines(writer.digests()), writer.newest_ns)
    return name


def lines(digests: Iterable[tuple[str, str]]) -> Iterator[bytes]:
    """The manifest's lines, for pairs of name and SHA-256, some thousands in a piece."""
    gathered: list[str] = []
    for name, digest in digests:
        escaped = name.translate(ESCAPES)
        gathered.append(f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n")
        if len(gathered) >= LINES:
            yield "".join(gathered).encode()
            gathered.clear()
    yield "".join(gathered).encode()


def free_name(wanted: str, taken: Iterable[str]) -> str:
    """``wanted``, or with a number in it where a member has that name already (upper or lower case alike).

    >>> free_name("MANIFEST.sha256", ["manifest.SHA256"])
    'MANIFEST-2.sha256'
    """
    stem, dot, end = wanted.partition(".")
    like = {name.casefold() for name in taken if name.casefold().startswith(stem.casefold())}
    name, number = wanted, 1
    while name.casefold() in like:
        number += 1
        name = f"{stem}-{number}{dot}{end}"
    return name
