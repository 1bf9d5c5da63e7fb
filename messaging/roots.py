"""The places that results may come from, and whose they are.

An entry of ``SIMCOURIER_RESULTS_ROOTS`` is a folder or an address, for whoever may publish. It is bound to users of the
broker, who RabbitMQ vouches for, where it begins with ``USER=`` or has ``{user}`` as a part of its path.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from messaging.locations import WrongLocation, is_url, parse

USER = "{user}"
# As a part of a path: neither hidden nor '..', and nothing that a service could read in two ways.
_PLAIN_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*")


class WrongRoot(ValueError):
    """No place that results may come from; the text says why and holds nothing secret."""


class NoRoot(Exception):
    """Nothing may come from this user; the text is a sentence."""


def is_bound(root: str) -> bool:
    """Whether an entry is for certain users alone."""
    return bool(_split(root)[0]) or USER in root


def roots_for(roots: Sequence[str], user: str | None) -> tuple[str, ...]:
    """Where the results of an event may lie that ``user`` has published.

    Args:
        roots: entries as they are set.
        user: who it was, as far as the broker vouches for it.

    Raises:
        NoRoot: some are bound to users, and none is for this one, or nobody knows who it was.
    """
    if not any(map(is_bound, roots)):
        return tuple(roots)
    if not user:
        raise NoRoot(
            "The broker does not say who published this event, and results may come from folders of its users only. "
            "Publish with the AMQP property user_id, as simcourier publish does."
        )
    found = []
    for root in roots:
        owner, place = _split(root)
        if (owner and owner != user) or (USER in place and not _PLAIN_USER.fullmatch(user)):
            continue
        found.append(place.replace(USER, user))
    if not found:
        raise NoRoot(f"There is no folder that results of the broker's user {user!r} may come from.")
    return tuple(found)


def seen_by_all(root: str) -> str:
    """The part of an entry that is the same for everybody: whether it is there can be looked at."""
    return _split(root)[1].partition(f"/{USER}")[0] or "/"


def check(root: str) -> None:
    """See that an entry can be used.

    Raises:
        WrongRoot: it cannot.
    """
    owner, place = _split(root)
    if not owner and root.startswith("="):
        raise WrongRoot(f"{root!r} names no user before '='")
    whole = [part for part in place.split("/") if USER in part]
    if whole and whole != [USER]:
        raise WrongRoot(f"{USER} must be one whole part of a path, as in /home/{USER}/results")
    if is_url(place):
        try:
            parse(place.replace(USER, "user"))
        except WrongLocation as error:  # its text holds nothing of the address, in which a password may stand
            raise WrongRoot(f"one of its addresses {error}") from None
        if USER in place.split("/")[2]:
            raise WrongRoot(f"{USER} must be a part of an address's path, not its host or bucket")
    elif place.startswith("file:"):
        raise WrongRoot(f"{place!r} is a folder; give its path, without file:")
    elif not place.startswith("/"):
        raise WrongRoot(
            f"{place!r} depends on where a process was started; give the whole path, beginning with /, or with USER=/"
        )


def _split(root: str) -> tuple[str, str]:
    """User and place; a slash before the first '=' belongs to a path that has one in it."""
    owner, equals, place = root.partition("=")
    return (owner.strip(), place.strip()) if equals and "/" not in owner else ("", root)
