"""A child process ends when its parent has: the parent holds one end of a pipe and never writes to it.

Unlike a signal, this also works when the parent was killed with SIGKILL.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import MutableMapping

VARIABLE = "SIMCOURIER_LIFELINE"


def watch(environ: MutableMapping[str, str]) -> None:
    """In a child: send SIGTERM to ourselves once the parent is gone. Does nothing without a lifeline."""
    number = environ.pop(VARIABLE, None)
    if number is None:
        return
    handle = int(number)
    os.set_inheritable(handle, False)

    def wait() -> None:
        while os.read(handle, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
