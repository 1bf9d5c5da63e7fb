"""What Seafile's answers mean: the two servers behind one address are told apart by status codes alone."""

from __future__ import annotations

from datetime import datetime

import requests

from backends.errors import BackendError, PermanentError, TransientError
from backends.http import error_of as general_error_of

SERVICE = "Seafile"
CHUNK = 8 * 1024 * 1024

# The two servers mean different things by 403, 440 and 441. First what concerns the definition, then the one archive.
OF_THE_WEB_API = {
    401: "does not accept the token",
    403: "does not allow this to the token",
    404: "does not know the library",
    440: "wants the password of the library: it is encrypted. Take another one",
    441: "cannot open the library",
    443: "has no room left for the owner of the library",
    447: "says that the library holds too many files",
}
OF_THE_FILE_SERVER = {
    403: "does not take uploads at the address that it hands out for them",
    443: "has no room left for the owner of the library",
    444: "says that the library was deleted",
    445: "says that the library is damaged",
}
# No request of ours is larger than a chunk, unless it is made with a library's own token.
OF_THE_PROXY = {413: f"stands behind a proxy that takes no bodies of {CHUNK >> 20} MiB (client_max_body_size)"}
ABOUT_THIS = {
    400: "refused the request",
    413: "stands behind a proxy that takes no bodies as large (client_max_body_size)",
    440: "does not take the name",
    441: "does not have the file",
    442: "takes no file as large",
}
MAY_PASS = {409, 446, 520}


class Refused(PermanentError):
    """An answer that is decided upon by its status.

    Args:
        body: for the one thing that only the text tells.
    """

    def __init__(self, reason: str, status: int, body: str, *, about_all: bool) -> None:
        super().__init__(reason, scope="backend" if about_all else "item")
        self.status = status
        self.body = body


class Gone(PermanentError):
    """The file or its folder is not there, but the library is."""

    def __init__(self) -> None:
        super().__init__("The file is not there any more: somebody has removed it from the library.")


def other_rules(expires: datetime | None) -> PermanentError:
    """The site's own rules for share links do not allow the one that was asked for."""
    return PermanentError(
        f"{SERVICE} does not make the share link as asked: its administrator demands a password or another "
        f"end than {f'{expires:%d %B %Y}' if expires else 'none'}; set Backend keep days to fit.",
        scope="backend",
    )


def error_of(about_all: dict[int, str], service: str, answer: requests.Response) -> BackendError:
    """What an answer of one of the two servers means, by its status alone."""
    code = answer.status_code
    if code in MAY_PASS:
        return TransientError(f"{service} could not do it now ({code}).")
    sentence = about_all.get(code) or ABOUT_THIS.get(code)
    general = general_error_of(service, answer)
    if sentence is None and isinstance(general, TransientError):
        return general
    told = f"{service} {sentence} ({code})." if sentence else f"{service} answered {code}."
    return Refused(told, code, answer.text[:1000], about_all=code in about_all)
