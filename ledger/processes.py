"""Which process: the one spelling by which leases, locks and the list of the ledger's users agree."""

from __future__ import annotations

import os
import socket


def this_process() -> str:
    """Who this process is: ``host:pid``."""
    return of_this_machine(os.getpid())


def of_this_machine(number: int | str) -> str:
    """The same of another process here, by its number."""
    return f"{socket.gethostname()}:{number}"
