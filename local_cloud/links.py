"""What whoever follows a link gets: the page, the file, or one file from inside it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar
from urllib.parse import parse_qs, parse_qsl

import structlog
from aiohttp import hdrs, web

from local_cloud import audit, password
from local_cloud.bodies import whole
from local_cloud.clients import household
from local_cloud.download import CONTENT, PROTECTED, STALLED_SECONDS, Part, Told, send, started, unmodified
from local_cloud.errors import Problem, Refusal
from local_cloud.names import attachment
from local_cloud.page import Asked, Pages
from local_cloud.preview import PICTURES, content_type, ending, is_picture
from local_cloud.record import Record
from local_cloud.storage import Storage
from local_cloud.zip_entry import Unpacking, data_offset
from local_cloud.zip_format import STORED, Broken, Entry, NoArchive
from local_cloud.zip_index import Archive, Indexes

log = structlog.get_logger()

COOKIE = "simcourier-link"
LONGEST_FORM = 16 * 1024
THREADS = 4  # not those of uploads, which do not wait for an archive to be looked through

P = ParamSpec("P")
R = TypeVar("R")


class Links:
    """The handlers of ``/f/{token}/{name}``.

    Args:
        storage: the files.
        secure: links begin with https, so a browser may show its ticket there only.
    """

    def __init__(self, storage: Storage, *, secure: bool) -> None:
        self._storage = storage
        self._secure = secure
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="links")
        self._indexes = Indexes()
        self._pages = Pages(self._indexes)
        self._guesses = password.Guesses()
        self._one_guess = asyncio.Lock()  # scrypt takes much memory

    async def show(self, request: web.Request) -> web.StreamResponse:
        """GET and HEAD."""
        try:
            return await self._show(request)
        except Refusal as refusal:
            return await self._refused(request, refusal)

    async def unlock(self, request: web.Request) -> web.StreamResponse:
        """POST: the password, from the page's form."""
        try:
            record, _ = await self._find(request)
            if record.password:
                await self._guess(request, record, _password(await whole(request)))
        except Refusal as refusal:
            return await self._refused(request, refusal)
        answer = web.Response(status=303, headers=PROTECTED | {"Location": f"?{request.rel_url.raw_query_string}"})
        if record.password:
            value = password.ticket(record.token, record.password, time.time())
            # Without a path, it counts for this link alone, also behind a proxy that adds a prefix.
            answer.headers["Set-Cookie"] = (
                f"{COOKIE}={value}; Max-Age={password.COOKIE_SECONDS}; HttpOnly; SameSite=Lax"
                + "; Secure" * (self._secure or request.secure)
            )
        return answer

    async def nowhere(self, request: web.Request) -> web.StreamResponse:
        """GET and HEAD of what can be no link: one that was cut off, or the server's bare address."""
        return await self._refused(request, Refusal(Problem.NOT_FOUND))

    async def _show(self, request: web.Request) -> web.StreamResponse:
        record, path = await self._find(request)
        if record.password:
            await self._check_password(request, record)
        query = dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True))
        if "file" in query:
            return await self._entry(request, record, path, query)
        if "download" not in query and (query.keys() & {"folder", "show"} or wants_page(request)):
            asked = Asked(query.get("folder", ""), query.get("after", ""), query.get("show", ""), _copy(query))
            html = await self._in_thread(self._pages.of_file, record, path, asked)
            return self._pages.response(html)
        headers = CONTENT | {
            "Content-Type": "application/zip" if ending(record.name) == ".zip" else "application/octet-stream",
            "Content-Disposition": attachment(record.name),
        }
        try:
            return await send(request, Part(path, record.sha256), headers, _told(request, record))
        except FileNotFoundError as error:
            raise Refusal(Problem.NOT_FOUND) from error

    async def _find(self, request: web.Request) -> tuple[Record, Path]:
        found = await self._in_thread(self._storage.by_token, request.match_info["token"])
        if found is None:
            raise Refusal(Problem.NOT_FOUND)
        record, path = found
        if record.expired and record.expires:
            day = datetime.fromisoformat(record.expires)
            raise Refusal(Problem.GONE, f"This file was available until {day:%-d %B %Y}.")
        return record, path

    # Passwords

    async def _check_password(self, request: web.Request, record: Record) -> None:
        if password.is_ticket(request.cookies.get(COOKIE, ""), record.token, record.password, time.time()):
            return
        kind, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if kind.lower() != "basic":
            raise Refusal(Problem.PASSWORD)
        try:
            told = base64.b64decode(given.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError, ValueError) as error:
            raise Refusal(Problem.PASSWORD) from error
        await self._guess(request, record, told)

    async def _guess(self, request: web.Request, record: Record, told: str) -> None:
        who = record.id, household(request.remote or "")
        self._refuse_soon(*who)
        async with self._one_guess:
            self._refuse_soon(*who)  # others may have guessed meanwhile
            right = await self._in_thread(password.matches, told, record.password)
            if right:
                self._guesses.right(*who)
                return
            self._guesses.wrong(*who)
        log.warning("link.wrong_password", file=who[0], address=request.remote)
        raise Refusal(Problem.PASSWORD, "This is not the password.")

    def _refuse_soon(self, link: str, address: str) -> None:
        if seconds := self._guesses.wait_seconds(link, address):
            whole = str(int(seconds) + 1)
            told = f"Too many wrong passwords; try again in {whole} s."
            raise Refusal(Problem.TOO_MANY_GUESSES, told, {"Retry-After": whole})

    # One file from inside the archive

    async def _entry(
        self, request: web.Request, record: Record, path: Path, query: dict[str, str]
    ) -> web.StreamResponse:
        try:
            archive = await self._in_thread(self._indexes.open, path, record.sha256)
        except (NoArchive, FileNotFoundError) as error:
            raise Refusal(Problem.NOT_FOUND) from error
        except Broken as error:
            raise Refusal(Problem.DAMAGED, str(error)) from error
        with archive:
            try:
                entry = await self._in_thread(archive.find, query["file"], _copy(query))
            except Broken as error:
                raise Refusal(Problem.DAMAGED, str(error)) from error
            if entry is None:
                raise Refusal(Problem.NOT_FOUND, "There is no such file in the archive.")
            inline = "inline" in query and is_picture(entry.name, entry.size)
            headers = CONTENT | {
                "Content-Type": PICTURES[ending(entry.name)] if inline else content_type(entry.name),
                "Content-Disposition": attachment(entry.name, "inline" if inline else "attachment"),
            }
            tag = f"{record.sha256}-{entry.begin:x}"
            try:
                offset = await self._in_thread(data_offset, archive.handle, entry, archive.index.directory)
                if entry.method == STORED:
                    archive.close()  # while a slow client takes its time
                    return await send(request, Part(path, tag, offset, entry.size), headers, _told(request, record))
                modified = os.fstat(archive.handle).st_mtime
                if (answer := unmodified(request, tag, modified, headers)) is not None:
                    return answer
                response = started(200, headers, tag, modified, entry.size)
                return await self._unpacked(request, response, archive, entry, _told(request, record))
            except Broken as error:
                raise Refusal(Problem.DAMAGED, str(error)) from error

    async def _unpacked(
        self, request: web.Request, response: web.StreamResponse, archive: Archive, entry: Entry, told: Told
    ) -> web.StreamResponse:
        unpacking = Unpacking(archive.handle, entry, archive.index.directory)
        piece = await self._in_thread(unpacking.read)
        await response.prepare(request)
        if request.method == hdrs.METH_HEAD:
            await response.write_eof()
            return response
        sent = 0
        try:
            while piece:
                async with asyncio.timeout(STALLED_SECONDS):
                    await response.write(piece)
                sent += len(piece)
                piece = await self._in_thread(unpacking.read)
        except (Broken, TimeoutError) as error:
            # The head is gone already: the client must notice that this is not all.
            log.warning("entry.cut", told=str(error))
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError from error
        finally:
            told(sent, sent == entry.size)
        await response.write_eof()
        return response

    # Refusals

    async def _refused(self, request: web.Request, refusal: Refusal) -> web.StreamResponse:
        if request.method == hdrs.METH_POST or wants_page(request):
            return self._pages.response(await self._in_thread(self._pages.of_refusal, refusal), refusal)
        raise Refusal(refusal.problem, str(refusal), PROTECTED | dict(refusal.headers)) from refusal

    async def _in_thread(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args, **kwargs))


def wants_page(request: web.Request) -> bool:
    """True for browsers, which name HTML when they ask; programs take anything, and get the file itself."""
    if hdrs.RANGE in request.headers:
        return False
    for kind in ",".join(request.headers.getall(hdrs.ACCEPT, [])).split(","):
        name, _, parameters = kind.partition(";")
        if name.strip().lower() == "text/html":
            return re.search(r"(^|;)\s*q=0(\.0*)?\s*(;|$)", parameters.lower()) is None
    return False


def _password(form: bytes) -> str:
    return parse_qs(form[:LONGEST_FORM].decode(errors="replace"), keep_blank_values=True).get("password", [""])[0]


def _copy(query: dict[str, str]) -> int:
    text = query.get("copy", "1")
    return int(text) if re.fullmatch("[0-9]{1,6}", text) else 1


def _told(request: web.Request, record: Record) -> Told:
    def told(sent: int, complete: bool) -> None:
        audit.downloaded(record, request.remote or "", sent, complete=complete)

    return told
