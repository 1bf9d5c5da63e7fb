"""Passwords of links: how they are kept, how guessing is slowed, and how a browser shows that it has told one."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

COST, BLOCK, LANES = 2**14, 8, 1  # scrypt: 16 MiB and about 50 ms
SALT_BYTES = 16
LONGEST = 1024
COOKIE_SECONDS = 12 * 3600

FREE_GUESSES = {"pair": 5, "link": 50, "address": 30}  # wrong ones before each further one has to wait
LONGEST_WAIT = 300.0
FORGOTTEN_AFTER = 3600.0
MOST_KEPT = 10_000


def hashed(password: str) -> str:
    """What is kept of a password."""
    salt = secrets.token_bytes(SALT_BYTES)
    return f"scrypt:{COST}:{BLOCK}:{LANES}:{salt.hex()}:{_scrypt(password, salt, COST, BLOCK, LANES).hex()}"


def matches(password: str, kept: str) -> bool:
    """True for the right one."""
    _, cost, block, lanes, salt, digest = kept.split(":")
    if len(password) > LONGEST:
        return False
    given = _scrypt(password, bytes.fromhex(salt), int(cost), int(block), int(lanes))
    return hmac.compare_digest(given, bytes.fromhex(digest))


def _scrypt(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    text = password.encode(errors="surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=cost, r=block, p=lanes, maxmem=64 * 1024 * 1024)


def ticket(token: str, kept: str, now: float) -> str:
    """What a browser gets for the right password: ends by itself, and with the password or the link.

    It is signed with what is kept of the password: only whoever can read the server's files could make one.
    """
    ends = str(int(now) + COOKIE_SECONDS)
    return f"{ends}.{_signature(ends, token, kept)}"


def is_ticket(given: str, token: str, kept: str, now: float) -> bool:
    """True for one that `ticket` has made and that has not ended."""
    ends, _, signature = given.partition(".")
    right = hmac.compare_digest(signature.encode(errors="replace"), _signature(ends, token, kept).encode())
    return right and int(ends) > now


def _signature(ends: str, token: str, kept: str) -> str:
    return hmac.digest(kept.encode(), f"{ends}:{token}".encode(errors="replace"), "sha256").hex()


class Guesses:
    """Counts wrong passwords, and says who has to wait.

    Counted are an address at a link, an address, and a link, each with more free guesses than the one before: a
    stranger who tries does not lock out whoever knows the password.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def wait_seconds(self, link: str, address: str) -> float:
        """Until the next guess is looked at; 0: now."""
        now, waits = self._clock(), [0.0]
        for who in _counted(link, address):
            count, last = self._wrong.get(who, (0, 0.0))
            over = count - FREE_GUESSES[who[0]]
            if over >= 0 and now - last < FORGOTTEN_AFTER:
                waits.append(last + min(2.0 ** min(over, 20), LONGEST_WAIT) - now)
        return max(waits)

    def wrong(self, link: str, address: str) -> None:
        """Count one."""
        now = self._clock()
        for who in _counted(link, address):
            count, last = self._wrong.pop(who, (0, now))
            self._wrong[who] = (count + 1 if now - last < FORGOTTEN_AFTER else 1, now)
        while len(self._wrong) > MOST_KEPT:
            self._wrong.popitem(last=False)

    def right(self, link: str, address: str) -> None:
        """Forget those of this address at this link."""
        self._wrong.pop(_counted(link, address)[0], None)


def _counted(link: str, address: str) -> list[tuple[str, str]]:
    return [("pair", f"{link} {address}"), ("link", link), ("address", address)]
