"""Faults that a test asks a stand-in for."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Fault:
    """A fault that is to happen.

    Args:
        name: what; each stand-in lists the names it knows.
        count: how many times; None: until it is cleared.
        route: only for requests to this route; empty: any.
        value: a number or text that some faults need.
    """

    name: str
    count: int | None = 1
    route: str = ""
    value: Any = None


class Faults:
    """Those that are still to happen."""

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known
        self._waiting: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Let it happen from now on."""
        if fault.name not in self._known:
            raise ValueError(f"no such fault: {fault.name}")
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        with self._lock:
            self._waiting.clear()

    def next_value(self, name: str) -> Any:
        """The value of the next fault of this name, without counting it; None: there is none."""
        with self._lock:
            return next((fault.value for fault in self._waiting if fault.name == name), None)

    def take(self, name: str, route: str = "") -> Fault | None:
        """The fault that happens now, counted; None: all is well."""
        with self._lock:
            for fault in self._waiting:
                if fault.name == name and fault.route in {"", route}:
                    if fault.count is not None:
                        fault.count -= 1
                        if fault.count <= 0:
                            self._waiting.remove(fault)
                    return fault
        return None
