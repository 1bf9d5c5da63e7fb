"""Addresses of results on a service: what one looks like, and whether it lies below another.

They come from strangers, and workers follow them: compared is text that cannot be read in two ways.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

_FORM = re.compile(r"([a-z][a-z0-9+.-]*)://([^/]*)(?:/(.*))?", re.DOTALL)
_UNSAFE = re.compile(r"[\\?#\x00-\x1f\x7f]|::")
# No services: what fsspec lays over other places, and ways around the checks of `file:` to this machine's own files.
NO_SERVICES = frozenset(
    {"file", "local", "asynclocal", "memory", "data", "dir", "git", "dvc", "zip", "tar", "libarchive", "reference"}
    | {"generic", "asyncwrapper", "async_wrapper", "cached", "blockcache", "filecache", "simplecache"}
)


class WrongLocation(ValueError):
    """No address of a folder on a service; the text is half a sentence that says why, and holds nothing secret."""


@dataclass(frozen=True, slots=True)
class Location:
    """A folder on a service, as fsspec names it.

    Args:
        scheme: the protocol.
        authority: bucket, or host with user and port where they are given.
        segments: of the path, as they are written.
    """

    scheme: str
    authority: str
    segments: tuple[str, ...]

    def __str__(self) -> str:
        return "/".join([f"{self.scheme}://{self.authority}", *self.segments])

    @property
    def service(self) -> str:
        """Without the path."""
        return f"{self.scheme}://{self.authority}"

    def is_below(self, root: Location) -> bool:
        """Whether it is ``root`` or lies in it: protocol, user, host, port and each segment are written alike."""
        mine = (self.scheme, self.authority, self.segments[: len(root.segments)])
        return mine == (root.scheme, root.authority, root.segments)


def is_url(text: str) -> bool:
    """Whether it names a service, and no folder of this machine."""
    return "://" in text and not text.startswith("file:")


def parse(url: str) -> Location:
    """Read an address; slashes at its end do not count.

    Raises:
        WrongLocation: it is none, holds a password, or could be understood in two ways.
    """
    form = _FORM.fullmatch(url)
    if form is None:
        raise WrongLocation("is no address; PROTOCOL://HOST/FOLDER or PROTOCOL://BUCKET/FOLDER is expected")
    scheme, authority, path = form.groups(default="")
    user, at, _ = authority.rpartition("@")
    if at and (":" in user or "@" in user):
        raise WrongLocation("holds a password, which belongs into the workers' own configuration")
    if scheme in NO_SERVICES:
        raise WrongLocation(f"begins with {scheme}:, which names no service")
    if not authority:
        raise WrongLocation("names no host or bucket")
    if _UNSAFE.search(url) or "%" in authority:
        raise WrongLocation("holds a character that has no place in one: a backslash, '?', '#', '::', a line break")
    segments = tuple(path.rstrip("/").split("/")) if path.rstrip("/") else ()
    if not all(map(_plain, segments)):
        raise WrongLocation("has an empty part, '.' or '..' in its path, or one that hides them")
    return Location(scheme, authority, segments)


def _plain(segment: str) -> bool:
    """A name that stays one however often a server on the way decodes it."""
    while segment not in {"", ".", ".."} and not re.search(r"[/\\\x00-\x1f\x7f]", segment):
        decoded = unquote(segment)
        if decoded == segment:
            return True
        segment = decoded
    return False
