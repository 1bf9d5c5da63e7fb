"""``simcourier doctor`` on installations that are well, not begun, and wrong in one way each."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pika
import psycopg
import pytest

from messaging.connect import connect
from messaging.engine import BrokerUnavailable
from messaging.messages import Lane
from messaging.topology import Topology
from tests.support.broker import delete_queues
from tests.support.commands import environ, simcourier
from tests.support.installation import Installation
from tests.support.ledger import SECRET
from tests.support.newer import NAME
from tests.support.nodes import RabbitNode
from tests.support.scratch import free_ports, wait_until
from tests.support.smtp import smtp_server

PASSWORD = "canary-93ac"
RESULTS = str(Path(__file__).parent)


class Report:
    """What the doctor said."""

    def __init__(self, env: dict[str, str], *, module: str = "simcourier") -> None:
        done = simcourier("doctor", "--json", env=env, module=module)
        self.text = done.stdout + done.stderr
        assert "Traceback" not in self.text
        assert PASSWORD not in self.text
        assert SECRET not in self.text
        self.findings: list[dict[str, Any]] = json.loads(done.stdout)
        assert done.returncode == (1 if self.troubles else 0)

    def marked(self, mark: str) -> list[str]:
        return [f"{one['check']}: {one['text']} {one['next']}" for one in self.findings if one["mark"] == mark]

    @property
    def troubles(self) -> list[str]:
        return self.marked("trouble")

    @property
    def warnings(self) -> list[str]:
        return self.marked("warning")

    def trouble(self) -> str:
        """The only one."""
        assert len(self.troubles) == 1, self.findings
        return self.troubles[0]

    def of(self, check: str) -> list[str]:
        return [f"{one['mark']}: {one['text']} {one['next']}" for one in self.findings if one["check"] == check]


def settings(tmp_path: Path, **more: object) -> dict[str, str]:
    return environ(**({"data_dir": tmp_path / "data", "secret_key": SECRET, "results_roots": RESULTS} | more))


@pytest.fixture
def prefix(amqp_url: str) -> Iterator[str]:
    """Of the broker's names, which go after the test."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    yield name
    delete_queues(amqp_url, Topology(prefix=name))


def everything_below(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mode, path.stat().st_mtime_ns) for path in folder.rglob("*")}


# --- well


def test_a_machine_on_which_nothing_was_started_is_well_and_stays_as_it_is(tmp_path: Path) -> None:
    done = simcourier("doctor", env=environ(data_dir=tmp_path / "data"))

    assert done.returncode == 0
    assert done.stdout.count("made on the first start") == 3
    assert all(line.startswith("ok ") for line in done.stdout.splitlines())
    assert done.stderr == "Nothing is missing.\n"
    assert list(tmp_path.iterdir()) == []


def test_an_installation_that_runs_is_well(installation: Installation) -> None:
    grown = not installation.settings.embedded_ledger
    installation.environ["SIMCOURIER_RESULTS_ROOTS"] = RESULTS
    with ExitStack() as running:
        mailbox = running.enter_context(smtp_server(free_ports(1)[0]))
        installation.environ["SIMCOURIER_EMAIL_URL"] = mailbox.url
        installation.start_cloud()
        worker, sender = installation.start("worker"), installation.start("email-sender")
        installation.wait_ready()

        def all_there() -> bool:
            found = " ".join(Report(installation.environ).of("processes"))
            return f"{worker.pid}" in found and f"{sender.pid}" in found

        wait_until(all_there, "both processes are seen")
        report = Report(installation.environ)

        assert report.troubles == report.warnings == []
        assert report.of("mail") == ["ok: 127.0.0.1 accepts us (smtp). "]
        assert mailbox.accepted == []
        assert report.of("backend local")[0].startswith("ok: local cloud at http://127.0.0.1:")
        assert report.of("definitions") == ["ok: 1, and the secret key decrypts them. "]
        assert report.of("messages") == ["ok: All queues are empty. "]
        if grown:
            assert "PostgreSQL" in report.of("database")[0]
            assert report.of("queues") == ["ok: All 37 exchanges and queues are there, with our arguments. "]
            assert "rabbitmqctl eval" in report.of("consumer timeout")[0]
            assert report.of("clocks")[0].startswith("ok")
        else:
            assert "SQLite" in report.of("database")[0]


def test_looking_changes_nothing(installation: Installation) -> None:
    before = everything_below(installation.folder)

    report = Report(installation.environ)

    assert everything_below(installation.folder) == before
    with pytest.raises(BrokerUnavailable):  # no queue was made
        connect(installation.settings.broker_url.get_secret_value(), installation.settings.topology).depths()
    if not installation.settings.embedded_broker:
        assert "37 of 37 exchanges and queues are not there" in report.of("queues")[0]
        assert "Start a worker" in report.of("queues")[0]
    assert "Nothing runs on this ledger" in report.of("processes")[0]


@pytest.mark.postgresql
def test_an_empty_database_is_well_and_stays_empty(database_url: str, tmp_path: Path) -> None:
    report = Report(settings(tmp_path, database_url=database_url))

    assert report.of("tables") == ["ok: There are none yet; the first process that starts makes them. "]
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'")
        assert row.fetchone() == (0,)


@pytest.mark.rabbitmq
def test_a_simulators_host_is_looked_at_without_the_workers_packages(amqp_url: str, tmp_path: Path) -> None:
    env = settings(tmp_path, broker_url=amqp_url)
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['django'] = None\n")

    report = Report(env | {"PYTHONPATH": str(tmp_path)})

    assert "looked at as a simulator's host" in report.of("packages")[0]
    assert report.of("broker")[0].startswith("ok: RabbitMQ at")
    assert report.of("database") == []


# --- settings and this machine


def test_a_wrong_setting_is_trouble(tmp_path: Path) -> None:
    assert "SIMCOURIER_WEB_PORT" in Report(settings(tmp_path, web_port="many")).trouble()


def test_the_text_has_a_line_for_each_and_says_how_bad_it_is(tmp_path: Path) -> None:
    done = simcourier("doctor", env=settings(tmp_path, results_roots=f"{tmp_path}/nowhere"))

    assert done.returncode == 1
    assert done.stderr == "Trouble: 1, warnings: 0.\n"
    (line,) = [line for line in done.stdout.splitlines() if not line.startswith("ok ")]
    assert line.startswith("trouble  results roots  ")
    assert "Mount it here, or correct SIMCOURIER_RESULTS_ROOTS" in line


def test_a_results_root_that_looks_like_an_empty_mount_point_is_trouble(tmp_path: Path) -> None:
    (tmp_path / "srv").mkdir()

    report = Report(settings(tmp_path, results_roots=f"{RESULTS},{tmp_path}/srv"))

    assert f"{tmp_path}/srv is empty" in report.trouble()
    assert f"ok: {RESULTS} " in report.of("results roots")


def test_a_data_folder_that_is_a_file_or_open_to_others_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file" in " ".join(Report(settings(tmp_path, data_dir=tmp_path / "file" / "data")).troubles)

    (tmp_path / "data").mkdir(mode=0o755)
    assert f"chmod 700 {tmp_path}/data" in Report(settings(tmp_path)).warnings[0]


def test_a_disk_of_the_ledgers_own_that_is_full_is_trouble(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)], check=True)
    try:
        report = Report(
            environ(data_dir=tmp_path / "data", secret_key=SECRET, database_url=f"sqlite:///{disk}/ledger.db")
        )

        assert re.search(r"free space \(ledger\): [12]\.\d MiB are free at", report.trouble())
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_events_that_wait_on_this_machine_are_told(tmp_path: Path) -> None:
    env = settings(tmp_path)
    assert simcourier("publish", RESULTS, "--to", "a@example.org", "--backend", "local", env=env).returncode == 0

    assert "1 event waits on this machine. Run: simcourier spool flush" in " ".join(Report(env).warnings)


# --- ledger


def test_a_secret_key_that_is_lost_or_another_is_trouble(tmp_path: Path) -> None:
    env = environ(data_dir=tmp_path / "data")
    cloud = free_ports(1)[0]
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"server": f"127.0.0.1:{cloud}", "key": PASSWORD}))
    added = simcourier("backends", "add", "local", "--config-file", str(config), env=env)
    assert added.returncode == 0, added.stderr

    other = Report(env | {"SIMCOURIER_SECRET_KEY": "x" * 32})
    assert "The secret key does not decrypt local" in other.trouble()

    (tmp_path / "data" / "secret-key").unlink()
    assert "secret-key is missing" in Report(env).trouble()
    assert not (tmp_path / "data" / "secret-key").exists()


def test_a_postgresql_ledger_without_a_key_is_trouble(tmp_path: Path) -> None:
    env = settings(tmp_path, database_url="postgresql://127.0.0.1/x")
    del env["SIMCOURIER_SECRET_KEY"]

    assert "SIMCOURIER_SECRET_KEY must be set with PostgreSQL" in Report(env).trouble()


def test_tables_of_another_version_are_told(installation: Installation) -> None:
    older = Report(installation.environ, module="tests.support.newer")
    assert "those of an older SimCourier" in " ".join(older.of("tables"))
    assert "make a backup" in " ".join(older.of("tables"))

    assert simcourier("manage", "migrate", env=installation.environ, module="tests.support.newer").returncode == 0
    newer = Report(installation.environ)
    assert f"{NAME} is not known here" in newer.trouble()


def test_dead_letters_mails_and_definitions_that_failed_are_told(installation: Installation) -> None:
    from ledger.api import file_dead_letter, mark_unhealthy, notify_operator
    from ledger.models import Notification

    file_dead_letter(b"?", headers={}, queue="q", reason="no JSON", publisher=None)
    mark_unhealthy("local", "It has no room left.", operator="")
    notify_operator("a disk", "It is full.", "ops@example.org")
    Notification.objects.update(state="FAILED", reason="550 no such user", uncertain=2)
    installation.start_cloud()

    report = Report(installation.environ)

    assert "1 message could not be understood. Run 'simcourier dead list'" in report.of("dead letters")[0]
    assert "1 could not be sent and 0 were not taken yet; sent again without knowing" in report.of("mails")[0]
    assert "had arrived: 2. The admin (Notifications)" in report.of("mails")[0]
    assert "It failed before: It has no room left." in report.of("backend local")[1]


# --- services


def test_services_that_are_down_are_trouble_each(tmp_path: Path) -> None:
    database, broker, mail = free_ports(3)
    report = Report(
        settings(
            tmp_path,
            database_url=f"postgresql://walter:{PASSWORD}@127.0.0.1:{database}/ledger",
            broker_url=f"amqp://walter:{PASSWORD}@127.0.0.1:{broker}/",
            email_url=f"smtp://walter:{PASSWORD}@127.0.0.1:{mail}",
            email_from="simulations@example.org",
        )
    )

    assert len(report.troubles) == 3
    assert f"127.0.0.1:{database}, database ledger cannot be reached: Connection refused" in report.of("database")[0]
    assert f"RabbitMQ at 127.0.0.1:{broker}" in report.of("broker")[0]
    assert "Check SIMCOURIER_EMAIL_URL" in report.of("mail")[0]


@pytest.mark.full
def test_services_that_never_answer_are_given_up(tmp_path: Path) -> None:
    """They take the connection and say nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()
        report = Report(
            settings(
                tmp_path,
                database_url=f"postgresql://walter:{PASSWORD}@{place}/ledger",
                broker_url=f"amqp://walter:{PASSWORD}@{place}/",
                email_url=f"smtp://walter:{PASSWORD}@{place}",
                email_from="simulations@example.org",
            )
        )

    assert time.monotonic() - begun < 20
    assert {one.split(":")[0] for one in report.troubles} == {"database", "broker", "mail"}


def test_a_mail_server_that_cannot_encrypt_is_trouble_and_a_default_sender_a_warning(tmp_path: Path) -> None:
    with smtp_server(free_ports(1)[0]) as mailbox:
        report = Report(settings(tmp_path, email_url=mailbox.url.replace("smtp://", f"smtp+tls://walter:{PASSWORD}@")))

    assert "STARTTLS" in report.trouble()
    assert "SIMCOURIER_EMAIL_FROM" in report.warnings[0]


def test_a_storage_backend_that_is_away_or_has_another_key_is_trouble(installation: Installation) -> None:
    assert "backend local: The local cloud cannot be reached" in Report(installation.environ).trouble()

    installation.start_cloud()
    from ledger.api import define

    define("local", name="L", token=f"127.0.0.1:{installation.cloud_port}", config={"key": PASSWORD})
    report = Report(installation.environ)
    assert "does not accept the credentials" in report.trouble()
    assert "Correct the definition in the admin" in report.trouble()

    define("local", name="L", token=f"127.0.0.1:{installation.cloud_port}", config={"key": PASSWORD}, active=False)
    report = Report(installation.environ)
    assert report.troubles == []
    assert "No storage backend is active" in " ".join(report.warnings)


# --- RabbitMQ


@pytest.mark.rabbitmq
def test_a_queue_with_other_arguments_is_trouble(amqp_url: str, prefix: str, tmp_path: Path) -> None:
    topology = Topology(prefix=prefix)
    with connect(amqp_url, topology).consumer(topology.queues):
        pass
    lane = topology.lane(Lane.CAMPAIGN)
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        channel.queue_delete(lane)
        channel.queue_declare(lane, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_delete(topology.recorder)

    report = Report(settings(tmp_path, broker_url=amqp_url, broker_prefix=prefix))

    assert f"Made with other arguments than ours: {lane}." in report.trouble()
    assert f"1 of 37 exchanges and queues are not there: {topology.recorder}." in report.warnings[0]


@pytest.mark.rabbitmq
def test_a_user_who_may_only_publish_is_seen_as_one(rabbit_node: RabbitNode, tmp_path: Path) -> None:
    prefix = f"test-{uuid.uuid4().hex[:10]}"
    topology = Topology(prefix=prefix)
    with connect(rabbit_node.url, topology).consumer(topology.queues):
        pass
    rabbit_node.ctl("add_user", "walter", PASSWORD)
    try:
        rabbit_node.ctl("set_permissions", "walter", "", f"^{topology.exchange}$", "")
        url = f"amqp://walter:{PASSWORD}@127.0.0.1:{rabbit_node.port}/"
        env = settings(tmp_path, broker_url=url, broker_prefix=prefix)

        report = Report(env)
        assert report.troubles == []
        assert "Their arguments cannot be compared" in report.of("queues")[0]
        assert "as 'walter'" in report.of("broker")[0]

        rabbit_node.ctl("set_permissions", "walter", "", "", "")
        assert f"the right to write '{topology.exchange}'" in Report(env).trouble()
    finally:
        rabbit_node.ctl("delete_user", "walter")
    assert "does not let the user 'walter' in" in Report(env).trouble()
    delete_queues(rabbit_node.url, topology)


@pytest.mark.rabbitmq
@pytest.mark.full
def test_a_broker_short_of_memory_is_trouble(rabbit_node: RabbitNode, tmp_path: Path) -> None:
    topology = Topology(prefix=f"test-{uuid.uuid4().hex[:10]}")
    with connect(rabbit_node.url, topology).consumer(topology.queues):
        pass
    rabbit_node.ctl("set_vm_memory_high_watermark", "absolute", "1")
    try:
        report = Report(settings(tmp_path, broker_url=rabbit_node.url, broker_prefix=topology.prefix))
    finally:
        rabbit_node.ctl("set_vm_memory_high_watermark", "0.6")
        delete_queues(rabbit_node.url, topology)

    assert "short of memory or disk space" in report.trouble()
