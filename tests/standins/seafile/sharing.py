"""Share links: the calls of the web API that make them, and the pages that their readers open."""

from __future__ import annotations

import io
import json
import posixpath
import secrets
import zipfile
from datetime import datetime
from typing import Any
from urllib.parse import quote

from tests.standins.seafile.library import EMPTY, Refused, Share, clean
from tests.standins.seafile.seahub import ZONE, Seahub
from tests.standins.seafile.service import USER, Answer, Request, as_json, page

SHORTEST_PASSWORD = 8
DAY = 86400.0
ACCOUNT, LIBRARY = "account", "library"


class WebApi(Seahub):
    """All of the web API, and ``/f/`` and ``/d/``."""

    ROUTES = (
        *Seahub.ROUTES,
        (r"/api/v2\.1/share-links/", "share-links", "account", "shares"),
        (r"/api/v2\.1/share-links/([^/]+)/", "share-links", "account", "share"),
        (r"/api/v2\.1/multi-share-links/", "multi-share-links", "account", "more_shares"),
        (r"/api2/repos/([^/]+)/file/shared-link/", "shared-link", "account", "old_share"),
        (r"/api/v2\.1/via-repo-token/share-links/", "share-links", "library", "own_shares"),
        (r"/api/v2\.1/via-repo-token/share-links/([^/]+)/", "share-links", "library", "own_share"),
        (r"/f/([^/]+)/", "shared", "reader", "shared_file"),
        (r"/d/([^/]+)/", "shared", "reader", "shared_folder"),
        (r"/d/([^/]+)/files/", "shared", "reader", "shared_file_in_folder"),
        (r"/u/d/([^/]+)/", "upload-page", "reader", "upload_page"),
    )

    def _admit(self, request: Request, name: str, who: str) -> None:
        if who != "reader":
            super()._admit(request, name, who)

    # -- by the account

    def _shares_get(self, request: Request) -> Answer:
        identity, path = request.query.get("repo_id"), request.query.get("path")
        if identity is not None:
            self._find(identity)
        return self._list_shares(path, ACCOUNT)

    def _shares_post(self, request: Request) -> Answer:
        given = request.fields()
        self._find(self._wanted(given, "repo_id"))
        return self._make_share(given, ACCOUNT)

    def _more_shares_post(self, request: Request) -> Answer:
        if self._service.switches.old_links:
            return page("Page not found", 404)
        given = request.fields()
        self._find(self._wanted(given, "repo_id"))
        return self._make_share(given, ACCOUNT, another=True)

    def _share_delete(self, _: Request, token: str) -> Answer:
        return self._delete_share(token, ACCOUNT)

    def _share_put(self, request: Request, token: str) -> Answer:
        """Changes permissions and end, not the password."""
        share = self._library.shares.get(token)
        if share is None:
            raise Refused(404, "token not found")
        if share.by != ACCOUNT:
            raise Refused(403, "Permission denied.")
        given = request.fields()
        if "permissions" in given:
            share.permissions = _permissions(given)
        if given.get("expire_days") or given.get("expiration_time"):
            share.ends = self._end(given)
        return as_json(self._facts(share))

    def _old_share_put(self, request: Request, identity: str) -> Answer:
        """As servers of long ago did it: the link is in a header."""
        self._find(identity)
        given = request.fields(json_too=False)
        how = {"path": given.get("p"), "password": given.get("password", ""), "expire_days": given.get("expire", "")}
        there = self._library.shares_of(clean(str(how["path"])), ACCOUNT)
        link = self._facts(there[0])["link"] if there else json.loads(_body(self._make_share(how, ACCOUNT)))["link"]
        return as_json("", 201, {"Location": link})

    # -- with a library's own token

    def _own_shares_get(self, request: Request) -> Answer:
        self._may_share("GET", more=True)
        return self._list_shares(request.query.get("path"), LIBRARY)

    def _own_shares_post(self, request: Request) -> Answer:
        self._may_share("POST")
        return self._make_share(request.fields(), LIBRARY)

    def _own_share_delete(self, _: Request, token: str) -> Answer:
        self._may_share("DELETE", more=True)
        return self._delete_share(token, LIBRARY)

    def _may_share(self, method: str, *, more: bool = False) -> None:
        """Older servers know no such calls, some of the newer ones only how to make a link."""
        allowed = self._service.switches.repo_token_shares
        if not allowed:
            raise Refused(404)
        if more and allowed == "create":
            raise Refused(405, f'Method "{method}" not allowed.', "detail")

    # -- both

    def _list_shares(self, path: str | None, by: str) -> Answer:
        if path is not None and not self._library.exists(clean(path)):
            raise Refused(404, f"{path} not found.")
        found = [self._facts(one) for one in self._library.shares_of(clean(path) if path else None, by)]
        if self._service.switches.old_links == "lone" and len(found) == 1:
            return as_json(found[0])
        return as_json(found)

    def _make_share(self, given: dict[str, Any], by: str, *, another: bool = False) -> Answer:
        """One link per path and maker; one that has ended still counts."""
        library, switches = self._library, self._service.switches
        path = clean(self._wanted(given, "path"))
        if not library.exists(path):
            raise Refused(404, f"{path} not found.")
        if switches.encrypted:
            raise Refused(403, "Permission denied.")
        there = library.shares_of(path, by)
        if there and not another:
            if switches.old_links:
                return as_json(self._facts(there[0]))
            raise Refused(400, f"Share link {there[0].token} already exists.")
        password = str(given.get("password") or "")
        if (password or switches.force_password) and len(password) < SHORTEST_PASSWORD:
            raise Refused(400, "Password is missing or too short.")
        share = Share(secrets.token_hex(10), path, path in library.folders, library.now(), self._end(given), password)
        share.by, share.permissions = by, _permissions(given)
        library.shares[share.token] = share
        return as_json(self._facts(share))

    def _delete_share(self, token: str, by: str) -> Answer:
        share = self._library.shares.get(token)
        if share is not None and share.by != by:
            raise Refused(403, "Permission denied.")
        self._library.shares.pop(token, None)
        return as_json({"success": True})

    @staticmethod
    def _wanted(given: dict[str, Any], name: str) -> str:
        if not given.get(name):
            raise Refused(400, f"{name} invalid.")
        return str(given[name])

    def _end(self, given: dict[str, Any]) -> float | None:
        """When a link is to end, as the administrator bounds it; a time without offset is the server's own."""
        days, moment, now = given.get("expire_days"), given.get("expiration_time"), self._library.now()
        fewest, most = self._service.switches.force_days
        if days and moment:
            raise Refused(400, "Can not pass expire_days and expiration_time at the same time.")
        try:
            if moment:
                parsed = datetime.fromisoformat(str(moment))
                end = (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=ZONE)).timestamp()
            elif days:
                end = now + int(days) * DAY
            elif fewest or most:
                raise Refused(400, "Expiration is required.")
            else:
                return None
        except ValueError as error:
            raise Refused(400, "expire_days or expiration_time invalid.") from error
        if end <= now:
            raise Refused(400, "Expiration must be later than now.")
        if (fewest and end < now + fewest * DAY - 1) or (most and end > now + most * DAY + 1):
            raise Refused(400, f"Expiration must lie between {fewest} and {most} days.")
        return end

    def _facts(self, share: Share) -> dict[str, Any]:
        entry = self._library.files.get(share.path)
        kind = "d" if share.is_dir else "f"
        return {
            "username": USER,
            "repo_id": self._library.id,
            "repo_name": self._library.name,
            "path": share.path + ("/" if share.is_dir and share.path != "/" else ""),
            "obj_name": posixpath.basename(share.path),
            "obj_id": entry.id if entry else EMPTY,
            "is_dir": share.is_dir,
            "token": share.token,
            "link": self._service.url(f"/{kind}/{share.token}/"),
            "view_cnt": share.seen,
            "ctime": _stamp(share.born),
            "expire_date": "" if share.ends is None else _stamp(share.ends),
            "is_expired": self._library.ended(share),
            "permissions": share.permissions,
            "password": share.password,
            "can_edit": False,
        }

    # -- what readers open

    def _shared(self, token: str, *, is_dir: bool) -> Share | Answer:
        share = self._library.shares.get(token)
        gone = self._service.switches.gone
        if share is None or gone or share.is_dir != is_dir or self._library.ended(share):
            return page("Sorry, but the requested page could not be found.", 404)
        if not self._library.exists(share.path):
            return page("File does not exist", 404)
        if share.password:
            return page('<form method="post"><input type="password" name="password"></form>')
        share.seen += 1
        return share

    def _shared_file_get(self, request: Request, token: str) -> Answer:
        share = self._shared(token, is_dir=False)
        if isinstance(share, Answer):
            return share
        return self._fetch(share.path) if request.query.get("dl") == "1" else page("A preview and a button: Download")

    def _shared_folder_get(self, request: Request, token: str) -> Answer:
        share = self._shared(token, is_dir=True)
        if isinstance(share, Answer):
            return share
        if request.query.get("dl") != "1":
            return page("A list of files")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for path in self._library.below(share.path):
                if path in self._library.files:
                    archive.write(self._library.files[path].data, posixpath.relpath(path, share.path))
        return Answer(200, "application/zip", packed.getvalue())

    def _shared_file_in_folder_get(self, request: Request, token: str) -> Answer:
        share = self._shared(token, is_dir=True)
        if isinstance(share, Answer):
            return share
        path = clean(posixpath.join(share.path, request.query.get("p", "").lstrip("/")))
        if path not in self._library.below(share.path) or path not in self._library.files:
            return page("File does not exist", 404)
        return self._fetch(path) if request.query.get("dl") == "1" else page("A preview and a button: Download")

    def _fetch(self, path: str) -> Answer:
        key = self._library.grant("download", path)
        where = self._service.file_server(f"files/{key}/{quote(posixpath.basename(path))}")
        return Answer(302, "text/html; charset=utf-8", headers={"Location": where})

    def _upload_page_get(self, _: Request, __: str) -> Answer:
        return page("Drop your files here")

    def _upload_page_post(self, _: Request, __: str) -> Answer:
        return page("Forbidden: CSRF verification failed. Request aborted.", 403)


def _permissions(given: dict[str, Any]) -> dict[str, bool]:
    found = given.get("permissions") or {}
    found = json.loads(found) if isinstance(found, str) else found
    return {"can_edit": False, "can_download": True, "can_upload": False} | dict(found)


def _stamp(moment: float) -> str:
    """With the server's offset, no microseconds."""
    return datetime.fromtimestamp(int(moment), ZONE).isoformat()


def _body(answer: Answer) -> bytes:
    assert isinstance(answer.body, bytes)
    return answer.body
