"""File names as clients send them, made safe for a link and for a header."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import quote

LONGEST = 255  # characters, as most file systems allow
LONGEST_ENDING = 16
FALLBACK = "file"


def is_text(text: str) -> bool:
    """False for what only looks like text: headers and JSON can bring half characters, which no file can hold."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


def file_name(text: str) -> str:
    """A name for people that can stand as the last part of a link: no slash, no control character, not too long."""
    name = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in text)
    if len(name) > LONGEST:
        ending = PurePosixPath(name).suffix[-LONGEST_ENDING:]
        name = name[: LONGEST - len(ending)] + ending
    # A client would take "." and ".." out of an address before it asks for it.
    return FALLBACK if name.strip() in {"", ".", ".."} else name


def attachment(name: str, kind: str = "attachment") -> str:
    """Content-Disposition (RFC 6266 with RFC 8187): a plain name for old clients, the real one in UTF-8."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%/' else "_" for c in name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
