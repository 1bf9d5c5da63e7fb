"""Upload keys: who may upload, and how much of what.

They are kept in ``keys.json`` in the storage folder, which ``local-cloud keys`` replaces in one step and a running
server reads again when it has changed. Of a key only its SHA-256 is there. That is enough, and a slow hash with a salt
would only slow down every request: a key that we make has 256 random bits, so nobody can go through the possible ones.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from local_cloud.disk import fsync_folder

KEYS = "keys.json"
KEYS_PART = "keys.part"
PREFIX = "sclc_"  # SimCourier, local cloud: to be recognised where it does not belong, in a repository say
SECRET_BYTES = 32
DEFAULT = "default"
"""Who uploads with the key of the settings, or without one; also whose the files are that say nothing else."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key.

    Args:
        name: for people, in logs, and as owner of files.
        sha256: of the key itself.
        added: RFC 3339.
        max_file: bytes of the largest file; None: as the server allows.
        quota: bytes that its files may have together; None: as the server allows.
        rate: bytes per second of its uploads together; None: as fast as they come.
    """

    name: str
    sha256: str
    added: str
    max_file: int | None = None
    quota: int | None = None
    rate: int | None = None


class Unreadable(Exception):
    """The keys' file is there and cannot be read or understood; the text says why."""


def fingerprint(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


def from_settings(key: str) -> Key:
    """The one of ``--key-file`` or of the environment, without limits of its own."""
    return Key(DEFAULT, fingerprint(key), added="")


class Keys:
    """The keys as they are now.

    Args:
        folder: the storage folder.
        given: a key that is not in its file.
    """

    def __init__(self, folder: Path, given: Key | None = None) -> None:
        self._file = folder / KEYS
        self._given = given
        self._seen: tuple[int, int, int] | None = None
        self._known: dict[str, Key] = {}
        self.refresh()

    def __bool__(self) -> bool:
        """True if there is any."""
        return bool(self._known)

    @property
    def names(self) -> list[str]:
        """Of those that are valid."""
        return sorted({key.name for key in self._known.values()})

    def find(self, key: str) -> Key | None:
        """What is known of a key that somebody presents.

        It is looked up by its digest: how long that takes tells nothing from which the key could be guessed.
        """
        return self._known.get(fingerprint(key))

    def refresh(self) -> bool:
        """Read the file again if it has changed; true if it had. Costs one look at the file's date.

        Raises:
            Unreadable: it cannot be read; until it can, there is no telling who may do what.
        """
        try:
            status = self._file.stat()
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
        except FileNotFoundError:
            seen = (0, 0, 0)
        except OSError as error:
            raise Unreadable(f"{self._file} cannot be read: {error.strerror}.") from error
        if seen == self._seen:
            return False
        known = {key.sha256: key for key in read(self._file.parent)}
        if self._given is not None:
            known.setdefault(self._given.sha256, self._given)
        self._known, self._seen = known, seen
        return True


def read(folder: Path) -> list[Key]:
    """The keys in the folder's file, oldest first; none where it is missing.

    Raises:
        Unreadable: it cannot be read.
    """
    file = folder / KEYS
    try:
        return [Key(**one) for one in json.loads(file.read_text(encoding="utf-8"))["keys"]]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Unreadable(f"{file} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"{file} is damaged: put back a copy, or remove it and add the keys anew.") from error


def add(folder: Path, name: str, *, max_file: int | None, quota: int | None, rate: int | None) -> str | None:
    """Make a key and keep its digest; None: there is one of this name already.

    Raises:
        Unreadable: the file cannot be read.
        OSError: it cannot be written.
    """
    key = PREFIX + secrets.token_hex(SECRET_BYTES)
    added = datetime.now(UTC).isoformat(timespec="seconds")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(folder):
        keys = read(folder)
        if any(one.name == name for one in keys):
            return None
        _write(folder, [*keys, Key(name, fingerprint(key), added, max_file, quota, rate)])
    return key


def revoke(folder: Path, name: str) -> list[Key] | None:
    """Forget a key; those that are left, or None: there is none of this name.

    Raises:
        Unreadable: the file cannot be read.
        OSError: it cannot be written.
    """
    if not folder.is_dir():
        return None
    with _locked(folder):
        keys = read(folder)
        left = [one for one in keys if one.name != name]
        if left == keys:
            return None
        _write(folder, left)
    return left


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two commands at once change the file one after the other."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(folder: Path, keys: list[Key]) -> None:
    part = folder / KEYS_PART
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump({"keys": [asdict(key) for key in keys]}, stream, indent=1)
        if os.geteuid() == 0:  # the server runs as the folder's owner, and must be able to read it
            owner = folder.stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)
        stream.flush()
        os.fsync(handle)
    part.replace(folder / KEYS)
    fsync_folder(folder)
