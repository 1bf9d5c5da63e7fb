"""``python -m tests.standins.dropbox --folder DIR``: says where it is in one line of JSON, serves until SIGTERM."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

from tests.standins.control import serve_control
from tests.standins.dropbox import tls
from tests.standins.dropbox.server import Dropbox, listen
from tests.standins.dropbox.sign_in import APP_KEY, APP_SECRET, SCOPES
from tests.standins.faults import Fault


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the bytes are kept")
    folder: Path = parser.parse_args().folder
    ca_file, context = tls.make(folder)
    service = Dropbox(folder)
    server = listen(service, context)
    account, sign_in = service.account, service.sign_in

    def advance(seconds: Any) -> None:
        account.skew += float(seconds)

    def plan(how: Any) -> None:
        account.paid = bool(how.get("paid", account.paid))
        account.allocated = int(how.get("allocated", account.allocated))

    def revoke(_: Any) -> None:
        for token in sign_in.refresh_tokens.values():
            token.revoked = True

    def content(path: Any) -> str | None:
        entry = account.find(str(path))
        return str(entry.data) if entry is not None and entry.data is not None else None

    control = serve_control(
        {
            "state": lambda _: service.state(),
            "fail": lambda fault: service.faults.add(Fault(**fault)),
            "heal": lambda _: service.faults.clear(),
            "advance": advance,
            "plan": plan,
            "revoke": revoke,
            "grant": lambda how: sign_in.grant(**({"scopes": frozenset(how)} if how else {"scopes": SCOPES})),
            "content": content,
        }
    )
    facts = {
        "address": service.address,
        "control": control,
        "ca": str(ca_file),
        "app_key": APP_KEY,
        "app_secret": APP_SECRET,
        "refresh_token": sign_in.grant(),
    }
    print(json.dumps(facts), flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.serve_forever()


main()
