"""Uploads by tus 1.0.0 (https://tus.io/protocols/resumable-upload): ``/files/`` and ``/files/<id>``.

The metadata that we understand: ``key``, the client's name for the file; ``filename``; ``sha256``, which the bytes must
have in the end. The header ``X-Content-SHA256`` of the request that brings the last byte says the same for who did not
know it before.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import hdrs, web

from local_cloud import audit
from local_cloud.access import Access, Uploader
from local_cloud.bodies import ask_for, pieces
from local_cloud.direct import DIRECT, SLICE_BYTES, Direct
from local_cloud.errors import Problem, Refusal
from local_cloud.limits import Limits
from local_cloud.metrics import COUNTERS
from local_cloud.names import file_name, is_text
from local_cloud.receive import Memory, Pouring
from local_cloud.record import Record
from local_cloud.turns import Turns
from local_cloud.uploads import Appending, Upload, Uploads

if TYPE_CHECKING:
    from hashlib import _Hash

log = structlog.get_logger()

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,creation-defer-length,expiration,termination,checksum"
CHECKSUMS = ("sha1", "sha256")
BODY = "application/offset+octet-stream"
ALLOWANCE = 16 * 1024 * 1024  # bytes of an upload of unknown length that are counted at once
LONGEST_KEY = 1024
LONGEST_METADATA = 8 * 1024
DRAIN_SECONDS = 0.1
NUMBER = re.compile(r"[0-9]{1,18}")
DIGEST = re.compile(r"[0-9a-f]{64}")
METHODS = "POST, HEAD, PATCH, DELETE, OPTIONS"
REQUEST_HEADERS = (
    "Authorization, Content-Type, Tus-Resumable, Upload-Length, Upload-Defer-Length, Upload-Metadata, Upload-Offset, "
    "Upload-Checksum, X-HTTP-Method-Override, X-Requested-With, X-Request-ID, X-Content-SHA256"
)
ANSWER_HEADERS = (
    "Location, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, Upload-Offset, "
    "Upload-Length, Upload-Defer-Length, Upload-Metadata, Upload-Expires"
)

Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a request's bytes are said to have."""

    algorithm: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """What an upload is to become: the client's name for the file, its name for people, and its digest."""

    key: str
    name: str
    sha256: str


class Tus:
    """The handlers.

    Args:
        uploads: what is on its way.
        access: who may upload.
        limits: how much.
        public_url: how the addresses of uploads begin; empty: as the client addressed us.
        run: runs blocking work in a thread.
        busy: holds the tasks that receive something.
    """

    def __init__(
        self,
        uploads: Uploads,
        access: Access,
        limits: Limits,
        *,
        public_url: str,
        run: Callable[..., Awaitable[Any]],
        busy: set[asyncio.Task[Any] | None],
    ) -> None:
        self._uploads = uploads
        self._access = access
        self._limits = limits
        self._public_url = public_url
        self._run = run
        self._busy = busy
        self._admitting = threading.Lock()
        self._memory = Memory()
        self.turns = Turns()

    async def collection(self, request: web.Request) -> web.StreamResponse:
        """``/files/``."""
        return await self._answer(request, {"POST": self._create})

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """``/files/<id>``."""
        return await self._answer(request, {"HEAD": self._head, "PATCH": self._patch, "DELETE": self._delete})

    async def _answer(self, request: web.Request, handlers: Mapping[str, Handler]) -> web.StreamResponse:
        method = request.method
        if method == "POST":  # from where nothing else can be sent
            method = request.headers.get("X-HTTP-Method-Override", method).upper()
        headers = {"Tus-Resumable": VERSION, hdrs.CACHE_CONTROL: "no-store", **_cors()}
        if method == "OPTIONS":
            return web.Response(status=204, headers=headers | self._offer())
        try:
            answer = await _chosen(request, method, handlers)(request)
        except Refusal as refusal:
            refusal.headers = {**headers, **refusal.headers}
            raise
        answer.headers.update({name: value for name, value in headers.items() if name not in answer.headers})
        return answer

    def _offer(self) -> dict[str, str]:
        largest = self._limits.max_file
        return {
            "Tus-Version": VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Checksum-Algorithm": ",".join(CHECKSUMS),
            **({"Tus-Max-Size": str(largest)} if largest is not None else {}),
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": REQUEST_HEADERS,
            "Access-Control-Max-Age": "86400",
        }

    async def put(self, request: web.Request, uploader: Uploader, *, key: str, name: str) -> Record:
        """A file in one request, outside of the protocol: all of it, or nothing is kept.

        Raises:
            Refusal: it did not come whole, or may not be stored.
        """
        upload: Upload = await self._run(
            partial(self._begin, uploader, request.content_length, key=key, name=name, told=False)
        )
        try:
            return await self._take_whole(request, uploader, upload)
        except Refusal as refusal:
            if refusal.problem is Problem.CUT:
                raise Refusal(Problem.INCOMPLETE) from refusal
            raise
        finally:
            await self._run(self._uploads.remove, upload)

    async def _take_whole(self, request: web.Request, uploader: Uploader, upload: Upload) -> Record:
        appending: Appending = await self._run(self._uploads.append, upload)
        task = asyncio.current_task()
        self._busy.add(task)
        try:
            await self._receive(request, uploader, upload, appending, None)
            await self._run(appending.sync)
            record = await self._finish(request, uploader, upload, appending)
        finally:
            self._busy.discard(task)
            await self._run(self._uploads.pause, upload, appending)
        return record

    # Beginning

    async def _create(self, request: web.Request) -> web.Response:
        uploader = self._access.uploader(request)
        length = _length(request)
        metadata = request.headers.get("Upload-Metadata", "")
        asked = _asked(metadata)
        with_body = request.content_type == BODY and (request.content_length or 0) != 0
        checksum = _checksum(request) if with_body else None
        if with_body and length is not None and (request.content_length or 0) > length:
            raise Refusal(Problem.TOO_MUCH)
        upload: Upload = await self._run(
            partial(
                self._begin, uploader, length, metadata=metadata, key=asked.key, name=asked.name, sha256=asked.sha256
            )
        )
        answer = web.Response(status=201, headers={hdrs.LOCATION: self._address(request, upload)})
        if length == 0 or with_body:
            async with self.turns.turn(upload.id, _stopper(request)):
                offset = await self._take(request, uploader, upload, checksum, with_body=with_body)
            answer.headers["Upload-Offset"] = str(offset)
        await self._tell_end(answer, upload)
        return answer

    def _address(self, request: web.Request, upload: Upload) -> str:
        return f"{self._public_url or f'{request.scheme}://{request.host}'}/files/{upload.id}"

    # Looking

    async def _head(self, request: web.Request) -> web.Response:
        uploader = self._access.uploader(request)
        upload = self._find(request, uploader)
        async with self.turns.turn(upload.id, _nothing):
            upload = self._find(request, uploader)
            offset: int = await self._run(self._uploads.offset, upload)
            if offset == upload.length and not upload.done:
                # All bytes came, and a crash came before the end.
                await self._take(request, uploader, upload, None, with_body=False)
        answer = web.Response(status=200, headers={"Upload-Offset": str(offset)})
        if upload.length is None:
            answer.headers["Upload-Defer-Length"] = "1"
        else:
            answer.headers["Upload-Length"] = str(upload.length)
        if upload.metadata:
            answer.headers["Upload-Metadata"] = upload.metadata
        await self._tell_end(answer, upload)
        return answer

    # Going on

    async def _patch(self, request: web.Request) -> web.Response:
        uploader = self._access.uploader(request)
        if request.content_type != BODY:
            raise Refusal(Problem.MEDIA_TYPE)
        claimed = _number(request, "Upload-Offset")
        length = _number(request, "Upload-Length") if "Upload-Length" in request.headers else None
        checksum = _checksum(request)
        self._find(request, uploader)
        async with self.turns.turn(request.match_info["id"], _stopper(request)):
            upload = self._find(request, uploader)
            offset: int = await self._run(self._uploads.offset, upload)
            if claimed != offset:
                raise Refusal(Problem.OFFSET, headers={"Upload-Offset": str(offset)})
            if length is not None and length != upload.length:
                upload = await self._fix_length(uploader, upload, offset, length)
            if upload.length is not None and (request.content_length or 0) > upload.length - offset:
                raise Refusal(Problem.TOO_MUCH)
            if not upload.done:
                offset = await self._take(request, uploader, upload, checksum, with_body=True)
        answer = web.Response(status=204, headers={"Upload-Offset": str(offset)})
        await self._tell_end(answer, upload)
        return answer

    async def _fix_length(self, uploader: Uploader, upload: Upload, offset: int, length: int) -> Upload:
        if upload.length is not None or length < offset:
            raise Refusal(Problem.BAD_REQUEST, "The upload's length is known and cannot be changed.")

        def fix() -> Upload:
            with self._admitting:
                self._limits.admit(uploader, length - offset, offset)
                return self._uploads.fix_length(upload, length)

        fixed: Upload = await self._run(fix)
        return fixed

    async def _take(
        self, request: web.Request, uploader: Uploader, upload: Upload, checksum: Checksum | None, *, with_body: bool
    ) -> int:
        """Receive what the request brings; the new offset. Whatever came stays, however it ends.

        Raises:
            Refusal: of the many things that can be wrong.
        """
        appending: Appending = await self._run(self._uploads.append, upload)
        task = asyncio.current_task()
        self._busy.add(task)
        try:
            if with_body:
                await self._receive(request, uploader, upload, appending, checksum)
            await self._run(appending.sync)
            if upload.length == appending.size:
                await self._finish(request, uploader, upload, appending)
            else:
                await self._run(self._uploads.settle, upload)
        finally:
            self._busy.discard(task)
            await self._run(self._uploads.pause, upload, appending)
        return appending.size

    async def _finish(self, request: web.Request, uploader: Uploader, upload: Upload, appending: Appending) -> Record:
        sha256 = request.headers.get("X-Content-SHA256", "").lower()
        record: Record = await self._run(self._uploads.finish, upload, appending, sha256)
        audit.uploaded(record, uploader.name, request.remote or "")
        return record

    async def _receive(
        self,
        request: web.Request,
        uploader: Uploader,
        upload: Upload,
        appending: Appending,
        checksum: Checksum | None,
    ) -> None:
        start = appending.size
        before = appending.digest.copy() if checksum is not None and appending.digest is not None else None
        verify = hashlib.new(checksum.algorithm) if checksum is not None else None
        whole = False
        try:
            await self._pour(request, uploader, upload, appending, verify)
            whole = True
        except (web.RequestPayloadError, ConnectionError) as error:
            log.info("upload.cut", upload=upload.id, offset=appending.size, peer=request.remote)
            raise Refusal(Problem.CUT) from error
        finally:
            if checksum is not None and verify is not None and before is not None:
                good = whole and verify.digest() == checksum.digest
                if not good:  # of a part nobody can say whether it is right
                    await self._run(appending.cut_back, start, before)
                if whole and not good:
                    raise Refusal(Problem.CHECKSUM)

    async def _pour(
        self,
        request: web.Request,
        uploader: Uploader,
        upload: Upload,
        appending: Appending,
        verify: _Hash | None,
    ) -> None:
        if Direct.fits(request) and upload.length is not None:
            await self._pour_directly(request, uploader, appending, verify)
            return
        self._memory.enter(request.transport)
        pouring = Pouring(appending, self._run, verify, self._memory)
        have = appending.size
        left = 0 if upload.length is None else upload.length - have
        try:
            async for piece in pieces(request):
                if len(piece) > left and upload.length is None:
                    left = await self._run(self._allow, uploader, upload, have, len(piece))
                if len(piece) > left:
                    await pouring.add(piece[:left])
                    raise Refusal(Problem.TOO_MUCH)
                left -= len(piece)
                have += len(piece)
                COUNTERS.add("received_bytes_total", len(piece))
                await self._limits.pace(uploader, len(piece))
                await pouring.add(piece)
        finally:
            await pouring.end()

    async def _pour_directly(
        self, request: web.Request, uploader: Uploader, appending: Appending, verify: _Hash | None
    ) -> None:
        """A large body that fits: this was asked before."""

        async def arrived(count: int) -> None:
            COUNTERS.add("received_bytes_total", count)
            await self._limits.pace(uploader, count)

        await ask_for(request)
        direct = Direct(request, min(SLICE_BYTES, uploader.bytes_per_second or SLICE_BYTES))
        await direct.pour(appending, verify, self._run, arrived)

    def _begin(self, uploader: Uploader, length: int | None, **told: Any) -> Upload:
        """Admit an upload and count it, before the next one is admitted."""
        with self._admitting:
            self._limits.admit(uploader, length)
            return self._uploads.create(uploader.name, length=length, **told)

    def _allow(self, uploader: Uploader, upload: Upload, have: int, count: int) -> int:
        """How many bytes an upload of unknown length may go on for; they are counted before they come."""
        with self._admitting:
            self._uploads.grow(upload, have)
            self._limits.admit(uploader, count, have)
            allowed = max(count, min(ALLOWANCE, self._limits.room(uploader, have)))
            self._uploads.grow(upload, have + allowed)
            return allowed

    # Ending

    async def _delete(self, request: web.Request) -> web.Response:
        uploader = self._access.uploader(request)
        upload = self._find(request, uploader)
        async with self.turns.turn(upload.id, _nothing):
            upload = self._find(request, uploader)
            size: int = await self._run(self._uploads.offset, upload)
            await self._run(self._uploads.terminate, upload)
        audit.deleted(upload.id, uploader.name, size, request.remote or "")
        return web.Response(status=204)

    def _find(self, request: web.Request, uploader: Uploader) -> Upload:
        upload = self._uploads.find(request.match_info["id"], uploader.name)
        if upload is None:
            raise Refusal(Problem.NOT_FOUND, "There is no such upload (any more); begin a new one.")
        return upload

    async def _tell_end(self, answer: web.Response, upload: Upload) -> None:
        # What has just become a file has no end that matters to an upload.
        current = self._uploads.find(upload.id, upload.owner)
        if current is not None and not current.done:
            expires = await self._run(self._uploads.expires, current)
            answer.headers["Upload-Expires"] = format_datetime(expires, usegmt=True)


def _chosen(request: web.Request, method: str, handlers: Mapping[str, Handler]) -> Handler:
    if method == "GET":
        raise Refusal(Problem.NOT_FOUND)  # what is on its way cannot be seen; what is whole has a link
    if request.headers.get("Tus-Resumable") != VERSION:
        raise Refusal(Problem.TUS_VERSION, headers={"Tus-Version": VERSION})
    if method not in handlers:
        raise Refusal(Problem.METHOD, headers={hdrs.ALLOW: ", ".join([*handlers, "OPTIONS"])})
    return handlers[method]


def _cors() -> dict[str, str]:
    return {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": ANSWER_HEADERS}


def _stopper(request: web.Request) -> Callable[[], None]:
    """Ends the request by cutting its connection: a client that has given it up notices nothing.

    What has arrived already is taken first.
    """
    transport = request.transport

    def end() -> None:
        if transport is not None:
            transport.abort()
        if DIRECT in request:
            request[DIRECT].stop()

    def stop() -> None:
        asyncio.get_running_loop().call_later(DRAIN_SECONDS, end)

    return stop


def _nothing() -> None:
    """Who is done in a moment is not stopped."""


def _number(request: web.Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not NUMBER.fullmatch(text):
        raise Refusal(Problem.BAD_REQUEST, f"{name}: a whole number of bytes is expected.")
    return int(text)


def _length(request: web.Request) -> int | None:
    given = {name for name in ("Upload-Length", "Upload-Defer-Length") if name in request.headers}
    if "Upload-Concat" in request.headers:
        raise Refusal(Problem.BAD_REQUEST, "Uploads are not put together here (no extension concatenation).")
    if len(given) != 1:
        raise Refusal(Problem.BAD_REQUEST, "Either Upload-Length or Upload-Defer-Length is expected.")
    if "Upload-Length" in given:
        return _number(request, "Upload-Length")
    if request.headers["Upload-Defer-Length"] != "1":
        raise Refusal(Problem.BAD_REQUEST, "Upload-Defer-Length: only 1 is known.")
    return None


def _asked(text: str) -> Asked:
    """What the metadata says to us; pairs that cannot be read are passed over, as other servers do."""
    if len(text) > LONGEST_METADATA:
        raise Refusal(Problem.BAD_REQUEST, f"Upload-Metadata: at most {LONGEST_METADATA} characters are expected.")
    if not is_text(text):
        raise Refusal(Problem.BAD_REQUEST, "Upload-Metadata: only values in base64 are expected.")
    pairs = {}
    for pair in text.split(","):
        name, _, value = pair.strip().partition(" ")
        try:
            pairs[name] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError):
            continue
    key, sha256 = pairs.get("key", ""), pairs.get("sha256", "").lower()
    if len(key) > LONGEST_KEY or "\x00" in key:
        raise Refusal(Problem.BAD_REQUEST, f"A key of at most {LONGEST_KEY} characters is expected.")
    if sha256 and not DIGEST.fullmatch(sha256):
        raise Refusal(Problem.BAD_REQUEST, "As sha256, 64 hexadecimal digits are expected.")
    name = pairs.get("filename") or pairs.get("name") or key.rpartition("/")[2]
    return Asked(key, file_name(name), sha256)


def _checksum(request: web.Request) -> Checksum | None:
    if "Upload-Checksum" not in request.headers:
        return None
    algorithm, _, text = request.headers["Upload-Checksum"].partition(" ")
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if algorithm not in CHECKSUMS or len(digest) != hashlib.new(algorithm).digest_size:
        raise Refusal(
            Problem.BAD_REQUEST, f"Upload-Checksum: one of {', '.join(CHECKSUMS)} and a digest in base64 is expected."
        )
    return Checksum(algorithm, digest)
