"""Which files are meant: a snapshot of the results folder, nothing from outside the roots."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import unquote, urlsplit

from consumer.errors import NotNow, Undeliverable
from messaging.messages import Results

LOOK_AGAIN_SECONDS = 60.0
# Reasons to leave an entry out, and say so; with any other error (a file system that is away) all is tried again.
FOR_GOOD = {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ELOOP, None}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A regular file as it was when the snapshot was taken.

    Args:
        name: its path within the results folder, with ``/``, as the archive names it.
        path: where it is, links resolved.
        size: bytes; ``mtime_ns`` since the epoch; ``device`` and ``inode`` tell it from a file put in its place.
    """

    name: str
    path: Path
    size: int
    mtime_ns: int
    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files to be packed, by name, and a sentence for each entry that is left out."""

    files: tuple[SourceFile, ...]
    left_out: tuple[str, ...]


def collect(results: Results, roots: Sequence[str]) -> Snapshot:
    """Take a snapshot of the results folder.

    Args:
        results: location and patterns.
        roots: folders that results may come from; none: any.

    Raises:
        Undeliverable: the location is no folder, outside the roots, or holds no file that is meant.
        NotNow: the root is not visible on this machine.
    """
    folder = locate(results.location, roots)
    files: list[SourceFile] = []
    left_out: list[str] = []
    for name, entry in _walk(folder, "", left_out):
        if not _meant(name, results):
            continue
        found = _look(name, Path(entry), folder, roots)
        if isinstance(found, str):
            left_out.append(found)
        else:
            files.append(found)
    if not files:
        raise Undeliverable(f"The results folder {folder} {_nothing(left_out, results)}.")
    files.sort(key=lambda file: file.name)
    return Snapshot(tuple(files), tuple(sorted(left_out)))


def _nothing(left_out: Sequence[str], results: Results) -> str:
    """Why there is nothing to pack."""
    if left_out:
        more = f" And {len(left_out) - 1} more" if len(left_out) > 1 else ""
        return f"holds no file that could be packed: {left_out[0]}{more}".removesuffix(".")
    if results.include or results.exclude:
        return "holds no file that matches the patterns"
    return "holds no file that could be packed"


def locate(location: str, roots: Sequence[str]) -> Path:
    """The folder that ``location`` names, links resolved, after making sure that it may be read.

    Raises:
        Undeliverable: no ``file:`` URL, not there, not a folder, or outside the roots.
        NotNow: the root that should hold it is not visible on this machine.
    """
    parts = urlsplit(location)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"}:
        raise Undeliverable(
            f"The results' location {location} is not a folder that this worker can read (file:///...)."
        )
    asked = Path(unquote(parts.path))
    if not asked.is_absolute() or ".." in asked.parts:
        raise Undeliverable(f"The results' location {location} must be an absolute path without '..'.")
    for root in map(Path, roots):
        if asked.is_relative_to(root) and not _visible(root):
            raise NotNow(f"The results root {root} is not visible on this worker.", LOOK_AGAIN_SECONDS)
    try:
        folder = asked.resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError) as error:
        if roots and not any(asked.is_relative_to(root) for root in roots):  # what is there is nobody's business
            raise Undeliverable(_outside(asked)) from error
        raise Undeliverable(f"The results folder {asked} does not exist.") from error
    except (PermissionError, RuntimeError) as error:
        raise Undeliverable(f"The results folder {asked} cannot be read by the worker.") from error
    if not _inside(folder, roots):
        raise Undeliverable(_outside(asked))
    if not folder.is_dir():
        raise Undeliverable(f"The results' location {asked} is not a folder.")
    return folder


def _outside(asked: Path) -> str:
    return f"The results folder {asked} is outside the folders that results may come from."


def _visible(root: Path) -> bool:
    """A mount point is an empty folder while nothing is mounted there."""
    try:
        with os.scandir(root) as entries:
            return any(True for _ in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _walk(folder: Path, prefix: str, left_out: list[str]) -> Iterator[tuple[str, str]]:
    """Every entry below ``folder`` that is not a folder itself, as (name, path)."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        if error.errno not in FOR_GOOD:
            raise
        left_out.append(f"{_shown(prefix) or folder}: the folder cannot be read ({error.strerror}).")
        return
    for entry in entries:
        name = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), name + "/", left_out)
        else:
            yield name, entry.path


def _look(name: str, path: Path, folder: Path, roots: Sequence[str]) -> SourceFile | str:
    try:
        name.encode()
    except UnicodeEncodeError:
        return f"{_shown(name)}: the name is not UTF-8."
    try:
        target = path.resolve(strict=True)
        status = target.stat(follow_symlinks=False)
    except (OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno not in FOR_GOOD:
            raise
        reason = getattr(error, "strerror", None) or "a link that leads in a circle"
        return f"{name}: cannot be read ({reason})."
    if target != path and not (target.is_relative_to(folder) or (roots and _inside(target, roots))):
        return f"{name}: a link that leads out of the results folder."
    if stat.S_ISDIR(status.st_mode):
        return f"{name}: a link to a folder."
    if not stat.S_ISREG(status.st_mode):
        return f"{name}: not a regular file."
    if not os.access(target, os.R_OK):
        return f"{name}: cannot be read (Permission denied)."
    return SourceFile(name, target, status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)


def _shown(name: str) -> str:
    """A name as far as it is text."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _meant(name: str, results: Results) -> bool:
    if results.include and not any(_matches(name, pattern) for pattern in results.include):
        return False
    return not any(_matches(name, pattern) for pattern in results.exclude)


def _matches(name: str, pattern: str) -> bool:
    """A pattern without a slash is held against the last part of the name, as in a .gitignore file."""
    return fnmatchcase(name if "/" in pattern else name.rpartition("/")[2], pattern)


def _inside(path: Path, roots: Sequence[str]) -> bool:
    return not roots or any(path.is_relative_to(Path(root).resolve()) for root in roots)
