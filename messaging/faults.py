"""Named places at which tests make a process fail. In production nothing is installed and nothing happens."""

from __future__ import annotations

from collections.abc import Callable

_installed: list[Callable[[str], None]] = []


def point(name: str) -> None:
    """Mark the boundary of a step; a rehearsal may raise, hang or kill the process here."""
    for hook in _installed:
        hook(name)


def install(hook: Callable[[str], None]) -> None:
    """Call ``hook`` with the name of every point that is passed from now on."""
    _installed.append(hook)
