"""The small JSON record beside each file: what the file is, and what its link looks like."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from local_cloud.disk import fsync_folder
from local_cloud.keys import DEFAULT

RECORD = "record.json"
RECORD_PART = "record.part"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a file.

    Args:
        key: the client's name for it.
        name: the file name offered on download.
        size: bytes.
        sha256: lower-case hex; also the name of the data file beside the record.
        secret: the unguessable part of its link.
        stored: RFC 3339.
        expires: RFC 3339; None: never.
        title: what the page behind the link calls it; empty: its name.
        password: what is kept of the link's password; empty: it has none.
        owner: name of the upload key with which it was stored; nobody else may see it or do anything with it.
    """

    key: str
    name: str
    size: int
    sha256: str
    secret: str
    stored: str
    expires: str | None = None
    title: str = ""
    password: str = field(default="", repr=False)
    owner: str = DEFAULT

    @property
    def id(self) -> str:
        """The name of its folder."""
        return file_id(self.key, self.owner)

    @property
    def token(self) -> str:
        """What stands in its link."""
        return f"{self.id}.{self.secret}"

    @property
    def expired(self) -> bool:
        """True once the link has ended."""
        return self.expires is not None and datetime.fromisoformat(self.expires) <= datetime.now(UTC)


class Unreadable(Exception):
    """A record that is there and cannot be understood."""


def file_id(key: str, owner: str = DEFAULT) -> str:
    """The server's own name for the file of ``key``: nothing that a client sends becomes a name on disk.

    Each owner has its own files: what one calls a file says nothing of another's. (No key has a U+0000 in it.)
    """
    text = key if owner == DEFAULT else f"{owner}\0{key}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def read(folder: Path) -> Record | None:
    """The record in ``folder``; None: there is none, so there is no file.

    Raises:
        Unreadable: it is damaged, or of another version.
    """
    try:
        text = (folder / RECORD).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError as error:
        raise Unreadable(folder.name) from error
    try:
        return Record(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise Unreadable(folder.name) from error


@contextlib.contextmanager
def written(folder: Path, record: Record) -> Iterator[None]:
    """Write the record beside the one in force, let the block do its part, then put it in force in one step."""
    part = folder / RECORD_PART
    try:
        with part.open("w", encoding="utf-8") as stream:
            json.dump(asdict(record), stream, indent=1, ensure_ascii=False)
            stream.flush()
            os.fsync(stream.fileno())
        yield
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    part.replace(folder / RECORD)
    fsync_folder(folder)
