"""From the arguments of `producer.publish` to a valid event."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import quote, unquote_to_bytes, urlsplit
from uuid import UUID

from pydantic import ValidationError

from messaging.errors import UserError
from messaging.locations import WrongLocation, parse
from messaging.mailboxes import ADDRESS, one_form, why_not
from messaging.messages import LOG_TAIL_CHARACTERS, Completed, Outcome, Scalar, SimulationCompleted, describe

# As definitions are named: plugin id, or plugin id, hyphen and anything.
BACKEND = re.compile(r"[a-z0-9_]+(-[A-Za-z0-9_.-]+)?")
URL = re.compile(r"[a-z][a-z0-9+.-]*://|file:/")
# Where a field of the message bears another name than the argument.
ARGUMENTS = {
    ("recipients",): "to",
    ("results",): "results",
    ("results", "include"): "include",
    ("results", "exclude"): "exclude",
    ("campaign",): "campaign",
    ("campaign", "parameters"): "parameters",
    ("campaign", "runs"): "campaign_runs",
}


class InvalidEvent(UserError):
    """An argument is wrong; the text begins with its name, which is also in `argument`."""

    exit_code = 2

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(f"{argument}: {problem}")
        self.argument = argument
        self.problem = problem


class Details(TypedDict, total=False):
    """What may be said about a simulation that has ended, besides where its results lie, for whom, and the backend.

    title: one line for the mail's subject.
    simulation_id: your own name for the run; default: the name of the results folder.
    simulator: name and version, one line.
    configuration: names and values that describe the run.
    outcome: ``succeeded`` (default), ``failed`` or ``aborted``.
    exit_code: the simulator's.
    started, finished: with time zone. ``finished`` is also the event's time; without it, that is now.
    fallback_backends: identifiers to try, in order, when the backend cannot be used.
    campaign: id of the parameter study that the run belongs to; such runs queue apart from single ones.
    parameters: this run's parameters in the campaign.
    campaign_runs: number of runs of the whole campaign.
    labels: free words.
    include, exclude: patterns of file names, relative to the results folder.
    log_tail: end of the simulator's log; only the last 4000 characters are sent.
    event_id: the idempotency key of the delivery. Give your own, stable one and the same arguments (with
        ``finished``) to be able to publish again without a second delivery.
    """

    title: str
    simulation_id: str | None
    simulator: str
    configuration: Mapping[str, Scalar] | None
    outcome: Outcome | str
    exit_code: int | None
    started: datetime | None
    finished: datetime | None
    fallback_backends: Iterable[str]
    campaign: str | None
    parameters: Mapping[str, Scalar] | None
    campaign_runs: int | None
    labels: Mapping[str, str] | None
    include: Iterable[str]
    exclude: Iterable[str]
    log_tail: str
    event_id: UUID | str | None


def completed_event(
    results: str | os.PathLike[str],
    *,
    to: Iterable[str] | str,
    backend: str,
    now: datetime,
    max_bytes: int,
    title: str = "",
    simulation_id: str | None = None,
    simulator: str = "",
    configuration: Mapping[str, Scalar] | None = None,
    outcome: Outcome | str = Outcome.SUCCEEDED,
    exit_code: int | None = None,
    started: datetime | None = None,
    finished: datetime | None = None,
    fallback_backends: Iterable[str] = (),
    campaign: str | None = None,
    parameters: Mapping[str, Scalar] | None = None,
    campaign_runs: int | None = None,
    labels: Mapping[str, str] | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    log_tail: str = "",
    event_id: UUID | str | None = None,
    look: bool = True,
) -> SimulationCompleted:
    """Build the event. The arguments are those of `producer.publish` and `Details`.

    ``now`` is the event's time unless ``finished`` is given; ``max_bytes`` is what the broker accepts; without ``look``
    the results folder may come later.

    Raises:
        InvalidEvent: an argument is wrong, or a results folder on this host does not exist.
    """
    host = socket.gethostname()
    location = _location(results, host, look=look)
    recipients, fallbacks = _recipients(to), tuple(fallback_backends)
    _expect_identifiers("backend", (backend,))
    _expect_identifiers("fallback_backends", fallbacks)
    if campaign is None and (parameters or campaign_runs is not None):
        wrong = "parameters" if parameters else "campaign_runs"
        raise InvalidEvent(wrong, "belongs to a campaign, and none is named.")
    values: dict[str, Any] = {
        "simulation_id": _name(location) if simulation_id is None else simulation_id,
        "title": title,
        "simulator": simulator,
        "configuration": dict(configuration or {}),
        "outcome": outcome,
        "exit_code": exit_code,
        "started": started,
        "finished": finished,
        "host": host[:200],
        "log_tail": tail(log_tail),
        "results": {"location": location, "include": tuple(include), "exclude": tuple(exclude)},
        "backend": backend,
        "fallback_backends": fallbacks,
        "recipients": recipients,
        "labels": dict(labels or {}),
    }
    if campaign is not None:
        values["campaign"] = {"id": campaign, "parameters": dict(parameters or {}), "runs": campaign_runs}
    try:
        data = Completed.model_validate(values)
    except ValidationError as error:
        raise _named(error, values) from error
    source = f"//{quote(host)}/simcourier"
    event = SimulationCompleted.of(data, source=source, time=finished or now, event_id=_uuid(event_id))
    size = len(event.to_bytes())
    if size > max_bytes:
        raise InvalidEvent(
            "configuration" if configuration else "parameters",
            f"the event would be {size} bytes long, the broker takes {max_bytes}; put long texts into a results file.",
        )
    return event


def _recipients(to: Iterable[str] | str) -> list[str]:
    recipients = [to] if isinstance(to, str) else list(to)
    if not recipients:
        raise InvalidEvent("to", "name at least one email address that gets the link.")
    return list(dict.fromkeys(map(_recipient, recipients)))


def _recipient(told: str) -> str:
    address = one_form(str(told))
    if ADDRESS.fullmatch(address):  # stricter than the message's schema: consumers read what that allows
        return address
    why = why_not(address) if str(told).count("@") == 1 else ""
    raise InvalidEvent("to", f"{told!r} is no email address{f' that can be used: {why}' if why else ''}.")


def _expect_identifiers(argument: str, identifiers: Iterable[str]) -> None:
    for identifier in identifiers:
        if not BACKEND.fullmatch(identifier):
            raise InvalidEvent(argument, f"{identifier!r} is no identifier of a storage backend, such as 'local'.")


def tail(log: str) -> str:
    """The part of a log that is sent."""
    return log[-LOG_TAIL_CHARACTERS:].encode("utf-8", "replace").decode()


def _location(results: str | os.PathLike[str], host: str, *, look: bool) -> str:
    """The results as a URL; with ``look``, those on this host must be there."""
    text = os.fspath(results)
    if isinstance(results, str) and URL.match(text):
        return _checked_url(text, host, look=look)
    if not text:
        raise InvalidEvent("results", "name the folder in which the results lie.")
    path = Path(text)
    # '..' is resolved here, by the file system: whoever reads the URL may resolve it as text, beside a symbolic link.
    path = path.resolve() if ".." in path.parts else path.absolute()
    if look:
        _expect_folder(path)
    return path.as_uri()


def _checked_url(url: str, host: str, *, look: bool) -> str:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidEvent("results", f"the URL cannot be read ({error}).") from error
    if parts.password is not None:
        raise InvalidEvent(
            "results", "the URL holds a password, which must not travel in a message; let the worker know it instead."
        )
    if parts.scheme != "file":
        _expect_location(url)
    elif look and parts.netloc in {"", "localhost", host}:
        _expect_folder(Path(os.fsdecode(unquote_to_bytes(parts.path))))
    return url


def _expect_location(url: str) -> None:
    try:
        parse(url)
    except WrongLocation as error:
        raise InvalidEvent("results", f"the URL {error}.") from error


def _expect_folder(path: Path) -> None:
    try:
        if path.is_dir():
            return
        problem = "is a file, but a folder is expected" if path.exists() else "does not exist on this host"
    except (OSError, ValueError) as error:
        problem = f"cannot be looked at ({error})"
    raise InvalidEvent("results", f"{path} {problem}; name the folder in which the results lie.")


def _name(location: str) -> str:
    """What a run is called that bears no name of its own: the last part of the location."""
    parts = urlsplit(location)
    last = parts.path.rstrip("/").rpartition("/")[2] or parts.netloc
    text = unquote_to_bytes(last).decode("utf-8", "replace").strip()
    return "".join(letter if letter.isprintable() else "_" for letter in text)[:200] or "results"


def _uuid(event_id: UUID | str | None) -> UUID | None:
    try:
        return UUID(event_id) if isinstance(event_id, str) else event_id
    except ValueError as error:
        raise InvalidEvent("event_id", f"{event_id!r} is no UUID.") from error


def _named(error: ValidationError, values: Mapping[str, Any]) -> InvalidEvent:
    """The first thing that is wrong, by the name of the caller's argument."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = first["loc"]
    argument = ARGUMENTS.get(tuple(map(str, path[:2])), ARGUMENTS.get((str(path[0]),), str(path[0])))
    if argument == "to" and len(path) > 1:
        return InvalidEvent(argument, f"{values['recipients'][int(path[1])]!r} is longer than an email address can be.")
    if argument == "outcome":
        return InvalidEvent(argument, f"{values['outcome']!r} is not known; it is one of {', '.join(Outcome)}.")
    return InvalidEvent(argument, describe(error).partition(": ")[2])
