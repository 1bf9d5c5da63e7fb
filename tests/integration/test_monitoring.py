"""Metrics, signs of life and the log's one line per try, of worker and email sender, in this process."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import yaml

from messaging.engine import BrokerUnavailable, Taken
from messaging.settings import Settings, WrongSetting, load
from tests.support.events import event
from tests.support.ledger import settings_for
from tests.support.pages import blocks, type_at
from tests.support.scripted_engine import ScriptedEngine

if TYPE_CHECKING:
    from django.test import Client

    from consumer.listener import Listener
    from consumer.pulse import Pulse

TOKEN = "only-for-prometheus"
ROOT = Path(__file__).parent.parent.parent
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
PAGE = ROOT / "docs" / "monitoring.md"


class Broker(ScriptedEngine):
    """One that can be asked."""

    def reach(self) -> None:
        self.depths()

    def depths(self) -> Any:
        from messaging.engine import QueueDepth

        if self.away:
            raise BrokerUnavailable("It is away.")
        return {self.topology.dead: QueueDepth(3, 2, 1)}


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def pulse(tmp_path: Path) -> Iterator[Pulse]:
    from consumer.pulse import Pulse

    with Pulse(tmp_path / "health", "worker") as one:
        yield one


@pytest.fixture
def listening(sqlite_ledger: Settings, broker: Broker, pulse: Pulse) -> Iterator[Listener]:
    from consumer.watching import listener

    settings = settings_for(sqlite_ledger.data_dir, worker_listen="0", metrics_token=TOKEN)
    with listener(settings, "worker_listen", broker, pulse) as one:
        yield one


def get(listener: Listener, path: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{listener.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def value(text: str, sample: str) -> float:
    """Of a sample by its name and labels; 0: it is not there."""
    lines = [line for line in text.splitlines() if line.startswith(f"{sample} ")]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


def handled(listener: Listener, tmp_path: Path, **data: Any) -> dict[str, Any]:
    """Let a results worker handle an event; returns the line that its log has of it."""
    from consumer.decide import Policy
    from consumer.lease import LeaseKeeper
    from consumer.results import ResultsWorker
    from consumer.stop import Stop
    from consumer.workshop import Workshop
    from ledger.api import Deliveries, define

    del listener
    define("memory", token=f"space-{uuid.uuid4()}")
    folder = tmp_path / "results"
    folder.mkdir(exist_ok=True)
    (folder / "a.sca").write_text("version 3\n")
    one = event(data.pop("folder", folder), **data)
    deliveries = Deliveries("host:1", lease=30, overdue=60)
    workshop = Workshop(
        deliveries=deliveries, archives=tmp_path / "archives", roots=(), site={}, operator="", mail_patience=timedelta()
    )
    keeper = LeaseKeeper(deliveries, Stop(1))
    keeper.start()
    try:
        with structlog.testing.capture_logs() as lines:
            ResultsWorker(workshop, keeper, Policy()).handle(
                Taken("results", one.to_bytes(), str(one.id), {}, False, None, None)
            )
    finally:
        keeper.close()
    (line,) = [line for line in lines if line["event"] == "delivery.handled"]
    return dict(line)


def test_a_delivery_is_one_line_of_the_log_with_everything_and_is_counted(listening: Listener, tmp_path: Path) -> None:
    before = get(listening, "/metrics")[1]

    line = handled(listening, tmp_path)

    after = get(listening, "/metrics")[1]
    assert (line["verdict"], line["attempt"], line["files"], line["worker"]) == ("Deliver", 1, 1, "host:1")
    assert (line["backend"], line["stored_backend"], line["reason"]) == ("memory", "memory", None)
    stages = [f"{stage}_seconds" for stage in ("collecting", "packaging", "storing", "linking")]
    assert 0 < sum(line[stage] for stage in stages) <= line["seconds"] + 0.01

    def more(sample: str) -> float:
        return value(after, sample) - value(before, sample)

    assert more('simcourier_deliveries_handled_total{verdict="Deliver"}') == 1
    assert more("simcourier_packed_bytes_total") == line["bytes"]
    assert more('simcourier_stored_bytes_total{backend="memory"}') == line["bytes"]
    assert more("simcourier_delivery_seconds_count") == 1
    assert more("simcourier_delivery_attempts_count") == 1
    assert more('simcourier_stage_seconds_count{stage="storing"}') == 1


def test_a_try_that_must_wait_says_why_and_how_long(listening: Listener, tmp_path: Path) -> None:
    line = handled(listening, tmp_path, backend="nowhere", folder=tmp_path / "results")

    assert line["verdict"] in {"Wait", "Fail"}
    assert "nowhere" in line["reason"]
    assert "bytes" not in line


def test_a_try_that_the_ledger_ended_is_told_as_well(
    listening: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ledger.api import Deliveries, LedgerUnavailable

    def away(*_: object, **__: object) -> None:
        raise LedgerUnavailable("It is away.")

    with monkeypatch.context() as patched:
        patched.setattr(Deliveries, "finish", away)
        line = handled(listening, tmp_path)

    assert (line["verdict"], line["stored_backend"]) == ("GiveBack", "memory")
    assert 'simcourier_mails_total{kind="failed",outcome="refused"} 0.0' in get(listening, "/metrics")[1]


def test_the_metrics_tell_the_queues_the_disk_and_the_spool(
    listening: Listener, broker: Broker, tmp_path: Path
) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / f"{1:020}-{uuid.uuid4()}.json").write_bytes(b"12345")

    text = get(listening, "/metrics")[1]

    for where, count in (("ready", 3), ("held", 2), ("waiting", 1)):
        assert value(text, f'simcourier_queue_messages{{queue="{broker.topology.dead}",where="{where}"}}') == count
    assert value(text, "simcourier_broker_up") == 1
    assert value(text, "simcourier_spool_events") == 1
    assert value(text, "simcourier_spool_bytes") == 5
    assert value(text, "simcourier_archives_free_bytes") > 0
    assert "simcourier_leases_lost_total " in text
    broker.away = True
    text = get(listening, "/metrics")[1]
    assert value(text, "simcourier_broker_up") == 0
    assert "simcourier_queue_messages{" not in text


def test_alive_is_who_serves_the_broker_and_ready_who_reaches_what_it_needs(
    listening: Listener, broker: Broker, pulse: Pulse, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr("consumer.pulse.time.time", lambda: now)
    beat = pulse.part("results")
    assert get(listening, "/healthz") == (
        503, '{"status": "error", "error": "It has not reached its broker yet."}\n'
    )  # fmt: skip
    beat()
    assert get(listening, "/healthz")[0] == 200
    monkeypatch.setattr("consumer.pulse.time.time", lambda: now + 75)
    assert get(listening, "/healthz") == (503, '{"status": "error", "error": "It has been silent for 75 s."}\n')

    assert json.loads(get(listening, "/readyz")[1]) == {"status": "ok", "broker": "ok", "ledger": "ok"}
    broker.away = True
    status, text = get(listening, "/readyz")
    assert (status, json.loads(text)["broker"]) == (503, "cannot be reached")


def test_the_metrics_are_for_this_machine_and_for_who_has_the_token(listening: Listener) -> None:
    assert get(listening, "/metrics")[0] == 200
    assert get(listening, "/metrics", Origin="http://evil.example")[0] == 403
    assert get(listening, "/metrics", Authorization="Bearer wrong")[0] == 403
    assert get(listening, "/metrics", Authorization=f"Bearer {TOKEN}", Origin="http://x")[0] == 200
    assert get(listening, "/else")[0] == 404
    assert get(listening, "/healthz", Origin="http://x")[0] != 403


def test_a_taken_address_is_told_in_a_sentence(listening: Listener, broker: Broker, pulse: Pulse) -> None:
    from consumer.listener import CannotListen
    from consumer.watching import listener

    settings = load({"SIMCOURIER_WORKER_LISTEN": str(listening.port)})

    with pytest.raises(CannotListen, match=rf"127.0.0.1:{listening.port} .*SIMCOURIER_WORKER_LISTEN"):
        listener(settings, "worker_listen", broker, pulse)


@pytest.mark.parametrize("address", ["", "8977", ":::", "host:port", "::1:80", "127.0.0.1:70000", "[::1]:8977", ":80"])
def test_only_an_address_is_accepted_to_listen_on(address: str) -> None:
    if address in {"", "8977", "[::1]:8977"}:
        assert load({"SIMCOURIER_EMAIL_SENDER_LISTEN": address}).email_sender_listen == address
    else:
        with pytest.raises(WrongSetting, match=r"SIMCOURIER_EMAIL_SENDER_LISTEN: .* is no address to listen on"):
            load({"SIMCOURIER_EMAIL_SENDER_LISTEN": address})


def test_without_an_address_nobody_listens(sqlite_ledger: Settings, broker: Broker, pulse: Pulse) -> None:
    from consumer.watching import listener

    with listener(sqlite_ledger, "worker_listen", broker, pulse) as one:
        assert one.port == 0


@pytest.fixture
def site(sqlite_ledger: Settings, broker: Broker) -> Iterator[Client]:
    """Nobody is signed in."""
    from django.test import Client, override_settings
    from pydantic import SecretStr

    del sqlite_ledger
    with override_settings(SIMCOURIER_ENGINE=broker, SIMCOURIER_METRICS_TOKEN=SecretStr(TOKEN)):
        yield Client(headers={"host": "localhost"})


def scraped(site: Client) -> str:
    answer = site.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_site_tells_what_waits_for_how_long_and_who_works(site: Client, broker: Broker) -> None:
    from django.db.models.functions import Now

    from ledger.api import Deliveries, define, file_dead_letter, mark_unhealthy
    from ledger.models import Delivery
    from ledger.tables import ready
    from ledger.work import from_now

    assert 'simcourier_deliveries{lane="single",state="RECEIVED"} 0.0' in scraped(site)
    ready("worker")
    define("memory", token="x")
    one, two = event(), event()
    deliveries = Deliveries("host:1", lease=30, overdue=60)
    for each in (one, two):
        deliveries.record(each, each.to_bytes(), None)
    claim: Any = deliveries.claim(two, two.to_bytes(), None)
    deliveries.fail(claim, "It is broken.")
    Delivery.objects.filter(id=one.id).update(received_at=from_now(-3600))
    Delivery.objects.filter(id=two.id).update(ended_at=Now())
    file_dead_letter(b"?", headers={}, queue="q", reason="It is no event.", publisher=None)
    mark_unhealthy("memory", "The token was revoked.", operator="")

    text = scraped(site)

    assert value(text, 'simcourier_deliveries{lane="single",state="RECEIVED"}') == 1
    assert value(text, 'simcourier_deliveries{lane="single",state="FAILED"}') == 1
    assert value(text, 'simcourier_deliveries_oldest_seconds{lane="single",state="RECEIVED"}') == pytest.approx(
        3600, abs=60
    )
    assert value(text, 'simcourier_notifications{kind="failed",state="PENDING"}') == 1
    assert value(text, "simcourier_dead_letters_open") == 1
    assert value(text, 'simcourier_backend_healthy{backend="memory"}') == 0
    assert value(text, 'simcourier_processes{role="worker"}') == 1
    assert value(text, 'simcourier_processes{role="email-sender"}') == 0
    assert value(text, f'simcourier_queue_messages{{queue="{broker.topology.dead}",where="ready"}}') == 3


def test_the_sites_metrics_are_for_staff_and_for_who_has_the_token(site: Client) -> None:
    from django.contrib.auth.models import User

    assert site.get("/metrics").status_code == 403
    assert site.get("/metrics", headers={"authorization": "Bearer wrong"}).status_code == 403
    site.force_login(User.objects.create_user("nobody"))
    assert site.get("/metrics").status_code == 403
    site.force_login(User.objects.create_superuser("admin"))
    assert site.get("/metrics").status_code == 200


def test_the_site_is_ready_while_it_reaches_what_it_was_told_of(site: Client, broker: Broker) -> None:
    assert site.get("/readyz").json() == {"status": "ok", "ledger": "ok", "broker": "ok"}
    broker.away = True
    assert site.get("/readyz").status_code == 503
    assert site.get("/healthz").status_code == 200


def test_the_alert_rules_are_good_and_ask_for_nothing_that_is_not_told(
    listening: Listener, site: Client, tmp_path: Path
) -> None:
    told = get(listening, "/metrics")[1] + scraped(site)
    known = set(re.findall(r"^# TYPE (\w+) ", told, re.MULTILINE)) | {
        "local_cloud_free_bytes",
        "local_cloud_disk_bytes",
    }
    rules = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"][0]["rules"]

    asked = {name for rule in rules for name in re.findall(r"\b(?:simcourier|local_cloud)_\w+", rule["expr"])}

    assert asked <= known
    assert {rule["alert"] for rule in rules} == set(re.findall(r"`(SimCourier\w+)`", PAGE.read_text("utf-8")))
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    (install,) = blocks("docs/monitoring.md", "Prometheus")
    assert "SUCCESS" in type_at(os.environ, ROOT, install, {"/etc/prometheus": f"{tmp_path}/prometheus"}).stdout
    done = subprocess.run(
        [promtool, "test", "rules", ROOT / "tests" / "data" / "monitoring" / "alerts_test.yml"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
