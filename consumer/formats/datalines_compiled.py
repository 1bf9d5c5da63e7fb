"""`consumer.formats.datalines.scan` as machine code: some sixty times as fast, without holding the interpreter.

Both raise `consumer.compiled.load.Unavailable` where there is no compiler.
"""

from __future__ import annotations

import numpy as np

from consumer.compiled.load import loops
from consumer.formats.datalines import PADDING, Block, OtherLine, Piece

MOST_OTHERS = 16_384  # lines that one call of the compiled part can note


def scan(data: bytes, end: int) -> Block:
    """Take whole lines apart; see `consumer.formats.datalines.Block`."""
    return scan_piece(Piece(bytearray(data) + bytes(PADDING), len(data), end))


def scan_piece(piece: Piece) -> Block:
    """The same without a copy."""
    native, data = loops(), np.frombuffer(piece.buffer, np.uint8)
    most = native.count_lines(data, piece.size) + 1
    ids, widths = np.empty(most, np.int32), np.empty(most, np.int8)
    a, b, c = np.empty(most), np.empty(most), np.empty(most)
    noted = np.empty((MOST_OTHERS, 4), np.int64)
    state = np.zeros(3, np.int64)
    others: list[OtherLine] = []
    place = 0
    while place < piece.size:
        place = native.take_apart(data, place, piece.size, ids, widths, a, b, c, noted, MOST_OTHERS, state)
        others += [
            OtherLine(before, number, bytes(piece.buffer[start:stop]))
            for before, number, start, stop in noted[: state[1]].tolist()
        ]
    n = int(state[0])
    return Block(ids[:n], widths[:n], (a[:n], b[:n], c[:n]), others, int(state[2]), piece.data, piece.end)
