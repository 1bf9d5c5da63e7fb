"""Names in an archive, such that no program which unpacks it is led astray (APPNOTE.TXT, section 4.4.17; CWE-22).

A file's name on a disk may hold a backslash, which Windows takes for a folder, control characters, or what looks like a
drive. These are written as in addresses (RFC 3986, section 2.1), and so that two names never become one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote

# Controls of ASCII and of Latin-1, line and paragraph separators, and what turns the direction of text.
_UNSAFE = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]|(?<=^[A-Za-z]):")
# A name that could be one of ours: its percent sign is written out, however often that was done before.
_LIKE_OURS = re.compile(r"%(?=(?:25)*(?:5C|3A|[01][0-9A-F]|7F|C2|E2))")
SHOWN = 3


def member_name(name: str) -> str:
    r"""The name in the archive of a file that is called ``name``, which is no absolute path and has no ``..``.

    >>> member_name("run 1/a.vec"), member_name("..\\..\\evil"), member_name("C:/x"), member_name("a%5Cb")
    ('run 1/a.vec', '..%5C..%5Cevil', 'C%3A/x', 'a%255Cb')
    """
    return _UNSAFE.sub(lambda found: quote(found[0], safe=""), _LIKE_OURS.sub("%25", name))


def alike(names: Iterable[str]) -> list[str]:
    """A sentence for each of the first names that Windows or macOS take for one: unpacked there, one file is lost."""
    seen: set[int] = set()
    again: dict[str, list[str]] = {}
    kept = list(names)
    for name in kept:
        key = _folded(name)
        if hash(key) in seen:
            again.setdefault(key, [])
        seen.add(hash(key))
    if not again:
        return []
    for name in kept:
        if (key := _folded(name)) in again:
            again[key].append(name)
    told = [
        f"{group[0]} and {group[1]} differ in upper and lower case or in how accents are written alone: on Windows and "
        "macOS one replaces the other."
        for group in again.values()
        if len(group) > 1
    ]
    return [*told[:SHOWN], *([f"So do {len(told) - SHOWN} more."] if len(told) > SHOWN else [])]


def _folded(name: str) -> str:
    return name.casefold() if name.isascii() else unicodedata.normalize("NFC", name.casefold())
