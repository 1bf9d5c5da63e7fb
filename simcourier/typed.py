"""How the command line was called, for commands that are shown to be typed next."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def program() -> str:
    """``simcourier``, or the path that was typed where a shell would not find it by its name."""
    called = Path(sys.argv[0])
    if called.name != "simcourier" or len(called.parts) == 1:
        return "simcourier"
    found = shutil.which("simcourier")
    return "simcourier" if found and Path(found).resolve() == called.resolve() else str(called)
