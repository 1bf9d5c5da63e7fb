"""Keeps archives in this process, for tests and for trying things out. A real plugin: it passes the contract."""

from __future__ import annotations

import hashlib
import secrets
from typing import ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict

from backends.contract import Archive, Backend, Link, Progress, Status, Stored
from backends.errors import PermanentError, TransientError

CHUNK = 1024 * 1024


class Config(BaseModel):
    """Which of the process's spaces is meant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    space: str = "default"


class Space:
    """What one space holds: archives by key, and keys by link."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.links: dict[str, str] = {}


class Memory(Backend[Config]):
    """Archives in memory; a link is ``memory:SPACE/TOKEN``, read by `fetch`."""

    identifier = "memory"
    Config = Config
    lasting = False
    token_field = "space"  # noqa: S105 - the name of a field
    spaces: ClassVar[dict[str, Space]] = {}

    @property
    def space(self) -> Space:
        """The space of this definition."""
        return self.spaces.setdefault(self.config.space, Space())

    def check(self) -> Status:
        """Always there."""
        return Status(account=f"memory of this process, space {self.config.space}")

    def store(self, archive: Archive, progress: Progress) -> Stored:
        """Copy the archive."""
        content = bytearray()
        with archive.open() as source:
            while piece := source.read(CHUNK):
                content += piece
                progress.save({"sent": len(content)}, len(content))
        if archive.size is not None and archive.size != len(content):
            raise TransientError(f"The archive ended after {len(content)} of {archive.size} bytes.")
        if hashlib.sha256(content).hexdigest() != archive.sha256:
            raise TransientError("The archive's bytes are not those of its digest.")
        progress.ensure()
        self.space.files[archive.key] = bytes(content)
        return Stored(key=archive.key, size=len(content))

    def link(self, stored: Stored, expires: AwareDatetime | None) -> Link:
        """The link there is, or a new one. It ends with the process, not before."""
        del expires
        if stored.key not in self.space.files:
            raise PermanentError(f"There is no file {stored.key} in this space.")
        for token, key in self.space.links.items():
            if key == stored.key:
                return Link(url=self._url(token))
        token = secrets.token_urlsafe(16)
        self.space.links[token] = stored.key
        return Link(url=self._url(token))

    def delete(self, stored: Stored) -> None:
        """Forget the file and its link."""
        self.space.files.pop(stored.key, None)
        for token in [token for token, key in self.space.links.items() if key == stored.key]:
            del self.space.links[token]

    def _url(self, token: str) -> str:
        return f"memory:{self.config.space}/{token}"


def fetch(url: str) -> bytes:
    """The bytes behind a link.

    Raises:
        KeyError: there are none.
    """
    space, _, token = url.removeprefix("memory:").partition("/")
    held = Memory.spaces[space]
    return held.files[held.links[token]]
