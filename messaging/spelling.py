"""Words as people write them where there is nothing but ASCII."""

from __future__ import annotations

import re
import unicodedata

_SPELT = str.maketrans({"µ": "u", "\u00d7": "x", "≈": "~", "\u2212": "-", "⁻": "-", "…": "...", "∞": "inf", "±": "+-"})
_RAISED = re.compile("(?<=10)[⁻⁰¹²³⁴-⁹]+")


def in_ascii(words: str) -> str:
    r"""The words with what ASCII has.

    >>> in_ascii("12\u202f345 µs, \u00d710⁻³"), in_ascii("Zürich 中")
    ('12 345 us, x10^-3', 'Zurich ?')
    """
    spelt = _RAISED.sub(lambda found: f"^{found[0]}", words).translate(_SPELT)
    plain = "".join(each for each in unicodedata.normalize("NFKD", spelt) if not unicodedata.combining(each))
    return plain.encode("ascii", "replace").decode()


def in_encoding(words: str, encoding: str | None) -> str:
    """The words as they are, or in ASCII where ``encoding`` (None: not known) has no way to write them."""
    try:
        words.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return in_ascii(words)
    return words
