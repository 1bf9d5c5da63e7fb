"""The wire: TLS, routes, the odd bodies, and the faults.

Where the behaviour of the real service is not known, the harsher one is chosen: a path with ``.`` or ``..`` in it is
malformed, an overwritten file's room is not counted as free before it is overwritten, and a call of over 150 MiB is
refused before it is read.
"""

from __future__ import annotations

import json
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from tests.standins.dropbox.files import Account, ContentHash, Entry, RouteError, Session, SharedLink
from tests.standins.dropbox.sign_in import ACCOUNT_ID, SignIn, TokenRefused
from tests.standins.faults import Faults

PIECE = 1024 * 1024
LARGEST_CALL = 150 * 1024 * 1024
JSON = "application/json"
STREAM = "application/octet-stream"

FAULTS = frozenset(
    {
        "throttled",  # 429 with JSON; value: seconds, None: without
        "throttled_text",  # 429 as text with Retry-After; value: the header's text, None: without
        "busy",  # 409 too_many_write_operations where the route knows it, else 429
        "unavailable",  # 503 as HTML with Retry-After: 7
        "cut",  # the connection is lost after `value` bytes of the body
        "lost_answer",  # the work is done, the answer never arrives
        "expired_token",  # 401, whatever the clock says
        "missing_scope",  # 401 missing_scope
        "no_json",  # 400 as plain text
        "html",  # 200 with a page, as a captive portal sends
        "no_error_key",  # 409 without the key `error`
        "unknown_tag",  # 409 with a union member that is not known
        "charset",  # 200 with Content-Type: application/json; charset=utf-8
        "session_lost",  # the upload session is forgotten
        "damaged",  # the bytes of this call are changed on the way
        "link_without_data",  # link exists, its metadata is not told
        "link_not_allowed",  # the team forbids links
        "slow",  # `value` seconds before the answer
    }
)

SCOPE = {
    "files/upload": "files.content.write",
    "files/upload_session/start": "files.content.write",
    "files/upload_session/append_v2": "files.content.write",
    "files/upload_session/finish": "files.content.write",
    "files/delete_v2": "files.content.write",
    "files/create_folder_v2": "files.content.write",
    "files/get_metadata": "files.metadata.read",
    "files/list_folder": "files.metadata.read",
    "files/list_folder/continue": "files.metadata.read",
    "sharing/create_shared_link_with_settings": "sharing.write",
    "sharing/modify_shared_link_settings": "sharing.write",
    "sharing/revoke_shared_link": "sharing.write",
    "sharing/list_shared_links": "sharing.read",
    "users/get_space_usage": "account_info.read",
    "users/get_current_account": "account_info.read",
}
UPLOADS = {route for route in SCOPE if route.startswith("files/upload")}
KNOWS_BUSY = {
    "files/upload": {".tag": "path", "reason": {".tag": "too_many_write_operations"}, "upload_session_id": "x"},
    "files/upload_session/finish": {".tag": "too_many_write_operations"},
    "files/delete_v2": {".tag": "too_many_write_operations"},
}


class Cut(Exception):
    """The connection is lost now."""


class Dropbox:
    """The service: one account, its tokens, and what is to go wrong."""

    def __init__(self, folder: Path) -> None:
        self.account = Account(folder)
        self.sign_in = SignIn(self.account.now)
        self.faults = Faults(FAULTS)
        self.requests: Counter[str] = Counter()
        self.received = 0
        self.address = ""

    def state(self) -> dict[str, Any]:
        """What a test may look at."""
        with self.account.lock:
            files = [entry for entry in self.account.entries.values() if entry.data is not None]
            return {
                "files": {
                    entry.path: {"size": entry.size, "content_hash": entry.content_hash, "rev": entry.rev}
                    for entry in files
                },
                "folders": sorted(entry.path for entry in self.account.entries.values() if entry.data is None),
                "links": [{"url": self.url(link), "expires": link.expires} for link in self.account.links.values()],
                "open_sessions": sum(not session.done for session in self.account.sessions.values()),
                "requests": dict(self.requests),
                "received": self.received,
            }

    def url(self, link: SharedLink) -> str:
        entry = self.account.find(link.entry_id)
        name = quote(entry.name) if entry is not None else "gone"
        return f"https://{self.address}/scl/fi/{link.token}/{name}?rlkey={link.rlkey}&dl=0"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes, the second would wait for the first one's receipt
    service: Dropbox

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self._left = int(self.headers.get("Content-Length") or 0)
        try:
            if path == "/oauth2/token":
                self._token()
            elif path.startswith("/2/"):
                self._call(path.removeprefix("/2/"))
            else:
                self._text(404, "Unknown route")
        except (Cut, ConnectionError, ssl.SSLError):
            self.close_connection = True

    def do_GET(self) -> None:
        self._left = 0
        parts = urlsplit(self.path)
        if parts.path == "/oauth2/authorize":
            try:
                code = self.service.sign_in.authorize(dict(parse_qsl(parts.query)))
            except TokenRefused as error:
                self._text(400, str(error))
                return
            self._send(200, "text/html; charset=utf-8", f'<input data-token="{code}" value="{code}">'.encode())
        elif parts.path.startswith("/scl/fi/"):
            self._shared(parts.path.split("/")[3], dict(parse_qsl(parts.query)))
        else:
            self._text(404, "Not found")

    def log_message(self, *_: object) -> None:
        pass

    # -- signing in

    def _token(self) -> None:
        self.service.requests["oauth2/token"] += 1
        form = dict(parse_qsl(self._body().decode()))
        if self._common_fault("oauth2/token"):
            return
        try:
            with self.service.account.lock:
                answer = self.service.sign_in.token(form)
        except TokenRefused as error:
            self._send(400, JSON, json.dumps({"error": str(error), "error_description": "refused"}).encode())
        else:
            self._send(200, JSON, json.dumps(answer).encode())

    # -- calls

    def _call(self, route: str) -> None:
        service = self.service
        service.requests[route] += 1
        if route not in SCOPE:
            self._text(400, f'Error in call to API function "{route}": Unknown API function')
            return
        if self._common_fault(route):
            return
        problem = self._unauthorised(route)
        if problem is not None:
            self._drain()
            summary = {"error_summary": f"{problem['.tag']}/..", "error": problem}
            self._send(401, JSON, json.dumps(summary).encode())
            return
        try:
            argument = self._argument(route)
        except ValueError as error:
            self._drain()
            self._text(400, f'Error in call to API function "{route}": {error}')
            return
        try:
            answer = self._answer(route, argument)
        except RouteError as error:
            self._drain()
            self._send(409, JSON, json.dumps({"error_summary": error.summary, "error": error.error}).encode())
            return
        if service.faults.take("lost_answer", route):
            raise Cut
        if service.faults.take("html", route):
            self._send(200, "text/html", b"<html>Please sign in to the network</html>")
            return
        kind = f"{JSON}; charset=utf-8" if service.faults.take("charset", route) else JSON
        self._send(200, kind, json.dumps(answer).encode())

    def _unauthorised(self, route: str) -> dict[str, Any] | None:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        if self.service.faults.take("expired_token", route):
            return {".tag": "expired_access_token"}
        if self.service.faults.take("missing_scope", route):
            return {".tag": "missing_scope", "required_scope": SCOPE[route]}
        if kind != "Bearer":
            return {".tag": "invalid_access_token"}
        with self.service.account.lock:
            return self.service.sign_in.problem(token, SCOPE[route])

    def _argument(self, route: str) -> dict[str, Any]:
        kind = self.headers.get("Content-Type", "")
        if route not in UPLOADS:
            if kind != JSON:
                raise ValueError(f'Bad HTTP "Content-Type" header: {kind!r}.')
            return json.loads(self._body() or b"null") or {}
        if kind != STREAM:
            raise ValueError(f'Bad HTTP "Content-Type" header: {kind!r}.')
        text = self.headers.get("Dropbox-API-Arg", "")
        if not text.isascii() or "\x7f" in text:
            raise ValueError('HTTP header "Dropbox-API-Arg": could not decode as ASCII')
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError('HTTP header "Dropbox-API-Arg": expected object')  # noqa: TRY004 - told as the others are
        if self._left > LARGEST_CALL:
            raise RouteError({".tag": "payload_too_large"})
        return found

    def _answer(self, route: str, argument: dict[str, Any]) -> Any:
        work: Callable[[dict[str, Any]], Any] = getattr(self, "_" + route.replace("/", "_"))
        if route in UPLOADS:
            return work(argument)  # takes the lock itself, for others are served while bytes arrive
        with self.service.account.lock:
            return work(argument)

    def _files_upload(self, argument: dict[str, Any]) -> Any:
        account = self.service.account
        data = account.fresh()
        with data.open("wb") as stream:
            size, digest = self._receive(stream, "files/upload", ContentHash())
        self._expect_hash(argument, digest)
        with account.lock:
            try:
                return account.put(argument, data, size, digest.hexdigest()).metadata(tagged=False)
            except RouteError as error:
                wrapped = {".tag": "path", "reason": error.error, "upload_session_id": "x"}
                raise RouteError(wrapped, f"path/{error.summary}") from error

    def _files_upload_session_start(self, argument: dict[str, Any]) -> Any:
        account = self.service.account
        session = Session(account.fresh(), account.now())
        own = ContentHash()
        with session.data.open("wb") as stream:
            session.length, _ = self._receive(stream, "files/upload_session/start", own, session.digest)
        self._expect_hash(argument, own)
        session.closed = bool(argument.get("close"))
        session_id = f"pid_upload_session:{secrets.token_urlsafe(24)}"
        with account.lock:
            account.sessions[session_id] = session
        return {"session_id": session_id}

    def _files_upload_session_append_v2(self, argument: dict[str, Any]) -> Any:
        session = self._cursor(argument)
        if session.closed:
            raise RouteError({".tag": "closed"})
        self._append(session, argument, "files/upload_session/append_v2")
        session.closed = bool(argument.get("close"))
        return None

    def _files_upload_session_finish(self, argument: dict[str, Any]) -> Any:
        account = self.service.account
        try:
            session = self._cursor(argument)
        except RouteError as error:
            raise RouteError({".tag": "lookup_failed", "lookup_failed": error.error}, "lookup_failed/..") from error
        if session.closed and self._left:
            raise RouteError({".tag": "lookup_failed", "lookup_failed": {".tag": "closed"}})
        self._append(session, argument, "files/upload_session/finish")
        with account.lock:
            try:
                entry = account.put(argument["commit"], session.data, session.length, session.digest.hexdigest())
            except RouteError as error:  # the last part stays appended
                raise RouteError({".tag": "path", "path": error.error}, f"path/{error.summary}") from error
            session.done = True
            account.sessions.pop(argument["cursor"]["session_id"], None)
            return entry.metadata(tagged=False)

    def _cursor(self, argument: dict[str, Any]) -> Session:
        account, cursor = self.service.account, argument["cursor"]
        with account.lock:
            if self.service.faults.take("session_lost"):
                account.sessions.pop(cursor["session_id"], None)
            session = account.session(cursor["session_id"])
            if cursor["offset"] != session.length:
                raise RouteError({".tag": "incorrect_offset", "correct_offset": session.length})
            return session

    def _append(self, session: Session, argument: dict[str, Any], route: str) -> None:
        own = ContentHash()
        part = self.service.account.fresh()
        with part.open("wb") as stream:  # a part counts when it has arrived whole, and is what was sent
            self._receive(stream, route, own)
        self._expect_hash(argument, own)
        with self.service.account.lock, part.open("rb") as source, session.data.open("ab") as target:
            if argument["cursor"]["offset"] != session.length:
                raise RouteError({".tag": "incorrect_offset", "correct_offset": session.length})
            while piece := source.read(PIECE):
                target.write(piece)
                session.digest.update(piece)
                session.length += len(piece)
        part.unlink()

    def _files_delete_v2(self, argument: dict[str, Any]) -> Any:
        return {"metadata": self.service.account.delete(str(argument.get("path"))).metadata()}

    def _files_create_folder_v2(self, argument: dict[str, Any]) -> Any:
        account, path = self.service.account, str(argument.get("path"))
        if account.find(path) is not None:
            conflict = {".tag": "conflict", "conflict": {".tag": "folder"}}
            raise RouteError({".tag": "path", "path": conflict})
        account._make_parents(path + "/x")
        entry = account.find(path)
        assert entry is not None
        return {"metadata": {"name": entry.name, "id": entry.id}}

    def _files_get_metadata(self, argument: dict[str, Any]) -> Any:
        return self._existing(argument).metadata()

    def _files_list_folder(self, argument: dict[str, Any]) -> Any:
        account, path = self.service.account, str(argument.get("path", ""))
        if path and (account.find(path) is None):
            raise RouteError({".tag": "path", "path": {".tag": "not_found"}})
        deep = bool(argument.get("recursive"))
        start = path.lower() + "/"
        found = [
            entry.metadata()
            for key, entry in account.entries.items()
            if key.startswith(start) and (deep or "/" not in key.removeprefix(start))
        ]
        return {"entries": found, "cursor": "x", "has_more": False}

    def _files_list_folder_continue(self, _: dict[str, Any]) -> Any:
        return {"entries": [], "cursor": "x", "has_more": False}

    def _existing(self, argument: dict[str, Any]) -> Entry:
        entry = self.service.account.find(str(argument.get("path")))
        if entry is None:
            raise RouteError({".tag": "path", "path": {".tag": "not_found"}})
        return entry

    # -- sharing

    def _sharing_create_shared_link_with_settings(self, argument: dict[str, Any]) -> Any:
        service = self.service
        if service.faults.take("link_not_allowed"):
            raise RouteError({".tag": "settings_error", "settings_error": {".tag": "not_authorized"}})
        entry, settings = self._existing(argument), argument.get("settings") or {}
        there = next((link for link in service.account.links.values() if link.entry_id == entry.id), None)
        if there is not None:
            tag = "shared_link_already_exists"
            if settings or service.faults.take("link_without_data"):
                raise RouteError({".tag": tag})
            raise RouteError({".tag": tag, tag: {".tag": "metadata", "metadata": self._link(there)}})
        expires = self._checked_settings(settings)
        link = SharedLink(secrets.token_urlsafe(12), secrets.token_urlsafe(12), entry.id, expires)
        service.account.links[link.token] = link
        return self._link(link)

    def _sharing_modify_shared_link_settings(self, argument: dict[str, Any]) -> Any:
        link = self._by_url(str(argument.get("url")))
        expires = self._checked_settings(argument.get("settings") or {})
        if argument.get("remove_expiration"):
            link.expires = None
        elif expires:
            link.expires = expires
        return self._link(link)

    def _sharing_list_shared_links(self, argument: dict[str, Any]) -> Any:
        path = argument.get("path")
        entry = self._existing({"path": path}) if path else None
        links = [
            self._link(link)
            for link in self.service.account.links.values()
            if entry is None or link.entry_id == entry.id
        ]
        return {"links": links, "has_more": False}

    def _sharing_revoke_shared_link(self, argument: dict[str, Any]) -> Any:
        link = self._by_url(str(argument.get("url")))
        del self.service.account.links[link.token]

    def _by_url(self, url: str) -> SharedLink:
        parts = urlsplit(url).path.split("/")
        link = self.service.account.links.get(parts[3] if len(parts) > 3 else "")
        if link is None:
            raise RouteError({".tag": "shared_link_not_found"})
        return link

    def _checked_settings(self, settings: dict[str, Any]) -> str | None:
        account = self.service.account
        expires = settings.get("expires")
        refused = "not_authorized" if (expires or settings.get("link_password")) and not account.paid else ""
        if expires and not refused:
            moment = datetime.strptime(expires, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            refused = "invalid_settings" if moment.timestamp() <= account.now() else ""
        if settings.get("require_password") and not settings.get("link_password"):
            refused = refused or "invalid_settings"
        if refused:
            raise RouteError({".tag": "settings_error", "settings_error": {".tag": refused}})
        return str(expires) if expires else None

    def _link(self, link: SharedLink) -> dict[str, Any]:
        entry = self.service.account.find(link.entry_id)
        assert entry is not None
        paid = self.service.account.paid
        facts = {
            ".tag": "file",
            "url": self.service.url(link),
            "id": entry.id,
            "name": entry.name,
            "path_lower": entry.path.lower(),
            "client_modified": entry.modified,
            "server_modified": entry.modified,
            "rev": entry.rev,
            "size": entry.size,
            "link_permissions": {
                "can_revoke": True,
                "visibility_policies": [],
                "can_set_expiry": paid,
                "can_remove_expiry": paid,
                "allow_download": True,
                "can_allow_download": True,
                "can_disallow_download": False,
                "allow_comments": True,
                "team_restricts_comments": False,
                "resolved_visibility": {".tag": "public"},
            },
        }
        return facts | ({"expires": link.expires} if link.expires else {})

    # -- account

    def _users_get_space_usage(self, _: dict[str, Any]) -> Any:
        account = self.service.account
        return {"used": account.used, "allocation": {".tag": "individual", "allocated": account.allocated}}

    def _users_get_current_account(self, _: dict[str, Any]) -> Any:
        name = {
            "given_name": "Anna",
            "surname": "Example",
            "familiar_name": "Anna",
            "display_name": "Anna Example",
            "abbreviated_name": "AE",
        }
        return {
            "account_id": ACCOUNT_ID,
            "name": name,
            "email": "anna@example.org",
            "email_verified": True,
            "disabled": False,
            "locale": "en",
            "referral_link": "https://db.tt/x",
            "is_paired": False,
            "account_type": {".tag": "pro" if self.service.account.paid else "basic"},
            "root_info": {".tag": "user", "root_namespace_id": "1", "home_namespace_id": "1"},
            "country": "DE",
        }

    # -- what a recipient opens

    def _shared(self, token: str, query: dict[str, str]) -> None:
        account = self.service.account
        with account.lock:
            link = account.links.get(token)
            entry = account.find(link.entry_id) if link is not None else None
            over = link is not None and link.expires is not None and link.expires <= account.stamp()
        if link is None or entry is None or entry.data is None or query.get("rlkey") != link.rlkey or over:
            self._send(404, "text/html; charset=utf-8", b"<html>This link is gone</html>")
            return
        if query.get("dl") == "0":
            self._send(200, "text/html; charset=utf-8", b"<html>A page with a preview, not the file</html>")
            return
        if query.get("dl") == "1":
            self.send_response(302)
            self.send_header("Location", f"/scl/fi/{token}/x?rlkey={link.rlkey}&raw=bytes")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", STREAM)
        self.send_header("Content-Length", str(entry.size))
        self.end_headers()
        with entry.data.open("rb") as source:
            while piece := source.read(PIECE):
                self.wfile.write(piece)

    # -- the wire

    def _common_fault(self, route: str) -> bool:
        """An answer that has nothing to do with the call; True: it was sent."""
        faults = self.service.faults
        if slow := faults.take("slow", route):
            time.sleep(float(slow.value))
        if fault := faults.take("throttled", route):
            number = {} if fault.value is None else {"retry_after": fault.value}
            self._refuse_json(429, "too_many_requests", {"reason": {".tag": "too_many_requests"}, **number})
        elif fault := faults.take("throttled_text", route):
            header = {} if fault.value is None else {"Retry-After": str(fault.value)}
            self._refuse(429, "text/plain; charset=utf-8", b"slow down", header)
        elif faults.take("busy", route):
            busy = {"reason": {".tag": "too_many_write_operations"}, "retry_after": 1}
            known = KNOWS_BUSY.get(route)
            self._refuse_json(409 if known else 429, "too_many_write_operations", known or busy)
        elif faults.take("unavailable", route):
            self._refuse(503, "text/html", b"<html>Service unavailable</html>", {"Retry-After": "7"})
        else:
            return self._odd_body(route)
        return True

    def _odd_body(self, route: str) -> bool:
        faults = self.service.faults
        if faults.take("no_json", route):
            self._refuse(400, "text/plain; charset=utf-8", f'Error in call to API function "{route}"'.encode())
        elif faults.take("no_error_key", route):
            self._refuse(409, JSON, b'{"error_summary": "other/.."}')
        elif faults.take("unknown_tag", route):
            self._refuse_json(409, "a_new_reason", {".tag": "a_new_reason_nobody_knows"})
        else:
            return False
        return True

    def _refuse_json(self, status: int, summary: str, error: object) -> None:
        self._refuse(status, JSON, json.dumps({"error_summary": f"{summary}/..", "error": error}).encode())

    def _receive(self, target: BinaryIO, route: str, *digests: ContentHash) -> tuple[int, ContentHash]:
        """The body, into a file."""
        cut = self.service.faults.take("cut", route)
        damaged = self.service.faults.take("damaged", route)
        size = 0
        while self._left:
            piece = self.rfile.read(min(PIECE, self._left))
            if not piece:
                raise Cut
            self._left -= len(piece)
            self.service.received += len(piece)
            size += len(piece)
            if cut is not None and size >= int(cut.value):
                raise Cut
            if damaged is not None:
                piece, damaged = bytes([piece[0] ^ 1]) + piece[1:], None
            target.write(piece)
            for digest in digests:
                digest.update(piece)
        return size, digests[0]

    @staticmethod
    def _expect_hash(argument: dict[str, Any], digest: ContentHash) -> None:
        expected = argument.get("content_hash")
        if expected is not None and expected != digest.hexdigest():
            raise RouteError({".tag": "content_hash_mismatch"})

    def _body(self) -> bytes:
        body = self.rfile.read(self._left)
        self._left = 0
        return body

    def _drain(self) -> None:
        while self._left:
            piece = self.rfile.read(min(PIECE, self._left))
            if not piece:
                raise Cut
            self._left -= len(piece)
            self.service.received += len(piece)

    def _refuse(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self._drain()
        self._send(status, kind, body, headers)

    def _text(self, status: int, text: str) -> None:
        self._refuse(status, "text/plain; charset=utf-8", text.encode())

    def _send(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Dropbox-Request-Id", secrets.token_hex(16))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def listen(service: Dropbox, context: ssl.SSLContext) -> ThreadingHTTPServer:
    """A server for `service` on a free port."""

    class Bound(Handler):
        pass

    Bound.service = service
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    service.address = f"127.0.0.1:{server.server_address[1]}"
    return server
