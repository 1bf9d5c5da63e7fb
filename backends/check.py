"""Trying a storage backend out, as an operator does: a small file goes all the way, and nothing of it stays behind."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

import requests

from backends.contract import Backend, Json, Stored
from backends.errors import BackendError, PermanentError, unexpected
from backends.http import TIMEOUT

LINK_TIME = timedelta(days=1)
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a check.

    Args:
        name: what was tried: ``sign in``, ``store``, ``link``, ``fetch``, ``delete``.
        error: why it did not work; None: it did.
        text: what was found, in words.
    """

    name: str
    text: str
    error: BackendError | None = None

    @property
    def ok(self) -> bool:
        """True if it worked."""
        return self.error is None


def check(backend: Backend[Any], http: requests.Session, link_time: timedelta | None = LINK_TIME) -> Iterator[Step]:
    """Sign in, ask for room, store a small file, link it, fetch the link, and delete the file; a step at a time.

    After a step that does not work only the deletion is tried, so that nothing stays behind.

    Args:
        backend: the plugin's instance.
        http: fetches the link, as a recipient does.
        link_time: for how long the link is asked for, since services have limits of their own; None: for ever.
    """
    trial = _Trial(backend, http, link_time)
    try:
        for name, action in (
            ("sign in", trial.sign_in),
            ("store", trial.store),
            ("link", trial.link),
            ("fetch", trial.fetch),
        ):
            step = _tried(name, action)
            yield step
            if not step.ok:
                break
    except BaseException:  # Ctrl-C, say
        if trial.may_have_stored:
            _tried("delete", trial.delete)
        raise
    if trial.may_have_stored:
        yield _tried("delete", trial.delete)


def _tried(name: str, action: Callable[[], str]) -> Step:
    try:
        return Step(name, action())
    except BackendError as error:
        return Step(name, str(error), error)
    except Exception as error:  # noqa: BLE001 - a plugin of anybody's; whoever checks it is told, and nobody pages
        return Step(name, str(unexpected(error)), unexpected(error))


class _Trial:
    """The steps, each of which says what it found."""

    def __init__(self, backend: Backend[Any], http: requests.Session, link_time: timedelta | None) -> None:
        self._backend = backend
        self._http = http
        self._link_time = link_time
        self._sample = _Sample()
        self._stored = Stored(key=self._sample.key, size=self._sample.size)
        self._url = ""
        self.may_have_stored = False

    def sign_in(self) -> str:
        status = self._backend.check()
        return f"{status.account}; {_room(status.free_bytes)}"

    def store(self) -> str:
        self.may_have_stored = True
        self._stored = self._backend.store(self._sample, _NoProgress())
        return f"a file of {self._stored.size} bytes is there"

    def link(self) -> str:
        asked = datetime.now(UTC) + self._link_time if self._link_time else None
        link = self._backend.link(self._stored, asked)
        self._url = link.url
        if link.expires is None and asked is None:
            return "made, without end as asked for"
        if link.expires is None:
            return "made; the service does not let it end, the file is removed after its keep days"
        return f"made; it ends on {link.expires.astimezone(UTC):%d %B %Y, %H:%M} UTC"

    def fetch(self) -> str:
        if not self._url.startswith(("http://", "https://")):
            return "left out: the link is no web address"
        with self._http.get(self._url, timeout=TIMEOUT, stream=True) as answer:
            content = answer.raw.read(2 * self._sample.size, decode_content=True) if answer.ok else b""
        if not answer.ok:
            raise PermanentError(f"The link answers with status {answer.status_code}.", scope="backend")
        if content != self._sample.content:
            raise PermanentError("The link gives something else than the file.", scope="backend")
        return "the link gives the file"

    def delete(self) -> str:
        self._backend.delete(self._stored)
        return "the file and its link are gone"


def _room(free: int | None) -> str:
    if free is None:
        return "it does not say how much room is left"
    value, unit = float(free), 0
    while value >= 1024 and unit < len(UNITS) - 1:  # noqa: PLR2004 - IEC 80000-13
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {UNITS[unit]} free" if unit else f"{free} bytes free"


class _Sample:
    """A small archive (see `backends.contract.Archive`)."""

    name = "simcourier check.txt"

    def __init__(self) -> None:
        number = uuid.uuid4()
        self.key = f"{number}/1/{self.name}"
        self.content = f"SimCourier tried this storage backend out; this file can be deleted. {number}\n".encode()
        self.size = len(self.content)
        self.sha256 = hashlib.sha256(self.content).hexdigest()

    def wait(self, size: int, seconds: float) -> bool:
        del size, seconds
        return True

    def open(self, offset: int = 0) -> BinaryIO:
        """A reader from byte ``offset`` on."""
        return io.BytesIO(self.content[offset:])


class _NoProgress:
    """Nothing needs to be kept of a file that is sent in one go (see `backends.contract.Progress`)."""

    checkpoint: Json | None = None

    def save(self, checkpoint: Json, sent: int) -> None:
        """Forget it."""

    def ensure(self) -> None:
        """Nobody else stores this file."""
