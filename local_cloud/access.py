"""Who may do what: by an upload key, or by where a request comes from.

- Whoever presents a valid key acts as its name, and sees only what was stored with it.
- Without any key at all, this machine may upload, and so may the networks that are trusted by name.
- With keys, only those networks may go on without one.
- Who comes without a key acts as `DEFAULT`, as does the key of the settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from aiohttp import hdrs, web

from local_cloud.clients import LOOPBACK, Client, Clients, Network, within
from local_cloud.errors import Problem, Refusal
from local_cloud.keys import DEFAULT, Keys, Unreadable

log = structlog.get_logger()

CLIENT = web.RequestKey("client", Client)


@dataclass(frozen=True, slots=True)
class Uploader:
    """Who stores files, and how much.

    Args:
        name: owner of what is stored.
        max_bytes: of the largest file; None: as the server allows.
        quota_bytes: that its files may have together; None: as the server allows.
        bytes_per_second: of its uploads together; None: as fast as they come.
    """

    name: str
    max_bytes: int | None = None
    quota_bytes: int | None = None
    bytes_per_second: int | None = None


class Access:
    """Decides who a request comes from.

    Args:
        keys: those that are valid.
        trusted: networks that need no key.
        clients: tells the client's address.
    """

    def __init__(self, keys: Keys, trusted: Sequence[Network] = (), clients: Clients | None = None) -> None:
        self._keys = keys
        self._trusted = tuple(trusted)
        self._clients = clients or Clients()

    @property
    def told(self) -> str:
        """One sentence on who may upload."""
        networks = ", ".join(map(str, self._trusted))
        if self._keys:
            return "Uploads need a key" + (f", but not from {networks}." if networks else ".")
        more = f" and from {networks}" if networks else ""
        return f"There is no upload key: uploads come from this machine{more} only."

    def seen(self, request: web.Request) -> web.Request:
        """The request with its client's address, scheme and host, where a proxy stands between."""
        client = self._clients.of(request)
        scheme, host = client.scheme or request.scheme, client.host or request.host
        seen = request.clone(remote=client.address, scheme=scheme, host=host)
        seen[CLIENT] = client
        return seen

    def uploader(self, request: web.Request) -> Uploader:
        """Who wants to store something, or to do something with what is stored.

        Raises:
            Refusal: nobody who may.
        """
        self._refresh()
        if not self._keys:
            if not self._is_near(request, (*LOOPBACK, *self._trusted)):
                raise Refusal(Problem.ONLY_LOOPBACK, self._refused(request))
            return Uploader(DEFAULT)
        if hdrs.AUTHORIZATION not in request.headers and self._is_near(request, self._trusted):
            return Uploader(DEFAULT)
        return self._by_key(request)

    def watch(self, request: web.Request) -> None:
        """Let whoever asks look at the server's state.

        Raises:
            Refusal: neither has it a key nor does it come from near.
        """
        if not self._is_near(request, (*LOOPBACK, *self._trusted)):
            self._refresh()
            self._by_key(request)

    def _by_key(self, request: web.Request) -> Uploader:
        kind, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        key = self._keys.find(given.strip()) if kind.lower() == "bearer" else None
        if key is None:
            raise Refusal(Problem.NO_KEY)
        return Uploader(key.name, key.max_file, key.quota, key.rate)

    def _refresh(self) -> None:
        try:
            if self._keys.refresh():
                log.info("keys.changed", keys=self._keys.names, told=self.told)
        except Unreadable as error:
            log.error("keys.unreadable", told=str(error))
            raise Refusal(Problem.NO_KEYS) from error

    def _is_near(self, request: web.Request, networks: Sequence[Network]) -> bool:
        """A browser names the origin of the page that asks: any page could ask in the name of who looks at it."""
        client = request[CLIENT]
        return client.known is not None and within(client.known, networks) and hdrs.ORIGIN not in request.headers

    def _refused(self, request: web.Request) -> str:
        client = request[CLIENT]
        if client.known is None:
            return "This server has no upload key, so it takes nothing through a proxy; add a key."
        if hdrs.ORIGIN in request.headers:
            return "This server has no upload key, so it takes nothing from pages in a browser; add a key."
        return "" if not self._trusted else "This server has no upload key, and does not trust your network."
