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


def say_json(document: str) -> None:
    """Print a JSON document, which stays one: its own escapes stand for what `say` would show or spell otherwise."""
    text = hidden(document)
    try:
        text.encode(sys.stdout.encoding or "ascii")
        writes_all = True
    except (UnicodeEncodeError, LookupError):
        writes_all = False

    def stays(one: str) -> bool:
        return one == "\n" or (_harmless(one) and (writes_all or one.isascii()))

    click.echo("".join(one if stays(one) else _json_escape(one) for one in text), nl=False)


def _json_escape(character: str) -> str:
    """RFC 8259, section 7: in halves of a surrogate pair where four digits do not suffice."""
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))


def _harmless(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"
