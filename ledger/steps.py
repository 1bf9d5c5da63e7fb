"""The receipt of a delivery: what was done for it, when and by whom. Rows are only added."""

from __future__ import annotations

from uuid import UUID

from django.db.models.functions import Now

from ledger.models import Step
from ledger.states import StepKind


def note(
    delivery_id: UUID,
    what: StepKind,
    *,
    worker: str = "",
    size: int | None = None,
    sha256: str = "",
    detail: str = "",
) -> None:
    """Add a step; within the transaction that makes the move, so that the two cannot differ."""
    Step.objects.bulk_create(
        [Step(delivery_id=delivery_id, at=Now(), what=what, worker=worker, size=size, sha256=sha256, detail=detail)]
    )
