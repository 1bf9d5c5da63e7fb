"""A service that repeats the key it was sent: nobody reads it, wherever the answer is told."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from click.testing import CliRunner

from messaging import logs, secrecy
from messaging.engine import Taken
from messaging.settings import Settings
from tests.support.echo import echo_server
from tests.support.events import event
from tests.support.ledger import SECRET

if TYPE_CHECKING:
    from consumer.results import ResultsWorker

CANARY = "canary-key-that-comes-back"


@pytest.fixture
def worker(sqlite_ledger: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ResultsWorker]:
    from consumer.decide import Policy
    from consumer.lease import LeaseKeeper
    from consumer.results import ResultsWorker
    from consumer.stop import Stop
    from consumer.workshop import Workshop
    from ledger.api import Deliveries, define

    del sqlite_ledger
    monkeypatch.setattr(secrecy, "_known", {})
    deliveries = Deliveries("host:1", lease=30, overdue=60)
    workshop = Workshop(
        deliveries=deliveries, archives=tmp_path / "archives", roots=(), site={}, operator="", mail_patience=timedelta()
    )
    keeper = LeaseKeeper(deliveries, Stop(1))
    keeper.start()
    with echo_server() as address:
        define("local", token=address, config={"key": CANARY})
        yield ResultsWorker(workshop, keeper, Policy())
    keeper.close()


def test_a_key_that_a_service_repeats_is_blacked_out_in_ledger_log_and_commands(
    worker: ResultsWorker, sqlite_ledger: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ledger.models import Delivery
    from simcourier.cli import main

    results = tmp_path / "results"
    results.mkdir()
    (results / "a.csv").write_text("t,x\n0,1\n")
    one = event(results, backend="local")
    logs.configure("worker")
    structlog.configure(cache_logger_on_first_use=False)  # else what other tests capture would be told here for good
    worker.handle(Taken("results", one.to_bytes(), str(one.id), {}, False, None, None))

    reason = Delivery.objects.get(id=one.id).reason
    assert "answered 400" in reason
    assert "Bearer ***" in reason
    environ = {"SIMCOURIER_DATA_DIR": str(sqlite_ledger.data_dir), "SIMCOURIER_SECRET_KEY": SECRET}
    told = {"log": capsys.readouterr().out}
    for command in (f"where {one.id}", f"where {one.id} --json", "backends check local", "backends check local --json"):
        told[command] = CliRunner().invoke(main, command.split(), env=environ).output
    with closing(sqlite3.connect(sqlite_ledger.data_dir / "simcourier.db")) as database:
        told["database"] = "\n".join(database.iterdump())

    assert "answered 400" in told["backends check local --json"]
    assert json.loads(told[f"where {one.id} --json"])[0]["reason"] == reason
    assert [where for where, text in told.items() if CANARY in text] == []
