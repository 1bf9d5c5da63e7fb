from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from click.testing import CliRunner

from messaging.messages import SimulationCompleted, digest, parse_event
from messaging.settings import Settings, load
from messaging.topology import Topology
from producer import InvalidEvent, Producer, Published, publish
from producer.spool import SpoolFull
from producer.wait import wait_for_link
from simcourier.cli import main
from tests.support.scripted_engine import ScriptedEngine

ROOT = Path(__file__).resolve().parents[2]


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"SIMCOURIER_DATA_DIR": str(tmp_path / "data")})


@pytest.fixture
def broker() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def producer(settings: Settings, broker: ScriptedEngine, clock: Clock) -> Iterator[Producer]:
    with Producer(settings, engine=broker, clock=clock) as one:
        yield one


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "run 1"
    folder.mkdir()
    return folder


def send(producer: Producer, results: Path | str, **details: Any) -> Published:
    arguments: dict[str, Any] = {"to": "anna@example.org", "backend": "local"} | details
    return producer.publish(results, **arguments)


def last(broker: ScriptedEngine) -> SimulationCompleted:
    return parse_event(broker.messages[-1].body)


def test_an_event_arrives_as_it_was_said(producer: Producer, broker: ScriptedEngine, results: Path) -> None:
    started, finished = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)

    published = send(
        producer,
        results,
        to=["anna@example.org", "ben@example.org", "anna@example.org"],
        title="rho = 0.8",
        simulator="OMNeT++ 6.1",
        configuration={"rho": 0.8, "seed": 1, "fast": True},
        outcome="aborted",
        exit_code=-9,
        started=started,
        finished=finished,
        fallback_backends=["dropbox", "seafile-bremen"],
        campaign="study 7",
        parameters={"rho": 0.8},
        campaign_runs=40,
        labels={"group": "queueing"},
        include=["*.sca"],
        exclude=["*.elog"],
        log_tail="x" * 5000 + "end",
    )

    assert published.state == "sent"
    event = last(broker)
    assert event.id == published.event_id
    assert event.source == f"//{socket.gethostname()}/simcourier"
    assert event.time == finished
    data = event.data
    assert data.recipients == ("anna@example.org", "ben@example.org")
    assert (data.title, data.simulator, data.outcome, data.exit_code) == ("rho = 0.8", "OMNeT++ 6.1", "aborted", -9)
    assert (data.started, data.finished) == (started, finished)
    assert data.configuration == {"rho": 0.8, "seed": 1, "fast": True}
    assert (data.backend, data.fallback_backends) == ("local", ("dropbox", "seafile-bremen"))
    assert data.campaign is not None
    assert (data.campaign.id, data.campaign.parameters, data.campaign.runs) == ("study 7", {"rho": 0.8}, 40)
    assert data.labels == {"group": "queueing"}
    assert (data.results.include, data.results.exclude) == (("*.sca",), ("*.elog",))
    assert len(data.log_tail) == 4000
    assert data.log_tail.endswith("xend")
    assert broker.messages[0].routing_key == "simulation.completed.campaign"
    assert broker.messages[0].message_id == str(published.event_id)
    assert producer.spool.entries() == []


@pytest.mark.parametrize("address", ["anna@example.org", "anna.b+sim@xn--exmple-cua.org", "o'hara_1@localhost"])
def test_an_address_that_mail_servers_take_is_taken(
    producer: Producer, broker: ScriptedEngine, results: Path, address: str
) -> None:
    send(producer, results, to=address)

    assert last(broker).data.recipients == (address,)


@pytest.mark.parametrize("name", ["plain", "a b#c?d%41", "Prüfung 100%", "x=1,y=$z;(1)", os.fsdecode(b"caf\xe9")])
def test_a_path_becomes_a_url_that_leads_back_to_the_folder(
    producer: Producer, broker: ScriptedEngine, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / name
    folder.mkdir()

    send(producer, folder)

    url = urlsplit(last(broker).data.results.location)
    assert (url.scheme, url.netloc, url.query, url.fragment) == ("file", "", "", "")
    assert unquote(url.path, errors="surrogateescape") == str(folder)


def test_a_relative_path_is_made_absolute(
    producer: Producer, broker: ScriptedEngine, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(results)

    send(producer, "../run 1/.")

    assert last(broker).data.results.location == results.as_uri()
    assert last(broker).data.simulation_id == "run 1"


def test_two_dots_are_resolved_as_the_file_system_does(
    producer: Producer, broker: ScriptedEngine, tmp_path: Path
) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "far" / "results").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")

    send(producer, tmp_path / "link" / ".." / "results")

    assert last(broker).data.results.location == (tmp_path / "far" / "results").as_uri()


def test_a_url_is_passed_on_unchanged_and_names_the_run(
    producer: Producer, broker: ScriptedEngine, results: Path
) -> None:
    send(producer, f"{results.as_uri()}/")

    assert last(broker).data.results.location == f"{results.as_uri()}/"
    assert last(broker).data.simulation_id == "run 1"


def test_a_file_url_of_another_host_is_not_looked_at(producer: Producer) -> None:
    assert send(producer, "file://cluster7.example.org/nowhere/results").state == "sent"


def test_results_on_a_service_are_passed_on_unchanged_and_name_the_run(
    producer: Producer, broker: ScriptedEngine
) -> None:
    send(producer, "s3://bucket/study 1/run-7/")

    assert last(broker).data.results.location == "s3://bucket/study 1/run-7/"
    assert last(broker).data.simulation_id == "run-7"


def test_a_recipient_is_named_once_however_its_domain_is_written(
    producer: Producer, broker: ScriptedEngine, results: Path
) -> None:
    send(producer, results, to=["dora@example.org", "dora@EXAMPLE.ORG", "Dora@example.org", "anna@Exämple.org"])

    assert last(broker).data.recipients == ("dora@example.org", "Dora@example.org", "anna@xn--exmple-cua.org")


@pytest.mark.parametrize(
    ("argument", "details", "sentence"),
    [
        ("to", {"to": "anna"}, "'anna' is no email address"),
        ("to", {"to": ["ben@example.org", "Anna <anna@example.org>"]}, "is no email address"),
        ("to", {"to": []}, "at least one"),
        ("to", {"to": "üñ@exämple.org"}, "'üñ@exämple.org' is no email address that can be used: before the @ it has"),
        ("to", {"to": "anna@straße.example"}, "write it as the xn--... that it has"),
        ("to", {"to": "anna.@example.org"}, "is no email address"),
        ("to", {"to": "a..b@example.org"}, "is no email address"),
        ("to", {"to": "anna@example..org"}, "is no email address"),
        ("to", {"to": "anna@-example.org"}, "is no email address"),
        ("to", {"to": "anna@example.org\n"}, "is no email address"),
        ("to", {"to": f"{'a' * 65}@example.org"}, "is no email address"),
        ("to", {"to": f"a@{'b.' * 130}org"}, "longer than an email address can be"),
        ("outcome", {"outcome": "done"}, "succeeded, failed, aborted"),
        ("backend", {"backend": " "}, "is no identifier"),
        ("title", {"title": "two\nlines"}, "one line"),
        ("simulation_id", {"simulation_id": ""}, "at least 1 character"),
        ("fallback_backends", {"fallback_backends": [""]}, "is no identifier"),
        ("started", {"started": datetime(2026, 1, 1)}, "timezone"),  # noqa: DTZ001
        ("campaign", {"campaign": ""}, "at least 1 character"),
        ("campaign_runs", {"campaign": "c", "campaign_runs": 0}, "greater than or equal to 1"),
        ("campaign_runs", {"campaign_runs": 10}, "and none is named"),
        ("parameters", {"parameters": {"a": 1}}, "and none is named"),
        ("parameters", {"campaign": "c", "parameters": {"a": float("nan")}}, "finite"),
        ("configuration", {"configuration": {"a": "x" * 2_000_000}}, "the broker takes 1048576"),
        ("labels", {"labels": {"a": "two\nlines"}}, "one line"),
        ("include", {"include": [""]}, "at least 1 character"),
        ("event_id", {"event_id": "7"}, "'7' is no UUID"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_spooled(
    producer: Producer, results: Path, argument: str, details: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidEvent) as raised:
        send(producer, results, **details)

    assert raised.value.argument == argument
    assert str(raised.value).startswith(f"{argument}: ")
    assert sentence in str(raised.value)
    assert producer.spool.entries() == []


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("{tmp}/nowhere", "does not exist on this host"),
        ("file://{tmp}/nowhere", "does not exist on this host"),
        ("file://localhost{tmp}/now%20here", "/now here does not exist on this host"),
        ("{tmp}/file", "is a file"),
        ("", "name the folder"),
        ("s3://key:secret@bucket/run", "password"),
        ("http://[broken/run", "cannot be read"),
        ("s3:///run", "names no host or bucket"),
        ("s3://bucket/../run", "'..'"),
        ("local://bucket/run", "names no service"),
        ("a\0b", "cannot be looked at|does not exist"),
    ],
)
def test_results_that_cannot_be_right_are_refused_here(
    producer: Producer, tmp_path: Path, location: str, sentence: str
) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(InvalidEvent, match=sentence) as raised:
        send(producer, location.format(tmp=tmp_path))

    assert raised.value.argument == "results"
    assert "secret" not in str(raised.value)


def test_a_folder_whose_name_holds_control_characters_still_names_a_run(
    producer: Producer, broker: ScriptedEngine, tmp_path: Path
) -> None:
    folder = tmp_path / "run\n7\x85b"
    folder.mkdir()

    send(producer, folder)

    assert last(broker).data.simulation_id == "run_7_b"


def test_while_the_broker_is_away_events_wait_and_then_go_in_order(
    producer: Producer, broker: ScriptedEngine, clock: Clock, results: Path
) -> None:
    broker.away = True
    first = send(producer, results, simulation_id="1")
    second = send(producer, results, simulation_id="2")
    assert (first.state, first.refused) == ("spooled", False)
    assert first.reason == second.reason == "The broker is away: Nobody listens at the broker's address."
    assert first.file is not None
    assert first.file.exists()

    broker.away = False
    clock.now += 6
    third = send(producer, results, simulation_id="3")

    assert third.state == "sent"
    assert broker.names == ["1", "2", "3"]
    assert producer.spool.entries() == []


def test_many_events_do_not_each_wait_for_a_broker_that_is_away(
    settings: Settings, broker: ScriptedEngine, clock: Clock, results: Path
) -> None:
    broker.away = True
    with Producer(settings, engine=broker, clock=clock) as producer:
        for number in range(10):
            assert send(producer, results, simulation_id=str(number)).state == "spooled"

        assert broker.attempts == 1
        broker.away = False
    # Leaving tries once more.
    assert broker.names == [str(number) for number in range(10)]


def test_a_full_spool_is_told_and_is_emptied_first_once_the_broker_is_back(
    tmp_path: Path, broker: ScriptedEngine, clock: Clock, results: Path
) -> None:
    settings = load({"SIMCOURIER_DATA_DIR": str(tmp_path / "data"), "SIMCOURIER_SPOOL_MAX_EVENTS": "2"})
    broker.away = True
    with Producer(settings, engine=broker, clock=clock) as producer:
        for name in "ab":
            assert send(producer, results, simulation_id=name).state == "spooled"
        for later in (0, 6):
            clock.now += later
            with pytest.raises(SpoolFull, match="holds 2 events"):
                send(producer, results, simulation_id="c")

        broker.away = False
        clock.now += 6
        assert send(producer, results, simulation_id="d").state == "sent"

    assert broker.names == ["a", "b", "d"]


def test_the_command_refuses_an_event_that_a_full_spool_does_not_keep(tmp_path: Path, results: Path) -> None:
    variables = {"SIMCOURIER_DATA_DIR": str(tmp_path / "data"), "SIMCOURIER_SPOOL_MAX_EVENTS": "1"}
    words = ["publish", str(results), "--to", "anna@example.org", "--backend", "local"]

    kept, refused = (CliRunner().invoke(main, words, env=variables) for _ in range(2))

    assert (kept.exit_code, refused.exit_code, refused.stdout) == (0, 1, "")
    assert "stays in the spool" in kept.stdout
    (line,) = refused.stderr.splitlines()
    assert line.startswith(f"Error: The spool {tmp_path}/data/spool holds 1 events, ")
    assert "see 'simcourier spool list'" in line.lower()


def test_a_refused_event_stays_with_its_reason_and_the_others_go(
    producer: Producer, broker: ScriptedEngine, results: Path
) -> None:
    broker.refused = {"full"}
    refused = send(producer, results, simulation_id="full")
    after = send(producer, results, simulation_id="after")

    assert (refused.state, refused.refused, refused.reason) == ("spooled", True, "The queue for full is full.")
    assert after.state == "sent"
    assert after.notes == (f"An earlier event stays in the spool as {refused.file}: The queue for full is full.",)
    broker.refused = set()
    assert producer.flush().sent == [refused.event_id]
    assert broker.names == ["after", "full"]


def test_a_damaged_event_is_told_to_the_next_publisher(
    producer: Producer, broker: ScriptedEngine, results: Path
) -> None:
    broker.away = True
    damaged = send(producer, results)
    assert damaged.file is not None
    damaged.file.write_bytes(b"{")
    broker.away = False

    with Producer(load({"SIMCOURIER_DATA_DIR": str(producer.spool.folder.parent)}), engine=broker) as other:
        published = send(other, results, simulation_id="mine")

    assert published.state == "sent"
    assert broker.names == ["mine"]
    (note,) = published.notes
    assert str(damaged.event_id) in note


def test_one_connection_serves_many_events_and_an_idle_one_is_made_anew(
    producer: Producer, broker: ScriptedEngine, results: Path
) -> None:
    for number in range(3):
        send(producer, results, simulation_id=str(number))
    assert broker.connections == 1

    broker.drop_connections()

    assert send(producer, results, simulation_id="later").state == "sent"
    assert broker.connections == 2
    assert broker.names == ["0", "1", "2", "later"]


def test_the_same_event_id_while_the_event_waits_is_one_event(
    producer: Producer, broker: ScriptedEngine, results: Path, clock: Clock
) -> None:
    event_id = uuid.uuid4()
    broker.away = True
    send(producer, results, event_id=event_id)
    clock.now += 6
    again = send(producer, results, event_id=str(event_id))
    assert again.event_id == event_id
    assert len(producer.spool.entries()) == 1

    broker.away = False
    clock.now += 6
    assert send(producer, results, event_id=event_id).state == "sent"

    assert len(broker.messages) == 1


def test_another_event_under_an_id_that_waits_is_refused(
    producer: Producer, broker: ScriptedEngine, results: Path
) -> None:
    event_id = uuid.uuid4()
    broker.away = True
    send(producer, results, event_id=event_id)

    with pytest.raises(InvalidEvent, match="another event with the id"):
        send(producer, results, event_id=event_id, title="other")


def test_an_event_that_was_sent_is_the_same_again_if_it_says_when_it_finished(
    producer: Producer, broker: ScriptedEngine, results: Path
) -> None:
    details = {"event_id": uuid.uuid4(), "finished": datetime(2026, 1, 2, tzinfo=UTC)}

    send(producer, results, **details)
    send(producer, results, **details)

    first, second = broker.messages
    assert digest(first.body) == digest(second.body)


def test_publish_reads_the_settings_and_spools_where_no_broker_was_ever_started(
    tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMCOURIER_DATA_DIR", str(tmp_path / "elsewhere"))

    published = publish(results, to="anna@example.org", backend="local")

    assert published.state == "spooled"
    assert published.file is not None
    assert published.file.parent == tmp_path / "elsewhere" / "spool"
    assert parse_event(published.file.read_bytes()).id == published.event_id


@pytest.mark.parametrize("modules", ["producer, messaging.sqlite", "producer.commands, messaging.rabbitmq"])
def test_importing_the_producer_imports_nothing_heavy(modules: str) -> None:
    code = f"import sys, {modules}; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)

    top = {name.partition(".")[0] for name in loaded.stdout.split()}
    assert "producer" in top
    heavy = {"django", "requests", "aiohttp", "jinja2", "cryptography", "numpy", "psycopg"}
    ours = {"consumer", "ledger", "backends", "local_cloud"}
    assert not top & (heavy | ours)


def test_the_example_event_of_the_documentation_is_a_valid_event() -> None:
    body = (ROOT / "docs" / "examples" / "simulation-completed.json").read_bytes()

    event = parse_event(body)

    assert event.routing_key == "simulation.completed.single"
    assert len(body) < Topology().max_bytes


UNKNOWN = (404, b'{"error": "This delivery is not known (yet)."}')


class Site:
    """Answers as the JSON API does, one prepared answer after the other."""

    def __init__(self, *answers: tuple[int, Any] | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, url: str) -> tuple[int, bytes]:
        self.asked.append(url)
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        status, document = answer
        return status, document if isinstance(document, bytes) else json.dumps(document).encode()


def follow(
    site: Site, clock: Clock | None = None, show: Callable[[str], None] = lambda _far: None
) -> tuple[dict[str, Any], list[str]]:
    lines: list[str] = []
    clock = clock or Clock()

    def sleep(seconds: float) -> None:
        clock.now += seconds

    event_id = uuid.UUID(int=7)
    answer = wait_for_link(
        "http://site/", event_id, lines.append, digest="d", show=show, fetch=site, sleep=sleep, clock=clock
    )
    assert set(site.asked) == {f"http://site/api/deliveries/{event_id}"}
    return answer, lines


def test_waiting_tells_each_change_once_and_ends_with_the_link() -> None:
    working = {"state": "WORKING", "stage": "storing", "reason": "", "link": None}
    delivered = {"state": "DELIVERED", "stage": "", "reason": "", "link": "http://cloud/x"}

    answer, lines = follow(
        Site(
            (404, b'{"error": "not known"}'),
            (404, b'{"error": "not known"}'),
            (200, working),
            OSError("restarting"),
            (200, working),
            (200, delivered),
        )
    )

    assert (answer["link"], answer["problem"]) == ("http://cloud/x", "")
    assert lines == [
        "Not recorded yet (a worker does that).",
        "WORKING, storing",
        "The site does not answer (restarting); trying on.",
        "WORKING, storing",
        "DELIVERED",
    ]


def test_whoever_waits_is_shown_how_far_it_is() -> None:
    def working(done: int) -> tuple[int, dict[str, Any]]:
        doing = f"storing, {done} of 4000000 bytes\x1b[2J"
        about = {"state": "WORKING", "stage": "storing", "reason": "", "link": None}
        return 200, about | {"doing": doing, "progress": {"done": done, "total": 4_000_000}}

    shown: list[str] = []
    delivered = {"state": "DELIVERED", "stage": "", "reason": "", "link": "http://cloud/x", "progress": None}

    _, lines = follow(Site(working(0), working(1_000_000), (200, delivered)), show=shown.append)

    assert shown == ["storing, 1000000 of 4000000 bytes\\x1b[2J"]
    assert lines == ["WORKING, storing", "DELIVERED"]


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED", "EXPIRED"])
def test_waiting_ends_with_the_reason_where_there_is_no_link(state: str) -> None:
    answer, _ = follow(Site((200, {"state": state, "reason": "The account is full.", "link": "http://old"})))

    assert answer["link"] is None
    assert answer["problem"] == f"There is no link, the delivery is {state}: The account is full."


@pytest.mark.parametrize("first", [OSError("Connection refused"), (500, b""), (200, b"<html>"), (200, [])])
def test_a_site_that_cannot_be_asked_ends_the_waiting_with_a_sentence(first: Any) -> None:
    answer, _ = follow(Site(first))

    assert answer["link"] is None
    assert "The broker has the event" in answer["problem"]
    assert "SIMCOURIER_PUBLIC_URL" in answer["problem"]


def test_a_site_that_stays_away_ends_the_waiting() -> None:
    clock = Clock()

    answer, _ = follow(Site(UNKNOWN, *[OSError("gone")] * 100), clock)

    assert "(gone)" in answer["problem"]
    assert 60 < clock.now - 1000 < 70
