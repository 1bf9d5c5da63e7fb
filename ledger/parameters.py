"""Parameters of a study's runs: which are equal, and which only tell repetitions of one combination apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# What tells replications of one combination apart, as simulators spell it, without capitals and separators.
REPLICATION = frozenset(
    {"seed", "seeds", "seedset", "randomseed", "rngseed", "rngrun", "rep", "repetition", "replication", "replicate"}
)
_SEPARATORS = re.compile(r"[\s_.:-]+")


def tells_replications(name: str) -> bool:
    """Whether runs that differ by this parameter alone are replications."""
    return _SEPARATORS.sub("", name).lower() in REPLICATION


def combination(parameters: Mapping[str, Any]) -> tuple[tuple[str, tuple[int, object]], ...]:
    """Equal for replications of the same parameters, and for no other runs."""
    told = {name: value for name, value in parameters.items() if not tells_replications(name)}
    return tuple(sorted((name, comparable(value)) for name, value in told.items()))


def comparable(value: object) -> tuple[int, object]:
    """Equal for equal values, and in an order: nothing, numbers, texts; 1 and 1.0 are one, 1 and true are not."""
    if value is None:
        return 1, 0
    if isinstance(value, bool):
        return 2, int(value)
    if isinstance(value, int | float):
        return 3, value
    return 4, str(value)
