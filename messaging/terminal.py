"""What a terminal is shown: texts of others are only to be read, and never move its cursor or change its title."""

from __future__ import annotations

import unicodedata

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
    return "".join(one if _harmless(one) or one in keep else one.encode("unicode_escape").decode() for one in text)


def _harmless(one: str) -> bool:
    return one.isprintable() or unicodedata.category(one) == "Zs"  # a narrow blank between digits


def say(text: str, *, err: bool = False) -> None:
    """Print lines that hold texts of others: a title, a file's name, what a service has answered."""
    click.echo(printable(hidden(text), keep="\n"), err=err)
