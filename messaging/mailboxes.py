"""Mail addresses: one form for each, in which they are compared, and which every mail server takes."""

from __future__ import annotations

import re
from typing import Final

LONGEST = 254  # RFC 5321, section 4.5.3.1.3, without the angle brackets
# RFC 5321, section 4.1.2, without quoted words and literal addresses: RFC 6531 would allow more, to servers that know
# it on the whole way.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
ADDRESS: Final = re.compile(rf"(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@{_DOMAIN}")
# Python's codec knows IDNA 2003 alone, by which straße.example would be strasse.example, another (RFC 5894, 7.2).
_DEVIATIONS: Final = frozenset("ßẞς\u200c\u200d")


def one_form(address: str) -> str:
    """The address with its domain in small letters, those beyond ASCII by IDNA: ``anna@xn--exmple-cua.org``.

    Domains are the same in capitals or not; what stands before the @ may not be. An address that cannot be brought into
    this form stays as it is; no mail can be sent to it then.
    """
    name, at, domain = address.rpartition("@")
    if not domain.isascii():
        try:
            told = domain.encode("idna").decode("ascii")
        except UnicodeError:
            return address
        if _DEVIATIONS & set(domain) or not re.fullmatch(_DOMAIN, told):
            return address
        domain = told
    formed = f"{name}{at}{domain.lower()}"
    return formed if len(formed) <= LONGEST else address


def why_not(address: str) -> str:
    """Why no mail can be sent to an address that is in its form; empty: it can, as far as can be seen here."""
    if address.isascii():
        return ""
    if address.rpartition("@")[0].isascii():
        return (
            "its domain has letters for which there is no sure spelling in ASCII; write it as the xn--... that it has"
        )
    return "before the @ it has letters beyond ASCII, which not every mail server takes"
