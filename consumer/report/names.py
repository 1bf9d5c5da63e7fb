"""File names for vectors and plots, out of names that hold anything."""

from __future__ import annotations

import re

LONGEST = 100  # characters, with the ending well below what every file system and unzip takes

# Device names that Windows keeps for itself, whatever ending follows.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_UNSAFE = re.compile(r"[^A-Za-z0-9._]+")


class Names:
    """Hands out names that are safe everywhere and differ even where upper and lower case do not."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def take(self, *parts: str, ending: str) -> str:
        """A name that was not handed out before.

        Args:
            parts: such as a module and what it recorded; ``host[3].app`` and ``rtt:vector`` give
                ``host-3.app.rtt-vector``.
            ending: with its point.
        """
        stem = _safe(".".join(part for part in parts if part))
        number = self._next.get(stem.lower(), 1)
        name = stem if number == 1 else f"{stem}-{number}"
        while number > 1 and name.lower() in self._next:  # somebody is called "x-2" outright
            number += 1
            name = f"{stem}-{number}"
        self._next[stem.lower()] = number + 1
        self._next.setdefault(name.lower(), 2)
        return f"{name}{ending}"


def _safe(text: str) -> str:
    if len(text) > LONGEST:
        tail = LONGEST // 2
        text = f"{text[: LONGEST - tail]}-{text[-tail:]}"
    stem = re.sub(r"-*\.[.-]*", ".", _UNSAFE.sub("-", text)).strip(".-") or "unnamed"
    return f"_{stem}" if _DEVICES.match(stem) else stem
