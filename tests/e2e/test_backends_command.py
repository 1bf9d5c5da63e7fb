"""``simcourier backends``, as an operator types it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.installation import KEY, Installation, stored_archives

CANARY = "canary-71c2e9"


@pytest.fixture
def one(tmp_path: Path, ledger_template: Path) -> Iterator[Installation]:
    with Installation(tmp_path / "data", template=ledger_template) as installation:
        yield installation


def listed(one: Installation) -> dict[str, dict[str, object]]:
    return {row["id"]: row for row in json.loads(one.simcourier("backends", "list", "--json").stdout)}


def test_check_says_each_step_in_words_and_leaves_nothing_behind(one: Installation) -> None:
    one.start_cloud()

    told = one.simcourier("backends", "check").stdout

    for step in ("sign in: local cloud at http://127.0.0.1", "free", "store: ", "link: made; it ends on", "delete: "):
        assert step in told
    assert "FAILED" not in told
    assert stored_archives(one) == []
    # The link is asked for as a delivery's is: a service may refuse one that ends too early, or too late.
    end = datetime.now(UTC) + timedelta(days=int(str(listed(one)["local"]["keep_days"])) + 5)
    assert f"{end:%d %B %Y}" in told


def test_check_of_a_service_that_is_away_fails_with_a_sentence(one: Installation) -> None:
    done = one.simcourier("backends", "check", "local", check=False)

    assert done.returncode == 1
    assert "FAILED  sign in: The local cloud cannot be reached." in done.stdout
    assert "Traceback" not in done.stderr
    unknown = one.simcourier("backends", "check", "dropbox", check=False)
    assert unknown.stderr == "Error: No storage backend has the identifier 'dropbox'; there are local.\n"


def test_what_is_not_given_stays_when_a_definition_is_changed(one: Installation, tmp_path: Path) -> None:
    one.start_cloud()
    one.simcourier("backends", "add", "local", "--keep-days", "7", "--description", "Ours")

    assert (listed(one)["local"]["name"], listed(one)["local"]["keep_days"]) == ("Local cloud", 7)
    one.simcourier("backends", "check", "local")  # the address and the key are still there
    (tmp_path / "config").write_text("[1]")
    wrong = one.simcourier("backends", "add", "local", "--config-file", str(tmp_path / "config"), check=False)
    assert wrong.returncode == 2
    assert "must be a JSON object" in wrong.stderr


def test_definitions_go_out_and_in_again(one: Installation, tmp_path: Path) -> None:
    file = tmp_path / "backends.json"
    assert KEY not in one.simcourier("backends", "export").stdout
    assert one.simcourier("backends", "export", "--with-secrets", check=False).returncode == 2
    one.simcourier("backends", "export", "--with-secrets", "-o", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    assert KEY in file.read_text()
    document = json.loads(file.read_text())
    document["backends"][0]["storage_backend_desc"] = "changed"
    document["backends"].append({**document["backends"][0], "storage_backend_id": "local-second"})
    document["backends"].append({"storage_backend": "x", "storage_backend_id": "nosuch"})
    file.write_text(json.dumps(document))

    first = one.simcourier("backends", "import", str(file), check=False)

    assert first.returncode == 1
    assert "local: kept" in first.stdout
    assert "local-second: added." in first.stdout
    assert first.stderr.startswith("nosuch: refused: There is no storage plugin 'nosuch'; installed are ")
    assert "local: changed." in one.simcourier("backends", "import", str(file), "--replace", check=False).stdout
    assert listed(one)["local-second"]["description"] == "changed"
    assert "is no JSON" in one.simcourier("backends", "import", "/dev/null", check=False).stderr


def test_a_dump_of_ops_on_the_bench_is_imported(one: Installation, tmp_path: Path) -> None:
    """The fields are those of its model ``omnetppManager.storagebackend``; the config is a text there."""
    file = tmp_path / "dump.json"
    fields = {
        "backend_name": "Local store",
        "backend_description": "of the group",
        "backend_identifier": "local-ops",
        "backend_token": "10.10.160.10:8976",
        "backend_config": "",
        "backend_active": False,
        "backend_keep_days": 14,
    }
    other = {"backend_name": "n", "backend_identifier": "local-bad", "backend_token": "", "backend_config": "no JSON"}
    rows = [
        {"model": "omnetppManager.storagebackend", "pk": pk, "fields": row} for pk, row in enumerate([fields, other])
    ]
    file.write_text(json.dumps([{"model": "auth.user", "pk": 1, "fields": {}}, *rows]))

    done = one.simcourier("backends", "import", str(file), check=False)

    assert "local-ops: added." in done.stdout
    assert "local-bad: refused: storage_backend_config" in done.stderr
    assert listed(one)["local-ops"] == {
        "id": "local-ops",
        "name": "Local store",
        "description": "of the group",
        "keep_days": 14,
        "active": False,
        "health": "ok",
    }
    told = [line.split() for line in one.simcourier("backends", "list").stdout.splitlines()]
    assert ["local-ops", "Local", "store", "14", "no", "ok"] in told


def test_the_secret_key_is_replaced_by_listing_the_old_one(one: Installation, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(json.dumps({"key": CANARY}))
    one.simcourier("backends", "add", "local", "--config-file", str(config))
    old = one.environ["SIMCOURIER_SECRET_KEY"]
    one.environ["SIMCOURIER_SECRET_KEY"] = "another secret key, at least as long as it must be"
    refused = one.simcourier("backends", "list", check=False)
    assert refused.returncode == 2
    assert "SIMCOURIER_SECRET_KEY_FALLBACKS" in refused.stderr

    one.environ["SIMCOURIER_SECRET_KEY_FALLBACKS"] = f"a key that never was in use, {old}"
    one.simcourier("backends", "rotate-key")
    del one.environ["SIMCOURIER_SECRET_KEY_FALLBACKS"]

    one.simcourier("backends", "export", "--with-secrets", "-o", str(tmp_path / "out"))
    assert CANARY in (tmp_path / "out").read_text()
