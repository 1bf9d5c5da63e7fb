"""Odd definitions of storage backends through `backends import`, the admin's form and the plugins' models.

    python benchmarks/fuzz_definitions.py [--inputs 20000] [--seed 1] [--database-url postgresql://...]

A document as `simcourier backends export` writes it, and a dump of OPS on the Bench, are changed at one or several
places (see tests/support/guided.py). What must hold: nobody raises; what is refused is refused in a sentence that
shows no secret; what is taken can be read, exported and imported again, and its plugin can be made of it. Ends with 1
if something did not hold.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from django.core.management import call_command

from backends.http import session
from backends.registry import build
from tests.support.guided import ROOT, Run, change_json, fuzz
from tests.support.ledger import settings_for, use_database

CORPUS = ROOT / "tests" / "fixtures" / "corpus" / "definitions"
CANARY = "canary5b0e"
LONGEST = 1000
SITE = {"seafile_server": "https://seafile.example.org"}
ROWS: list[dict[str, Any]] = [
    {
        "storage_backend_id": "local",
        "storage_backend_token": "10.10.160.10:8976",
        "storage_backend_config": {"key": CANARY},
    },
    {
        "storage_backend_id": "dropbox-group",
        "storage_backend_config": {"app_key": "k1", "app_secret": f"s{CANARY}", "refresh_token": f"r{CANARY}"},
        "storage_backend_keep_days": 90,
        "storage_backend_desc": "Of the group",
        "storage_backend_active": False,
    },
    {
        "storage_backend_id": "seafile-bremen",
        "storage_backend_config": {"token": CANARY, "repoid": "0a1b2c3d-0000-4000-8000-000000000001"},
    },
]
OPS = {
    "model": "omnetppManager.storagebackend",
    "pk": 1,
    "fields": {
        "backend_name": "Dropbox OAuth2",
        "backend_identifier": "dropbox_oauth2-1",
        "backend_token": "",
        "backend_config": json.dumps({"app_key": "k1", "refresh_token": f"r{CANARY}"}),
        "backend_keep_days": 7300,
        "backend_description": "old",
        "backend_active": True,
    },
}


def main() -> None:
    """Run it on a ledger of its own and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database-url", help="an empty PostgreSQL database; else SQLite")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        use_database(settings_for(Path(folder), asked.database_url))
        call_command("migrate", verbosity=0)
        run = fuzz_definitions(asked.inputs, asked.seed)
    print(run)
    sys.exit(1 if run.findings else 0)


def fuzz_definitions(inputs: int, seed: int) -> Run:
    """So many documents, on the migrated ledger that Django uses."""
    rows = [{"storage_backend": "A name", **row} for row in ROWS]
    documents: list[Any] = [{"format": "simcourier-backends-1", "backends": [row]} for row in rows]
    documents += [{"format": "simcourier-backends-1", "backends": rows}, [OPS]]
    seeds = [json.dumps(document).encode() for document in documents]
    seeds += [file.read_bytes() for file in sorted(CORPUS.glob("*"))]
    return fuzz(handle, seeds, change_json, count=inputs, seed=seed)


def handle(body: bytes) -> str:
    """Import it, and type each of its definitions into the form; what became of it."""
    from ledger.exchange import NotReadable, import_definitions
    from ledger.models import StorageBackend

    text = body.decode("utf-8", "replace")
    try:
        imported = list(import_definitions(text, [], SITE, replace=False))
    except NotReadable as error:
        _expect_sentence(str(error))
        return f"unreadable {_gist(str(error))}"
    for one in imported:
        _expect_sentence(one.reason, besides=one.identifier)
    said = [_form(row) for row in _rows(text)]
    if any(one.outcome == "added" for one in imported):
        _expect_usable()
        StorageBackend.objects.all().delete()
        return f"added {said}"
    return f"refused {[_gist(one.reason) for one in imported]} {said}"


def _expect_usable() -> None:
    from ledger.definitions import definitions
    from ledger.exchange import exported, import_definitions

    stored = definitions()
    with session() as http:
        for one in stored:
            build(one.identifier, one.token.get_secret_value(), one.config_values(), http, SITE)
    again = exported(stored, secrets=True)
    outcomes = {
        one.outcome for one in import_definitions(again, [one.identifier for one in stored], SITE, replace=True)
    }
    assert outcomes <= {"changed"}, f"what was exported is not taken again: {outcomes}"
    assert exported(definitions(), secrets=True) == again


def _form(row: Any) -> str:
    """What the admin's form says of it."""
    from ledger.forms import StorageBackendForm

    if not isinstance(row, dict):
        return ""
    typed = {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.items()}
    form = StorageBackendForm(data=typed)
    form.is_valid()
    told = [text for texts in form.errors.values() for text in texts]
    for text in told:
        _expect_sentence(str(text), besides=str(row.get("storage_backend_id")))
    return _gist(" ".join(map(str, told)))


def _rows(text: str) -> list[Any]:
    document = json.loads(text)
    return document["backends"][:5] if isinstance(document, dict) else []


def _expect_sentence(text: str, *, besides: str = "") -> None:
    assert len(text) <= LONGEST, f"a sentence of {len(text)} characters"
    assert CANARY not in text or CANARY in besides, "a secret is shown"


def _gist(text: str) -> str:
    return re.sub(r"[0-9]+|'[^']*'", "", text)[:80]


if __name__ == "__main__":
    main()
