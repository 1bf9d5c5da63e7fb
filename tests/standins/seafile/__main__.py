"""``python -m tests.standins.seafile --folder DIR``: says where it is in one line of JSON, serves until SIGTERM."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

from tests.standins.control import serve_control
from tests.standins.faults import Fault
from tests.standins.seafile.library import Library
from tests.standins.seafile.server import listen
from tests.standins.seafile.service import LIBRARY_PASSWORD, ONE_TIME, PASSWORD, USER, Seafile


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the bytes are kept")
    parser.add_argument("--c-server", action="store_true", help="be the file server that is written in C")
    given = parser.parse_args()
    library = Library(given.folder)
    service = Seafile(library, c_server=given.c_server)
    server = listen(service)

    def advance(seconds: Any) -> None:
        library.skew += float(seconds)

    control = serve_control(
        {
            "state": lambda _: service.state(),
            "fail": lambda fault: service.faults.add(Fault(**fault)),
            "heal": lambda _: service.faults.clear(),
            "advance": advance,
            "change": service.change,
            "restart": lambda _: service.restart(),
            "reset": lambda _: service.reset(),
        }
    )
    facts = {
        "server": f"http://{service.address}",
        "control": control,
        "token": service.token,
        "repo_token": service.repo_token,
        "repoid": library.id,
        "user": USER,
        "password": PASSWORD,
        "one_time": ONE_TIME,
        "library_password": LIBRARY_PASSWORD,
    }
    print(json.dumps(facts), flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.serve_forever()


main()
