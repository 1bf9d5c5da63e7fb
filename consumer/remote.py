"""Results on a service (S3, FTP, SFTP, HTTP, what else fsspec knows): where they may lie, and a snapshot of them.

Only below a URL prefix that the operator has set: a worker must not fetch what a stranger names (server-side request
forgery, CWE-918). Credentials come from fsspec's own configuration and that of its packages, never from a message.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

import fsspec
from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem
from fsspec.config import apply_config

from consumer.collect import MOST_FILES, meant, taken, too_many
from consumer.errors import NotNow, Undeliverable
from consumer.packing.names import member_name
from consumer.remote_errors import LOOK_AGAIN_SECONDS, in_words
from consumer.remote_files import RemoteFiles
from consumer.remote_listing import entries
from consumer.snapshot import Snapshot, SourceFile
from messaging.locations import Location, WrongLocation, is_url, parse

ANSWER_SECONDS = 60.0  # in which an HTTP server must send something
PACKAGES = {"smbclient": "smbprotocol"}  # where the module's name is not the package's
_NUMBERS = struct.Struct("<2Q")


def look_remotely(url: str, include: Sequence[str], exclude: Sequence[str], roots: Sequence[str]) -> Snapshot:
    """Take a snapshot of a folder on a service.

    Args:
        url: its location, from a message.
        include, exclude: patterns.
        roots: folders and URL prefixes that results may come from.

    Raises:
        Undeliverable: it is below no prefix, does not exist, may not be read, or holds no file that is meant.
        NotNow: this worker lacks a package or credentials.
        TransientError: the service is away.
    """
    location = allowed(url, roots)
    fs, path = connect(location)
    files = RemoteFiles(fs, location, lambda: connect(location)[0])

    def look(left_out: list[str]) -> Iterator[SourceFile]:
        # Anew, where there is one connection: a server gives it up that has been idle for as long as packing takes.
        speaking = fs if isinstance(fs, AsyncFileSystem) else connect(location)[0]
        for number, one in enumerate(entries(speaking, path, location, left_out)):
            if number >= MOST_FILES:
                raise Undeliverable(too_many(str(location)))
            if one.size is not None and meant(one.name, include, exclude):
                device, inode = _NUMBERS.unpack(one.version)
                yield SourceFile(member_name(one.name), one.place, one.size, one.mtime_ns, device, inode, files)

    return taken(path, look, shown=str(location), patterns=bool(include or exclude), service=files)


def allowed(url: str, roots: Sequence[str]) -> Location:
    """The location, after making sure that the operator has allowed it.

    Raises:
        Undeliverable: it is no address, or below no prefix.
    """
    try:
        location = parse(url)
    except WrongLocation as error:  # the address is not told: a password may stand in it
        raise Undeliverable(f"The results' location {error}.") from None
    if not any(location.is_below(parse(root)) for root in roots if is_url(root)):
        raise Undeliverable(f"The results' location {location} is below no address that results may come from.")
    return location


def connect(location: Location) -> tuple[AbstractFileSystem, str]:
    """A connection of its own, so that nothing cached outlives a delivery, and the folder as that names it.

    Raises:
        what `consumer.remote_errors.in_words` raises, and
        NotNow: a package is missing.
    """
    try:
        cls = fsspec.get_filesystem_class(location.scheme)
    except ValueError as error:
        raise Undeliverable(f"The results' location {location} names a protocol that no worker knows.") from error
    except ImportError as error:
        missing = _missing(error)
        raise NotNow(
            f"This worker cannot read {location.scheme}: addresses; it needs the package {missing}.", LOOK_AGAIN_SECONDS
        ) from error
    with in_words(location):
        fs, path = fsspec.core.url_to_fs(str(location), skip_instance_cache=True, **_options(cls))
    return fs, path.rstrip("/")


def _missing(error: ImportError) -> str:
    cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
    module = (cause.name or "that fsspec names for it").partition(".")[0]
    return PACKAGES.get(module, module)


def _options(cls: type[AbstractFileSystem]) -> dict[str, Any]:
    options: dict[str, Any] = {"use_listings_cache": False}
    if "http" not in cls.protocol:
        return options
    from aiohttp import ClientResponse, ClientResponseError, ClientTimeout

    async def refuse(response: ClientResponse) -> None:
        """A redirection may lead anywhere, into the operator's own network too."""
        if response.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise ClientResponseError(response.request_info, (), status=response.status)

    configured = apply_config(cls, {})
    waiting = ClientTimeout(total=None, sock_connect=ANSWER_SECONDS, sock_read=ANSWER_SECONDS)
    return options | {
        "simple_links": False,
        "allow_redirects": False,
        "headers": {**configured.get("headers", {}), "Accept-Encoding": "identity"},  # sizes are those of the files
        "client_kwargs": {"timeout": waiting, **configured.get("client_kwargs", {}), "raise_for_status": refuse},
    }
