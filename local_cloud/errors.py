"""Every error that the server answers with: one table, one function that makes the response."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from aiohttp import web


class Problem(Enum):
    """Status code and sentence."""

    BAD_REQUEST = (400, "The request is not as docs/local_cloud_api.md describes.")
    NO_KEY = (401, "An upload key is needed: Authorization: Bearer KEY.")
    PASSWORD = (401, "A password is needed.")
    NO_KEYS = (503, "The server cannot read its upload keys; its log says why.")
    ONLY_LOOPBACK = (403, "This server has no upload key, so it accepts uploads from its own machine only.")
    NOT_FOUND = (404, "There is no such file.")
    METHOD = (405, "This cannot be done here.")
    STALLED = (408, "Nothing came for too long.")
    CUT = (500, "The connection broke off; what came was kept.")
    INCOMPLETE = (400, "The body ended early; nothing was kept.")
    OFFSET = (409, "The upload is at another offset; ask for it by HEAD.")
    GONE = (410, "This file was available until its link expired.")
    TOO_LARGE = (413, "The file is larger than this server takes.")
    TUS_VERSION = (412, "Tus-Resumable: 1.0.0 is expected.")
    TOO_MUCH = (413, "More bytes came than the upload was said to have.")
    MEDIA_TYPE = (415, "Content-Type: application/offset+octet-stream is expected.")
    WRONG_DIGEST = (422, "The bytes received are not those that were announced; nothing was kept.")
    LOCKED = (423, "Somebody else is at this upload; try again in a moment.")
    CHECKSUM = (460, "The bytes do not have the checksum that was sent; they were not kept.")
    DAMAGED = (422, "This file cannot be taken out of the archive.")
    TOO_MANY_GUESSES = (429, "Too many wrong passwords; try again later.")
    STOPPING = (503, "The server is being stopped; try again in a moment.")
    QUOTA = (507, "The files that are stored take up their quota.")
    DISK_FULL = (507, "The server has no room left.")
    BROKEN = (500, "The server could not do this; its log says why.")

    @property
    def status(self) -> int:
        """HTTP status code."""
        return self.value[0]

    @property
    def sentence(self) -> str:
        """For people."""
        return self.value[1]


CHALLENGES = {Problem.NO_KEY: "Bearer", Problem.PASSWORD: 'Basic realm="A password is needed", charset="UTF-8"'}


class Refusal(Exception):
    """Raised anywhere below a handler; becomes the response.

    Args:
        problem: which one.
        detail: a sentence instead of the table's.
        headers: more of the response's.
    """

    def __init__(self, problem: Problem, detail: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail or problem.sentence)
        self.problem = problem
        self.headers = headers or {}

    @property
    def code(self) -> str:
        """What stands for it in answers and logs."""
        return self.problem.name.lower()


def response(refusal: Refusal) -> web.Response:
    """The JSON answer: ``{"error": sentence, "code": name}``."""
    headers = {"WWW-Authenticate": CHALLENGES[refusal.problem]} if refusal.problem in CHALLENGES else {}
    return web.json_response(
        {"error": str(refusal), "code": refusal.code},
        status=refusal.problem.status,
        headers={**headers, **refusal.headers},
    )
