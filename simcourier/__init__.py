"""SimCourier's public face.

Simulators write ``from simcourier import publish``, plugin authors ``from simcourier.plugins import Backend``; the
component packages behind it (``messaging``, ``producer``, ...) may be rearranged at any time.
"""

from __future__ import annotations

from simcourier._version import __version__

# As type checkers understand it. Until `simcourier.__main__` runs, Ctrl-C shows a traceback: nothing is imported here
# that takes time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from producer import Producer, Published, publish, run

__all__ = ["Producer", "Published", "__version__", "publish", "run"]


def __getattr__(name: str) -> Any:
    if name in {"Producer", "Published", "publish", "run"}:
        return getattr(_ours("producer"), name)
    raise AttributeError(f"module 'simcourier' has no attribute {name!r}")


def _ours(package: str) -> Any:
    """Import a component and make sure that it is ours: its name is a plain word that another file may bear."""
    from importlib import import_module
    from pathlib import Path

    module = import_module(package)
    found = Path(module.__file__ or "?").resolve()
    expected = Path(__file__).resolve().parent.parent / package
    if found.parent != expected:
        raise ImportError(
            f"SimCourier's package '{package}' is hidden by {found}. Rename that file, or start Python elsewhere."
        )
    return module
