"""Which files are meant: a snapshot of the results folder, nothing from outside the roots."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from consumer import no_follow
from consumer.errors import NotNow, Undeliverable
from consumer.packing.names import member_name
from consumer.snapshot import Service, Snapshot, SourceFile, SourceFiles
from messaging.locations import is_url

if TYPE_CHECKING:  # `simcourier pack` has no messages, and starts faster without their library
    from messaging.messages import Results

LOOK_AGAIN_SECONDS = 60.0
MOST_FILES = 1_000_000  # with folders; about 150 bytes of memory each
LONGEST_NAME = 4096  # bytes, with its folders; a service that leads in a circle ends here
# Reasons to leave an entry out, and say so; with any other error (a file system that is away) all is tried again.
FOR_GOOD = {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, None}
# A path that leads nowhere on any try.
NO_FOLDER = {errno.ENAMETOOLONG, errno.ELOOP}


def collect(results: Results, roots: Sequence[str]) -> Snapshot:
    """Take a snapshot of the results, on this machine or on a service.

    Args:
        results: location and patterns.
        roots: folders and URL prefixes that results may come from; none: any folder, and no service.

    Raises:
        Undeliverable: the location is no folder, outside the roots, or holds no file that is meant.
        NotNow: the root is not visible on this machine, or the service cannot be used from it.
        TransientError: the service is away.
    """
    _expect_readable(results.location)
    if is_url(results.location):
        # Only here: what it imports is of no use to others, and some of it may be missing.
        from consumer.remote import look_remotely

        return look_remotely(results.location, results.include, results.exclude, roots)
    folders = [root for root in roots if not is_url(root)]
    if roots and not folders:  # none at all would mean all
        raise Undeliverable(f"The results' location {results.location} is outside the places results may come from.")
    return look(locate(results.location, folders), results.include, results.exclude, folders)


def _expect_readable(location: str) -> None:
    if "\0" in unquote(location):
        raise Undeliverable(f"The results' location {location} holds %00, which no name can hold.")
    try:
        urlsplit(location).port  # noqa: B018 - read to see whether it can be
    except ValueError as error:
        raise Undeliverable(f"The results' location {location} is no address that can be read.") from error


def look(
    folder: Path,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    roots: Sequence[str] = (),
    besides: tuple[int, int] | None = None,
) -> Snapshot:
    """Take a snapshot of a folder.

    Args:
        folder: links resolved.
        include, exclude: patterns; none to include: all.
        roots: folders that links may lead to, besides this one.
        besides: device and inode of a file that is not meant: the archive itself.

    Raises:
        Undeliverable: it holds no file that is meant.
    """
    return taken(
        str(folder), partial(_files, folder, include, exclude, roots, besides), patterns=bool(include or exclude)
    )


def taken(
    folder: str,
    files: Callable[[list[str]], Iterable[SourceFile]],
    *,
    shown: str = "",
    patterns: bool,
    service: Service | None = None,
) -> Snapshot:
    """The snapshot of what ``files`` finds; it appends to its argument what it leaves out.

    Args:
        shown: how the folder is called where that differs.

    Raises:
        Undeliverable: it finds nothing.
    """
    left_out: list[str] = []
    found = SourceFiles(folder, files(left_out), service)
    left_out.sort()
    if not found:
        raise Undeliverable(f"The results folder {shown or folder} {_nothing(left_out, patterns=patterns)}.")
    return Snapshot(found, tuple(left_out), files)


def _files(
    folder: Path,
    include: Sequence[str],
    exclude: Sequence[str],
    roots: Sequence[str],
    besides: tuple[int, int] | None,
    left_out: list[str],
) -> Iterator[SourceFile]:
    for name, entry, handle in _walk(folder, left_out):
        if not meant(name, include, exclude):
            continue
        found = _look(name, entry, handle, folder, roots)
        if isinstance(found, str):
            left_out.append(found)
        elif (found.device, found.inode) == besides:
            left_out.append(f"{name}: the archive itself.")
        else:
            yield found


def _nothing(left_out: Sequence[str], *, patterns: bool) -> str:
    """Why there is nothing to pack."""
    if left_out:
        more = f" And {len(left_out) - 1} more" if len(left_out) > 1 else ""
        return f"holds no file that can be read: {left_out[0]}{more}".removesuffix(".")
    if patterns:
        return "holds no file that matches the patterns"
    return "holds no file that can be read"


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
    folder = _resolved(asked, roots)
    if not _inside(folder, roots):
        raise Undeliverable(_outside(asked, roots))
    if not folder.is_dir():
        raise Undeliverable(f"The results' location {asked} is not a folder.")
    return folder


def _resolved(asked: Path, roots: Sequence[str]) -> Path:
    try:
        return asked.resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError) as error:
        if roots and not any(asked.is_relative_to(root) for root in roots):  # what is there is nobody's business
            raise Undeliverable(_outside(asked, roots)) from error
        raise Undeliverable(f"The results folder {asked} does not exist.") from error
    except (PermissionError, RuntimeError) as error:
        raise Undeliverable(f"The results folder {asked} cannot be read by the worker.") from error
    except OSError as error:
        if error.errno not in NO_FOLDER:
            raise
        raise Undeliverable(f"The results folder {asked} cannot be there ({error.strerror}).") from error


def _outside(asked: Path, roots: Sequence[str]) -> str:
    for root in roots:
        try:
            no_follow.without_links(Path(root))
        except PermissionError:
            continue
        except no_follow.LinkOfOthers as error:
            if asked.is_relative_to(root):
                return (
                    f"The results folder {asked} is below a link, {error.link}, of somebody who is neither root nor "
                    "the worker's user: such links are not followed."
                )
    return f"The results folder {asked} is outside the folders that results may come from."


def _visible(root: Path) -> bool:
    """A mount point is an empty folder while nothing is mounted there."""
    try:
        with os.scandir(root) as entries:
            return any(True for _ in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _walk(folder: Path, left_out: list[str]) -> Iterator[tuple[str, os.DirEntry[str], int]]:
    """Every entry below ``folder`` that is not a folder itself; one at a time, there may be many.

    Each with its name and a descriptor of the folder that it is in, for as long as it is the one looked at.
    """
    waiting, found = [""], 0
    while waiting:
        prefix = waiting.pop()
        try:
            handle = no_follow.open_folder(f"{folder}/{prefix}".rstrip("/") or "/")
        except OSError as error:
            _leave_out(error, _shown(prefix) or str(folder), left_out)
            continue
        try:
            with os.scandir(handle) as entries:
                for entry in entries:
                    name, found = prefix + entry.name, found + 1
                    if found > MOST_FILES:
                        raise Undeliverable(too_many(str(folder)))
                    if entry.is_dir(follow_symlinks=False):
                        if len(os.fsencode(name)) <= LONGEST_NAME:
                            waiting.append(f"{name}/")
                        else:
                            left_out.append(too_long(name))
                    else:
                        yield name, entry, handle
        except OSError as error:
            _leave_out(error, _shown(prefix) or str(folder), left_out)
        finally:
            os.close(handle)


def _leave_out(error: OSError, folder: str, left_out: list[str]) -> None:
    if error.errno not in FOR_GOOD:
        raise error
    left_out.append(f"{folder}: the folder cannot be read ({error.strerror}).")


def _look(name: str, entry: os.DirEntry[str], handle: int, folder: Path, roots: Sequence[str]) -> SourceFile | str:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return f"{_shown(name)}: the name is not UTF-8."
    if size > LONGEST_NAME:
        return too_long(name)
    place = f"{str(folder).rstrip('/')}/{name}"
    try:
        if entry.is_symlink():
            target = Path(place).resolve(strict=True)
            if not (target.is_relative_to(folder) or (roots and _inside(target, roots))):
                return f"{name}: a link that leads out of the results folder."
            place = str(target)
            status = no_follow.status(place)
            readable = os.access(place, os.R_OK)
        else:
            status = entry.stat(follow_symlinks=False)
            readable = os.access(entry.name, os.R_OK, dir_fd=handle)
    except (OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno not in {*FOR_GOOD, errno.EINVAL}:  # EINVAL: no link any more
            raise
        reason = getattr(error, "strerror", None) or "a link that leads in a circle"
        return f"{name}: cannot be read ({reason})."
    if stat.S_ISDIR(status.st_mode):
        return f"{name}: a link to a folder."
    if not stat.S_ISREG(status.st_mode):
        return f"{name}: not a regular file."
    if not readable:
        return f"{name}: cannot be read (Permission denied)."
    return SourceFile(member_name(name), place, status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)


def too_many(folder: str) -> str:
    """The sentence for a folder that holds more than any worker takes."""
    return (
        f"The results folder {folder} holds more than {MOST_FILES} files and folders; pack them into fewer, or choose "
        "some of them in several events."
    )


def too_long(name: str) -> str:
    """The sentence for a file that is left out."""
    return f"{_shown(name[:100])}...: the name is longer than {LONGEST_NAME} bytes."


def _shown(name: str) -> str:
    """A name as far as it is text."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def meant(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether the patterns choose a file."""
    if include and not any(_matches(name, pattern) for pattern in include):
        return False
    return not any(_matches(name, pattern) for pattern in exclude)


def _matches(name: str, pattern: str) -> bool:
    """A pattern without a slash is held against the last part of the name, as in a .gitignore file."""
    return fnmatchcase(name if "/" in pattern else name.rpartition("/")[2], pattern)


def _inside(path: Path, roots: Sequence[str]) -> bool:
    """Whether a path without links lies below a root."""
    return not roots or any(path.is_relative_to(root) for root in map(_without_links, roots) if root is not None)


def _without_links(root: str) -> Path | None:
    """None where somebody else's link is on the way, or a folder that the worker may not enter."""
    try:
        return no_follow.without_links(Path(root))
    except (no_follow.LinkOfOthers, PermissionError):
        return None
