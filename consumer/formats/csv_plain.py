"""Rows of a table that hold nothing but plain numbers, many at once.

Most rows of most tables are of this kind, and `consumer.formats.csv_columns` need not take them apart cell by cell.
What is not exactly so is left to it: a row of another width, an empty cell, a quote, a comment, a word.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from consumer.formats.contract import Floats

_OF_NUMBERS = b"0123456789+-.eEna"  # "na" for "nan"
_BLANKS = b" \t"
_LINE_END = ord("\n")


def table(lines: Sequence[bytes], separator: str, width: int) -> Floats | None:
    """The numbers of some lines, shape (lines, ``width``); None: at least one of them is not so plain.

    Args:
        lines: with their ends.
        separator: of the columns; a blank stands for any number of blanks and tabs.
        width: number of columns.
    """
    data = b"".join(lines).replace(b"\r\n", b"\n")
    apart = _BLANKS if separator == " " else separator.encode()
    if not data.endswith(b"\n") or data.translate(None, _OF_NUMBERS + apart + b"\n"):
        return None
    if not (_cells(data, apart) == width).all():
        return None
    try:
        values = np.fromstring(data[:-1].replace(b"\n", apart[:1]).decode("ascii"), np.float64, sep=separator)
    except ValueError:
        return None
    return values.reshape(len(lines), width) if len(values) == len(lines) * width else None


def _cells(data: bytes, apart: bytes) -> NDArray[np.int64]:
    """How many cells each line has, if none is empty."""
    codes = np.frombuffer(data, np.uint8)
    parting = codes == apart[0]
    if len(apart) > 1:
        parting |= codes == apart[1]
        blank = parting | (codes == _LINE_END)
        begins = ~blank
        begins[1:] &= blank[:-1]
        counted, more = begins, 0
    else:
        counted, more = parting, 1
    before = np.cumsum(counted)[codes == _LINE_END]
    cells: NDArray[np.int64] = np.diff(before, prepend=0) + more
    return cells
