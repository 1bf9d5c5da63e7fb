"""What the commands share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import click


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
