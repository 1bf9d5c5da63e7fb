"""Words, numbers and times as OMNeT++ writes them.

Source: the file format of the OMNeT++ manual (appendix "Result File Formats") and the tokenizer of its result library.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

_WORD = re.compile(r'[ \t]*(?:"((?:[^"\\]|\\.)*)"(?=[ \t]|$)|([^ \t"][^ \t]*))')
_ESCAPED = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|.)")
_PLAIN_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_SPECIAL = re.compile(
    r"([+-]?)(?:(inf(?:inity)?|1\.#inf)|(-?nan(?:\([^)]*\))?|1\.#(?:ind|qnan|snan)))0*", re.IGNORECASE
)
_TIME = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([a-z]*)\s*")
_SECONDS = {
    "": 1.0,
    "s": 1.0,
    "d": 86400.0,
    "h": 3600.0,
    "min": 60.0,
    "ms": 1e-3,
    "us": 1e-6,
    "ns": 1e-9,
    "ps": 1e-12,
    "fs": 1e-15,
    "as": 1e-18,
}


def words(line: str) -> list[str]:
    r"""The words of a line: separated by blanks and tabs, quoted where they hold any; ``\`` counts within quotes only.

    Raises:
        ValueError: a quote is not closed, or something follows it at once.
    """
    if '"' not in line:
        return [word for word in line.replace("\t", " ").split(" ") if word]
    found = []
    place, line = 0, line.rstrip(" \t")
    while place < len(line):
        match = _WORD.match(line, place)
        if match is None:
            raise ValueError("a quote is not closed")
        quoted, bare = match.groups()
        found.append(bare if quoted is None else _ESCAPED.sub(_unescaped, quoted))
        place = match.end()
    return found


def _unescaped(match: re.Match[str]) -> str:
    kind = match.group(1)
    if kind[0] == "x" and len(kind) > 1:
        return chr(int(kind[1:], 16))
    return _PLAIN_ESCAPES.get(kind, kind)


def number(text: str) -> float:
    """A number in C's notation, with the spellings of "infinite" and "no value" that compilers have used.

    Raises:
        ValueError: it is none.
    """
    if _NUMBER.fullmatch(text):
        return float(text)
    special = _SPECIAL.fullmatch(text)
    if special is None:
        raise ValueError(f"{text[:40]!r} is no number")
    sign, infinite, _ = special.groups()
    if infinite:
        return -math.inf if sign == "-" else math.inf
    return math.nan


def seconds(text: str) -> float | None:
    """A time with units, such as ``200s``, ``1h 30min`` or ``0.5``, in seconds; None when it is no such text."""
    place, total = 0, 0.0
    text = text.strip().strip('"')
    while place < len(text):
        match = _TIME.match(text, place)
        if match is None or match.group(2) not in _SECONDS:
            return None
        total += float(match.group(1)) * _SECONDS[match.group(2)]
        place = match.end()
    return total if text else None


def first_time(config: Iterable[tuple[str, str]], option: str) -> float | None:
    """The value of a per-run option in seconds: the first entry that bears its name counts."""
    for key, value in config:
        if key == option or key.endswith("." + option):
            return seconds(value)
    return None
