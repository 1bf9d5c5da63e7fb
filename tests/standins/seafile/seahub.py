"""The web API (seahub): signing in, the account, libraries, folders and files."""

from __future__ import annotations

import posixpath
import re
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

from tests.standins.seafile.library import EMPTY, KEY_LIVES, Refused, clean
from tests.standins.seafile.service import (
    LIBRARY_PASSWORD,
    ONE_TIME,
    PASSWORD,
    USER,
    Answer,
    Request,
    Seafile,
    as_json,
    page,
    throttled,
)

ZONE = timezone(timedelta(hours=5, minutes=45))  # the server's own, and nobody's else
SOME_ID = "0123456789abcdef0123456789abcdef01234567"
READ_ONLY = "b0e5a4fa-7f8c-4f0f-9d2e-3c1f4c1d2a11"
PART_OF_ONE = "c7a3c2de-2f0a-4f6c-8f3b-5a0b7d9e6b22"
OTHER = "other@example.org"
FAILED = 520

Handler = Callable[..., Answer]


class Seahub:
    """Serves ``/api2/...`` and ``/api/v2.1/...`` but for share links.

    Each route is a pattern, a name for faults and counts, who may call it, and the start of the methods' names.
    """

    ROUTES: tuple[tuple[str, str, str, str], ...] = (
        (r"/api2/ping/", "ping", "anybody", "ping"),
        (r"/api2/auth/ping/", "auth-ping", "account", "ping"),
        (r"/api2/server-info/", "server-info", "anybody", "server_info"),
        (r"/api2/auth-token/", "auth-token", "anybody", "auth_token"),
        (r"/api2/account/info/", "account", "account", "account"),
        (r"/api2/default-repo/", "default-repo", "account", "default_repo"),
        (r"/api2/repos/", "repos", "account", "repos"),
        (r"/api2/repos/([^/]+)/", "repo", "account", "repo"),
        (r"/api2/repos/([^/]+)/upload-link/", "upload-link", "account", "upload_link"),
        (r"/api2/repos/([^/]+)/update-link/", "update-link", "account", "update_link"),
        (r"/api2/repos/([^/]+)/dir/", "dir", "account", "dir"),
        (r"/api2/repos/([^/]+)/file/detail/", "detail", "account", "detail"),
        (r"/api2/repos/([^/]+)/file/", "file", "account", "file"),
        (r"/api/v2\.1/repos/([^/]+)/file-uploaded-bytes/", "uploaded-bytes", "account", "uploaded_bytes"),
        (r"/api/v2\.1/repos/([^/]+)/dir/", "dir", "account", "new_dir"),
        (r"/api/v2\.1/repos/([^/]+)/file/", "file", "account", "new_file"),
        (r"/api/v2\.1/via-repo-token/repo-info/", "repo", "library", "own_info"),
        (r"/api/v2\.1/via-repo-token/dir/", "dir", "library", "own_dir"),
        (r"/api/v2\.1/via-repo-token/upload-link/", "upload-link", "library", "own_upload_link"),
        (r"/api/v2\.1/via-repo-token/download-link/", "file", "library", "own_download_link"),
        (r"/api/v2\.1/via-repo-token/batch-delete-item/", "file", "library", "own_batch_delete"),
    )

    def __init__(self, service: Seafile) -> None:
        self._service = service
        self._library = service.library
        self._routes = [(re.compile(pattern), name, who, method) for pattern, name, who, method in self.ROUTES]

    def refused(self, error: Refused) -> Answer:
        """As JSON, in the account's language."""
        if error.message is None:
            return page("Server Error", error.status)
        message: object = self._service.in_language(error.message)
        if error.key not in {"error_msg", "detail"}:
            message = [message]
        return as_json({error.key: message}, error.status, error.headers)

    def route(self, path: str) -> str:
        """The name for faults and counts; empty: there is none."""
        return next((name for pattern, name, *_ in self._routes if pattern.fullmatch(path)), "")

    def answer(self, request: Request) -> Answer:
        """Of any request. Raises `Refused`."""
        for pattern, name, who, method in self._routes:
            found = pattern.fullmatch(request.path)
            if found is None:
                continue
            self._admit(request, name, who)
            work: Handler | None = getattr(self, f"_{method}_{request.method.lower()}", None)
            if work is None:
                raise Refused(405, f'Method "{request.method}" not allowed.', "detail")
            with self._library.lock:
                return work(request, *found.groups())
        return page("Page not found", 404)

    def _admit(self, request: Request, name: str, who: str) -> None:
        """Raises `Refused`: throttled, or whoever it is may not."""
        service = self._service
        if fault := service.faults.take("throttled", name):
            raise throttled(fault.value)
        if who == "anybody":
            service.throttle(request.client, service.switches.anonymous_limit)
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() not in ({"token"} if service.switches.old_links else {"token", "bearer"}) or not token:
            status = 401 if request.path.startswith("/api/") else 403
            raise Refused(status, "Authentication credentials were not provided.", "detail")
        if service.faults.take("wiped", name):
            raise Refused(401, "Invalid token", "detail", {"X-Seafile-Wiped": "true"})
        known = {service.repo_token} if who == "library" else {service.token} | service.device_tokens
        if token.strip() not in known:
            raise Refused(401, "Invalid token", "detail")
        service.throttle(token, service.switches.user_limit)
        if who == "library" and service.switches.gone:
            raise Refused(404, f"Library {self._library.id} not found.")

    # -- signing in, the account

    def _ping_get(self, _: Request) -> Answer:
        return as_json("pong")

    def _server_info_get(self, _: Request) -> Answer:
        features = ["seafile-basic", "disable-sync-with-any-folder"]
        return as_json({"version": "11.0.3", "encrypted_library_version": 2, "features": features})

    def _auth_token_post(self, request: Request) -> Answer:
        service, given = self._service, request.fields()
        for name in ("username", "password"):
            if not given.get(name):
                raise Refused(400, "This field is required.", name)
        device = [bool(given.get(name)) for name in ("platform", "device_id", "device_name")]
        if any(device) and not all(device):
            raise Refused(400, "invalid params", "non_field_errors")
        if (given["username"], given["password"]) != (USER, PASSWORD):
            raise Refused(400, "Unable to login with provided credentials.", "non_field_errors")
        headers = {}
        if service.switches.two_factor and request.headers.get("x-seafile-s2fa") not in service.trusted:
            code = request.headers.get("x-seafile-otp")
            if code != ONE_TIME:
                message = "Two factor auth token is missing." if code is None else "Two factor auth token is invalid."
                raise Refused(400, message, "non_field_errors", {"X-Seafile-OTP": "required"})
            if request.headers.get("x-seafile-2fa-trust-device") == "1":
                headers["X-SEAFILE-S2FA"] = secrets.token_hex(16)
                service.trusted.add(headers["X-SEAFILE-S2FA"])
        token = service.token
        if all(device):
            token = secrets.token_hex(20)
            service.device_tokens.add(token)
        return as_json({"token": token}, headers=headers)

    def _account_get(self, _: Request) -> Answer:
        switches = self._service.switches
        total, usage = (1000, 999) if switches.shared else (switches.total, self._library.usage)
        facts = {"email": USER, "name": "results", "login_id": "", "contact_email": USER, "is_staff": False}
        share = f"{usage / total:.1%}" if total > 0 else "0.0%"
        return as_json(facts | {"total": total, "usage": usage, "space_usage": share})

    # -- libraries

    def _default_repo_get(self, _: Request) -> Answer:
        return as_json({"exists": True, "repo_id": self._library.id})

    def _repos_get(self, request: Request) -> Answer:
        """The library twice, as its own and through a group; one that is read-only, and a folder of one."""
        asked = set(request.query.get("type", "mine,shared,group,org").split(","))
        kinds = {"repo": "mine", "srepo": "shared", "grepo": "group"}
        owned: dict[str, Any] = {"id": self._library.id, "permission": self._service.switches.permission}
        first = {"type": "srepo", "owner": OTHER} if self._service.switches.shared else {"type": "repo", "owner": USER}
        own = [owned | first, owned | {"type": "grepo", "owner": "Simulations"}]
        read_only: dict[str, Any] = {"id": READ_ONLY, "type": "srepo", "owner": OTHER, "permission": "r"}
        part: dict[str, Any] = {
            "id": PART_OF_ONE,
            "type": "srepo",
            "owner": OTHER,
            "permission": "rw",
            "virtual": True,
        }
        listed = [*([] if self._service.switches.gone else own), read_only, part]
        encrypted = self._service.switches.encrypted
        common: dict[str, Any] = {
            "name": self._library.name,  # names are not unique
            "size": self._library.usage,
            "size_formatted": "1.0 GB",
            "mtime": int(self._library.now()),
            "mtime_relative": '<time datetime="2026-01-01T00:00:00">just now</time>',
            "virtual": False,
            "root": "",
            "version": 1,
            "head_commit_id": SOME_ID,
        }
        rows = [
            common | row | {"encrypted": int(encrypted and row["id"] == self._library.id)}
            for row in listed
            if kinds[str(row["type"])] in asked
        ]
        return as_json(rows)

    def _repo_get(self, _: Request, identity: str) -> Answer:
        self._find(identity)
        facts = {
            "id": self._library.id,
            "name": self._library.name,
            "owner": "share" if self._service.switches.shared else "self",
            "type": "repo",
            "size": self._library.usage,
            "mtime": int(self._library.now()),
            "encrypted": self._service.switches.encrypted,
            "root": "",
            "permission": self._service.switches.permission,
            "file_count": len(self._library.files),
        }
        return as_json(facts)

    def _repo_post(self, request: Request, identity: str) -> Answer:
        """The password of an encrypted library."""
        self._find(identity)
        if not self._service.switches.encrypted:
            raise Refused(409, "Library is not encrypted")
        if request.fields().get("password") != LIBRARY_PASSWORD:
            raise Refused(400, "Incorrect password")
        self._library.password_until = self._library.now() + KEY_LIVES
        return as_json("success")

    def _find(self, identity: str, *, write: bool = False, read: bool = False) -> None:
        """Raises `Refused` where there is no such library, or it may not be written, or its content not be read."""
        switches = self._service.switches
        if identity == READ_ONLY and not switches.gone:
            raise Refused(403, "Permission denied.")
        if identity != self._library.id or switches.gone:
            raise Refused(404, f"Library {identity} not found.")
        if write and switches.permission != "rw":
            raise Refused(403, "Permission denied.")
        if read and not self._service.has_key():
            raise Refused(440, "Library password is needed.")

    # -- links of the file server

    def _upload_link_get(self, request: Request, identity: str) -> Answer:
        self._find(identity, write=True)
        return self._upload_link(request, "p")

    def _upload_link(self, request: Request, name: str) -> Answer:
        kind = "upload-aj" if request.query.get("from") == "web" else "upload-api"
        return self._link(request, name, kind, "upload")

    def _update_link_get(self, request: Request, identity: str) -> Answer:
        self._find(identity, write=True)
        return self._link(request, "p", "update-api", "update")

    def _link(self, request: Request, name: str, kind: str, right: str) -> Answer:
        switches, library = self._service.switches, self._library
        path = request.query.get(name, "/")
        if not path:
            raise Refused(400, "p invalid.")
        if clean(path) not in library.folders:
            raise Refused(404, f"Folder {path} not found.")
        if 0 <= switches.total <= library.usage:
            raise Refused(443, "Out of quota.")
        url = self._service.file_server(f"{kind}/{library.grant(right, clean(path), once=switches.single_use)}")
        return as_json(f"{url}?replace=1" if request.query.get("replace") == "1" else url)

    def _uploaded_bytes_get(self, request: Request, identity: str) -> Answer:
        self._find(identity)
        folder, name = request.query.get("parent_dir", ""), request.query.get("file_name", "")
        if not folder or not name:
            raise Refused(400, "parent_dir or file_name invalid.")
        if clean(folder) not in self._library.folders:
            raise Refused(404, f"Folder {folder} not found.")
        held = self._library.half(posixpath.join(clean(folder), name))
        headers = {"Accept-Ranges": "bytes"} if self._service.switches.resumable else {}
        return as_json({"uploadedBytes": held.data.stat().st_size if held else 0}, headers=headers)

    # -- folders

    def _dir_get(self, request: Request, identity: str) -> Answer:
        self._find(identity, read=True)
        return as_json(self._listed(request.query.get("p", "/")))

    def _dir_post(self, request: Request, identity: str) -> Answer:
        self._find(identity, write=True)
        given = request.fields(json_too=False)
        return self._make_folder(request.query.get("p", ""), given, parents=given.get("create_parents") == "true")

    def _dir_delete(self, request: Request, identity: str) -> Answer:
        self._find(identity, write=True)
        path = clean(request.query.get("p", ""))
        if path not in self._library.folders or path == "/":
            raise Refused(404, "Folder not found.")
        self._delete(path)
        return as_json("success")

    def _new_dir_get(self, request: Request, identity: str) -> Answer:
        self._find(identity, read=True)
        deep = request.query.get("recursive") == "1"
        return as_json({"dirent_list": self._listed(request.query.get("p", "/"), deep=deep)})

    def _new_dir_post(self, request: Request, identity: str) -> Answer:
        self._find(identity, write=True)
        self._make_folder(request.query.get("p", ""), request.fields(), parents=False)
        return as_json({"success": True})

    def _listed(self, path: str, *, deep: bool = False) -> list[dict[str, Any]]:
        if clean(path) not in self._library.folders:
            raise Refused(404, f"Folder {path} not found.")
        found = (self._library.below if deep else self._library.children)(clean(path))
        return [self._entry(one) | {"parent_dir": posixpath.dirname(one)} for one in found]

    def _entry(self, path: str) -> dict[str, Any]:
        name, entry = posixpath.basename(path), self._library.files.get(path)
        common = {"name": name, "permission": self._service.switches.permission}
        if entry is None:
            return common | {"type": "dir", "id": EMPTY, "mtime": int(self._library.now())}
        return common | {"type": "file", "id": entry.id, "size": entry.size, "mtime": entry.mtime}

    def _make_folder(self, given: str, form: dict[str, Any], *, parents: bool) -> Answer:
        """One that exists gets a sister with a number, unless its parents were asked for, too."""
        if not given.startswith("/") or clean(given) == "/":
            raise Refused(400, "Path invalid.")
        if form.get("operation") != "mkdir":
            raise Refused(400, "Operation not supported.")
        path = clean(given)
        if not parents:
            if posixpath.dirname(path) not in self._library.folders:
                raise Refused(404, "Parent folder not found.")
            path = self._library.free_path(path) or path
        self._library.make_folder(path)
        return as_json("success", 201, {"Location": self._service.url("/api2/dir/")})

    # -- files

    def _detail_get(self, request: Request, identity: str) -> Answer:
        self._find(identity)
        entry = self._file_at(request.query.get("p", ""))
        moment = datetime.fromtimestamp(int(entry["mtime"]), ZONE)
        return as_json(entry | {"last_modified": moment.isoformat(), "last_modifier_email": USER})

    def _file_get(self, request: Request, identity: str) -> Answer:
        self._find(identity, read=True)
        return self._download_link(request.query.get("p", ""), once=request.query.get("reuse") != "1")

    def _file_post(self, request: Request, identity: str) -> Answer:
        """Rename and move answer with a redirection that must not be followed."""
        self._find(identity, write=True)
        path = clean(request.query.get("p", ""))
        self._file_at(path)
        given = request.fields(json_too=False)
        operation = given.get("operation")
        if operation == "rename":
            target = posixpath.join(posixpath.dirname(path), str(given.get("newname", "")))
        elif operation == "move" and given.get("dst_repo") == identity:
            target = posixpath.join(clean(str(given.get("dst_dir", "/"))), posixpath.basename(path))
        else:
            raise Refused(400, "Operation not supported.")
        self._may_change()
        if posixpath.dirname(target) not in self._library.folders:
            raise Refused(404, "Folder not found.")
        self._library.rename(path, self._library.free_path(target) or target)
        return as_json("success", 301, {"Location": self._service.url(request.path)})

    def _file_delete(self, request: Request, identity: str) -> Answer:
        self._find(identity, write=True)
        self._delete(clean(request.query.get("p", "")))
        return as_json("success")

    def _new_file_delete(self, request: Request, identity: str) -> Answer:
        self._find(identity, write=True)
        there = self._delete(clean(request.query.get("p", "")))
        return as_json({"success": True} | ({"commit_id": SOME_ID} if there else {}))

    def _file_at(self, path: str) -> dict[str, Any]:
        if not path:
            raise Refused(400, "Path is missing.")
        if clean(path) not in self._library.files:
            raise Refused(404, "File not found.")
        return self._entry(clean(path))

    def _download_link(self, path: str, *, once: bool) -> Answer:
        name = quote(self._file_at(path)["name"])
        key = self._library.grant("download", clean(path), once=once)
        return as_json(self._service.file_server(f"files/{key}/{name}"))

    def _delete(self, path: str) -> bool:
        """Whether it was there."""
        self._may_change()
        there = self._library.exists(path)
        self._library.delete(path)
        return there

    def _may_change(self) -> None:
        if self._service.faults.take("fails_520"):
            raise Refused(FAILED, "Operation failed.")

    # -- with a library's own token; paths are in ``path``

    def _own_info_get(self, _: Request) -> Answer:
        library = self._library
        moment = datetime.fromtimestamp(int(time.time()), UTC).isoformat()
        facts = {"repo_id": library.id, "repo_name": library.name, "size": library.usage, "last_modified": moment}
        return as_json(facts | {"file_count": len(library.files)})

    def _own_dir_get(self, request: Request) -> Answer:
        self._find(self._library.id, read=True)
        deep = request.query.get("recursive") == "1"
        return as_json({"dirent_list": self._listed(request.query.get("path", "/"), deep=deep)})

    def _own_dir_post(self, request: Request) -> Answer:
        self._find(self._library.id, write=True)
        self._make_folder(request.query.get("path", ""), request.fields(), parents=False)
        return as_json({"success": True})

    def _own_upload_link_get(self, request: Request) -> Answer:
        self._find(self._library.id, write=True)
        return self._upload_link(request, "path")

    def _own_download_link_get(self, request: Request) -> Answer:
        self._find(self._library.id, read=True)
        return self._download_link(request.query.get("path", ""), once=True)

    def _own_batch_delete_delete(self, request: Request) -> Answer:
        self._find(self._library.id, write=True)
        given = request.fields()
        folder, names = given.get("parent_dir"), given.get("dirents")
        if not folder or not isinstance(names, list) or not names:
            raise Refused(400, "parent_dir or dirents invalid.")
        if clean(folder) not in self._library.folders:
            raise Refused(404, f"Folder {folder} not found.")
        for name in names:
            self._delete(posixpath.join(clean(folder), str(name)))
        return as_json({"success": True, "commit_id": SOME_ID})
