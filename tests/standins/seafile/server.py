"""The wire: seahub's and the file server's routes on one port, their odd bodies, and the faults.

``--c-server``: the file server behaves as the older one written in C does, else as the one in Go.
"""

from __future__ import annotations

import json
import re
import secrets
import time
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, unquote, unquote_plus, urlencode, urlsplit

from tests.standins.faults import Faults
from tests.standins.seafile.library import LINK_SECONDS, Library, Partial, Refused, ShareLink, UploadLink, clean
from tests.standins.seafile.multipart import PIECE, Form, Malformed, read_form

USER, PASSWORD, ONE_TIME = "anna@example.org", "a password of the stand-in", "123456"
JSON = "application/json"
FAULTS = frozenset(
    {
        "throttled",  # 429 of seahub; value: seconds in Retry-After, None: without
        "unavailable",  # 503 as a page of the proxy
        "error",  # 500 with an empty body
        "bad_token",  # 401
        "wiped",  # 401 with X-Seafile-Wiped
        "failed",  # 520 of seahub
        "cut",  # the connection is lost after `value` bytes of the body
        "lost_answer",  # the work is done, the answer never arrives
        "link_expired",  # 403 "Access token not found" of the file server
        "collected",  # 409: garbage collection ran meanwhile
        "proxy_too_large",  # 413 as a page of nginx
        "html",  # 200 with a page, as a captive portal sends
        "old_error",  # the file server answers an error with status 200
        "finalising_fails",  # 500 at the last chunk; what was held is gone
        "share_forbidden",  # 403: this role may not make links
        "share_password_forced",  # 400: links need a password
        "slow",  # `value` seconds before the answer
    }
)
TRANSLATED = {"Library not found.": "Bibliothek nicht gefunden.", "Token inactive or deleted": "Token ungültig"}


class Cut(Exception):
    """The connection is lost now."""


class Seafile:
    """The service: one account with one library, and what is to go wrong."""

    def __init__(self, library: Library, *, c_server: bool) -> None:
        self.library = library
        self.c_server = c_server
        self.token = secrets.token_hex(20)
        self.repo_token = secrets.token_hex(20)
        self.two_factor = False
        self.force_days: tuple[int, int] = (0, 0)  # least and most that a link may live; 0: any
        self.old_links = False  # an existing share link is handed out again with 200
        self.link_host = ""  # FILE_SERVER_ROOT: empty: right; "/": relative links; else a host
        self.single_use = False
        self.translated = False
        self.faults = Faults(FAULTS)
        self.requests: Counter[str] = Counter()
        self.received = 0
        self.address = ""

    def state(self) -> dict[str, Any]:
        """What a test may look at."""
        library = self.library
        with library.lock:
            return {
                "files": {
                    f"{folder.rstrip('/')}/{name}": {"size": file.size, "id": file.id}
                    for folder, files in library.folders.items()
                    for name, file in files.items()
                },
                "folders": sorted(library.folders),
                "links": [{"path": one.path, "expires": one.expires} for one in library.shares.values()],
                "partials": {f"{folder}/{name}": part.data.stat().st_size
                             for (folder, name), part in library.partials.items()},
                "requests": dict(self.requests),
                "received": self.received,
            }  # fmt: skip

    def link(self, path: str) -> str:
        """An address of the file server, as wrong as FILE_SERVER_ROOT is."""
        if self.link_host == "/":
            return path
        return f"http://{self.link_host or self.address}{path}"


Route = tuple[str, re.Pattern[str], str]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    service: Seafile
    _left: int
    _query: dict[str, str]

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self, method: str) -> None:
        self._left = int(self.headers.get("Content-Length") or 0)
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        self._query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        try:
            self._route(method, path)
        except Refused as error:
            self._refuse(error, fileserver=path.startswith("/seafhttp/"))
        except (Cut, ConnectionError):
            self.close_connection = True

    def _route(self, method: str, path: str) -> None:
        service = self.service
        for wanted, pattern, name in ROUTES:
            match = pattern.fullmatch(path)
            if match is None or wanted != method:
                continue
            service.requests[name] += 1
            if slow := service.faults.take("slow", name):
                time.sleep(float(slow.value))
            if self._common_fault(name):
                return
            work: Callable[..., Any] = getattr(self, "_" + name)
            answer = work(**match.groupdict())
            if service.faults.take("lost_answer", name):
                raise Cut
            if answer is not None:
                status, body, headers = answer
                self._drain()
                self._send(status, JSON, json.dumps(body).encode(), headers)
            return
        if not path.endswith("/") and path.startswith("/api"):  # Django's APPEND_SLASH: the body is lost
            self._drain()
            self._send(301, "text/html", b"", {"Location": path + "/"})
            return
        self._drain()
        self._send(404, "text/html", b"<html>Page not found</html>")

    def _common_fault(self, name: str) -> bool:
        faults = self.service.faults
        if fault := faults.take("throttled", name):
            header = {} if fault.value is None else {"Retry-After": str(fault.value)}
            self._drain()
            self._send(429, JSON, b'{"detail": "Request was throttled."}', header)
        elif faults.take("unavailable", name):
            self._drain()
            self._send(503, "text/html", b"<html><h1>503 Service Unavailable</h1></html>")
        elif faults.take("proxy_too_large", name):
            self._drain()
            self._send(413, "text/html", b"<html><h1>413 Request Entity Too Large</h1></html>")
        elif faults.take("error", name):
            self._drain()
            self._send(500, "text/plain", b"")
        elif faults.take("html", name):
            self._drain()
            self._send(200, "text/html", b"<html>Please sign in to the network</html>")
        elif faults.take("failed", name):
            raise Refused(520, "Failed to do this.")
        else:
            return False
        return True

    # -- signing in

    def _ping(self) -> Any:
        return 200, "pong", {}

    def _server_info(self) -> Any:
        return 200, {"version": "11.0.3", "encrypted_library_version": 2, "features": ["seafile-basic"]}, {}

    def _auth_ping(self) -> Any:
        self._account()
        return 200, "pong", {}

    def _auth_token(self) -> Any:
        form = self._form_or_json()
        if missing := [name for name in ("username", "password") if not form.get(name)]:
            return 400, {missing[0]: ["This field is required."]}, {}
        if (form["username"], form["password"]) != (USER, PASSWORD):
            return 400, {"non_field_errors": ["Unable to login with provided credentials."]}, {}
        if self.service.two_factor and self.headers.get("X-Seafile-OTP") != ONE_TIME:
            wrong = {"non_field_errors": ["Two factor auth token is missing."]}
            return 400, wrong, {"X-Seafile-OTP": "required"}
        return 200, {"token": self.service.token}, {}

    def _account_info(self) -> Any:
        self._account()
        library = self.service.library
        facts = {"email": USER, "name": "Anna", "total": library.total, "usage": library.usage, "space_usage": "1.0%"}
        return 200, facts | {"login_id": "", "contact_email": USER, "is_staff": False}, {}

    def _account(self) -> None:
        """Expect the account's token."""
        self._expect_token(self.service.token)

    def _repo_account(self) -> None:
        """Expect the library's own token."""
        self._expect_token(self.service.repo_token)

    def _expect_token(self, token: str) -> None:
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        if not kind:
            raise Refused(403, "Authentication credentials were not provided.")
        if self.service.faults.take("wiped"):
            self._drain()
            self._send(401, JSON, b'{"detail": "Token inactive or deleted"}', {"X-Seafile-Wiped": "true"})
            raise Cut
        if self.service.faults.take("bad_token") or kind.lower() not in {"token", "bearer"} or given != token:
            raise Refused(401, "Token inactive or deleted")

    def _library(self, repo: str) -> Library:
        library = self.service.library
        if repo != library.id or library.gone:
            raise Refused(404, "Library not found.")
        return library

    # -- libraries and folders

    def _repos(self) -> Any:
        self._account()
        library = self.service.library
        mine = {
            "id": library.id, "name": library.name, "type": "repo", "owner": USER, "permission": library.permission,
            "encrypted": library.encrypted, "size": library.usage, "mtime": int(library.now()), "virtual": False,
            "mtime_relative": "<time>now</time>", "root": "", "version": 1,
        }  # fmt: skip
        other = mine | {"id": str(uuid.UUID(int=7)), "name": library.name, "permission": "r", "type": "grepo"}
        return 200, [mine, mine | {"type": "grepo", "owner": "The group"}, other], {}

    def _repo(self, repo: str) -> Any:
        self._account()
        library = self._library(repo)
        facts = {"id": library.id, "name": library.name, "owner": "self", "type": "repo", "size": library.usage}
        facts |= {"mtime": int(library.now()), "encrypted": library.encrypted, "root": ""}
        return 200, facts | {"permission": library.permission, "file_count": 1}, {}

    def _mkdir(self, repo: str) -> Any:
        self._account()
        library, form = self._library(repo), dict(parse_qsl(self._body().decode()))  # a form: JSON is not read here
        if form.get("operation") != "mkdir":
            raise Refused(400, "Operation not supported.")
        with library.lock:
            path = library.make_folder(self._query.get("p", ""), parents=form.get("create_parents") == "true")
        return 201, "success", {"Location": f"/api2/repos/{repo}/dir/?{urlencode({'p': path})}"}

    def _list(self, repo: str) -> Any:
        self._account()
        library, path = self._library(repo), clean(self._query.get("p", "/"))
        return 200, self._entries(library, path), {}

    def _entries(self, library: Library, path: str) -> list[dict[str, Any]]:
        with library.lock:
            if path not in library.folders:
                raise Refused(404, "Folder not found.")
            below = path.rstrip("/") + "/"
            names = [one[len(below) :] for one in library.folders if one.startswith(below) and one != path]
            entries: list[dict[str, Any]] = [
                {"type": "dir", "id": "d" * 40, "name": name, "mtime": 1} for name in names if name and "/" not in name
            ]
            entries += [
                {"type": "file", "id": file.id, "name": file.name, "size": file.size, "mtime": int(file.mtime)}
                for file in library.folders[path].values()
            ]
            return entries

    def _detail(self, repo: str) -> Any:
        self._account()
        library = self._library(repo)
        with library.lock:
            file = library.find(self._query.get("p", ""))
        if file is None:
            raise Refused(404, "File not found.")
        moment = datetime.fromtimestamp(file.mtime, tz=UTC).isoformat(timespec="seconds")
        facts = {"id": file.id, "name": file.name, "size": file.size, "mtime": int(file.mtime), "type": "file"}
        return 200, facts | {"last_modified": moment, "permission": "rw"}, {}

    def _delete_file(self, repo: str) -> Any:
        self._account()
        library = self._library(repo)
        with library.lock:
            library.delete_file(self._query.get("p", ""))
        return 200, "success", {}

    def _delete_file_new(self, repo: str) -> Any:
        self._delete_file(repo)
        return 200, {"success": True}, {}

    def _delete_dir(self, repo: str) -> Any:
        self._account()
        library = self._library(repo)
        with library.lock:
            library.delete_folder(self._query.get("p", ""))
        return 200, "success", {}

    # -- upload links

    def _upload_link(self, repo: str) -> Any:
        self._account()
        return self._made_link(self._library(repo), self._query.get("p", "/"))

    def _made_link(self, library: Library, folder: str) -> Any:
        if not folder:
            raise Refused(400, "p invalid.")
        with library.lock:
            if clean(folder) not in library.folders:
                raise Refused(404, f"Folder {folder} not found.")
            if library.permission != "rw":
                raise Refused(403, "Permission denied.")
            library.expect_room(0)
            key = str(uuid.uuid4())
            library.links[key] = UploadLink(clean(folder), library.now())
        ending = "?replace=1" if self._query.get("replace") == "1" else ""
        return 200, self.service.link(f"/seafhttp/upload-api/{key}{ending}"), {}

    def _uploaded_bytes(self, repo: str) -> Any:
        self._account()
        library = self._library(repo)
        folder, name = clean(self._query.get("parent_dir", "")), self._query.get("file_name", "")
        if not name or not self._query.get("parent_dir"):
            raise Refused(400, "file_name invalid.")
        with library.lock:
            if folder not in library.folders:
                raise Refused(404, "Folder not found.")
            held = library.partial(folder, name)
            return 200, {"uploadedBytes": held.data.stat().st_size if held else 0}, {}

    # -- the file server

    def _upload(self, key: str) -> None:
        service, library = self.service, self.service.library
        with library.lock:
            link = library.links.get(key)
            old = link is None or library.now() - link.made > LINK_SECONDS
            if old or service.faults.take("link_expired"):
                raise Refused(403, "Access token not found.")
            assert link is not None
            if service.single_use:
                del library.links[key]
            chunk = self._content_range()
            library.expect_room(chunk[2] if chunk else self._left)  # before the body is read
        form = self._form(library)
        if service.faults.take("collected"):
            raise Refused(409, "GC conflict.")
        if len(form.files) != 1:
            raise Refused(400, "Need exactly one file.")
        replace = self._replace(form)
        with library.lock:
            answer = self._store(library, link, form, chunk, replace=replace)
        if service.faults.take("lost_answer", "upload"):
            raise Cut
        if service.faults.take("old_error"):
            self._send(200, "text/plain", b'{"error": "Out of quota.\n"}\n')
        else:
            self._send(200, JSON if self._wants_json(form) else "text/plain", answer)

    def _store(
        self, library: Library, link: UploadLink, form: Form, chunk: tuple[int, int, int] | None, *, replace: bool
    ) -> bytes:
        name, data = form.files[0]
        held: Partial | None = None
        if chunk is not None:
            folder = self._folder(form)
            name = self._disposed_name()
            held = library.write_chunk(folder, name, chunk[0], data)
            data.unlink()
            if chunk[1] != chunk[2] - 1:
                return b'{"success": true}'
            del library.partials[folder, name]
            data = held.data
            if self.service.faults.take("finalising_fails"):
                raise Refused(500, "")
        if clean(form.fields.get("parent_dir", "")) != link.folder:
            raise Refused(403, "Permission denied.")
        if link.folder not in library.folders:
            raise Refused(400, "Parent dir doesn't exist.")
        if library.encrypted:
            raise Refused(400, "Provide the password first.")
        folder = self._folder(form)
        if form.fields.get("relative_path"):
            library.make_folder(folder, parents=True)
        file = library.put(folder, name, data, replace=replace)
        if self._wants_json(form):
            return json.dumps([{"name": file.name, "id": file.id, "size": file.size}]).encode()
        return file.id.encode()

    def _form(self, library: Library) -> Form:
        boundary = re.search(r'boundary="?([^";]+)', self.headers.get("Content-Type", ""))
        if boundary is None:
            raise Refused(400, "Invalid form.")
        try:
            form = read_form(self._read, boundary[1].encode(), library.fresh)
        except Malformed as error:
            raise Refused(400, "Invalid form.") from error
        self._drain()
        if not form.fields.get("parent_dir"):
            raise Refused(400, "No parent_dir given.")
        if "//" in form.fields["parent_dir"]:
            raise Refused(400, "Invalid parent_dir.")
        return form

    def _replace(self, form: Form) -> bool:
        field = form.fields.get("replace", "0")
        if field not in {"0", "1"}:
            raise Refused(400, "Invalid argument replace.")
        query = self._query.get("replace")
        return (field if self.service.c_server or query is None else query) == "1"

    def _folder(self, form: Form) -> str:
        return clean(f"{form.fields['parent_dir']}/{form.fields.get('relative_path', '')}")

    def _wants_json(self, form: Form) -> bool:
        return "ret-json" in self._query or (not self.service.c_server and "ret-json" in form.fields)

    def _content_range(self) -> tuple[int, int, int] | None:
        text = self.headers.get("Content-Range")
        if text is None:
            return None
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", text)
        if match is None:
            if self.service.c_server:
                raise Refused(400, "Invalid Content-Range.")
            return None  # the chunk becomes a whole file
        return int(match[1]), int(match[2]), int(match[3])

    def _disposed_name(self) -> str:
        text = self.headers.get("Content-Disposition", "")
        match = re.search(r'filename="([^"]*)"', text)
        if match is None:
            raise Refused(400 if self.service.c_server else 500, "")
        return unquote(match[1]) if self.service.c_server else unquote_plus(match[1])

    # -- share links

    def _share_links(self) -> Any:
        self._account()
        library, path = self._library(self._query.get("repo_id", "")), clean(self._query.get("path", ""))
        with library.lock:
            if library.find(path) is None and path not in library.folders:
                raise Refused(404, "File not found.")
            return 200, [self._share(one) for one in library.shares.values() if one.path == path], {}

    def _make_share(self) -> Any:
        self._account()
        asked = self._form_or_json()
        return self._made_share(self._library(str(asked.get("repo_id", ""))), asked)

    def _made_share(self, library: Library, asked: dict[str, Any]) -> Any:
        service, path = self.service, clean(str(asked.get("path", "")))
        if library.encrypted or service.faults.take("share_forbidden"):
            raise Refused(403, "Permission denied.")
        if service.faults.take("share_password_forced") and not asked.get("password"):
            raise Refused(400, "Password is required.")
        if asked.get("expire_days") and asked.get("expiration_time"):
            raise Refused(400, "Can not pass expire_days and expiration_time at the same time.")
        expires = self._share_expiry(asked)
        with library.lock:
            if library.find(path) is None:
                raise Refused(404, f"File {path} not found.")
            there = next((one for one in library.shares.values() if one.path == path), None)
            if there is not None and service.old_links:
                return 200, self._share(there), {}
            if there is not None:  # an expired one counts as well
                raise Refused(400, f"Share link {there.token} already exists.")
            link = ShareLink(secrets.token_hex(10), path, library.now(), expires)
            library.shares[link.token] = link
            return 200, self._share(link), {}

    def _share_expiry(self, asked: dict[str, Any]) -> float | None:
        library, (least, most) = self.service.library, self.service.force_days
        expires: float | None = None
        if asked.get("expire_days"):
            if not str(asked["expire_days"]).isdigit():
                raise Refused(400, "expire_days invalid.")
            expires = library.now() + 86400 * int(asked["expire_days"])
        elif asked.get("expiration_time"):
            moment = datetime.fromisoformat(str(asked["expiration_time"]))
            expires = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
            if expires <= library.now():
                raise Refused(400, "Expiration time should be later than now.")
        days = (expires - library.now()) / 86400 if expires is not None else 0.0
        if (least and days < least) or (most and (not days or days > most + 0.001)):
            raise Refused(400, "Expire days is out of the allowed range.")
        return expires

    def _delete_share(self, token: str) -> Any:
        self._account()
        with self.service.library.lock:
            self.service.library.shares.pop(token, None)
        return 200, {"success": True}, {}

    def _change_share(self, token: str) -> Any:
        self._account()
        asked, library = self._form_or_json(), self.service.library
        with library.lock:
            link = library.shares.get(token)
            if link is None:
                raise Refused(404, "Share link not found.")
            if asked.get("expire_days") or asked.get("expiration_time"):
                link.expires = self._share_expiry(asked)
            return 200, self._share(link), {}

    def _share(self, link: ShareLink) -> dict[str, Any]:
        def stamp(moment: float | None) -> str:
            return datetime.fromtimestamp(moment, tz=UTC).isoformat(timespec="seconds") if moment else ""

        library = self.service.library
        file = library.find(link.path)
        return {
            "username": USER, "repo_id": library.id, "repo_name": library.name, "path": link.path,
            "obj_name": link.path.rpartition("/")[2], "obj_id": file.id if file else "", "is_dir": False,
            "token": link.token, "link": self.service.link(f"/f/{link.token}/"), "view_cnt": 0,
            "ctime": stamp(link.made), "expire_date": stamp(link.expires),
            "is_expired": link.expires is not None and link.expires <= library.now(),
            "permissions": {"can_edit": False, "can_download": True, "can_upload": False}, "password": None,
            "can_edit": False,
        }  # fmt: skip

    # -- by the library's own token

    def _via_info(self) -> Any:
        self._repo_account()
        library = self._library(self.service.library.id)
        facts = {"repo_id": library.id, "repo_name": library.name, "size": library.usage, "file_count": 1}
        return 200, facts | {"last_modified": "2026-01-02T03:04:05+00:00"}, {}

    def _via_dir(self) -> Any:
        self._repo_account()
        library = self._library(self.service.library.id)
        return 200, {"dirent_list": self._entries(library, clean(self._query.get("path", "/")))}, {}

    def _via_mkdir(self) -> Any:
        self._repo_account()
        library, form = self._library(self.service.library.id), self._form_or_json()
        if form.get("operation") != "mkdir":
            raise Refused(400, "operation invalid.")
        with library.lock:
            library.make_folder(self._query.get("path", ""), parents=True)
        return 200, {"success": True}, {}

    def _via_upload_link(self) -> Any:
        self._repo_account()
        return self._made_link(self._library(self.service.library.id), self._query.get("path", "/"))

    def _via_delete(self) -> Any:
        self._repo_account()
        library, asked = self._library(self.service.library.id), self._form_or_json()
        with library.lock:
            for name in asked.get("dirents", []):
                path = clean(f"{asked.get('parent_dir', '/')}/{name}")
                if path in library.folders:
                    library.delete_folder(path)
                else:
                    library.delete_file(path)
        return 200, {"success": True}, {}

    def _via_share(self) -> Any:
        self._repo_account()
        return self._made_share(self._library(self.service.library.id), self._form_or_json())

    # -- what a recipient opens

    def _shared(self, token: str) -> None:
        library = self.service.library
        with library.lock:
            link = library.shares.get(token)
            over = link is not None and link.expires is not None and link.expires <= library.now()
            file = library.find(link.path) if link is not None else None
        if file is None or over:
            self._send(404, "text/html", b"<html>Link does not exist, or has expired</html>")
        elif self._query.get("dl") != "1":
            self._send(200, "text/html", b"<html>A page with a button, not the file</html>")
        else:
            place = self.service.link(f"/seafhttp/files/{token}/{quote(file.name)}")
            self._send(302, "text/html", b"", {"Location": place})

    def _download(self, token: str, name: str) -> None:
        del name
        library = self.service.library
        with library.lock:
            link = library.shares.get(token)
            file = library.find(link.path) if link is not None else None
        if file is None:
            raise Refused(403, "Access token not found.")
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(file.size))
        self.end_headers()
        with file.data.open("rb") as source:
            while piece := source.read(PIECE):
                self.wfile.write(piece)

    # -- the wire

    def _read(self, most: int) -> bytes:
        if not self._left:
            return b""
        piece = self.rfile.read(min(most, self._left))
        if not piece:
            raise Cut
        self._left -= len(piece)
        self.service.received += len(piece)
        cut = self.service.faults.take("cut") if self._is_past_cut(len(piece)) else None
        if cut is not None:
            raise Cut
        return piece

    def _is_past_cut(self, more: int) -> bool:
        """Whether this request has read as many bytes as the next cut says."""
        self._so_far = getattr(self, "_so_far", 0) + more
        value = self.service.faults.next_value("cut")
        return value is not None and self._so_far >= int(value)

    def _body(self) -> bytes:
        body = self.rfile.read(self._left)
        self._left = 0
        return body

    def _form_or_json(self) -> dict[str, Any]:
        kind, body = self.headers.get("Content-Type", ""), self._body()
        if kind.startswith(JSON):
            found = json.loads(body or b"{}")
            return found if isinstance(found, dict) else {}
        return dict(parse_qsl(body.decode()))

    def _drain(self) -> None:
        while self._left:
            piece = self.rfile.read(min(PIECE, self._left))
            if not piece:
                raise Cut
            self._left -= len(piece)

    def _refuse(self, error: Refused, *, fileserver: bool) -> None:
        if fileserver and self._left:  # it does not wait for a body that it will not take
            self.close_connection = True
        else:
            self._drain()
        message = TRANSLATED.get(error.message, error.message) if self.service.translated else error.message
        if not fileserver:
            key = "detail" if error.status in {401, 403, 429} and "Token" in error.message else "error_msg"
            self._send(error.status, JSON, json.dumps({key: message}).encode())
        elif not message:
            self._send(error.status, "text/plain", b"")
        else:  # a raw line break within the JSON text, as the real one sends it
            body = b'{"error": "' + message.encode() + b'\n"}' + (b"" if self.service.c_server else b"\n")
            self._send(error.status, JSON if self.service.c_server else "text/plain", body)

    def _send(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self._so_far = 0
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


_REPO = r"(?P<repo>[0-9a-f-]{36})"
ROUTES: list[Route] = [
    (method, re.compile(pattern), name)
    for method, pattern, name in (
        ("GET", r"/api2/ping/", "ping"),
        ("GET", r"/api2/server-info/", "server_info"),
        ("GET", r"/api2/auth/ping/", "auth_ping"),
        ("POST", r"/api2/auth-token/", "auth_token"),
        ("GET", r"/api2/account/info/", "account_info"),
        ("GET", r"/api2/repos/", "repos"),
        ("GET", rf"/api2/repos/{_REPO}/", "repo"),
        ("POST", rf"/api2/repos/{_REPO}/dir/", "mkdir"),
        ("GET", rf"/api2/repos/{_REPO}/dir/", "list"),
        ("DELETE", rf"/api2/repos/{_REPO}/dir/", "delete_dir"),
        ("GET", rf"/api2/repos/{_REPO}/file/detail/", "detail"),
        ("DELETE", rf"/api2/repos/{_REPO}/file/", "delete_file"),
        ("DELETE", rf"/api/v2.1/repos/{_REPO}/file/", "delete_file_new"),
        ("GET", rf"/api2/repos/{_REPO}/upload-link/", "upload_link"),
        ("GET", rf"/api/v2.1/repos/{_REPO}/file-uploaded-bytes/", "uploaded_bytes"),
        ("GET", r"/api/v2.1/share-links/", "share_links"),
        ("POST", r"/api/v2.1/share-links/", "make_share"),
        ("DELETE", r"/api/v2.1/share-links/(?P<token>[0-9a-f]+)/", "delete_share"),
        ("PUT", r"/api/v2.1/share-links/(?P<token>[0-9a-f]+)/", "change_share"),
        ("GET", r"/api/v2.1/via-repo-token/repo-info/", "via_info"),
        ("GET", r"/api/v2.1/via-repo-token/dir/", "via_dir"),
        ("POST", r"/api/v2.1/via-repo-token/dir/", "via_mkdir"),
        ("GET", r"/api/v2.1/via-repo-token/upload-link/", "via_upload_link"),
        ("DELETE", r"/api/v2.1/via-repo-token/batch-delete-item/", "via_delete"),
        ("POST", r"/api/v2.1/via-repo-token/share-links/", "via_share"),
        ("POST", r"/seafhttp/upload-api/(?P<key>[^/]+)", "upload"),
        ("PUT", r"/seafhttp/upload-api/(?P<key>[^/]+)", "upload"),
        ("GET", r"/seafhttp/files/(?P<token>[0-9a-f]+)/(?P<name>[^/]+)", "download"),
        ("GET", r"/f/(?P<token>[0-9a-f]+)/", "shared"),
    )
]


def listen(service: Seafile) -> ThreadingHTTPServer:
    """A server for ``service`` on a free port."""

    class Bound(Handler):
        pass

    Bound.service = service
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    server.daemon_threads = True
    service.address = f"127.0.0.1:{server.server_address[1]}"
    return server
