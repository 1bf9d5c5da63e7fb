"""The service as a whole: its tokens, its switches, what is to go wrong, and what its parts hand to each other."""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from tests.standins.faults import Faults
from tests.standins.seafile.library import Library, Refused

USER = "results@example.org"
PASSWORD = "correct horse battery"
ONE_TIME = "123456"
LIBRARY_PASSWORD = "of the library"
JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"
WINDOW = 60.0

FAULTS = frozenset(
    {
        "throttled",  # 429 of the web API with Retry-After; value: seconds
        "unavailable",  # HTML of a proxy; value: the status, 503 if None
        "error",  # 500: JSON from the web API, an empty body from the file server
        "html",  # 200 with a page, as a captive portal sends; the request does not reach the service
        "cut",  # the connection is lost after `value` bytes of a body that is as long
        "lost_answer",  # the work is done, the answer never arrives
        "reset",  # a refusal for size or quota closes the connection while the client still sends
        "wiped",  # 401: the owner has wiped the device
        "link_expired",  # the upload link is forgotten before it is used
        "collected",  # 409: garbage collection ran meanwhile; the upload is gone
        "finalising_fails",  # the end of an upload fails, the upload is gone; value: the status, 500 (no body) if None
        "old_error",  # the end of an upload fails with status 200 and an error as body
        "shortened",  # the last byte of an upload is lost on the server's disk
        "renamed",  # an upload is stored under another name, although it was to replace
        "fails_520",  # deleting or renaming fails
    }
)


@dataclass(frozen=True)
class Switches:
    """How this installation is set up.

    Args:
        encrypted: the library is.
        gone: the library is.
        shared: it is somebody else's, whose quota counts; the account's own is as good as used up.
        permission: of the account in the library.
        total: quota in bytes; -2: none.
        largest: size in bytes above which the file server refuses; 0: none.
        two_factor: the login asks for a second factor.
        force_days: fewest and most days of a share link; zeros: as one likes.
        force_password: share links need one.
        old_links: a link that exists is answered as if it were new, and no multi-share-links; "lone": the list of links
            is a single object, too.
        link_host: of the file server's links; ``/``: they are relative; empty: the right one.
        redirects: a proxy sends what comes to the file server by http to https.
        single_use: an upload link serves once.
        translated: the account's language is not English.
        c_server: the file server is the one written in C.
        prefix: path under which the web API lives.
        resumable: ENABLE_RESUMABLE_FILEUPLOAD.
        repo_token_shares: a library's own token may make share links; "create": but neither list nor delete them.
        user_limit: requests per minute and account; 0: no limit.
        anonymous_limit: requests per minute and address, before anybody has logged in.
    """

    encrypted: bool = False
    gone: bool = False
    shared: bool = False
    permission: str = "rw"
    total: int = -2
    largest: int = 0
    two_factor: bool = False
    force_days: Sequence[int] = (0, 0)
    force_password: bool = False
    old_links: bool | str = False
    link_host: str = ""
    redirects: bool = False
    single_use: bool = False
    translated: bool = False
    c_server: bool = False
    prefix: str = ""
    resumable: bool = False
    repo_token_shares: bool | str = True
    user_limit: int = 0
    anonymous_limit: int = 0


@dataclass(slots=True)
class Request:
    """What a client asks.

    Args:
        path: without query, percent-decoding done.
        headers: by lower-case name.
        length: of the body in bytes.
        read: gives at most so many bytes of the body.
        client: its address.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    length: int
    read: Callable[[int], bytes]
    client: str

    def fields(self, *, json_too: bool = True) -> dict[str, Any]:
        """A form, or a JSON object where that is read."""
        body = b""
        while piece := self.read(self.length or 1):
            body += piece
        kind = self.headers.get("content-type", "")
        try:
            if kind.startswith("application/x-www-form-urlencoded"):
                return dict(parse_qsl(body.decode(), keep_blank_values=True))
            found = json.loads(body) if json_too and kind.startswith("application/json") else {}
        except ValueError as error:
            raise Refused(400, f"JSON parse error - {error}", "detail") from error
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Answer:
    """What it gets: a body, or a file as body."""

    status: int
    kind: str
    body: bytes | Path = b""
    headers: dict[str, str] = field(default_factory=dict)


def as_json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, JSON, json.dumps(content).encode(), headers or {})


def page(text: str, status: int = 200) -> Answer:
    return Answer(status, HTML, f"<!DOCTYPE html><html><body>{text}</body></html>".encode())


class Seafile:
    """The service: one account with one library."""

    def __init__(self, library: Library, *, c_server: bool = False) -> None:
        self.library = library
        self.address = ""
        self.token = secrets.token_hex(20)
        self.repo_token = secrets.token_hex(20)
        self._first = Switches(c_server=c_server)
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """As on the first day; tokens and the library's identifier stay."""
        self.library.reset()
        self.switches = self._first
        self.faults = Faults(FAULTS)
        self.requests: Counter[str] = Counter()
        self.received = 0
        self.device_tokens: set[str] = set()
        self.trusted: set[str] = set()
        self._asked: defaultdict[str, list[float]] = defaultdict(list)

    def change(self, how: dict[str, Any]) -> None:
        """Set switches. Raises `TypeError` for one that is not there."""
        self.switches = replace(self.switches, **how)

    def restart(self) -> None:
        """What is kept in memory is forgotten: upload links and the library's password."""
        with self.library.lock:
            self.library.links.clear()
            self.library.password_until = 0.0

    def state(self) -> dict[str, Any]:
        """What a test may look at."""
        library = self.library
        with library.lock:
            return {
                "files": {path: {"size": one.size, "id": one.id} for path, one in library.files.items()},
                "folders": sorted(library.folders - {"/"}),
                "halves": {path: one.data.stat().st_size for path, one in library.halves.items()},
                "links": [{"token": one.token, "path": one.path, "ends": one.ends} for one in library.shares.values()],
                "usage": library.usage,
                "requests": dict(self.requests),
                "received": self.received,
            }

    def throttle(self, who: str, limit: int) -> None:
        """Count a request. Raises `Refused` with 429 if it is one too many within a minute."""
        if not limit:
            return
        with self._lock:
            now = self.library.now()
            recent = self._asked[who] = [moment for moment in self._asked[who] if moment > now - WINDOW]
            if len(recent) >= limit:
                raise throttled(int(recent[0] + WINDOW - now) + 1)
            recent.append(now)

    def url(self, path: str) -> str:
        """Of a page or a call of the web API."""
        return f"http://{self.address}{self.switches.prefix}{path}"

    def file_server(self, path: str) -> str:
        """Of the file server, as the administrator's FILE_SERVER_ROOT has it."""
        host = self.switches.link_host
        start = "" if host == "/" else f"http://{host or self.address}"
        return f"{start}/seafhttp/{path}"

    def has_key(self) -> bool:
        """Whether the content can be read: the library's password is known to the server for an hour."""
        return not self.switches.encrypted or self.library.password_until > self.library.now()

    def in_language(self, message: str) -> str:
        """As the account's language has it; a token in it stays."""
        if not self.switches.translated:
            return message
        tokens = re.findall(r"\b[0-9a-f]{20}\b", message)
        return " ".join(["Das ging leider schief.", *tokens])


def throttled(seconds: Any) -> Refused:
    message = f"Request was throttled. Expected available in {seconds} seconds."
    return Refused(429, message, "detail", {"Retry-After": str(seconds)})
