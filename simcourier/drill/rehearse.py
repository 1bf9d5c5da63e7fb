"""Plays faults on a stage and says for each whether the promise was kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from simcourier.drill.checks import Count, Sent
from simcourier.drill.faults import Fault
from simcourier.drill.stage import NotInTime, Stage

PATIENCE_SECONDS = 90.0
QUIET_SECONDS = 45.0  # a worker that lost its lease looks again after 30
KEPT, BROKEN = "kept", "BROKEN"
NOT_PLAYED = "not played"  # it cannot be, on this stage
NOT_REACHED = "not reached"  # what was to go wrong did not happen


@dataclass(slots=True)
class Row:
    """A line of the table.

    Args:
        happened: what happened, or why it was not played.
        seconds: from the fault to the last mail.
    """

    fault: str
    happened: str
    count: Count
    seconds: float
    verdict: str

    def as_json(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        about = {"fault": self.fault, "happened": self.happened, "verdict": self.verdict}
        return {**about, **asdict(self.count), "seconds": self.seconds}


def rehearse(stage: Stage, faults: Sequence[Fault], tell: Callable[[str], None]) -> list[Row]:
    """Play the faults, one after the other; ``tell`` hears how it goes.

    At the end, everything is counted once more: a mail that came twice by then counts against the fault it came from.
    """
    rows: list[Row] = []
    played: list[tuple[Row, list[Sent], str]] = []
    for fault in faults:
        row, sent = _play(stage, fault)
        played.append((row, sent, row.verdict))
        _judge(row, stage, sent, row.verdict)
        rows.append(row)
        tell(f"{row.verdict:<11}  {row.fault}: {row.happened} ({row.seconds:.1f} s)")
    tell("waiting for what may still come")
    left, waiting = stage.wait_until_quiet(QUIET_SECONDS)
    for row, sent, verdict in played:
        _judge(row, stage, sent, verdict)
    if waiting:  # wake-ups for what has ended meanwhile, as after a token was replaced
        tell(f"{waiting} wake-ups wait in the ladder, for nothing")
    if left:
        rows.append(Row("afterwards", f"{left} messages are left that nobody takes", Count(), 0.0, BROKEN))
    return rows


def _play(stage: Stage, fault: Fault) -> tuple[Row, list[Sent]]:
    why_not = fault.impossible(stage)
    if why_not:
        return Row(fault.name, why_not, Count(), 0.0, NOT_PLAYED), []
    started, before = time.monotonic(), len(stage.sent)
    problem = ""
    try:
        happened = fault.play(stage)
    except NotInTime as error:
        happened = problem = str(error)
    sent = stage.sent[before:]
    stage.wait_for_mails(sent, PATIENCE_SECONDS)
    row = Row(fault.name, happened, Count(), round(time.monotonic() - started, 1), NOT_REACHED if problem else KEPT)
    stage.calm()
    return row, sent


def _judge(row: Row, stage: Stage, sent: Sequence[Sent], verdict: str) -> None:
    """Count; ``verdict`` is the one if nothing broke."""
    row.count = stage.checker.count(sent)
    row.verdict = verdict if row.count.kept else BROKEN
