"""The drawing and the table of moves agree."""

from __future__ import annotations

import re
from pathlib import Path

from ledger.states import MOVES, State, may_become

DRAWING = Path(__file__).parents[2] / "docs" / "state_machine.md"


def test_the_drawing_shows_exactly_the_moves_of_the_table() -> None:
    drawn = set(re.findall(r"^\s*(\w+) --> (\w+):", DRAWING.read_text(encoding="utf-8"), re.MULTILINE))
    table = {(source.value, target.value) for source, targets in MOVES.items() for target in targets}

    assert drawn == table


def test_every_state_is_in_the_table() -> None:
    assert set(MOVES) == set(State)


def test_what_may_become_cancelled_has_not_ended() -> None:
    assert set(may_become(State.CANCELLED)) == {State.RECEIVED, State.WORKING, State.WAITING}
