"""What a library and its account hold: files and folders, half uploads, upload links, share links. No HTTP here."""

from __future__ import annotations

import hashlib
import posixpath
import secrets
import threading
import time
import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PIECE = 1024 * 1024
HOUR = 3600.0
LINK_LIVES = HOUR
KEY_LIVES = HOUR
HALF_LIVES = 3 * 24 * HOUR
EMPTY = "0" * 40
LONGEST_NAME = 255
LONGEST_PATH = 4096
MOST_DUPLICATES = 1000


class Refused(Exception):
    """A request that is not granted.

    Args:
        status: of the answer.
        message: a sentence; both servers have their own way of wrapping it. None: the body is empty.
        key: under which the web API puts it.
        headers: further ones of the answer.
    """

    def __init__(
        self, status: int, message: str | None = None, key: str = "error_msg", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.key = key
        self.headers = headers or {}


class BadName(ValueError):
    """A file name that no library takes."""


@dataclass(frozen=True, slots=True)
class File:
    """One version of a file's content."""

    data: Path
    size: int
    id: str
    mtime: int


@dataclass(slots=True)
class Half:
    """The temporary file of an upload in chunks: one per folder and name, whoever sends."""

    data: Path
    born: float


@dataclass(frozen=True, slots=True)
class Access:
    """What a link of the file server allows."""

    kind: str
    path: str
    ends: float
    once: bool = False


@dataclass(slots=True)
class Share:
    """A share link."""

    token: str
    path: str
    is_dir: bool
    born: float
    ends: float | None = None
    password: str = ""
    by: str = ""
    permissions: dict[str, bool] = field(default_factory=dict)
    seen: int = 0


def clean(path: str) -> str:
    """A path from the root, without slashes at the end or twice."""
    return posixpath.normpath("/" + path.lstrip("/"))


def stored_name(name: str) -> str:
    """The name under which it is stored. Raises `BadName`."""
    try:
        name = unicodedata.normalize("NFC", name)
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise BadName("not UTF-8") from error
    if not name or name in {".", ".."} or "/" in name or size > LONGEST_NAME:
        raise BadName(name)
    return name


class Library:
    """One library of one account; ``now`` is a clock that tests can move.

    Whether deleted and replaced content counts against the quota depends on the history that is kept: here it does.
    """

    name = "Simulation results"

    def __init__(self, folder: Path) -> None:
        self.id = str(uuid.uuid4())
        self.lock = threading.RLock()
        self._folder = folder
        self.reset()

    def reset(self) -> None:
        """As on the first day."""
        with self.lock:
            for old in self._folder.glob("*.bytes"):
                old.unlink()
            self.skew = 0.0
            self.files: dict[str, File] = {}
            self.folders: set[str] = {"/"}
            self.halves: dict[str, Half] = {}
            self.links: dict[str, Access] = {}
            self.shares: dict[str, Share] = {}
            self.usage = 0
            self.password_until = 0.0

    def now(self) -> float:
        return time.time() + self.skew

    def fresh(self) -> Path:
        """A place for bytes that arrive."""
        return self._folder / f"{secrets.token_hex(12)}.bytes"

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A place for bytes that are gone afterwards, if nobody has moved them away."""
        path = self.fresh()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    # -- folders and files

    def exists(self, path: str) -> bool:
        return path in self.folders or path in self.files

    def children(self, folder: str) -> list[str]:
        """Paths right below, folders first."""
        return [path for path in (*sorted(self.folders), *sorted(self.files)) if _parent(path) == folder != path]

    def below(self, folder: str) -> list[str]:
        """Paths of all files and folders in it."""
        start = folder.rstrip("/") + "/"
        return [path for path in (*sorted(self.folders), *sorted(self.files)) if path.startswith(start) and path != "/"]

    def free_path(self, path: str, *, another: bool = False) -> str | None:
        """This path (not if ``another``) or ``stem (1).ext`` and so on, whichever is free; None: too many are."""
        stem, dot, end = path.rpartition(".")
        if not dot or "/" in end:
            stem, end = path, ""
        tail = dot + end if end else ""
        counted = (f"{stem} ({number}){tail}" for number in range(1, MOST_DUPLICATES + 1))
        return next((one for one in ([] if another else [path]) + list(counted) if not self.exists(one)), None)

    def make_folder(self, path: str) -> None:
        """With its parents; one that exists stays."""
        while path not in self.folders:
            self.folders.add(path)
            path = _parent(path)

    def put(self, path: str, data: Path, mtime: int | None = None) -> File:
        """Make these bytes a file; they are moved away from where they lie."""
        size = data.stat().st_size
        kept = data.rename(self.fresh())
        self.usage += size
        entry = File(kept, size, content_id(kept), int(self.now()) if mtime is None else mtime)
        self.files[path] = entry
        return entry

    def rename(self, path: str, target: str) -> None:
        """A file or a folder with all in it."""
        for old in [path, *self.below(path)]:
            new = target + old.removeprefix(path)
            if old in self.files:
                self.files[new] = self.files.pop(old)
            else:
                self.folders.remove(old)
                self.folders.add(new)

    def delete(self, path: str) -> None:
        """A file or a folder with all in it; its share links stay on record, as they do when a file is gone."""
        for one in [path, *self.below(path)]:
            self.files.pop(one, None)
            self.folders.discard(one)

    # -- uploads in chunks

    def half(self, path: str) -> Half | None:
        """What is held for this path; a record lives for three days."""
        held = self.halves.get(path)
        if held is not None and held.born + HALF_LIVES <= self.now():
            self.drop_half(path)
            return None
        return held

    def write_half(self, path: str, first: int, pieces: Iterable[bytes]) -> Path:
        """Write at ``first``, whatever is there: nothing is checked, nothing cut off; what was written stays."""
        with self.lock:
            held = self.half(path)
            if held is None:
                held = self.halves[path] = Half(self.fresh(), self.now())
                held.data.touch()
        with held.data.open("r+b") as target:
            target.seek(first)
            for piece in pieces:
                target.write(piece)
        return held.data

    def drop_half(self, path: str) -> None:
        held = self.halves.pop(path, None)
        if held is not None:
            held.data.unlink(missing_ok=True)

    # -- links of the file server

    def grant(self, kind: str, path: str, *, once: bool = False) -> str:
        """A new right to upload or to download; its key."""
        key = str(uuid.uuid4())
        self.links[key] = Access(kind, path, self.now() + LINK_LIVES, once)
        return key

    def use(self, key: str) -> Access | None:
        """The right behind a key, used up if it serves once; None: there is none or it has ended."""
        access = self.links.get(key)
        if access is None or access.ends <= self.now():
            self.links.pop(key, None)
            return None
        if access.once:
            del self.links[key]
        return access

    # -- share links

    def shares_of(self, path: str | None, by: str) -> list[Share]:
        """One's own links to a path, ended ones too; None: to any."""
        return [share for share in self.shares.values() if share.by == by and path in {None, share.path}]

    def ended(self, share: Share) -> bool:
        return share.ends is not None and share.ends <= self.now()


def content_id(path: Path) -> str:
    """Equal for equal content and no plain SHA-1 of it; forty zeros for none."""
    if not path.stat().st_size:
        return EMPTY
    digest = hashlib.sha1(b"content of a library\n")
    with path.open("rb") as source:
        while piece := source.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"
