"""SimCourier's own storage server, ``local-cloud`` (docs/local_cloud_api.md describes its API)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import requests
from pydantic import AwareDatetime, BaseModel, ConfigDict, SecretStr, field_validator

from backends.contract import Archive, Backend, Link, Progress, Status, Stored
from backends.errors import TransientError
from backends.http import TIMEOUT, call

SERVICE = "The local cloud"
CHUNK = 1024 * 1024


class Config(BaseModel):
    """Where the server is, and the key with which it accepts uploads."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    server: str
    key: SecretStr | None = None

    @field_validator("server")
    @classmethod
    def _address(cls, value: str) -> str:
        url = value.strip().rstrip("/")
        if "://" not in url:
            url = f"http://{url}"
        try:
            parts = urlsplit(url)
            known = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            known = False
        if not known:
            raise ValueError("the server's address is expected, e.g. 10.10.160.10:8976 or https://files.example.org")
        return url


class Local(Backend[Config]):
    """Stores archives on a ``local-cloud`` server."""

    identifier = "local"
    Config = Config
    token_field = "server"  # noqa: S105 - the name of a field

    def check(self) -> Status:
        """Ask the server for its free space; a wrong key is told here already."""
        answer = self._call("GET", "status").json()
        return Status(account=f"local cloud at {self.config.server}", free_bytes=answer["free_bytes"])

    def store(self, archive: Archive, progress: Progress) -> Stored:
        """Send it in one request; the server shows the file when all bytes are durable and the digest is right."""
        body = _Body(archive, progress) if archive.size is None else _SizedBody(archive, progress)
        headers = {"Content-Type": "application/octet-stream"}
        params = {"key": archive.key, "name": archive.name}
        answer = self._call("PUT", "files", params=params, data=body, headers=headers).json()
        if (answer["size"], answer["sha256"]) != (body.sent, archive.sha256):
            raise TransientError("The local cloud holds other bytes than were sent.")
        return Stored(key=archive.key, size=answer["size"])

    def link(self, stored: Stored, expires: AwareDatetime | None) -> Link:
        """The file's one link, ending at ``expires``."""
        asked = {"expires": expires.isoformat() if expires else None}
        answer = self._call("POST", "links", params={"key": stored.key}, json=asked).json()
        return Link(url=answer["url"], expires=answer["expires"])

    def delete(self, stored: Stored) -> None:
        """Remove file and link."""
        self._call("DELETE", "files", params={"key": stored.key})

    def _call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        headers = dict(arguments.pop("headers", {}))
        if self.config.key is not None:
            headers["Authorization"] = f"Bearer {self.config.key.get_secret_value()}"
        url = f"{self.config.server}/api/v1/{path}"
        send = partial(self.http.request, method, url, headers=headers, timeout=TIMEOUT, **arguments)
        return call(SERVICE, partial(send, allow_redirects=False))


class _Body:
    """The archive as pieces; the last one is handed over only after the fence was looked at once more.

    The server commits when it has the whole body, so that is the moment right before committing.
    """

    def __init__(self, archive: Archive, progress: Progress) -> None:
        self._archive = archive
        self._progress = progress
        self.sent = 0

    def __iter__(self) -> Iterator[bytes]:
        with self._archive.open() as source:
            held = source.read(CHUNK)
            while piece := source.read(CHUNK):
                yield held
                self.sent += len(held)
                self._progress.save({"sent": self.sent}, self.sent)
                held = piece
        size = self._archive.size
        if size is not None and self.sent + len(held) != size:
            raise TransientError(f"The archive ended after {self.sent + len(held)} of {size} bytes.")
        self._progress.save({"sent": self.sent}, self.sent)
        self._progress.ensure()
        if held:
            yield held
        self.sent += len(held)


class _SizedBody(_Body):
    """With a length, requests announces it; without one, it sends chunks (RFC 9112, section 7.1)."""

    def __len__(self) -> int:
        return self._archive.size or 0
