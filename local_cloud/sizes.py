"""Sizes as people write and read them."""

from __future__ import annotations

import re

UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
FACTORS = (
    {"": 1, "b": 1}
    | {unit.lower(): 1024**step for step, unit in enumerate(UNITS, 1)}
    | {f"{unit[0].lower()}b": 1000**step for step, unit in enumerate(UNITS, 1)}
)
WRITTEN = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([A-Za-z]*)")


def parse(text: str) -> int:
    """Bytes in a text like ``10GiB``, ``1.5 TB`` or ``4096``.

    Raises:
        ValueError: it is none; the text says what is expected.
    """
    matched = WRITTEN.fullmatch(text.strip())
    factor = FACTORS.get(matched[2].lower()) if matched else None
    if matched is None or factor is None:
        raise ValueError(f"{text!r} is no size; a number with a unit is expected, e.g. 500MB or 10GiB")
    return int(float(matched[1]) * factor) if "." in matched[1] else int(matched[1]) * factor


def readable(size: int) -> str:
    """For people."""
    step = min(max(size.bit_length() - 1, 0) // 10, len(UNITS))
    if not step:
        return f"{size} byte{'s' * (size != 1)}"
    return f"{size / 1024**step:.1f} {UNITS[step - 1]}"
