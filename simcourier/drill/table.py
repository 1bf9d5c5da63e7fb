"""The drill's table, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from simcourier.drill.rehearse import Row

HEAD = ("fault", "what happened", "links", "mails", "lost", "twice", "uncertain", "verdict")
HAPPENED = 52


def table(rows: Sequence[Row]) -> str:
    """All rows, and under them what broke."""
    cells = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line) for cell in cells for line in _lines(cell[column], column)) for column in range(len(HEAD))]
    lines = []
    for cell in cells:
        parts = [_lines(text, column) for column, text in enumerate(cell)]
        for number in range(max(len(part) for part in parts)):
            texts = [part[number] if number < len(part) else "" for part in parts]
            lines.append("  ".join(_aligned(text, widths[at], at) for at, text in enumerate(texts)).rstrip())
    broken = [f"{row.fault}: {fault}" for row in rows for fault in row.count.faults]
    return "\n".join([*lines, *([""] if broken else []), *broken])


def _cells(row: Row) -> tuple[str, ...]:
    count = row.count
    numbers = (count.links, count.mails, count.lost, count.twice, count.uncertain)
    return (row.fault, row.happened, *(str(number) for number in numbers), row.verdict)


def _lines(text: str, column: int) -> list[str]:
    return textwrap.wrap(text, HAPPENED) if column == 1 else [text]


def _aligned(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column in {0, 1, len(HEAD) - 1} else text.rjust(width)
