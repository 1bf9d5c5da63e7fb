"""The options that `publish` and `run` share."""

from __future__ import annotations

import contextlib
import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import click

from messaging.messages import Scalar
from producer.event import InvalidEvent

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
NAMES = {"results": "DIR", "fallback_backends": "--fallback", "parameters": "--parameter", "labels": "--label"}
OPTIONS = [
    click.option("--to", "to", metavar="A@B", multiple=True, required=True, help="Who gets the link; may be repeated."),
    click.option("--backend", metavar="ID", required=True, help="Identifier of the storage backend."),
    click.option(
        "--fallback", "fallbacks", metavar="ID", multiple=True, help="Backend to try next if that one fails; in order."
    ),
    click.option("--title", default="", help="One line for the mail's subject."),
    click.option("--simulation-id", metavar="ID", help="Your own name for the run.  [default: the folder's name]"),
    click.option("--campaign", metavar="ID", help="The parameter study that the run belongs to."),
    click.option(
        "--parameter",
        "parameters",
        metavar="K=V",
        multiple=True,
        help="A parameter of this run in the study; may be repeated.",
    ),
    click.option("--campaign-runs", metavar="N", type=int, help="Number of runs of the whole study."),
    click.option("--simulator", default="", help="Name and version of the simulator."),
    click.option("--label", "labels", metavar="K=V", multiple=True, help="A label of your own; may be repeated."),
    click.option("--include", metavar="PATTERN", multiple=True, help="Send only files that match; may be repeated."),
    click.option("--exclude", metavar="PATTERN", multiple=True, help="Do not send files that match; may be repeated."),
    click.option("--event-id", metavar="UUID", help="The event's id; with it, publishing again is the same event."),
]

Command = TypeVar("Command", bound=Callable[..., Any])


def event_options(command: Command) -> Command:
    """Give a command these options; `publish_arguments` reads them."""
    return functools.reduce(lambda decorated, option: option(decorated), reversed(OPTIONS), command)


def publish_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """The values of these options as arguments of `producer.publish`."""
    named = dict(options)
    parameters = pairs("--parameter", named.pop("parameters"))
    return named | {
        "fallback_backends": named.pop("fallbacks"),
        "parameters": {name: scalar(value) for name, value in parameters.items()},
        "labels": pairs("--label", named.pop("labels")),
    }


@contextlib.contextmanager
def speaking_of_options(names: Mapping[str, str] | None = None) -> Iterator[None]:
    """Say what is wrong with an event by the name of the option.

    Args:
        names: of arguments, where this command calls them otherwise.
    """
    try:
        yield
    except InvalidEvent as error:
        option = ({**NAMES, **(names or {})}).get(error.argument, f"--{error.argument.replace('_', '-')}")
        raise click.UsageError(f"{option}: {error.problem}") from error


def pairs(option: str, values: tuple[str, ...]) -> dict[str, str]:
    """The values of an option that takes ``NAME=VALUE``."""
    found: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name.strip():
            raise click.UsageError(f"{option}: NAME=VALUE is expected, not {value!r}.")
        found[name] = text
    return found


def scalar(text: str) -> Scalar:
    """Numbers and truth values become such, so that a study can be plotted over them; all else stays text."""
    if text in {"true", "false"}:
        return text == "true"
    if NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    return text
