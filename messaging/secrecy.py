"""The second line before secrets: whatever is logged, told or written down is looked through for those in use.

The first is that nobody puts them there (`SecretStr`, our own sentences). But services repeat what they were sent, in
answers and in exceptions of their libraries, and plugins are anybody's.
"""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

SHORTEST = 10  # characters: shorter ones may be words, which would be blacked out everywhere
BLACK = "***"

_known: dict[str, None] = {}


def hide(*secrets: str) -> None:
    """From now on `hidden` blacks these out in this process."""
    for secret in secrets:
        for form in (secret, quote(secret, safe="")):
            if len(form) >= SHORTEST:
                _known[form] = None


def hide_password(url: str) -> None:
    """Hide the password that an address holds."""
    if password := urlsplit(url).password:
        hide(unquote(password))
        if len(password) >= SHORTEST:
            _known[password] = None


def hidden(text: str) -> str:
    """The text without any of them."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, BLACK)
    return text
