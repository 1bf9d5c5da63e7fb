"""What a service's failure means: whatever library speaks to it, in our words and without its secrets."""

from __future__ import annotations

import errno
import ftplib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto

from backends.errors import TransientError
from consumer.errors import NotNow, Undeliverable
from messaging.locations import Location

LOOK_AGAIN_SECONDS = 300.0
REDIRECTS = range(300, 400)
NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound")
DENIED_BY_NAME = ("AuthenticationException", "BadAuthenticationType", "ClientAuthenticationError")
FTP_NOT_LOGGED_IN = ("530", "532")
FTP_UNAVAILABLE = "550"


class Kind(Enum):
    """What can be done about a failure."""

    MISSING = auto()
    DENIED = auto()
    NO_CREDENTIALS = auto()
    REDIRECTED = auto()
    PASSING = auto()


@contextmanager
def in_words(location: Location, what: str = "") -> Iterator[None]:
    """Tell failures of the service that holds ``location`` as ours.

    Args:
        what: the part that is asked for, ``The file NAME``; else it is the folder itself.

    Raises:
        Undeliverable: it is not there, or this worker may not read it.
        NotNow: this worker knows no credentials.
        TransientError: anything that may pass.
    """
    try:
        yield
    except Exception as error:
        found = kind(error)
        if found is None:
            raise
        raise _told(found, error, location, what) from error


def kind(error: BaseException) -> Kind | None:
    """What an exception means; None: that something here is wrong, not the service."""
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    # Libraries say "not found" of much that is not: what the line or the server said, behind it, is the truth.
    for one in reversed(chain):
        if (found := _told_by_server(one)) is not None:
            return found
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return Kind.MISSING
    if isinstance(error, OSError):
        denied = isinstance(error, PermissionError) or error.errno in {errno.EACCES, errno.EPERM}
        return Kind.DENIED if denied else Kind.PASSING
    return None if type(error).__module__ == "builtins" and not isinstance(error, EOFError) else Kind.PASSING


def _told_by_server(error: BaseException) -> Kind | None:
    name, library = type(error).__name__, type(error).__module__.partition(".")[0]
    if name in NO_CREDENTIALS:
        return Kind.NO_CREDENTIALS
    if name in DENIED_BY_NAME:
        return Kind.DENIED
    if isinstance(status := getattr(error, "status", None), int):
        return _of_status(status)
    if isinstance(error, ftplib.error_perm):
        code = str(error)[:3]
        return Kind.DENIED if code in FTP_NOT_LOGGED_IN else Kind.MISSING if code == FTP_UNAVAILABLE else Kind.PASSING
    if isinstance(error, ftplib.Error | ConnectionError | TimeoutError) or library == "aiohttp":
        return Kind.PASSING
    return None


def _of_status(status: int) -> Kind:
    if status in REDIRECTS:
        return Kind.REDIRECTED
    return {401: Kind.DENIED, 403: Kind.DENIED, 404: Kind.MISSING, 410: Kind.MISSING}.get(status, Kind.PASSING)


def _told(found: Kind, error: Exception, location: Location, what: str) -> Exception:
    where = f"{what} of {location}" if what else f"The results folder {location}"
    match found:
        case Kind.MISSING:
            return Undeliverable(f"{where} does not exist.")
        case Kind.DENIED:
            return Undeliverable(f"{where} may not be read by the worker: {location.service} denies it.")
        case Kind.REDIRECTED:
            return Undeliverable(f"{where} lies elsewhere, says {location.service}; redirections are not followed.")
        case Kind.NO_CREDENTIALS:
            return NotNow(f"This worker has no credentials for {location.service}.", LOOK_AGAIN_SECONDS)
        case Kind.PASSING:
            return TransientError(f"{location.service} cannot be read at present ({type(error).__name__}).")
