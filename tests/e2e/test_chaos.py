"""Whatever fails wherever: one link and one mail each. Seen from outside: a real mail server, and the links' bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from messaging.topology import Topology
from simcourier.drill import rehearse
from simcourier.drill.faults import Fault
from simcourier.drill.orders import How
from simcourier.drill.points import points_of
from simcourier.drill.services import Services, embedded, private_nodes
from simcourier.drill.stage import LEASE_SECONDS, NotInTime, Stage
from simcourier.drill.storm import Weather, storm
from tests.support.broker import delete_queues
from tests.support.commands import environ, simcourier
from tests.support.missing import missing_told
from tests.support.pages import blocks, with_programs
from tests.support.stage import new_stage

# A mail's lease is five of a delivery's.
HANG_SECONDS = {"mail": 6.5 * LEASE_SECONDS, "email-sender": 6.5 * LEASE_SECONDS}
# Where the engine has no part, an exception shows on the second one what a killed process shows on the first.
WITHIN = ("delivery.", "mail.", "lease.")
# At most one mail more for each of these: nobody can know whether the first one was sent.
DATA_WINDOW = {"mail.data", "mail.accepted", "mail.sent"}
ENGINES = ["embedded", pytest.param("grown", marks=[pytest.mark.rabbitmq, pytest.mark.postgresql])]


@pytest.fixture(params=ENGINES)
def stage(request: pytest.FixtureRequest, tmp_path: Path, topology: Topology, ledger_template: Path) -> Iterator[Stage]:
    """Real processes on the embedded default; and on RabbitMQ with PostgreSQL."""
    if request.param == "embedded":
        with embedded() as services, new_stage(tmp_path / "stage", services, template=ledger_template) as stage:
            yield stage
        return
    url: str = request.getfixturevalue("amqp_url")
    database_url: str = request.getfixturevalue("new_database_url")()
    services = Services("RabbitMQ and PostgreSQL", url, database_url, topology.prefix)
    with new_stage(tmp_path / "stage", services) as stage:
        yield stage
    delete_queues(url, Topology(prefix=topology.prefix))


def play(stage: Stage, name: str, how: How) -> None:
    """Let somebody fail at a point; what becomes of it is seen later, while others fail elsewhere."""
    group = name.partition(".")[0]
    point = points_of(stage)[name]
    stage.orders.give(name, how, HANG_SECONDS.get(group, 2.5 * LEASE_SECONDS))
    point.provoke(stage)
    stage.wait_for(f"{point.who} passes {name}", lambda: not stage.orders.pending(name))


def scattered(names: list[str]) -> list[str]:
    """Neighbours apart: a delivery is not to meet the next fault as well, or its workers end too often in a row."""
    return [name for start in range(4) for name in names[start::4]]


def expect_kept(stage: Stage, uncertain: int) -> None:
    assert stage.wait_for_mails(stage.sent, 90), missing_told(stage)
    stage.calm()
    left, _ = stage.wait_until_quiet(60)
    count = stage.checker.count(stage.sent)

    assert count.faults == []
    assert (count.lost, count.twice, left) == (0, 0, 0)
    assert count.links == sum(one.link for one in stage.sent)
    assert count.uncertain <= uncertain


def test_a_failure_at_any_point_loses_nothing_and_doubles_nothing(stage: Stage) -> None:
    names = scattered(list(points_of(stage)))
    for name in names:
        play(stage, name, "kill" if stage.services.embedded or not name.startswith(WITHIN) else "raise")

    expect_kept(stage, uncertain=len(DATA_WINDOW))


@pytest.mark.full
@pytest.mark.parametrize("how", ["kill", "raise", "hang"])
def test_each_kind_of_failure_at_any_point_loses_nothing_and_doubles_nothing(stage: Stage, how: How) -> None:
    for name in scattered(list(points_of(stage))):
        play(stage, name, how)

    expect_kept(stage, uncertain=len(DATA_WINDOW))


def test_a_storm_loses_nothing_and_doubles_nothing(tmp_path: Path, ledger_template: Path) -> None:
    with embedded() as services, new_stage(tmp_path / "stage", services, template=ledger_template) as stage:
        report = storm(stage, Weather(100, kill_every=4.0, restarts=1), print)

    assert report.count.faults == []
    assert (report.count.links, report.count.lost, report.count.twice, report.left) == (100, 0, 0, 0)
    assert report.kills >= 3


@pytest.mark.full
@pytest.mark.rabbitmq
@pytest.mark.postgresql
def test_a_storm_with_restarts_of_broker_and_database_loses_nothing_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    with private_nodes() as services, new_stage(tmp_path / "stage", services, workers=4, senders=2) as stage:
        report = storm(stage, Weather(500, restarts=5), print)

    assert report.count.faults == []
    assert (report.count.links, report.count.lost, report.count.twice, report.left) == (500, 0, 0, 0)


def test_a_broken_promise_and_a_fault_that_was_not_reached_are_told(
    tmp_path: Path, ledger_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(stage: Stage) -> str:
        sent = stage.publish()
        stage.sent.append(replace(sent, event_id=str(uuid4())))  # as if it had been accepted
        return "an event that nobody has"

    def never(stage: Stage) -> str:
        stage.publish()
        raise NotInTime("The sky has not fallen.")

    monkeypatch.setattr(rehearse, "PATIENCE_SECONDS", 6.0)
    faults = [Fault("lost", "", lost), Fault("never", "", never), Fault("impossible", "", never, lambda _: "no sky")]
    told: list[str] = []
    with embedded() as services, new_stage(tmp_path / "stage", services, template=ledger_template) as stage:
        rows = rehearse.rehearse(stage, faults, told.append)

    assert [(row.fault, row.verdict) for row in rows] == [
        ("lost", rehearse.BROKEN),
        ("never", rehearse.NOT_REACHED),
        ("impossible", rehearse.NOT_PLAYED),
    ]
    assert [row.count.lost for row in rows] == [1, 0, 0]
    assert rows[1].happened == "The sky has not fallen."
    assert told[0].startswith("BROKEN")


def test_whoever_reads_of_a_missing_mail_is_told_what_is_known(tmp_path: Path, ledger_template: Path) -> None:
    with embedded() as services, new_stage(tmp_path / "stage", services, template=ledger_template) as stage:
        sent = stage.publish()
        assert stage.wait_for_mails([sent], 60)
        stage.wait_until_quiet(30)  # the sender has noted that it was taken
        never = str(uuid4())
        stage.sent += [
            replace(sent, event_id=never),
            replace(sent, recipients=(*sent.recipients, "nobody@example.org")),
        ]

        told = missing_told(stage)

    assert told.startswith("2 of 3 events are missing; ")
    assert f"{never}: the ledger knows nothing of it." in told
    assert f"{sent.event_id}: DELIVERED, no step, 0 failed attempts, no attempt is due; reason: none" in told
    assert f"mail to {sent.recipients[0]}, with the link: SENT" in told
    assert "--- the end of worker-1.log" in told
    assert "delivery.handled" in told


@pytest.mark.full
def test_a_storm_in_the_benchmark_leaves_nothing_behind(tmp_path: Path) -> None:
    words = ["benchmarks/chaos.py", "--embedded", "--deliveries", "3", "--restarts", "0", "--kill-every", "5"]
    done = subprocess.run(
        [sys.executable, *words], env=environ() | {"TMPDIR": str(tmp_path)}, cwd=Path(__file__).parents[2],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr + done.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_operator_rehearses_a_fault() -> None:
    done = simcourier("drill", "--only", "bug", "--json", env=environ())

    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert {row[name] for name in ("lost", "twice", "uncertain")} == {0}
    assert (row["fault"], row["verdict"], row["links"], row["mails"]) == ("bug", "kept", 1, 1)
    assert "embedded broker and ledger" in done.stderr


@pytest.mark.full
@pytest.mark.parametrize(
    "more", ["", pytest.param(" --private-nodes", marks=[pytest.mark.rabbitmq, pytest.mark.postgresql])]
)
def test_an_operator_rehearses_everything(more: str) -> None:
    (shown,) = blocks("docs/drill.md", "Before you trust it: simcourier drill")
    _, guide = blocks("docs/operating.md", "What is missing")
    assert guide.partition("#")[0].strip() == shown.strip()

    done = subprocess.run(
        ["sh", "-ec", shown.strip() + more],
        env=with_programs(environ()), capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.endswith("The promise was kept.\n")
