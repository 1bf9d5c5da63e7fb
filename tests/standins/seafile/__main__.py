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
from tests.standins.seafile.server import ONE_TIME, PASSWORD, USER, Seafile, listen

LIBRARY = {"encrypted", "gone", "permission", "total", "largest"}
SERVICE = {"two_factor", "force_days", "old_links", "link_host", "single_use", "translated", "c_server"}


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

    def change(how: dict[str, Any]) -> None:
        for name, value in how.items():
            if name not in LIBRARY | SERVICE:
                raise ValueError(name)
            target: object = library if name in LIBRARY else service
            setattr(target, name, tuple(value) if isinstance(value, list) else value)

    def restart(_: Any) -> None:
        library.links.clear()

    control = serve_control(
        {
            "state": lambda _: service.state(),
            "fail": lambda fault: service.faults.add(Fault(**fault)),
            "heal": lambda _: service.faults.clear(),
            "advance": advance,
            "change": change,
            "restart": restart,
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
    }
    print(json.dumps(facts), flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.serve_forever()


main()
