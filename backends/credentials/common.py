"""What the commands share."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import click


def visible(text: str) -> str:
    """What a service says, as a terminal may show it: without control characters, in letters that it has."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    encoding = sys.stdout.encoding or "ascii"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


@contextlib.contextmanager
def packages_of_a_worker(command: str) -> Iterator[None]:
    """Say what to install where the packages are missing that only a worker needs.

    Raises:
        ClickException: one is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"'{command}' needs the Python package {error.name}; install it, in a clone of the repository, with: "
            "pip install '.[worker]'"
        ) from error
