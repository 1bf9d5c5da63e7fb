"""Events to work with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from messaging.messages import Completed, SimulationCompleted

MOMENT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


def event(results: Path | str = "/nowhere", event_id: UUID | None = None, **data: Any) -> SimulationCompleted:
    """A ``simulation.completed``; ``data`` replaces fields of the sample."""
    location = results if isinstance(results, str) and ":" in results else Path(results).absolute().as_uri()
    fields: dict[str, Any] = {
        "simulation_id": "mm1-1",
        "title": "M/M/1",
        "results": {"location": location},
        "backend": "memory",
        "recipients": ["anna@example.org"],
    }
    completed = Completed.model_validate(fields | data)
    return SimulationCompleted.of(completed, source="//test/simcourier", time=MOMENT, event_id=event_id)
