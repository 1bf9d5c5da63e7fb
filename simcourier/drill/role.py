"""``python -m simcourier.drill.role worker ...``: the command line, in which fault points obey a rehearsal's orders.

Only here is a fault ever installed; ``simcourier`` itself refuses to start with this module's variable set, as with any
that it does not know.
"""

from __future__ import annotations

import os
from pathlib import Path

from messaging import faults
from simcourier.drill.orders import obey

VARIABLE = "SIMCOURIER_REHEARSAL"
"""Names the folder of the orders."""


def main() -> None:
    """Install the faults and run the command."""
    faults.install(obey(Path(os.environ.pop(VARIABLE))))
    from simcourier.__main__ import main as simcourier

    simcourier()


if __name__ == "__main__":
    main()
