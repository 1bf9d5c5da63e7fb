"""Text from result files made fit to be shown: on one line, of a bearable length, without anything that acts."""

from __future__ import annotations

import re

from messaging.visible import UNSEEN, shortened

_BLANKS = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")
# Control characters, halves of surrogate pairs (file names that are no UTF-8), non-characters (XML has no way to write
# them), and what nobody sees: here it is shown that something was there, since files differ by it.
_UNFIT = re.compile(f"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]|{UNSEEN.pattern}")
_HALVES = re.compile("[\ud800-\udfff]")
REPLACEMENT = "\ufffd"
_FORMULA = tuple("=+-@\t\r")


def one_line(text: str) -> str:
    """The text without line breaks; each character that cannot be shown safely becomes U+FFFD."""
    if text.isprintable():  # most are, and millions of them are asked about
        return text
    return _UNFIT.sub(REPLACEMENT, _BLANKS.sub(" ", text))


def shown(text: str) -> str:
    """The text as a page or a mail shows it."""
    return one_line(shortened(text))


def cell_text(text: str) -> str:
    """The text on one line, as a cell of a CSV file that no spreadsheet takes for a formula."""
    line = one_line(text)
    return f"'{line}" if line.startswith(_FORMULA) else line


def encodable(text: str) -> str:
    """The text as UTF-8 can write it, otherwise untouched."""
    return _HALVES.sub(REPLACEMENT, text)
