"""Who is asking: the client's own address, also behind a proxy, and whether an address is one of a network's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import web

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")
"""What a proxy adds to the requests of others."""
HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
NOBODY = "unknown"


@dataclass(frozen=True, slots=True)
class Client:
    """Who a request comes from.

    Args:
        address: for logs and for counting guesses.
        known: the address as a number; None where somebody passed the request on and nothing reliable says for whom,
            so that trust in an address means nothing.
        scheme, host: how the client addressed us, where a proxy told it.
    """

    address: str
    known: Address | None
    scheme: str | None = None
    host: str | None = None


class Clients:
    """Tells clients from proxies.

    Args:
        proxies: networks of proxies whose X-Forwarded-... headers are believed; none: these headers are ignored.
    """

    def __init__(self, proxies: Sequence[Network] = ()) -> None:
        self._proxies = tuple(proxies)

    def of(self, request: web.BaseRequest) -> Client:
        """The client of a request as it came from the network."""
        peer = _peer(request)
        if peer is None:
            return Client(NOBODY, None)
        forwarded = any(name in request.headers for name in FORWARDED)
        if not self._proxies or not within(peer, self._proxies):
            return Client(str(peer), None if forwarded else peer)
        hops = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
        known = self._beyond(hops)
        # A proxy that does not tell for whom it asks would make everybody look like itself.
        return Client(
            str(known or (peer if hops == [""] else NOBODY)), known, _last_scheme(request), _last_host(request)
        )

    def _beyond(self, hops: list[str]) -> Address | None:
        """The last address that is no proxy of ours: what stands before it, anybody can have written."""
        for hop in reversed(hops):
            address = _parsed(hop)
            if address is None or not within(address, self._proxies):
                return address
        return _parsed(hops[0])


def within(address: Address, networks: Sequence[Network]) -> bool:
    """True if one of the networks has the address."""
    return any(address in network for network in networks)


def household(address: str) -> str:
    """What counts as one client when guesses are counted: whoever has an IPv6 address has 2**64 of them."""
    known = _parsed(address)
    return str(ip_network((known, 64), strict=False)) if isinstance(known, IPv6Address) else address


def _peer(request: web.BaseRequest) -> Address | None:
    name = request.transport.get_extra_info("peername") if request.transport else None
    return _parsed(str(name[0])) if name else None


def _parsed(text: str) -> Address | None:
    """An address as proxies write it: perhaps with a port, IPv6 perhaps in brackets."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _last(request: web.BaseRequest, name: str) -> str:
    return ",".join(request.headers.getall(name, [])).rpartition(",")[2].strip()


def _last_scheme(request: web.BaseRequest) -> str | None:
    scheme = _last(request, "X-Forwarded-Proto").lower()
    return scheme if scheme in {"http", "https"} else None


def _last_host(request: web.BaseRequest) -> str | None:
    host = _last(request, "X-Forwarded-Host")
    return host if HOST.fullmatch(host) else None
