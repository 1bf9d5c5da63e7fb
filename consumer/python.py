"""Another Python like this one."""

from __future__ import annotations

import os
import sys


def environment() -> dict[str, str]:
    """Where we were found, we are found again."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
