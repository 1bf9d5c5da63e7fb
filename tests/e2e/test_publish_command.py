"""``simcourier publish`` and ``simcourier spool`` as processes, on the real embedded broker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from messaging.connect import connect
from messaging.messages import Completed, Lane, Results, SimulationCompleted, digest, parse_event
from messaging.topology import Topology
from tests.support.commands import environ, simcourier
from tests.support.host import ROOT, Host
from tests.support.node import NoNode, packages
from tests.support.pages import blocks, type_at


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_an_event_is_accepted_and_its_id_is_told(host: Host) -> None:
    host.start_broker()

    done = host.publish("run", "--title", "rho = 0.8")

    assert (done.returncode, done.stderr) == (0, "")
    (event,) = host.queued()
    assert done.stdout.splitlines() == [
        f"Event {event.id}",
        f"Accepted by the broker: embedded broker (SQLite) in {host.data}/broker.db.",
    ]
    assert event.data.title == "rho = 0.8"
    assert event.data.results.location == host.results.as_uri()
    assert host.spool.entries() == []


def test_all_options_arrive(host: Host) -> None:
    host.start_broker()
    event_id = str(uuid.uuid4())
    options = "--to ben@example.org --fallback dropbox --fallback seafile --campaign study --campaign-runs 40"
    options += " --parameter rho=0.8 --parameter n=10 --parameter policy=fifo --parameter on=true --parameter id=007a"
    options += " --simulator opp --outcome failed --exit-code 3 --label group=queueing --include *.sca --exclude *.elog"

    done = host.publish("run", *options.split(), "--event-id", event_id, "--json")

    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["event_id"], answer["state"], answer["file"]) == (event_id, "sent", None)
    (event,) = host.queued(Lane.CAMPAIGN)
    data = event.data
    assert str(event.id) == event_id
    assert data.recipients == ("anna@example.org", "ben@example.org")
    assert data.fallback_backends == ("dropbox", "seafile")
    assert data.campaign is not None
    assert (data.campaign.id, data.campaign.runs) == ("study", 40)
    assert data.campaign.parameters == {"rho": 0.8, "n": 10, "policy": "fifo", "on": True, "id": "007a"}
    assert (data.simulator, data.outcome, data.exit_code, data.labels) == ("opp", "failed", 3, {"group": "queueing"})
    assert (data.results.include, data.results.exclude) == (("*.sca",), ("*.elog",))


def test_while_the_broker_is_away_events_wait_and_then_go_in_order(host: Host) -> None:
    for name in ("1", "2"):
        done = host.publish(name)
        assert (done.returncode, done.stderr) == (0, "")
        assert "The broker is away: Nobody has started SimCourier here yet" in done.stdout
        assert f"stays in the spool at {host.data}/spool/" in done.stdout
        assert "`simcourier spool flush`" in done.stdout
    waiting = json.loads(host.command("spool", "list", "--json").stdout)
    assert [row["simulation_id"] for row in waiting] == ["1", "2"]
    flushed = host.command("spool", "flush")
    assert (flushed.returncode, flushed.stderr) == (0, "")
    assert "The broker is away" in flushed.stdout
    assert "2 events stay in the spool" in flushed.stdout

    host.start_broker()
    assert host.publish("3").returncode == 0

    assert host.names() == ["1", "2", "3"]
    assert host.command("spool", "list").stdout == "The spool is empty.\n"


def test_flush_sends_what_waits(host: Host) -> None:
    for name in ("1", "2"):
        host.publish(name)
    host.start_broker()

    done = host.command("spool", "flush")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"2 sent to embedded broker (SQLite) in {host.data}/broker.db.\n"
    assert host.names() == ["1", "2"]
    assert host.command("spool", "flush").stdout == "The spool is empty.\n"


def test_an_unroutable_event_stays_and_the_reason_is_told(host: Host) -> None:
    host.start_broker()

    done = host.publish("run", SIMCOURIER_BROKER_PREFIX="nobody")

    assert done.returncode == 1
    (entry,) = host.spool.entries()
    assert done.stdout == f"Event {entry.event_id}\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: Event {entry.event_id} was not accepted and stays in the spool at {entry.path}: ")
    assert "no queue for 'simulation.completed.single'" in line


def test_a_refused_event_in_the_middle_stays_and_those_behind_it_go(host: Host) -> None:
    host.publish("before")
    refused = host.spool.put(too_large())
    host.start_broker()

    done = host.publish("after")

    assert done.returncode == 0
    assert host.names() == ["before", "after"]
    assert f"An earlier event stays in the spool as {refused.path}" in done.stderr
    assert host.spool.entries() == [refused]
    flushed = host.command("spool", "flush")
    assert flushed.returncode == 1
    assert f"{refused.path}: The message has" in flushed.stderr
    assert host.names() == []


def test_a_spool_that_takes_no_more_is_told_in_json_too(host: Host) -> None:
    host.publish("before")

    done = host.publish("one too many", "--json", SIMCOURIER_SPOOL_MAX_EVENTS="1")

    answer = json.loads(done.stdout)
    assert (done.returncode, answer["state"], answer["event_id"]) == (1, "not kept", None)
    assert "this one was not kept" in answer["reason"]
    assert answer["reason"] in done.stderr


def test_a_damaged_file_is_set_aside_and_listed(host: Host) -> None:
    damaged = host.spool.put(too_large())
    damaged.path.write_bytes(b"\x00" * 4096)
    host.start_broker()

    flushed = host.command("spool", "flush")

    assert (flushed.returncode, flushed.stdout) == (1, "")
    assert f"set aside as {damaged.path}.damaged" in flushed.stderr
    (row,) = json.loads(host.command("spool", "list", "--json").stdout)
    assert row == {"state": "damaged", "file": f"{damaged.path}.damaged"}


@pytest.mark.parametrize(
    ("point", "spooled", "messages"),
    [
        ("spool.filled", 0, 0),  # nothing was promised yet, nobody has seen an id
        ("spool.renamed", 1, 1),
        ("spool.written", 1, 1),
        ("spool.published", 1, 2),  # twice the same event: whoever gets it counts it once
        ("spool.removed", 0, 1),
    ],
)
def test_a_kill_between_any_two_steps_loses_no_event(host: Host, point: str, spooled: int, messages: int) -> None:
    host.start_broker()

    killed = host.publish("run", kill_at=point)

    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout == ""
    assert len(host.spool.entries()) == spooled
    assert host.publish("next").returncode == 0
    *ours, following = host.queued()
    assert following.data.simulation_id == "next"
    assert len(ours) == messages
    assert len({digest(event.to_bytes()) for event in ours}) == min(messages, 1)
    assert host.spool.entries() == []
    assert host.spool.damaged() == []


def test_processes_that_publish_at_the_same_time_send_each_event_once(host: Host) -> None:
    host.start_broker()
    host.spool.put(too_large())
    outputs: list[subprocess.CompletedProcess[str]] = []
    threads = [
        threading.Thread(target=lambda name: outputs.append(host.publish(name)), args=(name,)) for name in "abcd"
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [done.returncode for done in outputs] == [0, 0, 0, 0]
    assert all("Accepted by the broker" in done.stdout for done in outputs)
    assert sorted(host.names()) == list("abcd")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--to", "ben"], "--to: 'ben' is no email address."),
        (["--parameter", "rho"], "--parameter: NAME=VALUE is expected, not 'rho'."),
        (["--campaign-runs", "3"], "--campaign-runs: belongs to a campaign"),
        (["--event-id", "7"], "--event-id: '7' is no UUID."),
    ],
)
def test_wrong_use_is_one_sentence_and_nothing_is_spooled(host: Host, options: list[str], sentence: str) -> None:
    done = host.publish("run", *options)

    assert done.returncode == 2
    assert sentence in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not host.data.exists()


def test_a_results_folder_that_does_not_exist_is_refused(host: Host) -> None:
    done = host.command("publish", f"{host.results}/nowhere", "--to", "anna@example.org", "--backend", "local")

    assert done.returncode == 2
    assert f"DIR: {host.results}/nowhere does not exist on this host" in done.stderr


def test_help_works_with_wrong_settings(host: Host) -> None:
    for arguments in (["publish"], ["spool", "flush"]):
        done = host.command(*arguments, "--help", SIMCOURIER_CONCURRENCY="many")
        assert done.returncode == 0
        assert "Example:" in done.stdout


class Api(BaseHTTPRequestHandler):
    """The JSON API's part that ``--wait`` asks: one answer after the other, the last one for good."""

    answers: list[tuple[int, dict[str, Any]]]

    def do_GET(self) -> None:
        if not self.path.startswith("/api/deliveries/"):
            self.send_error(400)
            return
        status, document = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def site() -> Iterator[tuple[str, type[Api]]]:
    class Answers(Api):
        answers: list[tuple[int, dict[str, Any]]] = []  # noqa: RUF012 - a class of its own for every test

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", Answers
        server.shutdown()
        thread.join()


def test_wait_ends_with_the_link(host: Host, site: tuple[str, type[Api]]) -> None:
    url, api = site
    link = "http://cloud.example.org/abc"
    api.answers = [
        (404, {}),
        (200, {"state": "WORKING", "stage": "packaging", "reason": "", "link": None}),
        (200, {"state": "DELIVERED", "stage": "", "reason": "", "link": link}),
    ]
    host.start_broker()

    done = host.publish("run", "--wait", SIMCOURIER_PUBLIC_URL=url)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[2:] == [
        "Not recorded yet (a worker does that).",
        "WORKING, packaging",
        "DELIVERED",
        link,
    ]


def test_wait_ends_with_the_reason_of_a_failure(host: Host, site: tuple[str, type[Api]]) -> None:
    url, api = site
    api.answers = [(200, {"state": "FAILED", "stage": "storing", "reason": "The account is full.", "link": None})]
    host.start_broker()

    done = host.publish("run", "--wait", "--json", SIMCOURIER_PUBLIC_URL=url)

    assert done.returncode == 1
    assert json.loads(done.stdout)["delivery"]["reason"] == "The account is full."
    assert done.stderr.splitlines()[-1] == "Error: There is no link, the delivery is FAILED: The account is full."


def test_wait_is_not_content_with_the_link_of_another_event_under_the_same_id(
    host: Host, site: tuple[str, type[Api]]
) -> None:
    url, api = site
    host.start_broker()
    event_id = str(uuid.uuid4())
    host.publish("run", "--event-id", event_id)
    (before,) = host.queued()
    delivered = {"state": "DELIVERED", "stage": "", "reason": "", "link": "http://cloud.example.org/abc"}
    api.answers = [(200, delivered | {"event_digest": digest(before.to_bytes())})]

    same = host.publish("run", "--event-id", event_id, "--wait", SIMCOURIER_PUBLIC_URL=url)
    other = host.publish("run", "--event-id", event_id, "--title", "x", "--wait", SIMCOURIER_PUBLIC_URL=url)

    assert (same.returncode, same.stdout.splitlines()[-1]) == (0, "http://cloud.example.org/abc")
    assert other.returncode == 1
    assert "http://cloud.example.org/abc" not in other.stdout
    assert other.stderr.splitlines()[-1].startswith(
        f"Error: There is no link: another event was accepted under the id {event_id} before"
    )


def test_wait_says_that_the_site_cannot_be_reached(host: Host) -> None:
    host.start_broker()

    done = host.publish("run", "--wait", SIMCOURIER_PUBLIC_URL="http://127.0.0.1:1")

    assert done.returncode == 1
    assert "The broker has the event" in done.stderr
    assert "http://127.0.0.1:1 cannot be asked (Connection refused); start 'simcourier up'" in done.stderr
    assert host.names() == ["run"]


def test_wait_does_not_wait_for_an_event_that_is_only_spooled(host: Host) -> None:
    done = host.publish("run", "--wait")

    assert done.returncode == 1
    assert "stays in the spool" in done.stdout
    assert "no link to wait for" in done.stderr


@pytest.mark.rabbitmq
@pytest.mark.parametrize("client", ["amqp-publish", pytest.param("node", marks=pytest.mark.full)])
def test_the_documented_commands_of_other_clients_reach_both_queues(
    amqp_url: str, topology: Topology, tmp_path: Path, client: str
) -> None:
    """Debian's amqp-tools are written in C, npm's amqplib is in JavaScript."""
    if shutil.which(client) is None:
        pytest.skip(f"{client} is not installed")
    amqp_publish, node = blocks("docs/simulators.md", "Any other AMQP client")
    url = amqp_url.rstrip("/") + "/%2F" if amqp_url.count("/") < 4 or amqp_url.endswith("/") else amqp_url
    here = {"simcourier.events.v1": topology.exchange}
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    example = ROOT / "docs" / "examples" / "simulation-completed.json"
    queues = [topology.lane(Lane.SINGLE), topology.recorder]
    with connect(amqp_url, topology).consumer(queues, prefetch=2) as consumer:
        if client == "node":
            try:
                (tmp_path / "node_modules").symlink_to(packages())
            except NoNode as told:
                pytest.skip(str(told))
            type_at({**os.environ, "SIMCOURIER_BROKER_URL": url}, tmp_path, node, here)
        else:
            type_at(os.environ, tmp_path, amqp_publish, here | {"amqp://USER:PASSWORD@HOST/VHOST": url})

        taken = [consumer.take(60), consumer.take(60)]

        assert {one.queue for one in taken if one} == set(queues)
        for one in taken:
            assert one is not None
            assert parse_event(one.body) == parse_event(example.read_bytes())
            consumer.ack(one)


def too_large() -> SimulationCompleted:
    """An event that the broker refuses."""
    data = Completed(
        simulation_id="large",
        configuration={"text": "x" * (Topology().max_bytes + 1)},
        results=Results(location="file:///results"),
        backend="local",
        recipients=("anna@example.org",),
    )
    return SimulationCompleted.of(data, source="//host/simcourier", time=datetime(2026, 1, 2, tzinfo=UTC))


def test_what_root_publishes_from_somebodys_data_folder_is_that_ones(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make files for others")
    folder, results = tmp_path / "data", tmp_path / "results"
    for one in (folder, results):
        one.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    away = environ(data_dir=folder, broker_url="amqp://127.0.0.1:1")

    done = simcourier("publish", str(results), "--to", "anna@example.org", "--backend", "local", env=away)
    run = simcourier("run", "--to", "anna@example.org", "--backend", "local", "--", "true", env=away)

    assert (done.returncode, run.returncode) == (0, 0), run.stderr
    made = [path for path in folder.rglob("*") if path.is_file() or path.is_dir()]
    assert made
    assert {path.stat().st_uid for path in made} == {12345}
