"""What the Dropbox SDK's exceptions mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import requests
from dropbox.exceptions import (
    ApiError,
    AuthError,
    BadInputError,
    DropboxException,
    HttpError,
    InternalServerError,
    PathRootError,
    RateLimitError,
)
from dropbox.stone_validators import ValidationError

from backends.errors import BackendError, PermanentError, TransientError
from backends.http import TRY_AGAIN

# What Dropbox means by 429 without saying how long, as its SDK has it.
WAIT = 5.0
# A plain 400 is told apart by its text alone: these are about the app, whatever is stored.
ABOUT_THE_APP = ("unauthorized_client", "client_id", "required scope", "app key", "Your app")


class Absent(PermanentError):
    """There is nothing under this path or link."""


class Misplaced(TransientError):
    """An upload session has another length than was thought."""

    def __init__(self, correct_offset: int) -> None:
        super().__init__("Dropbox has not received the parts of the archive as they were sent.")
        self.correct_offset = correct_offset


class SessionGone(TransientError):
    """An upload session has ended: it is too old, or was finished."""


class LinkExists(TransientError):
    """A link cannot be made because there is one."""


class NotAuthorized(PermanentError):
    """The account's plan, or its team, does not allow such a link."""


# What the SDK raises: on purpose, from below, and where an answer is not what it expects.
FAILURES = (
    DropboxException, requests.RequestException, ValidationError, ValueError, KeyError, AssertionError, AttributeError,
    TypeError,
)  # fmt: skip

# The innermost tag of an ApiError, where that says enough.
FULL = {"insufficient_space", "team_folder_insufficient_space", "member_folder_insufficient_space"}
LATER = {
    "too_many_write_operations": "Dropbox asks us to wait: too much is written to this account at once.",
    "upload_traffic_limit_reached": "Dropbox takes no more uploads into this account today.",
    "content_hash_mismatch": "Dropbox did not receive the bytes as they were sent.",
    "reset": "Dropbox lost count while listing.",
    "internal_error": "Dropbox has failed.",
    "other": "Dropbox refused for a reason that this version of its SDK does not know.",
}
FOR_THE_ARCHIVE = {
    "malformed_path", "disallowed_name", "conflict", "file", "folder", "file_ancestor", "not_file", "not_folder",
    "too_large", "payload_too_large", "restricted_content", "unsupported_content_type", "invalid_settings",
    "properties_error", "too_many_files",
}  # fmt: skip


def error_of(error: Exception, secrets: Sequence[str] = ()) -> BackendError:
    """What an exception of the SDK or of requests means; ``secrets`` are kept out of the sentence."""
    match error:
        case ApiError():
            return _refusal(error)
        case HttpError():
            return _answer(error, secrets)
        case requests.exceptions.SSLError():
            return TransientError("Dropbox's certificate is not accepted here; is REQUESTS_CA_BUNDLE right?")
        case requests.Timeout():
            return TransientError("Dropbox did not answer in time.")
        case requests.exceptions.ChunkedEncodingError():
            return TransientError("Dropbox broke off in the middle of its answer.")
        case requests.ConnectionError():
            return TransientError("Dropbox cannot be reached.")
        case _:
            return TransientError(
                "Dropbox's answer cannot be read: a proxy's page, or more than this version of its SDK knows."
            )


def _answer(error: Any, secrets: Sequence[str]) -> BackendError:
    """What a status means that says enough."""
    told = f"Dropbox answered {error.status_code}{_id(error)}"
    match error:
        case RateLimitError():
            return TransientError("Dropbox asks us to wait.", WAIT if error.backoff is None else float(error.backoff))
        case AuthError():
            return PermanentError(_auth(error), scope="backend")
        case InternalServerError():
            return TransientError(f"{told}.", getattr(error, "backoff", None))
        case PathRootError():
            return PermanentError("The Dropbox account's root folder has changed; authorize again.", scope="backend")
        case BadInputError() if "invalid_client" in str(error.message):
            return PermanentError("Dropbox says that app key and app secret are not those of one app.", scope="backend")
        case BadInputError():
            text = str(error.message)
            about_the_app = any(phrase in text for phrase in ABOUT_THE_APP)
            return PermanentError(f"{told}: {_without(secrets, text)}", scope="backend" if about_the_app else "item")
        case _:
            return TransientError(f"{told}.") if error.status_code in TRY_AGAIN else PermanentError(f"{told}.")


def _refusal(error: Any) -> BackendError:
    """What a union says, whose innermost tag counts nearly always."""
    tags, value = _tags(error.error)
    match tags:
        case [*_, "incorrect_offset"]:
            return Misplaced(value.correct_offset)
        case ["path" | "path_lookup", "not_found"] | ["shared_link_not_found"]:
            return Absent("There is no such file or link at Dropbox.")
        case [*_, "not_found" | "closed" | "not_closed"]:
            return SessionGone("Dropbox no longer knows the upload; it begins anew.")
        case ["shared_link_already_exists", *_]:
            return LinkExists("Dropbox says that a link exists, and does not name it.")
        case [*_, "not_authorized"]:
            return NotAuthorized("The plan or the team of the Dropbox account allows no such link.", scope="backend")
        case [*_, last] if last in FULL:
            return PermanentError("The Dropbox account has no room left.", scope="backend")
        case [*_, last] if last in LATER:
            return TransientError(LATER[last])
        case _:
            text = f"Dropbox refused{_id(error)}: {'/'.join(tags)}."
            return PermanentError(text, scope="item" if FOR_THE_ARCHIVE.intersection(tags) else "backend")


def _auth(error: Any) -> str:
    tags, value = _tags(error.error)
    match tags:
        case ["missing_scope"]:
            return (
                f"The Dropbox app lacks the permission {value.required_scope}: switch it on in the app console, "
                "and authorize again with dropbox-authorize."
            )
        case ["user_suspended"]:
            return "The Dropbox account is suspended."
        case _:
            return (
                f"Dropbox does not accept the credentials ({'/'.join(tags)}): the refresh token was revoked or is "
                "another app's; authorize again with dropbox-authorize."
            )


def _tags(union: Any) -> tuple[list[str], Any]:
    """The tags from the outermost in, and what the last one holds."""
    tags: list[str] = []
    while tag := getattr(union, "_tag", None):
        tags.append(str(tag))
        value = union._value  # noqa: SLF001 - the SDK says it there only
        union = getattr(value, "reason", value)
    return tags, union


def _id(error: Any) -> str:
    """Dropbox's own number of the request, by which its support finds it."""
    return f" (request {error.request_id})" if error.request_id else ""


def _without(secrets: Sequence[str], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return " ".join(text.split())[:300]
