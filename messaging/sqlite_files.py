"""The files of the embedded broker: where they may lie, who may read them, and which consumers are alive."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from messaging.engine import BrokerError

# File systems over a network do not share memory between machines, which SQLite's WAL needs, and many lie about
# locks (https://www.sqlite.org/wal.html, https://www.sqlite.org/faq.html#q5). Names as in /proc/self/mountinfo.
NETWORK_TYPES: Final = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "ncpfs",
        "afs",
        "ceph",
        "lustre",
        "gpfs",
        "beegfs",
        "orangefs",
        "glusterfs",
    }
    | {f"fuse.{name}" for name in ("sshfs", "glusterfs", "ceph", "s3fs", "rclone", "davfs2", "gcsfuse")}
)
MOUNTS: Final = Path("/proc/self/mountinfo")
SETUP_LOCK: Final = "setup.lock"


class NetworkFolder(BrokerError):
    """The folder lies on a network file system."""

    exit_code = 2


def refuse_network(folder: Path, mounts: Path = MOUNTS) -> None:
    """Check that ``folder`` (or the nearest part of it that exists) lies on this machine, where Linux tells.

    Raises:
        NetworkFolder: it does not.
    """
    if not mounts.exists():
        return
    place = folder.resolve()
    kind, longest = "", -1
    # The format: https://www.kernel.org/doc/html/latest/filesystems/proc.html#proc-pid-mountinfo
    for line in mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        point = Path(_unescape(before.split()[4]))
        if place.is_relative_to(point) and len(point.parts) >= longest:
            kind, longest = after.split()[0], len(point.parts)
    if kind in NETWORK_TYPES:
        raise NetworkFolder(
            f"{folder} lies on a network file system ({kind}), where SQLite loses data; choose a local folder "
            "(SIMCOURIER_DATA_DIR), or RabbitMQ and PostgreSQL for several machines."
        )


def make_private(file: Path) -> None:
    """Make an empty file, and its folders, that only their owner may read; leave alone what exists.

    A file that exists is not even opened: closing any descriptor of a file lets go of all POSIX locks that this process
    has on it, also those of SQLite (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    """
    for folder in reversed(file.parents):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)  # another process may be making it too
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    descriptor = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)  # or the file's name may not outlive a power failure
    finally:
        os.close(descriptor)


@contextmanager
def exclusive(lock_file: Path) -> Iterator[None]:
    """Hold a lock file for the time of the block; waits for whoever holds it."""
    make_private(lock_file)
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class LifeLine:
    """A locked file that says: this consumer is alive. The kernel lets go of the lock when the process ends.

    Args:
        folder: where the consumers of one broker file have theirs.
        name: of the file, where chance shall not choose one.
    """

    def __init__(self, folder: Path, name: str = "") -> None:
        self.name = name or uuid.uuid4().hex
        self._path = folder / self.name
        make_private(self._path)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def close(self) -> None:
        """Say that it is no longer alive."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def new_life(folder: Path) -> LifeLine:
    """A life line for a new consumer; clears away those of consumers that died with nothing in hand."""
    # Under the lock, so that nobody mistakes a file that is not locked yet for that of a dead consumer.
    with exclusive(folder / SETUP_LOCK):
        for path in folder.iterdir():
            if path.name != SETUP_LOCK:
                is_alive(folder, path.name)
        return LifeLine(folder)


def is_alive(folder: Path, name: str, *, clear: bool = True) -> bool:
    """Whether the consumer ``name`` still holds its life line. ``clear``: remove the file of one that does not."""
    path = folder / name
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        if clear:
            path.unlink(missing_ok=True)
        return False
    finally:
        os.close(descriptor)


def _unescape(text: str) -> str:
    """Octal escapes of /proc/self/mountinfo (space, tab, newline, backslash)."""
    for code in (r"\040", r"\011", r"\012", r"\134"):
        text = text.replace(code, chr(int(code[1:], 8)))
    return text
