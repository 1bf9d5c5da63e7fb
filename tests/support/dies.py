"""The ``simcourier`` command, ended by SIGKILL when it passes a fault point.

python -m tests.support.dies POINT[:TIMES][/HELD] worker

TIMES: how often it passes the point, the last one included, 1 if left out. HELD: a point at which threads wait
meanwhile, so that what they would do is not done before.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from itertools import count

from messaging import faults


def main(where: str, arguments: list[str]) -> None:
    """Install the fault and run the command."""
    where, _, held = where.partition("/")
    point, _, times = where.partition(":")
    passes = count(1)

    def die(name: str) -> None:
        if name == held:
            threading.Event().wait()
        if name == point and next(passes) == int(times or 1):
            os.kill(os.getpid(), signal.SIGKILL)

    faults.install(die)
    from simcourier.cli import main as simcourier

    simcourier(arguments)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
