"""What an account holds: files and folders, upload sessions, shared links. No HTTP here."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK = 4 * 1024 * 1024
SESSION_DAYS = 7
LONGEST_COMPONENT = 255
IGNORED = {"desktop.ini", "thumbs.db", ".ds_store", "icon\r", ".dropbox", ".dropbox.attr"}
TIME = "%Y-%m-%dT%H:%M:%SZ"


class RouteError(Exception):
    """An answer of 409: a union as it goes over the wire."""

    def __init__(self, error: dict[str, Any], summary: str = "") -> None:
        super().__init__(summary)
        self.error = error
        self.summary = summary or f"{error['.tag']}/.."


class ContentHash:
    """https://www.dropbox.com/developers/reference/content-hash"""

    def __init__(self) -> None:
        self._blocks = hashlib.sha256()
        self._block = hashlib.sha256()
        self._room = BLOCK

    def update(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            piece = view[: self._room]
            self._block.update(piece)
            self._room -= len(piece)
            view = view[len(piece) :]
            if not self._room:
                self._end()

    def hexdigest(self) -> str:
        blocks = self._blocks.copy()
        if self._room < BLOCK:
            blocks.update(self._block.digest())
        return blocks.hexdigest()

    def _end(self) -> None:
        self._blocks.update(self._block.digest())
        self._block, self._room = hashlib.sha256(), BLOCK


@dataclass(slots=True)
class Entry:
    """A file, or a folder (without ``data``)."""

    path: str
    id: str
    data: Path | None = None
    size: int = 0
    content_hash: str = ""
    rev: str = ""
    modified: str = ""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def metadata(self, *, tagged: bool = True) -> dict[str, Any]:
        """As `files.Metadata` of the SDK wants it."""
        common = {"name": self.name, "id": self.id, "path_lower": self.path.lower(), "path_display": self.path}
        if self.data is None:
            return {".tag": "folder", **common}
        facts = {
            **common,
            "client_modified": self.modified,
            "server_modified": self.modified,
            "rev": self.rev,
            "size": self.size,
            "content_hash": self.content_hash,
            "is_downloadable": True,
        }
        return {".tag": "file", **facts} if tagged else facts


@dataclass(slots=True)
class Session:
    """An upload session; sequential."""

    data: Path
    started: float
    length: int = 0
    closed: bool = False
    done: bool = False
    digest: ContentHash = field(default_factory=ContentHash)


@dataclass(slots=True)
class SharedLink:
    """A link to one file."""

    token: str
    rlkey: str
    entry_id: str
    expires: str | None


class Account:
    """One account. ``now`` is a clock that tests can move; ``paid`` allows links to end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.skew = 0.0
        self.paid = True
        self.allocated = 1 << 44
        self.entries: dict[str, Entry] = {}
        self.sessions: dict[str, Session] = {}
        self.links: dict[str, SharedLink] = {}
        self.lock = threading.RLock()

    def now(self) -> float:
        return time.time() + self.skew

    def stamp(self, moment: float | None = None) -> str:
        return time.strftime(TIME, time.gmtime(self.now() if moment is None else moment))

    def fresh(self) -> Path:
        """A file for bytes that arrive."""
        return self._folder / secrets.token_hex(8)

    @property
    def used(self) -> int:
        return sum(entry.size for entry in self.entries.values())

    def find(self, path: str) -> Entry | None:
        if path.startswith("id:"):
            return next((entry for entry in self.entries.values() if entry.id == path), None)
        return self.entries.get(path.lower())

    def put(self, commit: dict[str, Any], data: Path, size: int, content_hash: str) -> Entry:
        """Make bytes a file, as a `CommitInfo` says. Raises `RouteError` with a WriteError."""
        path = str(commit.get("path", ""))
        mode = _tag(commit.get("mode", "add"))
        self._check_path(path)
        there = self.entries.get(path.lower())
        same = there is not None and there.data is not None and there.content_hash == content_hash
        if there is not None and same and not commit.get("strict_conflict"):
            return there
        if there is not None and (there.data is None or mode == "add"):
            if not commit.get("autorename"):
                raise RouteError(_conflict("folder" if there.data is None else "file"))
            path = self._other_name(path)
            there = None
        if mode == "update" and there is not None and commit["mode"].get("update") != there.rev:
            raise RouteError(_conflict("file"))
        if self.used + size > self.allocated:
            raise RouteError({".tag": "insufficient_space"})
        self._make_parents(path)
        identity = there.id if there is not None else f"id:{secrets.token_urlsafe(16)}"
        entry = Entry(path, identity, data, size, content_hash, f"{secrets.randbits(60):015x}", self.stamp())
        self.entries[path.lower()] = entry
        return entry

    def delete(self, path: str) -> Entry:
        entry = self.find(path)
        if entry is None:
            raise RouteError({".tag": "path_lookup", "path_lookup": {".tag": "not_found"}})
        below = entry.path.lower() + "/"
        for key in [key for key in self.entries if key == entry.path.lower() or key.startswith(below)]:
            gone = self.entries.pop(key)
            self.links = {token: link for token, link in self.links.items() if link.entry_id != gone.id}
            if gone.data is not None:
                gone.data.unlink(missing_ok=True)
        return entry

    def session(self, session_id: str) -> Session:
        """Raises `RouteError` with a LookupError."""
        session = self.sessions.get(session_id)
        if session is None or self.now() - session.started > SESSION_DAYS * 86400:
            raise RouteError({".tag": "not_found"})
        return session

    def _make_parents(self, path: str) -> None:
        parts = path.split("/")[1:-1]
        for count in range(1, len(parts) + 1):
            parent = "/" + "/".join(parts[:count])
            known = self.entries.setdefault(parent.lower(), Entry(parent, f"id:{secrets.token_urlsafe(16)}"))
            if known.data is not None:
                raise RouteError(_conflict("file_ancestor"))

    def _other_name(self, path: str) -> str:
        stem, dot, ending = path.rpartition(".")
        if not dot or "/" in ending:
            stem, ending = path, ""
        number = 1
        while (other := f"{stem} ({number}){dot and '.'}{ending}").lower() in self.entries:
            number += 1
        return other

    @staticmethod
    def _check_path(path: str) -> None:
        components = path.split("/")[1:]
        wrong = not path.startswith("/") or "\\" in path or "\x7f" in path or any(ord(c) < 32 for c in path)
        for component in components:
            wrong |= component in {"", ".", ".."} or component != component.rstrip(" ")
            wrong |= len(component) > LONGEST_COMPONENT
            if component.lower() in IGNORED:
                raise RouteError({".tag": "disallowed_name"})
        if wrong or not components:
            raise RouteError({".tag": "malformed_path"})


def _tag(union: Any) -> str:
    return str(union.get(".tag") if isinstance(union, dict) else union)


def _conflict(kind: str) -> dict[str, Any]:
    return {".tag": "conflict", "conflict": {".tag": kind}}
