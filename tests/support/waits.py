"""The ``simcourier`` command, which waits once at a fault point until it is told to go on.

python -m tests.support.waits POINT FILE worker

Whoever passes the point first makes the file, and waits until it is gone.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from messaging import faults


def main(point: str, file: Path, arguments: list[str]) -> None:
    """Install the fault and run the command."""
    first = threading.Lock()

    def wait(name: str) -> None:
        if name == point and first.acquire(blocking=False):
            file.touch()
            while file.exists():
                time.sleep(0.01)

    faults.install(wait)
    from simcourier.cli import main as simcourier

    simcourier(arguments)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
