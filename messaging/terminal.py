"""What a terminal is shown: texts of others are only to be read, and never move its cursor or change its title."""

from __future__ import annotations

import sys
import unicodedata

import click

from messaging.secrecy import hidden
from messaging.spelling import in_encoding


def printable(text: str, keep: str = "") -> str:
    """Without control characters, those among them that turn the direction of text; they are shown as ``\\x1b``.

    Spaces of any width stay as they are.

    Args:
        text: of anybody.
        keep: control characters that may stay.
    """
    if text.isprintable():
        return text
    return "".join(one if _harmless(one) or one in keep else one.encode("unicode_escape").decode() for one in text)


def harmless(text: str) -> str:
    """What a service has answered, as it is written down: mails, pages and lists show it as it stands there."""
    return printable(hidden(text), keep="\n")


def say(text: str, *, err: bool = False, keep: str = "\n") -> None:
    """Print lines that hold texts of others: a title, a file's name, what a service has answered.

    In plain ASCII where the stream cannot write all of it.
    """
    stream = sys.stderr if err else sys.stdout
    click.echo(in_encoding(printable(hidden(text), keep), stream.encoding), err=err)


def _harmless(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"
