"""The command that has the results of a delivery delivered again, as its page shows it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

from ledger.models import Delivery, StorageBackend
from ledger.simulation import event_of
from messaging.messages import Completed, Outcome

ANYBODY, ANY_BACKEND = "YOU@EXAMPLE.ORG", "BACKEND"
MOST_BACKENDS = 20


def repeat(row: Delivery) -> tuple[str, str]:
    """The command, and what to know about it, which may be nothing; both are empty where the event is not known."""
    event = event_of(row.body)
    if event is None:
        return "", ""
    usable = set(
        StorageBackend.objects.filter(storage_backend_active=True).values_list("storage_backend_id", flat=True)
    )
    asked = [one for one in (event.backend, *event.fallback_backends) if one in usable]
    parts = urlsplit(event.results.location)
    where = unquote(parts.path) if parts.scheme == "file" else event.results.location
    lines = [f"simcourier publish {shlex.quote(where)}"]
    # No line ends within an option.
    lines += [f"  --{name} {shlex.quote(value)}" for name, value in _options(event, asked or [ANY_BACKEND])]
    return " \\\n".join(lines), "" if asked else _choose(event.backend, usable)


def _choose(missing: str, usable: set[str]) -> str:
    told = f"The storage backend '{missing}' cannot be chosen; "
    if not usable:
        return f"{told}ask the operator for one, and put its identifier in place of {ANY_BACKEND}."
    return f"{told}put one of these in place of {ANY_BACKEND}: {', '.join(sorted(usable)[:MOST_BACKENDS])}."


def _options(event: Completed, backends: list[str]) -> Iterator[tuple[str, str]]:
    """As `simcourier publish` takes them."""
    yield "to", ANYBODY
    yield "backend", backends[0]
    yield from (("fallback", one) for one in backends[1:])
    yield "simulation-id", event.simulation_id
    if event.title:
        yield "title", event.title
    if event.campaign:
        yield "campaign", event.campaign.id
        yield from _pairs("parameter", event.campaign.parameters)
        if event.campaign.runs is not None:
            yield "campaign-runs", str(event.campaign.runs)
    if event.simulator:
        yield "simulator", event.simulator
    yield from _pairs("label", event.labels)
    yield from (("include", one) for one in event.results.include)
    yield from (("exclude", one) for one in event.results.exclude)
    if event.outcome != Outcome.SUCCEEDED:
        yield "outcome", event.outcome.value
        if event.exit_code is not None:
            yield "exit-code", str(event.exit_code)


def _pairs(option: str, values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if value is not None and "=" not in name:  # the command line cannot say these
            yield option, f"{name}={str(value).lower() if isinstance(value, bool) else value}"
