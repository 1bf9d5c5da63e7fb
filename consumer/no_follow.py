"""Opens files and folders by paths without a link in them: no part of one is followed anywhere else.

Results belong to people who may change them at any time. Between a look at a path and its opening, whoever owns a
folder on the way can put a link to somebody else's into its place; the kernel is to refuse that, since no check before
the opening can (CWE-367, and openat2(2) on RESOLVE_NO_SYMLINKS).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from functools import cache
from pathlib import Path

_PATH = getattr(os, "O_PATH", os.O_RDONLY)
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
_STEP = _PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
_OPENAT2 = 437  # on every architecture but Alpha
_RESOLVE_NO_SYMLINKS = 0x04
_AT_FDCWD = -100
MOST_LINKS = 40  # of one path, as the kernel has it


def open_file(path: str) -> int:
    """A descriptor to read a file by; neither a pipe nor a device makes it wait.

    Args:
        path: whole, links resolved.

    Raises:
        OSError: it cannot be opened, or a part of the path has become a link.
    """
    return _open(path, _FILE)


def open_folder(path: str) -> int:
    """A descriptor to list a folder by; raises as `open_file`."""
    return _open(path, _FOLDER)


def status(path: str) -> os.stat_result:
    """What is there now; raises as `open_file`."""
    handle = _open(path, _PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return os.fstat(handle)
    finally:
        os.close(handle)


class LinkOfOthers(Exception):
    """A link on the way belongs neither to root nor to this process's user."""

    def __init__(self, link: Path) -> None:
        super().__init__(str(link))
        self.link = link


def without_links(path: Path) -> Path:
    """A path with its links resolved, those of root and of this process's user alone.

    What an operator has set is looked up anew each time, and people may own folders on the way to it: a link that one
    of them puts there leads wherever they like.

    Args:
        path: absolute; its end need not be there.

    Raises:
        LinkOfOthers: somebody else has made a link on the way.
        OSError: a part cannot be looked at, or the links lead in a circle.
    """
    own = {0, os.geteuid()}
    here, ahead, links = Path("/"), list(reversed(path.parts[1:])), 0
    while ahead:
        part = ahead.pop()
        if part == "..":
            here = here.parent
            continue
        try:
            status = os.lstat(here / part)
        except (FileNotFoundError, NotADirectoryError):
            return here.joinpath(part, *reversed(ahead))
        if not stat.S_ISLNK(status.st_mode):
            here /= part
            continue
        if status.st_uid not in own:
            raise LinkOfOthers(here / part)
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = (here / part).readlink()
        if target.is_absolute():
            here = Path("/")
        ahead += reversed(target.parts[target.is_absolute() :])
    return here


def _open(path: str, flags: int) -> int:
    at_once = _at_once()
    if at_once is not None:
        try:
            return at_once(path, flags)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:  # whole paths have a limit that steps have not
                raise
    return _step_by_step(path, flags)


def _step_by_step(path: str, flags: int) -> int:
    """From folder to folder, as every POSIX system can: about six times as long."""
    *folders, last = [part for part in path.split("/") if part] or ["."]
    here = os.open("/", _STEP)
    try:
        for folder in folders:
            further = os.open(folder, _STEP, dir_fd=here)
            os.close(here)
            here = further
        return os.open(last, flags, dir_fd=here)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(here)


class _How(ctypes.Structure):
    """``struct open_how`` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@cache
def _at_once() -> Callable[[str, int], int] | None:
    """openat2 of Linux 5.6 and newer; None where kernel or sandbox have none."""
    if os.uname().sysname != "Linux" or os.uname().machine == "alpha":
        return None
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long

    def openat2(path: str, flags: int) -> int:
        how = _How(flags, 0, _RESOLVE_NO_SYMLINKS)
        while True:
            handle = syscall(_OPENAT2, _AT_FDCWD, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
            if handle >= 0:
                return int(handle)
            if (number := ctypes.get_errno()) not in {errno.EINTR, errno.EAGAIN}:
                raise OSError(number, os.strerror(number), path)

    try:
        os.close(openat2("/", _STEP))
    except OSError:
        return None
    return openat2
