"""What can be known about events of which somebody has not heard: for whoever reads of a test that failed elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from simcourier.drill.checks import Sent
from simcourier.drill.stage import Stage

STEPS = 8  # the last ones of a delivery
LINES = 25  # the last ones of each log


def missing_told(stage: Stage) -> str:
    """What the ledger says of each missing event, what lies in the queues, and the ends of the roles' logs."""
    missing = stage.checker.missing(stage.sent)
    told = [f"{len(missing)} of {len(stage.sent)} events are missing; broker and wait ladder hold {stage.left()}."]
    for one in missing:
        told += _of(one)
    for log in sorted((stage.folder / "logs").iterdir()):
        told += [f"--- the end of {log.name}", *_tail(log)]
    return "\n".join(told)


def _of(sent: Sent) -> Iterator[str]:
    from ledger.api import find
    from ledger.models import Step

    views = find(sent.event_id)
    if not views:
        yield f"{sent.event_id}: the ledger knows nothing of it."
    for view in views:
        next_try = f"next attempt in {view.next_in:.0f} s" if view.next_in is not None else "no attempt is due"
        tries = f"{view.failed_tries} failed attempts, {next_try}"
        yield f"{sent.event_id}: {view.state}, {view.stage or 'no step'}, {tries}; reason: {view.reason or 'none'}"
        yield f"  {view.sentence()}"
        steps = Step.objects.filter(delivery_id=view.id).order_by("-at", "-id")[:STEPS]
        yield from (f"  {step.at:%H:%M:%S.%f} {step} ({step.worker})" for step in reversed(steps))
        yield from (f"  mail to {notice}" for notice in view.notices)


def _tail(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-LINES:]
