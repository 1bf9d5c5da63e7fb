# ruff: noqa: INP001, T201 - a script to be read and run
"""Run the M/M/1 example simulator and publish that its results are there.

python examples/publish_mm1.py anna@example.org local
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from simcourier import publish


def main(recipient: str, backend: str) -> None:
    """Simulate, then publish: the recipient gets a link to the results in the storage backend."""
    results = Path("results/mm1")
    ended = subprocess.run(
        [sys.executable, "-m", "producer.mm1", "--arrival-rate", "0.8", "--customers", "10000", "--output", results],
        check=False,
    )
    published = publish(
        results,
        to=recipient,
        backend=backend,
        title="M/M/1, arrival rate 0.8",
        simulator="producer.mm1",
        configuration={"arrivalRate": 0.8, "serviceRate": 1.0},
        outcome="succeeded" if ended.returncode == 0 else "failed",
        exit_code=ended.returncode,
    )
    print(f"{published.event_id}: {published.state} {published.reason}")


if __name__ == "__main__":
    main(*sys.argv[1:])
