"""What a terminal is shown: texts of others are only to be read, and never move its cursor or change its title."""

from __future__ import annotations

import click

from messaging.secrecy import hidden


def printable(text: str, keep: str = "") -> str:
    """Without control characters, those among them that turn the direction of text; they are shown as ``\\x1b``.

    Args:
        text: of anybody.
        keep: control characters that may stay.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in keep else one.encode("unicode_escape").decode() for one in text)


def say(text: str, *, err: bool = False) -> None:
    """Print lines that hold texts of others: a title, a file's name, what a service has answered."""
    click.echo(printable(hidden(text), keep="\n"), err=err)
