"""SimCourier's own storage server, ``local-cloud`` (docs/local_cloud_api.md describes its API)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import requests
from pydantic import AwareDatetime, BaseModel, ConfigDict, SecretStr, field_validator

from backends.contract import Archive, Backend, Link, Progress, Status, Stored
from backends.errors import BackendError, PermanentError, TransientError
from backends.http import TIMEOUT, call, error_of

SERVICE = "The local cloud"
CHUNK = 1024 * 1024
HOST = re.compile(r"[\w.:%-]+")
# Seconds. The first is also how long the server may take no bytes at all, as it does while a slow disk catches up; the
# second, how long it may take to make a large file durable before it answers.
UPLOAD_TIMEOUT = (60.0, 600.0)


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
    """Stores archives on a ``local-cloud`` server."""

    identifier = "local"
    Config = Config
    token_field = "server"  # noqa: S105 - the name of a field

    def check(self) -> Status:
        """Ask the server for its free space; a wrong key is told here already."""
        (free,) = _told(self._call("GET", "status"), "free_bytes")
        return Status(account=f"local cloud at {self.config.server}", free_bytes=free)

    def store(self, archive: Archive, progress: Progress) -> Stored:
        """Send it in one request; the server shows the file when all bytes are there and durable."""
        # requests takes a body of length 0 for none, and would not ask for its pieces.
        body = _SizedBody(archive, progress) if archive.size else _Body(archive, progress)
        headers = {"Content-Type": "application/octet-stream"}
        params = {"key": archive.key, "name": archive.name}
        answer = self._call("PUT", "files", params=params, data=body, headers=headers, timeout=UPLOAD_TIMEOUT)
        size, sha256 = _told(answer, "size", "sha256")
        if (size, sha256) != (body.sent, archive.sha256):
            raise TransientError("The local cloud holds other bytes than were sent.")
        return Stored(key=archive.key, size=size)

    def link(self, stored: Stored, expires: AwareDatetime | None) -> Link:
        """The file's one link, ending at ``expires``."""
        asked = {"expires": expires.isoformat() if expires else None}
        url, ends = _told(self._call("POST", "links", params={"key": stored.key}, json=asked), "url", "expires")
        return Link(url=url, expires=ends)

    def delete(self, stored: Stored) -> None:
        """Remove file and link."""
        self._call("DELETE", "files", params={"key": stored.key})

    def _call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        headers: dict[str, str | bytes] = dict(arguments.pop("headers", {}))
        if self.config.key is not None:
            headers["Authorization"] = f"Bearer {self.config.key.get_secret_value()}".encode()
        url = f"{self.config.server}/api/v1/{path}"
        arguments.setdefault("timeout", TIMEOUT)
        send = partial(self.http.request, method, url, headers=headers, allow_redirects=False, **arguments)
        answer = call(SERVICE, send, _error_of)
        if answer.status_code >= 300:  # noqa: PLR2004 - RFC 9110, section 15
            raise PermanentError(f"{self.config.server} redirects elsewhere; use that address.", scope="backend")
        return answer


def _error_of(service: str, answer: requests.Response) -> BackendError:
    """What the server's codes mean, where the status does not say enough."""
    try:
        code = answer.json()["code"]
    except (ValueError, KeyError, TypeError):
        code = None
    match code:
        case "incomplete" | "wrong_digest":
            return TransientError(f"{service} did not receive the bytes as they were sent.")
        case "only_loopback":
            return PermanentError(
                f"{service} has no upload key, so it takes files from its own machine only; start it with --key-file "
                'and put that key into the config ({"key": "..."}).',
                scope="backend",
            )
        case None if answer.status_code in {404, 405, 501}:
            return PermanentError("What answers there is no local cloud; is the address right?", scope="backend")
        case _:
            return error_of(service, answer)


def _told(answer: requests.Response, *fields: str) -> list[Any]:
    try:
        facts = answer.json()
        return [facts[field] for field in fields]
    except (ValueError, KeyError, TypeError) as error:
        raise PermanentError("What answers there is no local cloud; is the address right?", scope="backend") from error


class _Body:
    """The archive as pieces; the last one is handed over only after all is known to be well.

    The server commits when it has the whole body, so that is the moment right before committing: the length and the
    digest are right, and the fence still holds.
    """

    def __init__(self, archive: Archive, progress: Progress) -> None:
        self._archive = archive
        self._progress = progress
        self.sent = 0

    def __iter__(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        announced = self._archive.size
        with closing(_pieces(self._archive)) as pieces:
            held = next(pieces, b"")
            for piece in pieces:
                if announced is not None and self.sent + len(held) >= announced:
                    raise TransientError(f"The archive is longer than the {announced} bytes it was said to have.")
                digest.update(held)
                yield held
                self.sent += len(held)
                self._progress.save({"sent": self.sent}, self.sent)
                held = piece
        digest.update(held)
        size = self._archive.size
        if size is not None and self.sent + len(held) != size:
            raise TransientError(f"The archive ended after {self.sent + len(held)} of {size} bytes.")
        if digest.hexdigest() != self._archive.sha256:
            raise TransientError("The archive's bytes are not those of its digest.")
        self._progress.save({"sent": self.sent}, self.sent)
        self._progress.ensure()
        if held:
            yield held
        self.sent += len(held)


class _SizedBody(_Body):
    """With a length, requests announces it; without one, it sends chunks (RFC 9112, section 7.1)."""

    def __len__(self) -> int:
        return self._archive.size or 0


def _pieces(archive: Archive) -> Generator[bytes, None, None]:
    try:
        with archive.open() as source:
            while piece := source.read(CHUNK):
                yield piece
    except OSError as error:
        # requests would take it for an error of the network.
        raise TransientError(f"The archive cannot be read: {error.strerror or error}.") from error
