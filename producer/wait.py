"""Following a delivery on the site's JSON API until it has a link or has failed."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from uuid import UUID

from messaging.terminal import printable

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
# How long a site that has answered before may be away (a restart) until waiting ends.
AWAY_SECONDS = 60.0
ANSWER_SECONDS = 10.0
ENDS_WITHOUT_LINK = ("FAILED", "CANCELLED", "EXPIRED")

Fetch = Callable[[str], tuple[int, bytes]]


def wait_for_link(
    site: str,
    event_id: UUID,
    report: Callable[[str], None],
    *,
    digest: str,
    show: Callable[[str], None] = lambda _far: None,
    fetch: Fetch | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Ask ``<site>/api/deliveries/<event id>`` until the delivery has ended.

    Args:
        site: SIMCOURIER_PUBLIC_URL.
        event_id: as published.
        report: gets a line for each change.
        digest: of the event as published; a delivery of another event under this id is none of ours.
        show: gets, at each look, how far the work is, if that can be told.
        fetch: status and body of a URL; raises OSError if there is no answer.
        sleep: waits so many seconds.
        clock: seconds that never go back.

    Returns:
        The last answer, with ``link`` (None without one) and ``problem``, a sentence where there is no link.
    """
    fetch = fetch or _get
    url = f"{site.rstrip('/')}/api/deliveries/{event_id}"
    told, pause = "", FIRST_PAUSE_SECONDS
    answered: float | None = None
    while True:
        answer = _ask(fetch, url)
        if "unreachable" in answer:
            if answered is None or clock() - answered > AWAY_SECONDS:
                return {"link": None, "problem": _unreachable(site, answer["unreachable"])}
        else:
            answered = clock()
        if answer.get("event_digest", digest) != digest:
            return {"link": None, "problem": f"There is no link: {_other_event(event_id)}"}
        line = _line(answer)
        if line != told:
            told, pause = line, FIRST_PAUSE_SECONDS
            report(line)
        if far := _far(answer):
            show(far)
        state = answer.get("state")
        if state == "DELIVERED" and answer.get("link"):
            return answer | {"problem": ""}
        if state in ENDS_WITHOUT_LINK:
            reason = answer.get("reason") or "no reason was recorded"
            return answer | {"link": None, "problem": f"There is no link, the delivery is {state}: {reason}"}
        sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)


def _ask(fetch: Fetch, url: str) -> dict[str, Any]:
    try:
        status, body = fetch(url)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return {"unreachable": _why(error)}
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if status == 404 and isinstance(answer, dict):  # noqa: PLR2004 - HTTP's own number
        return {}
    if status != 200 or not isinstance(answer, dict):  # noqa: PLR2004
        return {"unreachable": f"it answered with status {status}, not with a delivery"}
    return answer


def _line(answer: dict[str, Any]) -> str:
    if "unreachable" in answer:
        return f"The site does not answer ({answer['unreachable']}); trying on."
    if not answer:
        return "Not recorded yet (a worker does that)."
    stage = f", {answer['stage']}" if answer.get("stage") else ""
    reason = f": {answer['reason']}" if answer.get("reason") else ""
    return f"{answer.get('state')}{stage}{reason}"


def _far(answer: dict[str, Any]) -> str:
    """What is done, with bytes, rate and time left; empty: nobody can tell."""
    match answer:
        case {"progress": {"done": int(done)}, "doing": str(doing)} if done > 0:
            return printable(doing)
    return ""


def _other_event(event_id: UUID) -> str:
    return (
        f"another event was accepted under the id {event_id} before, so this one is set aside as a mistake; publish it "
        "without --event-id, or under a new one."
    )


def _why(error: Exception) -> str:
    """Such as "Connection refused"; urllib's own words are for programmers."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return (cause.strerror or str(cause)) if isinstance(cause, OSError) else str(cause)


def _unreachable(site: str, reason: str) -> str:
    return (
        f"The broker has the event, but its way cannot be followed: the site {site} cannot be asked ({reason}); "
        "start 'simcourier up' or 'simcourier web', or let SIMCOURIER_PUBLIC_URL name the right address."
    )


def _get(url: str) -> tuple[int, bytes]:
    if not url.startswith(("http://", "https://")):
        raise ValueError("its address must begin with http:// or https://")
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as response:  # noqa: S310 - checked above
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
