"""Texts of others, fit to be seen: without characters that nobody sees or that change what is seen, not too long."""

from __future__ import annotations

import re

# What turns the direction of text (a title "report<U+202E>gpj.exe" reads "reportexe.jpg"), what marks a direction, and
# what has no width at all: soft hyphens, fillers, word joiners, byte order marks, annotations, tags.
_UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff"
    "\uffa0\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# The two joiners shape letters of Persian and of Indian scripts, and emoji; beside ASCII they only hide.
_JOINERS = "[\u200c\u200d]"
UNSEEN = re.compile(f"[{_UNSEEN}]|(?<![^\x00-\x7f]){_JOINERS}|{_JOINERS}(?![^\x00-\x7f])")
LONGEST = 300  # characters of any one text on a page: names of 10 kB exist, and the JSON file has them whole


def visible(text: str) -> str:
    r"""The text without them.

    >>> visible("report\u202egpj.exe"), visible("mm1\u200b-0001"), visible("नमस्\u200dते")
    ('reportgpj.exe', 'mm1-0001', 'नमस्\u200dते')
    """
    return text if text.isascii() else UNSEEN.sub("", text)


def shortened(text: str, longest: int = LONGEST) -> str:
    """The text, or its beginning and its end with ``…`` between: like names often differ at the end."""
    if len(text) <= longest:
        return text
    tail = longest // 3
    return f"{text[: longest - tail - 1]}…{text[-tail:]}"
