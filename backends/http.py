"""What a storage service's HTTP answers mean, unless its plugin knows better."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import requests
from requests.exceptions import ChunkedEncodingError, ContentDecodingError

from backends.errors import BackendError, PermanentError, TransientError

# Seconds to connect, and between two pieces of an answer.
TIMEOUT = (10.0, 60.0)
TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
NOT_ALLOWED = {401, 403}
FULL = 507

Meaning = Callable[[str, requests.Response], BackendError]


def session() -> requests.Session:
    """A session that sends credentials only where a plugin says so, never from a ``.netrc``."""
    http = requests.Session()
    http.auth = _no_auth
    return http


def call(service: str, request: Callable[[], requests.Response], meaning: Meaning | None = None) -> requests.Response:
    """Make a request; an answer below 400 is returned.

    Args:
        service: its name, for the error's sentence.
        request: sends it, with a timeout.
        meaning: the plugin's own `error_of`, where the service means something else by its answers.

    Raises:
        TransientError, PermanentError: by ``meaning`` or `error_of`, or because there was no answer.
    """
    try:
        answer = request()
    except requests.Timeout as error:
        raise TransientError(f"{service} did not answer in time.") from error
    except requests.exceptions.SSLError as error:
        raise TransientError(
            f"{service} shows a certificate that is not trusted here: renew it, or name the file of its authority in "
            "REQUESTS_CA_BUNDLE."
        ) from error
    except requests.ConnectionError as error:
        raise _cause(error) or TransientError(f"{service} cannot be reached.") from error
    except (ChunkedEncodingError, ContentDecodingError) as error:
        raise TransientError(f"{service} broke off in the middle of its answer.") from error
    if answer.status_code >= 400:  # noqa: PLR2004 - RFC 9110, section 15
        raise (meaning or error_of)(service, answer)
    return answer


def error_of(service: str, answer: requests.Response) -> BackendError:
    """The error that an answer of 400 or above stands for (RFC 9110, section 15)."""
    code = answer.status_code
    told = f"{service} answered {code}{_sentence(answer)}"
    if code in TRY_AGAIN:
        return TransientError(told, retry_after(answer))
    if code in NOT_ALLOWED:
        return PermanentError(f"{service} does not accept the credentials ({code}).", scope="backend")
    if code == FULL:
        return PermanentError(f"{service} has no room left.", scope="backend")
    return PermanentError(told)


def retry_after(answer: requests.Response) -> float | None:
    """Seconds that the service asked us to wait (RFC 9110, section 10.2.3: seconds or a date)."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (until - datetime.now(UTC)).total_seconds()) if until.tzinfo else None


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _cause(error: BaseException) -> BackendError | None:
    """What our own reader raised while the body was being sent, which requests wraps."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, BackendError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _sentence(answer: requests.Response) -> str:
    try:
        text = str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return "."
    return f": {text[:300]}"
