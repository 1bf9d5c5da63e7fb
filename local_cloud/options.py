"""What the command line takes: sizes, rates, networks, names, addresses. Each function raises `click.BadParameter`."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from urllib.parse import urlsplit

import click

from local_cloud.clients import Network
from local_cloud.keys import NAME
from local_cloud.sizes import parse


def size(value: str) -> int:
    """Bytes, written like 10GiB."""
    try:
        return parse(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from error


def rate(value: str) -> int:
    """Bytes per second, written like 20MB/s."""
    count, per, unit = value.partition("/")
    try:
        told = parse(count)
    except ValueError:
        told = 0
    if told <= 0 or (per and unit.strip() != "s"):
        raise click.BadParameter(f"{value!r} is no rate; a size per second is expected, e.g. 20MB/s.")
    return told


def networks(value: str) -> tuple[Network, ...]:
    """A network, or several with commas between them."""
    try:
        return tuple(ip_network(one.strip()) for one in value.split(",") if one.strip())
    except ValueError as error:
        names_host = "has host bits set" in str(error)
        told = "names a host, not a network" if names_host else "is no network"
        raise click.BadParameter(f"{value!r} {told}; e.g. 10.10.160.0/24 is expected.") from error


def joined(several: Sequence[tuple[Network, ...]]) -> tuple[Network, ...]:
    """Those of an option that was given several times."""
    return tuple(one for some in several for one in some)


def key_name(value: str) -> str:
    """The name of an upload key."""
    if not NAME.fullmatch(value):
        told = "at most 64 letters, digits, dots, hyphens and underscores are expected, a letter or digit first"
        raise click.BadParameter(f"{value!r} is no name for a key; {told}.")
    return value


def web_address(value: str) -> str:
    """An address of this server's; empty: none."""
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    if value and not (parts.scheme in {"http", "https"} and parts.netloc):
        raise click.BadParameter("an address with http:// or https:// is expected, e.g. https://files.example.org")
    return value
