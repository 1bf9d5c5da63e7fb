"""Uploads on their way: a folder each, ``uploads/<id>/data`` beside ``upload.json``, which says what it will be.

How far an upload has come is the size of its data, and nothing else: whatever a crash has left is true, and can be
gone on with. When it is whole, the data becomes a file of the `Storage`, and ``upload.json`` stays for a while, so that
a client that did not hear of the end can still ask. The files' times say when an upload was touched last.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from local_cloud.disk import disk_full_told, fsync_folder
from local_cloud.errors import Problem, Refusal
from local_cloud.record import Record
from local_cloud.storage import OURS, Storage

if TYPE_CHECKING:
    from hashlib import _Hash


ABOUT = "upload.json"
ABOUT_PART = "upload.part"
DATA = "data"
PIECE = 1024 * 1024
DIGESTS_KEPT = 1000  # of uploads that nobody writes to at the moment; others are read again from the disk


@dataclass(frozen=True, slots=True)
class Upload:
    """What is known of an upload.

    Args:
        id: its own name, unguessable.
        owner: of the key with which it was begun.
        key: the client's name for the file that it becomes.
        name: the file name offered on download.
        length: bytes that it will have; None: not known yet.
        metadata: what the client sent as such, to be repeated.
        sha256: that the client announced, lower-case hex, empty: none; once it is done, that of its bytes.
        done: it has become a file.
    """

    id: str
    owner: str
    key: str
    name: str
    length: int | None
    metadata: str = ""
    sha256: str = ""
    done: bool = False


class Appending:
    """The end of an upload's data, with the digest of what is before; one at a time per upload.

    Args:
        path: of the data.
        digest: of the ``size`` bytes that are there.

    Raises:
        Refusal: the disk is full (so for `write` and `sync`).
    """

    def __init__(self, path: Path, digest: _Hash, size: int) -> None:
        self.path = path
        self.size = size
        self.synced = size
        self._digest: _Hash | None = digest
        with disk_full_told():
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    @property
    def digest(self) -> _Hash | None:
        """Of all bytes; None: it is not known any more."""
        return self._digest

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Add bytes."""
        digest, self._digest = self._digest, None  # until all is well
        with disk_full_told():
            try:
                for piece in pieces:
                    self._write(piece)
            except OSError:
                self.size = os.fstat(self._file).st_size
                raise
        assert digest is not None
        for piece in pieces:
            digest.update(piece)
        self._digest = digest

    def sync(self) -> None:
        """Make durable what was written before the call."""
        size = self.size
        with disk_full_told():
            os.fdatasync(self._file)
        self.synced = size

    def cut_back(self, size: int, digest: _Hash) -> None:
        """Take back what was added after ``size``, whose digest is ``digest``."""
        os.ftruncate(self._file, size)
        self.size = size
        self._digest = digest

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _write(self, piece: bytes | memoryview) -> None:
        left = memoryview(piece)
        while left:
            count = os.write(self._file, left)
            self.size += count
            left = left[count:]


class Uploads:
    """The server's uploads.

    Args:
        folder: the server's, made if missing.
        storage: takes what is whole.
        keep: how long after its last byte an upload may be gone on with.
    """

    def __init__(self, folder: Path, storage: Storage, keep: timedelta) -> None:
        self._folder = folder / "uploads"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._storage = storage
        self._keep = keep
        self._lock = threading.Lock()
        self._known: dict[str, Upload] = {}
        self._reserved: dict[str, int] = {}
        self._digests: OrderedDict[str, tuple[int, _Hash]] = OrderedDict()
        self._restore()

    def create(
        self,
        owner: str,
        *,
        key: str,
        name: str,
        length: int | None,
        metadata: str = "",
        sha256: str = "",
        told: bool = True,
    ) -> Upload:
        """Begin one; without a key its own id is the key.

        Args:
            told: the client learns the id, so it may come back even after a restart.

        Raises:
            Refusal: the disk is full.
        """
        own = secrets.token_hex(16)
        upload = Upload(own, owner, key or own, name, length, metadata, sha256)
        folder = self._folder / own
        try:
            with disk_full_told():
                folder.mkdir(mode=0o700)
                (folder / DATA).touch(0o600)
                if told:
                    self._write(upload)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with self._lock:
            self._known[own] = upload
            self._digests[own] = (0, hashlib.sha256())
            self._reserve(upload, 0)
        return upload

    def find(self, own: str, owner: str) -> Upload | None:
        """An upload by its id; None: there is none, or it is somebody else's."""
        upload = self._known.get(own)
        return upload if upload is not None and upload.owner == owner else None

    def offset(self, upload: Upload) -> int:
        """Bytes that are there."""
        if upload.done:
            return upload.length or 0
        return (self._folder / upload.id / DATA).stat().st_size

    def expires(self, upload: Upload) -> datetime:
        """When it will be removed if nothing more comes."""
        return self._touched(upload) + self._keep

    def fix_length(self, upload: Upload, length: int) -> Upload:
        """Keep the length that was not known before.

        Raises:
            Refusal: the disk is full.
        """
        upload = replace(upload, length=length)
        with disk_full_told():
            self._write(upload)
        with self._lock:
            self._known[upload.id] = upload
            self._reserve(upload, self.offset(upload))
        return upload

    def grow(self, upload: Upload, size: int) -> None:
        """Count an upload whose length is not known as this long, until more is known."""
        with self._lock:
            self._reserve(upload, size)

    def append(self, upload: Upload) -> Appending:
        """Go on with its data; after a restart what is there is read again for the digest."""
        path = self._folder / upload.id / DATA
        size = path.stat().st_size
        with self._lock:
            known, digest = self._digests.pop(upload.id, (-1, hashlib.sha256()))
        if known != size:
            digest = _digest_of(path, size)
        return Appending(path, digest, size)

    def pause(self, upload: Upload, appending: Appending) -> None:
        """End an `append`; what was written stays."""
        appending.close()
        with self._lock:
            current = self._known.get(upload.id)
            if current is not None and not current.done:  # what has become a file is counted as one
                self._reserve(current, appending.size)
                if appending.digest is not None:
                    self._digests[upload.id] = (appending.size, appending.digest)
                    while len(self._digests) > DIGESTS_KEPT:
                        self._digests.popitem(last=False)

    def settle(self, upload: Upload) -> None:
        """Make durable that the upload is there, so that its bytes are found after a crash of the machine."""
        folder = self._folder / upload.id
        with disk_full_told():
            with (folder / ABOUT).open("rb") as stream:
                os.fsync(stream.fileno())
            fsync_folder(folder)
            fsync_folder(self._folder)

    def finish(self, upload: Upload, appending: Appending, sha256: str = "") -> Record:
        """Make a file of an upload whose bytes are all there and durable.

        Args:
            sha256: that they are said to have; empty: as announced when it was begun, if it was.

        Raises:
            Refusal: they have another digest, and the upload is no more; the disk is full.
        """
        digest = appending.digest or _digest_of(appending.path, appending.size)
        told = digest.hexdigest()
        if any(said not in {"", told} for said in (sha256, upload.sha256)):
            self.remove(upload)
            raise Refusal(Problem.WRONG_DIGEST)
        record = self._storage.adopt(
            appending.path, key=upload.key, name=upload.name, owner=upload.owner, size=appending.size, sha256=told
        )
        done = replace(upload, length=appending.size, sha256=told, done=True)
        with disk_full_told():
            self._write(done)
        appending.path.unlink(missing_ok=True)
        with self._lock:
            self._known[upload.id] = done
            self._storage.reserve(upload.owner, -self._reserved.pop(upload.id, 0))
        return record

    def remove(self, upload: Upload) -> None:
        """End an upload that is not whole."""
        with self._lock:
            self._known.pop(upload.id, None)
            self._digests.pop(upload.id, None)
            self._storage.reserve(upload.owner, -self._reserved.pop(upload.id, 0))
        shutil.rmtree(self._folder / upload.id, ignore_errors=True)

    def terminate(self, upload: Upload) -> None:
        """What the client wants to be rid of: the upload, and the file that it has become."""
        if upload.done:
            there = self._storage.find(upload.key, upload.owner)
            if there is not None and there.sha256 == upload.sha256:  # else a later upload has taken its name
                self._storage.delete(upload.key, upload.owner)
        self.remove(upload)

    def overdue(self) -> list[Upload]:
        """Those whose time is over."""
        now = datetime.now(UTC)
        found = []
        for upload in list(self._known.values()):
            with contextlib.suppress(FileNotFoundError):
                if self.expires(upload) <= now:
                    found.append(upload)
        return found

    def _touched(self, upload: Upload) -> datetime:
        folder = self._folder / upload.id
        path = folder / (ABOUT if upload.done else DATA)
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)

    def _reserve(self, upload: Upload, size: int) -> None:
        wanted = max(size, upload.length or 0)
        self._storage.reserve(upload.owner, wanted - self._reserved.get(upload.id, 0))
        self._reserved[upload.id] = wanted

    def _write(self, upload: Upload) -> None:
        folder = self._folder / upload.id
        part = folder / ABOUT_PART
        part.write_text(json.dumps(asdict(upload), indent=1, ensure_ascii=False), encoding="utf-8")
        part.replace(folder / ABOUT)

    def _restore(self) -> None:
        """Take up what an earlier server has left; what no client can ask for any more is removed."""
        for folder in self._folder.iterdir():
            if not OURS.fullmatch(folder.name):
                continue
            try:
                upload = Upload(**json.loads((folder / ABOUT).read_text(encoding="utf-8")))
                if upload.done:  # a kill may have come right before this
                    (folder / DATA).unlink(missing_ok=True)
                else:
                    (folder / DATA).stat()
            except (OSError, ValueError, TypeError) as error:
                if isinstance(error, OSError) and error.errno != errno.ENOENT:
                    raise
                shutil.rmtree(folder, ignore_errors=True)
                continue
            self._known[upload.id] = upload
            if not upload.done:
                self._reserve(upload, self.offset(upload))


def _digest_of(path: Path, size: int) -> _Hash:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while size and (piece := stream.read(min(PIECE, size))):
            digest.update(piece)
            size -= len(piece)
    return digest
