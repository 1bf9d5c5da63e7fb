"""The file server (seafhttp): uploads whole and in chunks, downloads. Two programs, one in Go and one in C."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

from tests.standins.seafile.library import LONGEST_PATH, PIECE, Access, BadName, File, Refused, clean, stored_name
from tests.standins.seafile.multipart import Form, Malformed, Part, parameters
from tests.standins.seafile.service import Answer, Request, Seafile

RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)", re.ASCII)
DISPOSITION = re.compile(r'attachment; *filename="[^"]*"')
STREAM = "application/octet-stream"
KINDS = {"upload-api": "upload", "upload-aj": "upload", "update-api": "update"}


class TooMuch(Refused):
    """Known before the body is read: the connection may close while the client still sends."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a file, as its headers tell."""

    first: int
    last: int
    total: int
    name: str

    @property
    def is_last(self) -> bool:
        return self.last == self.total - 1


@dataclass(slots=True)
class Sent:
    """What a form brought: plain fields, and each file with its name and where it lies."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, Path]] = field(default_factory=list)

    def folder(self) -> str:
        """``parent_dir`` and ``relative_path``, joined."""
        return clean(posixpath.join(self.fields.get("parent_dir", ""), self.fields.get("relative_path", "")))


class FileServer:
    """Serves ``/seafhttp/...``."""

    def __init__(self, service: Seafile) -> None:
        self._service = service
        self._library = service.library

    @property
    def _in_c(self) -> bool:
        return self._service.switches.c_server

    def refused(self, error: Refused) -> Answer:
        """The error's message ends in a raw newline inside the string, which is no strict JSON."""
        if error.message is None:
            return Answer(error.status, "text/plain; charset=utf-8")
        body = f'{{"error": "{error.message}\n"}}'.encode()
        if self._in_c:
            return Answer(error.status, "application/json; charset=utf-8", body)
        return Answer(error.status, "text/plain; charset=utf-8", body + b"\n")

    def answer(self, request: Request) -> Answer:
        """Of any request below ``/seafhttp/``. Raises `Refused`."""
        kind, _, rest = request.path.removeprefix("/seafhttp/").partition("/")
        key, _, name = rest.partition("/")
        if kind in KINDS and request.method in {"POST", "PUT"}:
            with self._library.lock:
                access = self._access(key, KINDS[kind])
            always_json = kind == "upload-aj"
            return self._update(request, access) if kind == "update-api" else self._upload(request, access, always_json)
        if kind == "files" and request.method in {"GET", "HEAD"}:
            return self._download(key, name)
        raise Refused(404, "Not found")

    def _access(self, key: str, kind: str) -> Access:
        if self._service.faults.take("link_expired", kind):
            self._library.links.pop(key, None)
        access = self._library.use(key)
        if access is None:
            raise Refused(403, "Access token not found")
        if access.kind != kind:
            raise Refused(403, "Operation does not match access token")
        if self._service.switches.gone:
            raise Refused(444, "Library is deleted")
        return access

    # -- uploads

    def _upload(self, request: Request, access: Access, always_json: bool) -> Answer:
        chunk = self._chunk(request)
        sent = Sent()
        try:
            if chunk is None:
                self._check_room(request.length)
                self._receive(request, sent, self._spool)
            elif not self._add_chunk(request, access, sent, chunk):
                return Answer(200, "application/json", b'{"success": true}')
            with self._library.lock:
                stored = self._finalise(request, access, sent)
        finally:
            for _, left in sent.files:
                left.unlink(missing_ok=True)
        in_form = sent.fields.get("ret-json") if not self._in_c else None
        if always_json or request.query.get("ret-json") or in_form:
            told: list[dict[str, Any]] = [{"name": name, "id": one.id, "size": one.size} for name, one in stored]
            return Answer(200, "application/json", json.dumps(told).encode())
        return Answer(200, "text/plain", "\t".join(one.id for _, one in stored).encode())

    def _chunk(self, request: Request) -> Chunk | None:
        """What the headers say; None: a whole file. Raises `Refused`."""
        given = request.headers.get("content-range")
        if given is None:
            return None
        found = RANGE.fullmatch(given)
        first, last, total = (int(number) for number in found.groups()) if found else (0, -1, 0)
        if last < first or last >= total:
            if self._in_c:
                raise Refused(400, "Invalid Content-Range")
            return None  # taken for a whole file
        disposition = request.headers.get("content-disposition", "")
        name = parameters(disposition).get("filename", "")
        if self._in_c:
            if not DISPOSITION.fullmatch(disposition):
                raise Refused(400, "Invalid Content-Disposition")
            return Chunk(first, last, total, unquote(name))
        if not name:
            raise Refused(500)
        return Chunk(first, last, total, unquote_plus(name))

    def _check_room(self, size: int) -> None:
        switches = self._service.switches
        if switches.largest and size > switches.largest:
            raise TooMuch(442, "File size is too large")
        if switches.total >= 0 and self._library.usage + size >= switches.total:
            raise TooMuch(443, "Out of quota")

    def _add_chunk(self, request: Request, access: Access, sent: Sent, chunk: Chunk) -> bool:
        """Whether it was the last one: then what was held becomes the file sent, and no record is left of it."""
        try:
            self._check_room(chunk.total)
        except TooMuch:
            if chunk.is_last:
                with self._library.lock:
                    self._library.drop_half(posixpath.join(access.path, chunk.name))
            raise
        path = self._receive_chunk(request, sent, chunk)
        if chunk.is_last:
            with self._library.lock:
                sent.files = [(chunk.name, self._library.halves.pop(path).data)]
        return chunk.is_last

    def _receive_chunk(self, request: Request, sent: Sent, chunk: Chunk) -> str:
        """Into the temporary file; its key. The program in C writes as bytes arrive, the one in Go when it has all."""
        direct = self._in_c

        def write(part: Part) -> Path:
            if sent.files:
                raise Refused(400, "More files in one request")
            if not direct:
                return self._spool(part)
            return self._library.write_half(self._half_path(sent, chunk), chunk.first, part.pieces)

        try:
            self._receive(request, sent, write)
            if not sent.files:
                raise Refused(400, "No file in multipart form")
            path = self._half_path(sent, chunk)
            if not direct:
                with sent.files[0][1].open("rb") as source:
                    self._library.write_half(path, chunk.first, iter(lambda: source.read(PIECE), b""))
        finally:
            for _, spooled in sent.files:
                if not direct:
                    spooled.unlink()
            sent.files = []
        return path

    @staticmethod
    def _half_path(sent: Sent, chunk: Chunk) -> str:
        if not sent.fields.get("parent_dir", "").startswith("/"):
            raise Refused(400, "Invalid parent dir")
        return posixpath.join(sent.folder(), chunk.name)

    def _spool(self, part: Part) -> Path:
        path = self._library.fresh()
        with path.open("wb") as target:
            for piece in part.pieces:
                target.write(piece)
        return path

    def _receive(self, request: Request, sent: Sent, keep: Callable[[Part], Path]) -> None:
        """Read the form. Raises `Refused`."""
        try:
            for part in Form(request.headers.get("content-type", ""), request.read).parts():
                if part.filename is None and not part.extended:
                    sent.fields[part.name] = part.text()
                elif part.name == "file":
                    if self._in_c and (part.filename is None or "parent_dir" not in sent.fields):
                        raise Refused(400, "Invalid form: no file name, or the file stands before parent_dir")
                    name = part.filename if part.filename is not None else part.extended
                    sent.files.append((name, keep(part)))
        except Malformed as error:
            raise Refused(400, "Invalid form") from error
        if "parent_dir" not in sent.fields and "target_file" not in sent.fields:
            raise Refused(400, "Invalid URL")

    def _finalise(self, request: Request, access: Access, sent: Sent) -> list[tuple[str, File]]:
        """Make what has arrived files. Raises `Refused`."""
        replace = self._replace(request, sent)
        self._check_folders(access, sent)
        self._check_key()
        try:
            names = [stored_name(name) for name, _ in sent.files]
        except BadName as error:
            raise Refused(440 if self._in_c else 400, "Invalid filename") from error
        if not names:
            raise Refused(400, "No file in multipart form")
        self._faults_at_the_end()
        folder = sent.folder()
        self._library.make_folder(folder)
        stored = []
        for name, (_, data) in zip(names, sent.files, strict=True):
            path = posixpath.join(folder, name)
            renamed = self._service.faults.take("renamed", "upload") is not None
            if path in self._library.folders or not replace or renamed:
                path = self._library.free_path(path, another=renamed) or ""
            if not path or len(path.encode()) > LONGEST_PATH:
                raise Refused(400, "Too many files of this name, or too long a path")
            if self._service.faults.take("shortened", "upload"):
                with data.open("r+b") as damaged:
                    damaged.truncate(max(0, data.stat().st_size - 1))
            stored.append((posixpath.basename(path), self._library.put(path, data, _mtime(sent, self._in_c))))
        return stored

    def _replace(self, request: Request, sent: Sent) -> bool:
        value = sent.fields.get("replace", "0")
        if not self._in_c:
            value = request.query.get("replace", value)
        if value not in {"0", "1"}:
            raise Refused(400, "Invalid replace argument")
        return value == "1"

    def _check_folders(self, access: Access, sent: Sent) -> None:
        parent, relative = sent.fields.get("parent_dir", ""), sent.fields.get("relative_path", "")
        if "//" in parent or not parent.startswith("/"):
            raise Refused(400, "Invalid parent dir")
        if clean(parent) != clean(access.path):
            raise Refused(403, "Permission denied: parent dir does not match the link")
        if clean(parent) not in self._library.folders:
            raise Refused(400, "Parent dir doesn't exist")
        if relative.startswith(("/", "\\")) or ".." in relative.split("/"):
            raise Refused(400, "Invalid relative path")

    def _check_key(self) -> None:
        if not self._service.has_key():
            raise Refused(400, "Please provide the password of the library") if self._in_c else Refused(500)

    def _faults_at_the_end(self) -> None:
        faults = self._service.faults
        if fault := faults.take("finalising_fails", "upload"):
            raise Refused(int(fault.value), "Failed to finish") if fault.value else Refused(500)
        if faults.take("collected", "upload"):
            raise Refused(409, "GC conflict, please try again")
        if faults.take("old_error", "upload"):
            raise Refused(200, "Internal error")

    def _update(self, request: Request, access: Access) -> Answer:
        """New content for a file that exists."""
        self._check_room(request.length)
        sent = Sent()
        try:
            self._receive(request, sent, self._spool)
            target = clean(sent.fields.get("target_file", ""))
            with self._library.lock:
                self._check_key()
                if posixpath.dirname(target) != clean(access.path):
                    raise Refused(403, "Permission denied")
                if target not in self._library.files:
                    raise Refused(441, "File does not exist")
                if len(sent.files) != 1:
                    raise Refused(400, "One file, please")
                return Answer(200, "text/plain", self._library.put(target, sent.files[0][1]).id.encode())
        finally:
            for _, left in sent.files:
                left.unlink(missing_ok=True)

    # -- downloads

    def _download(self, key: str, name: str) -> Answer:
        with self._library.lock:
            access = self._library.use(key)
            if access is None or access.kind != "download" or posixpath.basename(access.path) != name:
                raise Refused(403, "Access token not found")
            entry = self._library.files.get(access.path)
        if entry is None:
            raise Refused(404, "File not found")
        inside = {"Content-Disposition": f"attachment;filename*=\"utf-8' '{quote(name)}\""}
        return Answer(200, STREAM, entry.data, inside)


def _mtime(sent: Sent, in_c: bool) -> int | None:
    """``last_modify``, which the older program does not know; what cannot be read is ignored."""
    if in_c or "last_modify" not in sent.fields:
        return None
    try:
        moment = datetime.fromisoformat(sent.fields["last_modify"])
    except ValueError:
        return None
    return int(moment.timestamp()) if moment.tzinfo is not None else None
