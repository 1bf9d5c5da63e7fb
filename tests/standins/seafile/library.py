"""What the server holds: a library's folders and files, partial uploads, share links. No HTTP here."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
import unicodedata
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

PIECE = 1024 * 1024
LINK_SECONDS = 3600.0
PARTIAL_SECONDS = 3 * 86400.0
LONGEST_NAME = 255  # bytes of UTF-8
MOST_COPIES = 1000
EMPTY_ID = "0" * 40


class Refused(Exception):
    """An answer that is an error: status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True)
class StoredFile:
    """A file."""

    name: str
    data: Path
    size: int
    id: str
    mtime: float


@dataclass(slots=True)
class UploadLink:
    """The right to upload into one folder."""

    folder: str
    made: float
    writable: bool = True


@dataclass(slots=True)
class Partial:
    """Bytes of chunks that have arrived: one temporary file per folder and name, whoever sends them."""

    data: Path
    touched: float


@dataclass(slots=True)
class ShareLink:
    """A share link of the account."""

    token: str
    path: str
    made: float
    expires: float | None


@dataclass(slots=True)
class Library:
    """The one library, and the server's tables around it."""

    room: Path
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    name: str = "Simulation results"
    encrypted: bool = False
    gone: bool = False
    permission: str = "rw"
    total: int = -2
    largest: int = 0
    skew: float = 0.0
    folders: dict[str, dict[str, StoredFile]] = field(default_factory=lambda: {"/": {}})
    links: dict[str, UploadLink] = field(default_factory=dict)
    partials: dict[tuple[str, str], Partial] = field(default_factory=dict)
    shares: dict[str, ShareLink] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def now(self) -> float:
        """The server's clock, which tests can move."""
        return time.time() + self.skew

    @property
    def usage(self) -> int:
        return sum(file.size for files in self.folders.values() for file in files.values())

    def expect_room(self, more: int) -> None:
        """Raises `Refused` (443, 442)."""
        if self.total >= 0 and self.usage + more >= self.total:
            raise Refused(443, "Out of quota.")
        if self.largest and more > self.largest:
            raise Refused(442, "File size is too large.")

    def fresh(self) -> Path:
        return self.room / secrets.token_hex(8)

    # -- folders and files

    def make_folder(self, path: str, *, parents: bool) -> str:
        """Make it; without ``parents``, one that is there is made again under another name. Its path."""
        path = clean(path)
        if path == "/":
            raise Refused(400, "Path is invalid.")
        parent, _, name = path.rpartition("/")
        if parents:
            for count in range(2, path.count("/") + 2):
                self.folders.setdefault("/".join(path.split("/")[:count]), {})
            return path
        if (parent or "/") not in self.folders:
            raise Refused(404, "Parent folder not found.")
        number = 0
        while path in self.folders:
            number += 1
            path = f"{parent}/{name} ({number})"
        self.folders[path] = {}
        return path

    def find(self, path: str) -> StoredFile | None:
        folder, _, name = clean(path).rpartition("/")
        return self.folders.get(folder or "/", {}).get(name)

    def put(self, folder: str, name: str, data: Path, *, replace: bool) -> StoredFile:
        """Make bytes a file. Raises `Refused`."""
        name = unicodedata.normalize("NFC", name)
        if not name or name in {".", ".."} or "/" in name or len(name.encode()) > LONGEST_NAME:
            raise Refused(400, "Invalid filename.")
        files = self.folders.get(folder)
        if files is None:
            raise Refused(400, "Parent dir doesn't exist.")
        if name in files and not replace:
            name = _other_name(name, files)
        size = data.stat().st_size
        file = StoredFile(name, data, size, _content_id(data) if size else EMPTY_ID, self.now())
        files[name] = file
        return file

    def delete_file(self, path: str) -> None:
        folder, _, name = clean(path).rpartition("/")
        gone = self.folders.get(folder or "/", {}).pop(name, None)
        if gone is not None:
            gone.data.unlink(missing_ok=True)
            self.shares = {token: one for token, one in self.shares.items() if one.path != clean(path)}

    def delete_folder(self, path: str) -> None:
        path = clean(path)
        if path not in self.folders or path == "/":
            raise Refused(404, "Folder not found.")
        for one in [one for one in self.folders if one == path or one.startswith(path + "/")]:
            for name in list(self.folders[one]):
                self.delete_file(f"{one}/{name}")
            del self.folders[one]

    # -- chunks

    def partial(self, folder: str, name: str) -> Partial | None:
        held = self.partials.get((folder, name))
        if held is not None and self.now() - held.touched > PARTIAL_SECONDS:
            held.data.unlink(missing_ok=True)
            del self.partials[folder, name]
            return None
        return held

    def write_chunk(self, folder: str, name: str, first: int, chunk: Path) -> Partial:
        """By seeking to ``first``: nothing is checked and nothing is cut off."""
        held = self.partial(folder, name)
        if held is None:
            held = self.partials[folder, name] = Partial(self.fresh(), self.now())
            held.data.touch()
        with chunk.open("rb") as source, held.data.open("r+b") as target:
            target.seek(first)
            _copy(source, target)
        held.touched = self.now()
        return held


def clean(path: str) -> str:
    """A path as the server keeps it."""
    return "/" + "/".join(part for part in path.split("/") if part)


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    while piece := source.read(PIECE):
        target.write(piece)


def _other_name(name: str, files: dict[str, StoredFile]) -> str:
    stem, dot, ending = name.rpartition(".")
    if not dot or not stem:
        stem, dot, ending = name, "", ""
    for number in range(1, MOST_COPIES + 1):
        if (other := f"{stem} ({number}){dot}{ending}") not in files:
            return other
    raise Refused(400, "Too many files with the same name.")


def _content_id(data: Path) -> str:
    """A content id: equal bytes, equal ids. Not a plain SHA-1 of the file."""
    digest = hashlib.sha1(b"seafile", usedforsecurity=False)
    with data.open("rb") as source:
        while piece := source.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
