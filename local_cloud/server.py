"""The HTTP side: docs/local_cloud_api.md describes it for clients."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any, ParamSpec, TypeVar
from urllib.parse import parse_qsl, quote

import structlog
from aiohttp import web

from local_cloud.errors import Problem, Refusal, response
from local_cloud.incoming import Incoming
from local_cloud.links import Links
from local_cloud.names import file_name
from local_cloud.password import LONGEST as LONGEST_PASSWORD
from local_cloud.password import hashed
from local_cloud.record import Record, file_id
from local_cloud.storage import Storage

log = structlog.get_logger()

PIECE = 1024 * 1024
LONGEST_KEY = 1024
LONGEST_TITLE = 300
STORAGE = web.AppKey("storage", Storage)
DISK = web.AppKey("disk", ThreadPoolExecutor)
KEY = web.AppKey("key", str)
UPLOADS = web.AppKey("uploads", set)
"""The tasks of those that are on their way."""
PUBLIC_URL = web.AppKey("public_url", str)

P = ParamSpec("P")
R = TypeVar("R")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(storage: Storage, *, key: str, public_url: str) -> web.Application:
    """The application.

    Args:
        storage: the files.
        key: what uploads must present; empty: uploads from this machine only.
        public_url: how links begin; empty: as the client that asks for the link addressed us.
    """
    app = web.Application(middlewares=[_answer_refusals])
    app[STORAGE] = storage
    app[DISK] = ThreadPoolExecutor(8, thread_name_prefix="disk")
    app[UPLOADS] = set()
    app[KEY] = key
    app[PUBLIC_URL] = public_url.rstrip("/")
    links = Links(storage, secure=public_url.startswith("https:"))
    app.add_routes(
        [
            web.get("/healthz", _healthz),
            web.get("/api/v1/status", _status),
            web.put("/api/v1/files", _upload),
            web.get("/api/v1/files", _metadata),
            web.delete("/api/v1/files", _delete),
            web.post("/api/v1/links", _link),
            web.get("/f/{token}/{name:[^/]+}", links.show),
            web.post("/f/{token}/{name:[^/]+}", links.unlock),
        ]
    )
    return app


@web.middleware
async def _answer_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as refusal:
        log.info("request.refused", method=request.method, route=_route(request), code=refusal.code)
        answer = response(refusal)
    except web.HTTPException:
        raise
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception:
        log.exception("request.bug", method=request.method, route=_route(request))
        answer = response(Refusal(Problem.BROKEN))
    if not request.content.at_eof():
        # The client is still sending: it gets the answer, and the connection is not used again.
        answer.force_close()
    return answer


async def _healthz(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _status(request: web.Request) -> web.Response:
    _authorise(request)
    free = await _on_disk(request, request.app[STORAGE].free_bytes)
    return web.json_response({"free_bytes": free, "version": version("simcourier")})


async def _upload(request: web.Request) -> web.Response:
    _authorise(request)
    key = _key_of(request)
    name = file_name(_query(request).get("name") or key.rpartition("/")[2])
    incoming = await _on_disk(request, request.app[STORAGE].receive)
    task = asyncio.current_task()
    request.app[UPLOADS].add(task)
    try:
        await _receive(request, incoming)
        record = await _on_disk(request, request.app[STORAGE].commit, incoming, key, name)
    except BaseException:
        await _on_disk(request, incoming.discard)
        raise
    finally:
        request.app[UPLOADS].discard(task)
    log.info("file.stored", file=file_id(key), bytes=record.size)
    return web.json_response(_facts(record), status=201)


async def _receive(request: web.Request, incoming: Incoming) -> None:
    held = bytearray()
    try:
        async for piece in request.content.iter_any():
            held += piece
            if len(held) >= PIECE:
                await _on_disk(request, incoming.write, bytes(held))
                held.clear()
    except (web.RequestPayloadError, ConnectionError) as error:
        log.warning("upload.cut", bytes=incoming.size + len(held))
        raise Refusal(Problem.INCOMPLETE) from error
    await _on_disk(request, incoming.write, bytes(held))
    if request.content_length is not None and request.content_length != incoming.size:
        raise Refusal(Problem.INCOMPLETE)
    if request.headers.get("X-Content-SHA256", incoming.sha256).lower() != incoming.sha256:
        raise Refusal(Problem.WRONG_DIGEST)


async def _metadata(request: web.Request) -> web.Response:
    _authorise(request)
    record = await _on_disk(request, request.app[STORAGE].find, _key_of(request))
    if record is None:
        raise Refusal(Problem.NOT_FOUND)
    return web.json_response(_facts(record))


async def _delete(request: web.Request) -> web.Response:
    _authorise(request)
    key = _key_of(request)
    await _on_disk(request, request.app[STORAGE].delete, key)
    log.info("file.deleted", file=file_id(key))
    return web.Response(status=204)


async def _link(request: web.Request) -> web.Response:
    _authorise(request)
    body = await request.read()
    expires, more = _expires(body), _more(body)
    if more.get("password"):
        more["password"] = await _on_disk(request, hashed, more["password"])
    record = await _on_disk(request, request.app[STORAGE].set_expiry, _key_of(request), expires, **more)
    if record is None:
        raise Refusal(Problem.NOT_FOUND)
    base = request.app[PUBLIC_URL] or f"{request.scheme}://{request.host}"
    url = f"{base}/f/{record.token}/{quote(record.name, safe='')}"
    return web.json_response({"url": url, "expires": record.expires})


def _authorise(request: web.Request) -> None:
    key = request.app[KEY]
    if not key:
        if not _from_loopback(request):
            raise Refusal(Problem.ONLY_LOOPBACK)
        return
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    # aiohttp reads headers as UTF-8 and keeps other bytes as surrogates.
    same = hmac.compare_digest(given.strip().encode(errors="surrogateescape"), key.encode())
    if kind.lower() != "bearer" or not same:
        raise Refusal(Problem.NO_KEY)


def _from_loopback(request: web.Request) -> bool:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    try:
        return ipaddress.ip_address(str(peer[0])).is_loopback if peer else False
    except ValueError:
        return False


def _key_of(request: web.Request) -> str:
    key = _query(request).get("key", "")
    if not key or len(key) > LONGEST_KEY or "\x00" in key:
        raise Refusal(Problem.BAD_REQUEST, f"A parameter key of 1 to {LONGEST_KEY} characters is expected.")
    return key


def _query(request: web.Request) -> dict[str, str]:
    """The query's parameters; aiohttp would read all bytes that are no UTF-8 as one character, and keys as one key."""
    try:
        text = request.rel_url.raw_query_string.encode(errors="surrogateescape").decode()
        return dict(parse_qsl(text, errors="strict"))
    except UnicodeDecodeError as error:
        raise Refusal(Problem.BAD_REQUEST, "Parameters are expected in UTF-8, percent-encoded.") from error


def _expires(body: bytes) -> str | None:
    try:
        asked = json.loads(body)["expires"]
        zone = datetime.fromisoformat(asked).tzinfo if asked is not None else UTC
    except (ValueError, KeyError, TypeError):
        zone = None
    if zone is None:
        raise Refusal(Problem.BAD_REQUEST, 'A body {"expires": null or a time with its zone (RFC 3339)} is expected.')
    return None if asked is None else str(asked)


def _more(body: bytes) -> dict[str, str]:
    """Title and password, where the body names them; null and the empty text take them away."""
    given = {name: value or "" for name, value in json.loads(body).items() if name in {"title", "password"}}
    for name, longest in (("title", LONGEST_TITLE), ("password", LONGEST_PASSWORD)):
        value = given.get(name, "")
        if not isinstance(value, str) or len(value) > longest:
            raise Refusal(Problem.BAD_REQUEST, f"As {name}, a text of at most {longest} characters is expected.")
    return given


def _facts(record: Record) -> dict[str, Any]:
    return {"key": record.key, "name": record.name, "size": record.size, "sha256": record.sha256}


def _route(request: web.Request) -> str:
    """The route's pattern: paths hold links, which are secrets, and do not belong into a log."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "?"


async def _on_disk(request: web.Request, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run blocking work in a thread, so that the others are served meanwhile."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(request.app[DISK], partial(work, *args, **kwargs))
