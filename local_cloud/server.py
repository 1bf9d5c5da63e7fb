"""The HTTP side: docs/local_cloud_api.md describes it for clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any, ParamSpec, TypeVar
from urllib.parse import parse_qsl, quote

import structlog
from aiohttp import hdrs, web

from local_cloud import audit
from local_cloud.access import Access
from local_cloud.bodies import READ_SECONDS, expected, whole
from local_cloud.direct import DIRECT
from local_cloud.errors import Problem, Refusal, response
from local_cloud.limits import Limits
from local_cloud.links import Links
from local_cloud.metrics import CONTENT_TYPE, COUNTERS, Gauge, exposition, now
from local_cloud.names import file_name, is_text
from local_cloud.password import LONGEST as LONGEST_PASSWORD
from local_cloud.password import hashed
from local_cloud.record import Record
from local_cloud.storage import Storage
from local_cloud.tus import Tus
from local_cloud.uploads import Uploads

log = structlog.get_logger()

LONGEST_KEY = 1024
CLIENT_GONE = 499  # no code of HTTP, but how proxies count it
LONGEST_TITLE = 300
DEFAULT_READ_SECONDS = 60.0
STORAGE = web.AppKey("storage", Storage)
DISK = web.AppKey("disk", ThreadPoolExecutor)
ACCESS = web.AppKey("access", Access)
LIMITS = web.AppKey("limits", Limits)
UPLOADS = web.AppKey("uploads", set)
"""The tasks of those that are on their way."""
PUBLIC_URL = web.AppKey("public_url", str)
TUS = web.AppKey("tus", Tus)

P = ParamSpec("P")
R = TypeVar("R")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class State:
    """What changes while the server runs.

    Args:
        started: Unix time.
        requests: that are being answered.
        stopping: nothing new is taken any more.
    """

    started: float
    requests: int = 0
    stopping: bool = False


STATE = web.AppKey("state", State)


def make_app(
    storage: Storage,
    uploads: Uploads,
    *,
    access: Access,
    limits: Limits,
    public_url: str = "",
    read_seconds: float = DEFAULT_READ_SECONDS,
) -> web.Application:
    """The application.

    Args:
        storage: the files.
        uploads: what is on its way.
        access: who may upload.
        limits: how much.
        public_url: how links begin; empty: as the client that asks for the link addressed us.
        read_seconds: how long nothing may come in the middle of a body.
    """
    app = web.Application(middlewares=[_answer])
    app[STORAGE] = storage
    app[DISK] = ThreadPoolExecutor(8, thread_name_prefix="disk")
    app[UPLOADS] = set()
    app[ACCESS] = access
    app[LIMITS] = limits
    app[READ_SECONDS] = read_seconds
    app[STATE] = State(now())
    app[PUBLIC_URL] = public_url.rstrip("/")
    run = partial(_in_thread, app)
    app[TUS] = tus = Tus(uploads, access, limits, public_url=app[PUBLIC_URL], run=run, busy=app[UPLOADS])
    links = Links(storage, secure=public_url.startswith("https:"))
    routes = [
        web.get("/healthz", _healthz),
        web.get("/metrics", _metrics),
        web.get("/api/v1/status", _status),
        web.route("*", "/files", tus.collection),
        web.route("*", "/files/", tus.collection),
        web.route("*", "/files/{id}", tus.upload),
        web.put("/api/v1/files", _upload),
        web.get("/api/v1/files", _metadata),
        web.delete("/api/v1/files", _delete),
        web.post("/api/v1/links", _link),
        web.get("/f/{token}/{name:[^/]+}", links.show),
        web.post("/f/{token}/{name:[^/]+}", links.unlock),
        web.get("/", links.nowhere),
        web.get("/f/{rest:.*}", links.nowhere),
    ]
    for route in routes:
        route.kwargs["expect_handler"] = expected
    app.add_routes(routes)
    return app


@web.middleware
async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count a request, tell who it comes from, and make an answer of whatever is raised."""
    state = request.app[STATE]
    state.requests += 1
    try:
        answer = await _answer_refusals(_seen(request), handler)
    except web.HTTPException as error:
        COUNTERS.add("requests_total", method=_method(request), status=str(error.status))
        raise
    finally:
        state.requests -= 1
    COUNTERS.add("requests_total", method=_method(request), status=str(answer.status))
    return answer


def _seen(request: web.Request) -> web.Request:
    try:
        return request.app[ACCESS].seen(request)
    except ValueError as error:  # CONNECT to what is no host
        raise web.HTTPBadRequest from error


async def _answer_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    handler = _stopping if request.app[STATE].stopping else handler
    try:
        answer = await handler(request)
    except Refusal as refusal:
        log.info(
            "request.refused", method=request.method, route=_route(request), code=refusal.code, peer=request.remote
        )
        COUNTERS.add("refusals_total", code=refusal.code)
        answer = response(refusal)
    except web.HTTPException:
        raise
    except asyncio.CancelledError:
        raise
    except ConnectionError:
        # The client has gone, or was cut off, and gets no answer. Raised further, it would be logged as a defect.
        if request.transport is not None:
            request.transport.abort()
        answer = web.Response(status=CLIENT_GONE)
    except Exception:
        log.exception("request.bug", method=request.method, route=_route(request))
        answer = response(Refusal(Problem.BROKEN))
    if DIRECT in request or not request.content.at_eof():
        # The client is still sending, or was read from by another way: it gets the answer, and the connection is not
        # used again.
        answer.force_close()
    return answer


async def _stopping(_: web.Request) -> web.StreamResponse:
    raise Refusal(Problem.STOPPING, headers={hdrs.RETRY_AFTER: "5", hdrs.CONNECTION: "close"})


async def _healthz(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _metrics(request: web.Request) -> web.Response:
    request.app[ACCESS].watch(request)
    text = exposition(await _on_disk(request, _gauges, request.app), request.app[STATE].started)
    return web.Response(body=text.encode(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE, hdrs.CACHE_CONTROL: "no-store"})


def _gauges(app: web.Application) -> list[Gauge]:
    storage = app[STORAGE]
    return [
        Gauge("info", "The server's version.", {(("version", version("simcourier")),): 1}),
        Gauge("requests_in_progress", "Requests that are being answered.", {(): app[STATE].requests}),
        Gauge("uploads_in_progress", "Uploads that are arriving.", {(): len(app[UPLOADS])}),
        Gauge("free_bytes", "Room that the disk has.", {(): storage.free_bytes()}),
        Gauge("disk_bytes", "Size of the disk.", {(): storage.disk_bytes()}),
        Gauge(
            "held_bytes",
            "Of files, finished or not, by owner.",
            {(("owner", owner),): size for owner, size in storage.held_by_owner().items()},
        ),
    ]


async def _status(request: web.Request) -> web.Response:
    uploader = request.app[ACCESS].uploader(request)
    free = await _on_disk(request, request.app[STORAGE].free_bytes)
    room = await _on_disk(request, request.app[LIMITS].room, uploader)
    return web.json_response({"free_bytes": free, "room_bytes": room, "version": version("simcourier")})


async def _upload(request: web.Request) -> web.Response:
    uploader = request.app[ACCESS].uploader(request)
    key = _key_of(request)
    name = file_name(_query(request).get("name") or key.rpartition("/")[2])
    record = await request.app[TUS].put(request, uploader, key=key, name=name)
    return web.json_response(_facts(record), status=201)


async def _metadata(request: web.Request) -> web.Response:
    uploader = request.app[ACCESS].uploader(request)
    record = await _on_disk(request, request.app[STORAGE].find, _key_of(request), uploader.name)
    if record is None:
        raise Refusal(Problem.NOT_FOUND)
    return web.json_response(_facts(record))


async def _delete(request: web.Request) -> web.Response:
    uploader = request.app[ACCESS].uploader(request)
    record = await _on_disk(request, request.app[STORAGE].delete, _key_of(request), uploader.name)
    if record is not None:
        audit.deleted(record.id, uploader.name, record.size, request.remote or "")
    return web.Response(status=204)


async def _link(request: web.Request) -> web.Response:
    uploader = request.app[ACCESS].uploader(request)
    body = await whole(request)
    expires, more = _expires(body), _more(body)
    if more.get("password"):
        more["password"] = await _on_disk(request, hashed, more["password"])
    key = _key_of(request)
    record = await _on_disk(request, request.app[STORAGE].set_expiry, key, expires, uploader.name, **more)
    if record is None:
        raise Refusal(Problem.NOT_FOUND)
    base = request.app[PUBLIC_URL] or f"{request.scheme}://{request.host}"
    url = f"{base}/f/{record.token}/{quote(record.name, safe='')}"
    return web.json_response({"url": url, "expires": record.expires})


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
        good = asked is None or _is_moment(asked)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        good = False
    if not good:
        raise Refusal(Problem.BAD_REQUEST, 'A body {"expires": null or a time with its zone (RFC 3339)} is expected.')
    return None if asked is None else str(asked)


def _is_moment(text: str) -> bool:
    moment = datetime.fromisoformat(text)
    moment.astimezone(UTC)  # the page shows it so, which near the end of all years cannot be done
    return moment.tzinfo is not None and is_text(text)


def _more(body: bytes) -> dict[str, str]:
    """Title and password, where the body names them; null and the empty text take them away."""
    given = {name: value or "" for name, value in json.loads(body).items() if name in {"title", "password"}}
    for name, longest in (("title", LONGEST_TITLE), ("password", LONGEST_PASSWORD)):
        value = given.get(name, "")
        if not isinstance(value, str) or len(value) > longest or not is_text(value):
            raise Refusal(Problem.BAD_REQUEST, f"As {name}, a text of at most {longest} characters is expected.")
    return given


def _facts(record: Record) -> dict[str, Any]:
    return {"key": record.key, "name": record.name, "size": record.size, "sha256": record.sha256}


def _method(request: web.Request) -> str:
    """One of a few: whatever a client makes up does not become a label."""
    return request.method if request.method in hdrs.METH_ALL else "other"


def _route(request: web.Request) -> str:
    """The route's pattern: paths hold links, which are secrets, and do not belong into a log."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "?"


async def _on_disk(request: web.Request, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run blocking work in a thread, so that the others are served meanwhile."""
    return await _in_thread(request.app, work, *args, **kwargs)


async def _in_thread(app: web.Application, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    return await asyncio.get_running_loop().run_in_executor(app[DISK], partial(work, *args, **kwargs))
