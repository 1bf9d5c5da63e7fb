"""The ``simcourier`` command, ended by SIGKILL when it passes a fault point for the first time.

python -m tests.support.dies POINT worker
"""

from __future__ import annotations

import os
import signal
import sys

from messaging import faults


def main(point: str, arguments: list[str]) -> None:
    """Install the fault and run the command."""

    def die(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    faults.install(die)
    from simcourier.cli import main as simcourier

    simcourier(arguments)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
