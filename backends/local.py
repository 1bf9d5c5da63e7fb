"""SimCourier's own storage server, ``local-cloud``, by tus 1.0.0 (docs/local_cloud_api.md describes its API).

Any other server that speaks tus (https://tus.io) takes the archives as well, if the definition names its address; such
a server need not know of links, of their ends, or of room that is left.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Generator, Iterator
from contextlib import closing
from functools import cached_property, partial
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
from pydantic import AwareDatetime, BaseModel, ConfigDict, SecretStr, field_validator

from backends.contract import Archive, Backend, Json, Link, Progress, Status, Stored
from backends.errors import BackendError, PermanentError, TransientError
from backends.http import TIMEOUT, call, error_of

SERVICE = "The local cloud"
TUS = {"Tus-Resumable": "1.0.0"}
BODY = "application/offset+octet-stream"
PIECE = 1024 * 1024
NOTE_EVERY = 8 * PIECE
# Bytes of one request. What has arrived of one that broke off is kept by the server, so it may be large; that it ends
# at all is for proxies that end a request after an hour.
CHUNK = 16 * 1024 * PIECE
NEW_UPLOADS = 2
PAUSE_SECONDS = 10.0  # a request ends when nothing was packed for so long: servers and proxies keep it a minute at most
HOST = re.compile(r"[\w.:%-]+")
# Seconds. The first is also how long the server may take no bytes at all, as it does while a slow disk catches up; the
# second, how long it may take to make a large file durable before it answers.
UPLOAD_TIMEOUT = (60.0, 600.0)
GONE = {404, 410}


class Config(BaseModel):
    """Where the server is, and the key with which it accepts uploads."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    server: str
    key: SecretStr | None = None

    @field_validator("server")
    @classmethod
    def _address(cls, value: str) -> str:
        url = value.strip()
        if "://" not in url:
            url = f"http://{url}"
        url = url.rstrip("/")
        try:
            parts = urlsplit(url)
            known = parts.scheme in {"http", "https"} and bool(HOST.fullmatch(parts.hostname or "")) and parts.port != 0
            bare = not (parts.username or parts.password or parts.query or parts.fragment)
        except ValueError:
            known = bare = False
        if not (known and bare):
            raise ValueError("the server's address is expected, e.g. 10.10.160.10:8976 or https://files.example.org")
        return url

    @field_validator("key")
    @classmethod
    def _visible(cls, value: SecretStr | None) -> SecretStr | None:
        key = value.get_secret_value().strip() if value is not None else ""
        if not key.isprintable():
            raise ValueError("the key must be one line of visible characters")
        return SecretStr(key) if key else None


class Local(Backend[Config]):
    """Stores archives on a ``local-cloud`` server, or another one that speaks tus."""

    identifier = "local"
    Config = Config
    token_field = "server"  # noqa: S105 - the name of a field

    def check(self) -> Status:
        """Ask the server for its free space; a wrong key is told here already."""
        if not self._is_ours:
            return Status(account=f"tus server at {self.config.server}", free_bytes=None)
        (free,) = _told(self._api("GET", "status"), "free_bytes")
        return Status(account=f"local cloud at {self.config.server}", free_bytes=free)

    def store(self, archive: Archive, progress: Progress) -> Stored:
        """Go on with the upload of an earlier try, or begin one; the server shows the file when it is whole."""
        for _ in range(NEW_UPLOADS):
            upload = self._resumed(archive, progress) or self._begun(archive, progress)
            try:
                self._send(upload, archive, progress)
            except _Gone:  # its time was over, the server has lost it, or it is of another archive
                progress.save({}, 0)
                continue
            return self._confirmed(archive, upload, progress)
        raise TransientError(f"{self._service} has lost the upload.")

    def link(self, stored: Stored, expires: AwareDatetime | None) -> Link:
        """The file's one link, ending at ``expires``; of another server, the address of the upload."""
        url = stored.reference.get("upload")
        if url is None:
            asked = {"expires": expires.isoformat() if expires else None}
            url, ends = _told(self._api("POST", "links", params={"key": stored.key}, json=asked), "url", "expires")
            return Link(url=url, expires=ends)
        try:
            with self._ask("GET", str(url), stream=True):
                return Link(url=str(url), expires=None)
        except PermanentError as error:
            raise PermanentError(
                f"The tus server at {self.config.server} has stored the file and gives no link to it; use local-cloud, "
                "or a server that sends what was uploaded to whoever has its address.",
                scope="backend",
            ) from error

    def delete(self, stored: Stored) -> None:
        """Remove file and link."""
        url = stored.reference.get("upload")
        if url is None:
            self._api("DELETE", "files", params={"key": stored.key})
            return
        try:
            self._ask("DELETE", str(url))
        except _Gone:
            return
        except PermanentError as error:
            raise PermanentError(
                f"The tus server at {self.config.server} removes no files; remove {url} there.", scope="item"
            ) from error

    # Sending

    def _resumed(self, archive: Archive, progress: Progress) -> _Upload | None:
        """The upload of an earlier try, where it really stands; None: there is none."""
        kept = progress.checkpoint or {}
        url = kept.get("upload")
        if not url or not self._is_there(str(url)):
            return None
        try:
            answer = self._ask("HEAD", str(url))
        except _Gone:
            return None
        length = answer.headers.get("Upload-Length")
        upload = _Upload(str(url), _offset(answer), None if length is None else int(length))
        if upload.is_longer_than(archive) or not (self._is_ours or _is_of(archive, kept, upload.offset)):
            return None
        return upload

    def _begun(self, archive: Archive, progress: Progress) -> _Upload:
        size = archive.size
        told = {"key": archive.key, "filename": archive.name}
        if size is not None:
            told["sha256"] = archive.sha256
        headers = {
            "Upload-Metadata": ",".join(f"{name} {_base64(text)}" for name, text in told.items()),
            **({"Upload-Length": str(size)} if size is not None else {"Upload-Defer-Length": "1"}),
        }
        if size == 0:  # it is there as soon as it is begun
            with closing(_pieces(archive, 0)) as pieces:
                if next(pieces, b""):
                    raise TransientError("The archive is longer than the 0 bytes it was said to have.")
            progress.ensure()
        try:
            answer = self._ask("POST", self._collection, headers=headers)
        except _Gone as error:  # where uploads begin, and not an upload
            raise _NotOurs from error
        place = answer.headers.get("Location")
        if not place:
            raise PermanentError(f"{self._service} does not say where the upload is to go.", scope="backend")
        upload = _Upload(self._address(place), 0, size)
        progress.save(_note(upload.url, archive, 0), 0)
        return upload

    def _send(self, upload: _Upload, archive: Archive, progress: Progress) -> None:
        """Bring what is missing; an offset that is not ours is asked for, and not guessed."""
        while upload.length is None or upload.offset < upload.length:
            # With a length, requests announces it; without one, it sends chunks (RFC 9112, section 7.1).
            kind = _Body if upload.length is None else _SizedBody
            body = kind(archive, progress, upload)
            answer = self._patch(upload, body)
            upload.offset = _offset(answer)
            if upload.is_longer_than(archive):
                raise _Gone("What the upload holds is of another archive.")
            if upload.offset != upload.length:  # else it is all there, under the address that was saved
                progress.save(_note(upload.url, archive, upload.offset), upload.offset)
            if body.paused:
                while not archive.wait(upload.offset + PIECE, PAUSE_SECONDS):
                    pass
            elif upload.length is None:
                self._end(upload, archive, progress)

    def _end(self, upload: _Upload, archive: Archive, progress: Progress) -> None:
        """Say how long it is, when the archive has been read to its end; with that, the file is there."""
        sha256, size = archive.sha256, archive.size
        if upload.offset != size:
            raise TransientError(f"The archive ended after {upload.offset} of {size} bytes.")
        progress.ensure()
        self._patch(upload, b"", {"Upload-Length": str(size), "X-Content-SHA256": sha256})
        upload.length = size

    def _patch(self, upload: _Upload, body: Any, headers: dict[str, str] | None = None) -> requests.Response:
        given = {"Upload-Offset": str(upload.offset), "Content-Type": BODY, **(headers or {})}
        return self._ask("PATCH", upload.url, headers=given, data=body, timeout=UPLOAD_TIMEOUT)

    def _confirmed(self, archive: Archive, upload: _Upload, progress: Progress) -> Stored:
        """What the server says that it holds."""
        size = archive.size
        if size is None:  # all of it was there already, so it has not been read yet
            archive.sha256  # noqa: B018 - waits for the packing
            size = archive.size
        if not self._is_ours:
            if upload.length != size:
                progress.save({}, 0)
                raise TransientError(f"The tus server holds {upload.length} bytes, the archive has {size}.")
            return Stored(key=archive.key, size=upload.length or 0, reference={"upload": upload.url})
        held, sha256 = _told(self._api("GET", "files", params={"key": archive.key}), "size", "sha256")
        if (held, sha256) != (size, archive.sha256):
            progress.save({}, 0)  # else every later try would take this upload for its own
            raise TransientError("The local cloud holds other bytes than were sent.")
        return Stored(key=archive.key, size=held)

    # Asking

    @cached_property
    def _is_ours(self) -> bool:
        """Whether it is a ``local-cloud``; False: it is another server that speaks tus, at an address with a path."""
        if not urlsplit(self.config.server).path:
            return True
        try:
            _told(self._api("GET", "status"), "free_bytes")
        except _NotOurs:
            options = partial(
                self.http.options, self.config.server, headers=self._signed(self.config.server, {}), timeout=TIMEOUT
            )
            if "Tus-Version" in call("The server", options, lambda *_: _NotOurs()).headers:
                return False
            raise
        return True

    @property
    def _service(self) -> str:
        return SERVICE if self._is_ours else f"The tus server at {self.config.server}"

    @property
    def _collection(self) -> str:
        """Where uploads begin."""
        return f"{self.config.server}/files/" if self._is_ours else self.config.server

    def _address(self, place: str) -> str:
        """An upload's address as we reach the server, which may call itself otherwise (behind a proxy, say)."""
        if self._is_ours:
            return self._collection + place.rstrip("/").rpartition("/")[2]
        ours, parts = urlsplit(self.config.server), urlsplit(urljoin(self._collection, place))
        return urlunsplit((ours.scheme, ours.netloc, parts.path, parts.query, ""))

    def _is_there(self, url: str) -> bool:
        """Whether an address is one of the definition's server."""
        return urlsplit(url)[:2] == urlsplit(self.config.server)[:2]

    def _api(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Ask a local cloud what tus has no words for."""
        url = f"{self.config.server}/api/v1/{path}"
        return self._request(SERVICE, method, url, _error_of_ours, **arguments)

    def _ask(self, method: str, url: str, **arguments: Any) -> requests.Response:
        """Ask by tus."""
        headers = TUS | arguments.pop("headers", {})
        return self._request(self._service, method, url, _error_of_tus, headers=headers, **arguments)

    def _request(self, service: str, method: str, url: str, meaning: Any, **arguments: Any) -> requests.Response:
        headers = self._signed(url, arguments.pop("headers", {}))
        arguments.setdefault("timeout", TIMEOUT)
        send = partial(self.http.request, method, url, headers=headers, allow_redirects=False, **arguments)
        answer = call(service, send, meaning)
        if answer.status_code >= 300:  # noqa: PLR2004 - RFC 9110, section 15
            raise PermanentError(f"{self.config.server} redirects elsewhere; use that address.", scope="backend")
        return answer

    def _signed(self, url: str, headers: dict[str, Any]) -> dict[str, Any]:
        """The key is for the definition's server alone, whatever addresses an answer or a checkpoint names."""
        if self.config.key is None or not self._is_there(url):
            return dict(headers)
        return headers | {"Authorization": f"Bearer {self.config.key.get_secret_value()}".encode()}


class _Upload:
    """Where an upload stands.

    Args:
        url: its address.
        offset: bytes that the server holds.
        length: bytes that it will have; None: the server does not know yet.
    """

    def __init__(self, url: str, offset: int, length: int | None) -> None:
        self.url = url
        self.offset = offset
        self.length = length

    def is_longer_than(self, archive: Archive) -> bool:
        """Whether it holds more bytes than there are: an earlier try has packed others after those that were noted."""
        size = archive.size
        return size is not None and self.offset > size


class _NotOurs(PermanentError):
    """What answers is no local cloud."""

    def __init__(self) -> None:
        super().__init__("What answers there is no local cloud; is the address right?", scope="backend")


class _Gone(PermanentError):
    """There is no such upload any more, or none of this archive."""


def _note(url: str, archive: Archive, sent: int) -> dict[str, Any]:
    """The checkpoint."""
    return {"upload": url, "sent": sent, "sha256": archive.sha256 if archive.size is not None else ""}


def _is_of(archive: Archive, kept: Json, offset: int) -> bool:
    """Whether an upload holds bytes of this archive alone, which a server that knows no digest would never notice.

    Whoever calls a plugin has compared what was noted as sent; after that, the process that died may have sent others.
    """
    if kept.get("sha256") and archive.size is not None:
        return bool(kept["sha256"] == archive.sha256)
    return offset <= int(kept.get("sent", 0))


def _offset(answer: requests.Response) -> int:
    try:
        return int(answer.headers["Upload-Offset"])
    except (KeyError, ValueError) as error:
        raise TransientError("The server does not say how far the upload is.") from error


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _error_of_ours(service: str, answer: requests.Response) -> BackendError:
    """What the local cloud's codes mean, where the status does not say enough."""
    match _code(answer):
        case "incomplete" | "wrong_digest" | "cut" | "stalled":
            return TransientError(f"{service} did not receive the bytes as they were sent.")
        case "only_loopback":
            return PermanentError(
                f"{service} has no upload key, so it takes files from its own machine only; make one with 'local-cloud "
                'keys add\' and put it into the config ({"key": "..."}).',
                scope="backend",
            )
        case None if answer.status_code in {404, 405, 501}:
            return _NotOurs()
        case _:
            return error_of(service, answer)


def _error_of_tus(service: str, answer: requests.Response) -> BackendError:
    """What an answer to a request of the protocol means (section 6 of the protocol, and the habits of servers)."""
    code = answer.status_code
    if code in GONE:
        return _Gone("There is no such upload any more.")
    if code in {409, 423, 460}:
        return TransientError(f"{service} stands elsewhere with the upload ({code}).", 1.0)
    if code == 413:  # noqa: PLR2004
        return PermanentError(f"{service} takes no file as large (413).")
    return _error_of_ours(service, answer)


def _code(answer: requests.Response) -> str | None:
    try:
        return str(answer.json()["code"])
    except (ValueError, KeyError, TypeError):
        return None


def _told(answer: requests.Response, *fields: str) -> list[Any]:
    try:
        facts = answer.json()
        return [facts[field] for field in fields]
    except (ValueError, KeyError, TypeError) as error:
        raise _NotOurs from error


class _Body:
    """The archive's bytes from the upload's offset on, for one request.

    Where the request brings the last byte, this is held back until all is known to be well: the length is right, and
    the fence still holds. With it, the file is there.

    Attributes:
        paused: it ended because nothing more was packed for a while.
    """

    def __init__(self, archive: Archive, progress: Progress, upload: _Upload) -> None:
        self._archive = archive
        self._progress = progress
        self._upload = upload
        self._start = upload.offset
        length = upload.length
        self._stop = None if length is None else min(length, self._start + CHUNK)
        self.paused = False

    def __iter__(self) -> Iterator[bytes]:
        at = noted = self._start
        with closing(_pieces(self._archive, at)) as pieces:
            while self._goes_on(at) and (piece := next(pieces, b"")):
                if self._stop is not None and at + len(piece) >= self._stop:
                    yield self._last(piece, at, pieces)
                    return
                yield piece
                at += len(piece)
                if at - noted >= NOTE_EVERY:
                    noted = at
                    self._progress.save(_note(self._upload.url, self._archive, at), at)
        if self._stop is not None:
            raise TransientError(f"The archive ended after {at} of {self._upload.length} bytes.")

    def _goes_on(self, at: int) -> bool:
        self.paused = self._stop is None and not self._archive.wait(at + PIECE, PAUSE_SECONDS)
        return not self.paused

    def _last(self, piece: bytes, at: int, pieces: Iterator[bytes]) -> bytes:
        """What is left of a piece in which the request ends."""
        assert self._stop is not None
        keep = self._stop - at
        if self._stop == self._upload.length:
            if len(piece) > keep or next(pieces, b""):
                raise TransientError(f"The archive is longer than the {self._stop} bytes it was said to have.")
            self._progress.ensure()
        return piece[:keep]


class _SizedBody(_Body):
    def __len__(self) -> int:
        assert self._stop is not None
        return self._stop - self._start


def _pieces(archive: Archive, offset: int) -> Generator[bytes, None, None]:
    try:
        with archive.open(offset) as source:
            while piece := source.read(PIECE):
                yield piece
    except OSError as error:
        # requests would take it for an error of the network.
        raise TransientError(f"The archive cannot be read: {error.strerror or error}.") from error
