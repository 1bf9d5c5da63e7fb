"""Seafile through its web API (https://download.seafile.com/published/web-api/home.md).

Two servers stand behind one address. The web API signs in, makes folders and links; the file server takes the bytes,
at an address that the web API hands out for an hour. An archive goes in chunks to a temporary file of the server,
which becomes the file with the last of them; the server checks neither offsets nor lengths, so the size is compared in
the end. Messages are translated by the server: what is decided is decided by status codes.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote, urljoin, urlsplit, urlunsplit
from uuid import UUID

import requests
from pydantic import AwareDatetime, BaseModel, ConfigDict, SecretStr, field_validator

from backends.contract import Archive, Backend, Link, Progress, Status, Stored
from backends.errors import PermanentError, TransientError
from backends.http import TIMEOUT, call
from backends.seafile_errors import (
    CHUNK,
    OF_THE_FILE_SERVER,
    OF_THE_PROXY,
    OF_THE_WEB_API,
    SERVICE,
    Gone,
    Refused,
    error_of,
    other_rules,
)

FOLDER = "/simcourier"
PIECE = 1024 * 1024
UPLOAD_TIMEOUT = (60.0, 600.0)
LONGEST_NAME = 240  # bytes of UTF-8; the server takes 255, and may put a number behind
LONGEST_ENDING = 16
NEW_LINKS = 3  # for one chunk, should the file server have forgotten the last one
SAME = timedelta(minutes=1)
EXISTING = re.compile(r"\b(?:[0-9a-f]{20}|[0-9a-f]{10})\b")  # the token of a share link
NO_FILE_SERVER = {401, 404, 405, 501}  # what others answer to an upload
SHARED = "share"  # the owner of a library that is somebody else's


class Config(BaseModel):
    """Which library, and whose token: an account's, or the library's own ("API token")."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: SecretStr
    repoid: UUID
    server: str | None = None
    fileserver: str | None = None

    @field_validator("token")
    @classmethod
    def _one_word(cls, value: SecretStr) -> SecretStr:
        token = value.get_secret_value().strip()
        if not token.isascii() or not token.isalnum():
            raise ValueError("a token of letters and digits is expected; seafile-get-token prints one")
        return SecretStr(token)

    @field_validator("server", "fileserver")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return server_address(value or "")


def server_address(text: str) -> str | None:
    """A server's address with its scheme, without a slash at its end; None: nothing but spaces.

    Raises:
        ValueError: it is none.
    """
    url = text.strip().rstrip("/")
    if not url:
        return None
    if "://" not in url:
        url = f"https://{url}"
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
        good &= not (parts.username or parts.password or parts.query or parts.fragment)
    except ValueError:
        good = False
    if not good:
        raise ValueError("the server's address is expected, e.g. https://seafile.example.org")
    return url


class Seafile(Backend[Config]):
    """Archives as files of one library, a folder each."""

    identifier = "seafile"
    Config = Config
    token_field = "server"  # noqa: S105 - the name of a field
    needs_size = True

    def check(self) -> Status:
        """Sign in, look at the library, ask for room."""
        api = self._signed_in()
        name = api.library()
        return Status(account=f"library '{name}' at {urlsplit(api.base).netloc} ({api.kind})", free_bytes=api.free())

    def store(self, archive: Archive, progress: Progress) -> Stored:
        """Send it in chunks, going on with what an earlier try has brought there."""
        api, place = self._signed_in(), _Place(archive)
        api.library()
        stored = _stored(archive, place, place.name)
        kept = dict(progress.checkpoint or {})
        mine = kept.get("sha256") == archive.sha256
        if mine and kept.get("committing") and api.size(place.path) == place.size:
            return stored  # the last answer was lost
        free = api.free()
        if free is not None and place.size >= free:
            raise PermanentError(f"{SERVICE} has {free} bytes left, the archive has {place.size}.", scope="backend")
        api.make_folder(place.folder)
        upload = _Upload(self, api, archive, place, progress)
        try:
            name, size = upload.run(int(kept.get("sending", 0)) if mine else 0)
        except Gone as error:
            raise TransientError("The archive's folder was removed while it was being sent.", 1.0) from error
        if size != place.size:  # a longer temporary file of other bytes was there: it is gone now
            api.delete(place.folder)
            progress.save({}, 0)
            raise TransientError(f"{SERVICE} holds {size} bytes, {place.size} were sent; they were removed.", 1.0)
        return _stored(archive, place, name)

    def link(self, stored: Stored, expires: AwareDatetime | None) -> Link:
        """The file's share link: the one there is, or a new one where it would end at another time."""
        api = self._signed_in()
        return api.share(_path(stored), expires)

    def delete(self, stored: Stored) -> None:
        """Remove the file and its links, and its folder unless somebody has put something of his own into it."""
        self._signed_in().delete(_path(stored))

    def _signed_in(self) -> _Api:
        """The API that the token is good for: the account's, or that of the library's own token."""
        if self.config.server is None:
            raise PermanentError(
                "No Seafile server is known: put its address into Backend token, or set SIMCOURIER_SEAFILE_SERVER.",
                scope="backend",
            )
        account = _Account(self.config, self.http)
        return account if account.is_ours() else _OwnToken(self.config, self.http)


class _Place:
    """Where an archive goes."""

    def __init__(self, archive: Archive) -> None:
        if archive.size is None:
            raise TransientError("The archive's size is not known yet.")
        self.size = archive.size
        self.folder = _folder(archive.key)
        self.name = _safe(archive.name)
        self.path = f"{self.folder}/{self.name}"


def _stored(archive: Archive, place: _Place, name: str) -> Stored:
    """A file under the name that the server gave it, which may be another than was asked for."""
    return Stored(key=archive.key, size=place.size, reference={"folder": place.folder, "name": name})


def _folder(key: str) -> str:
    return f"{FOLDER}/{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def _path(stored: Stored) -> str:
    name = stored.reference.get("name") or _safe(stored.key.rpartition("/")[2])
    return f"{_folder(stored.key)}/{name}"


def _safe(name: str) -> str:
    """A name that the server keeps as it is: NFC, short enough, without what ends a header's quoted text."""
    text = "".join(c if c.isprintable() and c not in '/\\"' else "_" for c in unicodedata.normalize("NFC", name))
    stem, dot, ending = text.rpartition(".")
    if not dot or len(ending.encode()) > LONGEST_ENDING:
        stem, dot, ending = text, "", ""
    room = LONGEST_NAME - len((dot + ending).encode())
    stem = stem.encode()[:room].decode(errors="ignore")
    text = (stem + dot + ending).strip()
    return text if text.strip(".") else f"archive{text}"


class _Api(ABC):
    """What is asked of the web API, whatever the token."""

    kind: str
    shares: str
    """Where share links are made."""

    def __init__(self, config: Config, http: requests.Session) -> None:
        assert config.server is not None
        self.base = config.server
        self._config = config
        self._http = http

    @abstractmethod
    def library(self) -> str:
        """The library's name; raises if nothing can be stored in it."""

    @abstractmethod
    def free(self) -> int | None:
        """Bytes that are left; None: it does not say."""

    @abstractmethod
    def make_folder(self, folder: str) -> None:
        """Make it, and those above it."""

    @abstractmethod
    def size(self, path: str) -> int | None:
        """A file's size; None: there is none, or it cannot be told."""

    @abstractmethod
    def held(self, folder: str, name: str) -> int:
        """Bytes of earlier chunks."""

    @abstractmethod
    def upload_link(self, folder: str) -> str:
        """Where to send a file to."""

    @abstractmethod
    def fields(self, folder: str) -> dict[str, str]:
        """Fields of the form that say where the file goes."""

    @abstractmethod
    def links(self, path: str) -> list[dict[str, Any]]:
        """The share links that the token has made to a file."""

    @abstractmethod
    def no_link(self, error: Refused, path: str, expires: datetime | None) -> Link:
        """What to do where none is made: raises, or finds the one that there is."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """What lies in a folder; raises `Gone` where there is none."""

    @abstractmethod
    def remove(self, path: str, kind: str) -> None:
        """Remove a ``file``, or a ``dir`` with all that is in it."""

    def delete(self, path: str) -> None:
        """Remove a file, and the folder that was made for it; not there is fine."""
        folder, _, name = path.rpartition("/")
        with suppress(Gone):
            if set(self.names(folder)) <= {name}:
                self.remove(folder, "dir")
            else:
                self.remove(path, "file")

    def ask(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Make a request of the web API."""
        headers = {"Authorization": f"Token {self._config.token.get_secret_value()}", "Accept": "application/json"}
        arguments.setdefault("timeout", TIMEOUT)
        url = f"{self.base}{path}"
        send = partial(self._http.request, method, url, headers=headers, allow_redirects=False, **arguments)
        answer = call(SERVICE, send, partial(error_of, OF_THE_WEB_API))
        if answer.status_code >= 300:  # noqa: PLR2004 - RFC 9110, section 15
            raise PermanentError(f"{self.base} redirects elsewhere; use that address.", scope="backend")
        return answer

    def told(self, method: str, path: str, **arguments: Any) -> Any:
        """The JSON of an answer."""
        answer = self.ask(method, path, **arguments)
        try:
            return json.loads(answer.text, strict=False)
        except ValueError as error:
            raise TransientError("What answers there is no Seafile (a page of a proxy, perhaps).") from error

    def told_of(self, method: str, path: str, **arguments: Any) -> Any:
        """The JSON of an answer about a file or folder; raises `Gone` where that is not there, but the library is."""
        try:
            return self.told(method, path, **arguments)
        except Refused as error:
            if error.status != 404:  # noqa: PLR2004
                raise
            self.library()
            raise Gone from error

    def share(self, path: str, expires: datetime | None) -> Link:
        """The share link that is there if it fits, else a new one."""
        for link in self.links(path):
            found = _link(self, link)
            if not link.get("is_expired") and not link.get("password") and _agree(found.expires, expires):
                return found
            self.ask("DELETE", f"{self.shares}{link['token']}/")
        asked = {"repo_id": str(self._config.repoid), "path": path}
        until = {"expiration_time": expires.astimezone(UTC).isoformat(timespec="seconds")} if expires else {}
        try:
            return _link(self, self.told("POST", self.shares, json=asked | until))
        except Refused as error:
            return self.no_link(error, path, expires)

    def placed(self, link: str) -> str:
        """An address of the file server, on the host that the definition names, if it names one."""
        url = urljoin(f"{self.base}/", link)
        if self._config.fileserver is None:
            return url
        ours, parts = urlsplit(self._config.fileserver), urlsplit(url)
        return urlunsplit((ours.scheme, ours.netloc, parts.path, parts.query, ""))


class _Account(_Api):
    """An account's token."""

    kind = "account's token"
    shares = "/api/v2.1/share-links/"
    _shared = False

    @property
    def _repo(self) -> str:
        return str(self._config.repoid)

    def is_ours(self) -> bool:
        """False: the token is no account's."""
        try:
            return bool(self.told("GET", "/api2/auth/ping/") == "pong")
        except PermanentError as error:
            if isinstance(error, Refused) and error.status in {401, 403}:
                return False
            raise

    def library(self) -> str:
        facts = self.told("GET", f"/api2/repos/{self._repo}/")
        if facts.get("encrypted"):
            raise PermanentError(
                f"The library '{facts.get('name')}' is encrypted: Seafile makes no links into it. Take another one.",
                scope="backend",
            )
        if facts.get("permission") != "rw":
            raise PermanentError(f"The library '{facts.get('name')}' is read-only for this token.", scope="backend")
        self._shared = facts.get("owner") == SHARED
        return str(facts.get("name"))

    def free(self) -> int | None:
        """Of the account; in somebody else's library that one's quota counts, which nobody tells."""
        if self._shared:
            return None
        facts = self.told("GET", "/api2/account/info/")
        total, usage = int(facts.get("total", -2)), int(facts.get("usage", 0))
        return None if total < 0 else max(0, total - usage)

    def make_folder(self, folder: str) -> None:
        form = {"operation": "mkdir", "create_parents": "true"}
        self.ask("POST", f"/api2/repos/{self._repo}/dir/", params={"p": folder}, data=form)

    def size(self, path: str) -> int | None:
        try:
            return int(self.told("GET", f"/api2/repos/{self._repo}/file/detail/", params={"p": path})["size"])
        except Refused as error:
            if error.status == 404:  # noqa: PLR2004
                return None
            raise

    def held(self, folder: str, name: str) -> int:
        asked = {"parent_dir": folder, "file_name": name}
        told = self.told_of("GET", f"/api/v2.1/repos/{self._repo}/file-uploaded-bytes/", params=asked)
        return int(told["uploadedBytes"])

    def upload_link(self, folder: str) -> str:
        return self.placed(str(self.told_of("GET", f"/api2/repos/{self._repo}/upload-link/", params={"p": folder})))

    def fields(self, folder: str) -> dict[str, str]:
        return {"parent_dir": folder, "replace": "1"}

    def links(self, path: str) -> list[dict[str, Any]]:
        told = self.told_of("GET", self.shares, params={"repo_id": self._repo, "path": path})
        return told if isinstance(told, list) else [told]  # servers of long ago

    def no_link(self, error: Refused, path: str, expires: datetime | None) -> Link:
        del path
        if error.status != 400:  # noqa: PLR2004
            raise error
        raise other_rules(expires) from error

    def names(self, folder: str) -> list[str]:
        told = self.told_of("GET", f"/api2/repos/{self._repo}/dir/", params={"p": folder})
        return [str(one["name"]) for one in told]

    def remove(self, path: str, kind: str) -> None:
        self.told_of("DELETE", f"/api2/repos/{self._repo}/{kind}/", params={"p": path})


class _OwnToken(_Api):
    """A library's own token: no account, so no quota, no file's details, no chunks that can be asked for."""

    kind = "the library's own token"
    shares = "/api/v2.1/via-repo-token/share-links/"

    def library(self) -> str:
        facts = self.told("GET", "/api/v2.1/via-repo-token/repo-info/")
        if facts.get("repo_id") != str(self._config.repoid):
            raise PermanentError("The token is that of another library than repoid names.", scope="backend")
        self.ask("GET", "/api/v2.1/via-repo-token/dir/", params={"path": "/"})  # raises where it is encrypted
        return str(facts.get("repo_name"))

    def free(self) -> int | None:
        return None

    def make_folder(self, folder: str) -> None:
        """The upload makes it (``relative_path``)."""

    def size(self, path: str) -> int | None:
        folder, _, name = path.rpartition("/")
        try:
            entries = self._entries(folder)
        except Gone:
            return None
        return next((int(one["size"]) for one in entries if one.get("name") == name), None)

    def names(self, folder: str) -> list[str]:
        return [str(one["name"]) for one in self._entries(folder)]

    def _entries(self, folder: str) -> list[dict[str, Any]]:
        told = self.told_of("GET", "/api/v2.1/via-repo-token/dir/", params={"path": folder})
        return list(told.get("dirent_list", []))

    def held(self, folder: str, name: str) -> int:
        del folder, name
        return 0

    def upload_link(self, folder: str) -> str:
        del folder
        return self.placed(str(self.told("GET", "/api/v2.1/via-repo-token/upload-link/", params={"path": "/"})))

    def fields(self, folder: str) -> dict[str, str]:
        return {"parent_dir": "/", "relative_path": folder.lstrip("/"), "replace": "1"}

    def links(self, path: str) -> list[dict[str, Any]]:
        try:
            told = self.told("GET", self.shares, params={"path": path})
        except Refused as error:
            if error.status in {404, 405}:  # the file is not there, or the server only makes links; the next call tells
                return []
            raise
        return list(told)

    def no_link(self, error: Refused, path: str, expires: datetime | None) -> Link:
        if error.status == 404:  # noqa: PLR2004
            if self.size(path) is None:
                raise Gone from error
            raise PermanentError(
                "This server makes no links for a library's own token; an account's token can (seafile-get-token).",
                scope="backend",
            ) from error
        if error.status != 400:  # noqa: PLR2004
            raise error
        there = EXISTING.search(error.body)  # the answer names the link that there is
        if there is None:
            raise other_rules(expires) from error
        url = f"{self.base}/f/{there[0]}/"
        try:
            call(SERVICE, partial(self._http.get, url, timeout=TIMEOUT))
        except PermanentError:
            raise PermanentError(
                "The file's link has ended, and this server lets a library's own token make no other one; an "
                "account's token can (seafile-get-token)."
            ) from error
        return Link(url=f"{url}?dl=1", expires=expires)  # made by an earlier try; when it ends nobody tells

    def remove(self, path: str, kind: str) -> None:
        del kind
        parent, _, name = path.rpartition("/")
        gone = {"parent_dir": parent, "dirents": [name]}
        self.told_of("DELETE", "/api/v2.1/via-repo-token/batch-delete-item/", json=gone)


class _Upload:
    """One archive on its way."""

    def __init__(self, plugin: Seafile, api: _Api, archive: Archive, place: _Place, progress: Progress) -> None:
        self._http = plugin.http
        self._api = api
        self._archive = archive
        self._place = place
        self._progress = progress
        self._link = ""

    def run(self, sending: int) -> tuple[str, int]:
        """Send what is missing; the name and the size that the server says the file has.

        Args:
            sending: up to where an earlier try of these bytes had begun to send.
        """
        size = self._place.size
        if size <= CHUNK or isinstance(self._api, _OwnToken):
            return self._file(self._send(0, size, whole=True))
        held = self._held()
        # More than we have ever sent are somebody else's bytes: all is sent again, over them.
        first = held if held <= sending and held < size else 0
        while True:
            last = min(first + CHUNK, size)
            answer = self._send(first, last, whole=False)
            if last == size:
                return self._file(answer)
            self._expect_success(answer)
            first = last

    def _held(self) -> int:
        return self._api.held(self._place.folder, self._place.name)

    def _send(self, first: int, last: int, *, whole: bool) -> requests.Response:
        for _ in range(NEW_LINKS):
            if not self._link:
                self._link = self._api.upload_link(self._place.folder)
            note = {"sha256": self._archive.sha256, "sending": last}
            committing = {"committing": True} if last == self._place.size else {}
            self._progress.save(note | committing, first)
            if first and self._held() < first:
                # Forgotten after three days, or with a last chunk that failed: what was lost would become zeros.
                raise TransientError(f"{SERVICE} does not hold the {first} bytes any more that were sent.", 1.0)
            body = _Multipart(
                self._api.fields(self._place.folder), self._place.name, self._archive, first, last, self._progress
            )
            try:
                return self._post(body, None if whole else (first, last - 1))
            except Refused as error:
                if error.status == 400:  # noqa: PLR2004 - perhaps the folder is gone: then there is no link to it
                    self._api.upload_link(self._place.folder)
                if error.status != 403:  # noqa: PLR2004
                    raise
                self._link = ""  # an hour has passed, or the file server was started again
                refused = error
        raise refused

    def _post(self, body: _Multipart, chunk: tuple[int, int] | None) -> requests.Response:
        headers = {"Content-Type": f"multipart/form-data; boundary={body.boundary}", "Accept": "application/json"}
        if chunk is not None:
            headers["Content-Range"] = f"bytes {chunk[0]}-{chunk[1]}/{self._place.size}"
            headers["Content-Disposition"] = f'attachment; filename="{quote(self._place.name, safe="")}"'
        url = f"{self._link}{'&' if '?' in self._link else '?'}ret-json=1"
        send = partial(self._http.post, url, data=body, headers=headers, timeout=UPLOAD_TIMEOUT, allow_redirects=False)
        try:
            about_all = OF_THE_FILE_SERVER | ({} if isinstance(self._api, _OwnToken) else OF_THE_PROXY)
            answer = call(SERVICE, send, partial(error_of, about_all))
        except TransientError as error:
            if isinstance(error.__cause__, requests.ConnectionError) and self._elsewhere():
                raise self._misplaced("which cannot be reached from here") from error
            raise
        except Refused as error:
            if error.status in NO_FILE_SERVER:
                raise self._misplaced(f"where no file server answers ({error.status})") from error
            raise
        if answer.status_code >= 300:  # noqa: PLR2004 - RFC 9110, section 15
            raise self._misplaced("which leads elsewhere (to https, perhaps)")
        return answer

    def _misplaced(self, how: str) -> PermanentError:
        parts = urlsplit(self._link)
        return PermanentError(
            f"{SERVICE} hands out upload links at {parts.scheme}://{parts.netloc}, {how}; its administrator must "
            "correct FILE_SERVER_ROOT, or set fileserver in the config.",
            scope="backend",
        )

    def _elsewhere(self) -> bool:
        """Whether the link leads to another host than the server's, and nobody answers there."""
        parts = urlsplit(self._link)
        if parts.netloc == urlsplit(self._api.base).netloc:
            return False
        try:
            self._http.get(f"{parts.scheme}://{parts.netloc}/", timeout=TIMEOUT, allow_redirects=False)
        except requests.RequestException:
            return True
        return False

    @staticmethod
    def _expect_success(answer: requests.Response) -> None:
        """Of a chunk; very old file servers tell errors with status 200."""
        try:
            taken = json.loads(answer.text, strict=False)["success"] is True
        except (ValueError, TypeError, KeyError):
            taken = False
        if not taken:
            raise TransientError(f"{SERVICE} did not say that it has taken the bytes.")

    @staticmethod
    def _file(answer: requests.Response) -> tuple[str, int]:
        """Name and size that the file server says; very old ones tell errors with status 200."""
        try:
            (told,) = json.loads(answer.text, strict=False)
            return str(told["name"]), int(told["size"])
        except (ValueError, TypeError, KeyError) as error:
            raise TransientError(f"{SERVICE} did not say that it holds the file.") from error


class _Multipart:
    """A form with one file as pieces, of a length that is known (RFC 7578)."""

    def __init__(
        self, fields: dict[str, str], name: str, archive: Archive, first: int, last: int, progress: Progress
    ) -> None:
        self.boundary = secrets.token_hex(16)
        parts = [
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
            for field, value in fields.items()
        ]
        parts.append(
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        self._head = "".join(parts).encode()
        self._tail = f"\r\n--{self.boundary}--\r\n".encode()
        self._archive = archive
        self._first, self._last = first, last
        self._progress = progress

    def __len__(self) -> int:
        return len(self._head) + self._last - self._first + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        left = self._last - self._first
        with closing(_pieces(self._archive, self._first)) as pieces:
            more = b""
            while left:  # and not a piece further: a chunk that is whole arrives, whatever becomes of the next
                piece = next(pieces, b"")
                if not piece:
                    raise TransientError(f"The archive ended after {self._last - left} of {self._archive.size} bytes.")
                more = piece[left:]
                yield piece[:left]
                left -= min(left, len(piece))
            if self._last == self._archive.size:
                if more or next(pieces, b""):
                    raise TransientError(f"The archive is longer than the {self._last} bytes it was said to have.")
                self._progress.ensure()  # with the end of this body the file is there
        yield self._tail


def _pieces(archive: Archive, offset: int) -> Generator[bytes, None, None]:
    try:
        with archive.open(offset) as source:
            while piece := source.read(PIECE):
                yield piece
    except OSError as error:
        # requests would take it for an error of the network.
        raise TransientError(f"The archive cannot be read: {error.strerror or error}.") from error


def _link(api: _Api, told: dict[str, Any]) -> Link:
    until = str(told.get("expire_date") or "")
    url = urljoin(f"{api.base}/", str(told["link"]))
    return Link(url=f"{url}?dl=1", expires=datetime.fromisoformat(until) if until else None)


def _agree(there: datetime | None, asked: datetime | None) -> bool:
    if there is None or asked is None:
        return there is asked
    return abs(there - asked) < SAME
