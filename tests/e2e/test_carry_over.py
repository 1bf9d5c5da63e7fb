"""Growing up: an embedded installation is carried over to RabbitMQ and PostgreSQL."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from messaging.cli import engine_of
from messaging.engine import Outgoing
from messaging.settings import load
from messaging.topology import Topology
from producer import publish
from producer.spool import Spool
from simcourier.installation import exclusive
from tests.support.broker import delete_queues
from tests.support.events import event
from tests.support.installation import (
    ROOT,
    Installation,
    answers,
    fetch,
    files_below,
    link_in,
    stored_archives,
    unpacked,
)
from tests.support.ledger import SECRET, use_database
from tests.support.pages import adapted, blocks, type_at, with_programs
from tests.support.scratch import free_ports, wait_until

pytestmark = [pytest.mark.rabbitmq, pytest.mark.postgresql]

NEW_SECRET = "the secret key of the grown installation"
POINTS = ["copied", "marked", "committed", "adopted", "settled", "closed"]
AT_ONCE = ("adopted",)  # the others take long together


@pytest.fixture
def old(tmp_path: Path, topology: Topology, ledger_template: Path) -> Iterator[Installation]:
    """An embedded installation, whose queues are there."""
    with Installation(tmp_path / "old", template=ledger_template, prefix=topology.prefix) as one:
        (one.folder / "secret-key").write_text(SECRET)
        engine = engine_of(one.settings)
        engine.consumer([engine.topology.dead]).close()
        yield one


@pytest.fixture
def new(tmp_path: Path, topology: Topology, amqp_url: str, database_url: str) -> Iterator[Installation]:
    """RabbitMQ and PostgreSQL, with a fresh ledger."""
    grown = Installation(
        tmp_path / "new",
        broker_url=amqp_url,
        database_url=database_url,
        prefix=topology.prefix,
        secret_key=NEW_SECRET,
    )
    with grown as one:
        from ledger.models import StorageBackend

        StorageBackend.objects.all().delete()
        connections.close_all()
        yield one
    delete_queues(amqp_url, Topology(prefix=topology.prefix))


def in_ledger(one: Installation, question: Callable[[], Any]) -> Any:
    """Asked within the tests' process; the file is let go of again."""
    use_database(one.settings)
    try:
        return question()
    finally:
        connections.close_all()


def state_of(one: Installation, event_id: str) -> str:
    view = one.where(event_id)
    return str(view["state"]) if view else ""


def carry_over(old: Installation, new: Installation, *options: str) -> str:
    return new.simcourier("carry-over", "--from", str(old.folder), *options).stdout


def test_everything_that_was_under_way_arrives_once_after_the_carry_over(
    old: Installation, new: Installation, results: Path, tmp_path: Path
) -> None:
    from django.contrib.auth.models import User

    in_ledger(old, lambda: User.objects.create_superuser("admin", password="correct horse"))
    gone = tmp_path / "gone"
    gone.mkdir()
    cloud = old.start_cloud()
    worker, sender = old.start("worker"), old.start("email-sender")
    delivered = old.publish(results, simulation_id="delivered")
    failed = old.publish(gone, simulation_id="failed")
    gone.rmdir()
    old.wait_for_mail(delivered)
    old.wait_for_mail(failed)
    old.stop(sender)
    unmailed = old.publish(results, simulation_id="unmailed")
    wait_until(lambda: state_of(old, unmailed) == "DELIVERED", "it is stored, its mail is not sent")
    old.stop(cloud)
    waiting = old.publish(results, simulation_id="waiting")
    wait_until(lambda: state_of(old, waiting) == "WAITING", "it waits for its storage service")
    old.stop(worker)
    queued = old.publish(results, simulation_id="queued")
    with engine_of(old.settings).publisher() as publisher:
        publisher.publish(Outgoing("wake.single", b"no event", "odd"))
    spooled = event(results, backend="local")
    Spool(old.folder / "spool").put(spooled)
    assert any((old.folder / "archives").rglob("*.zip"))

    told = carry_over(old, new, "--dry-run")
    assert "deliveries:          4" in told
    assert "spooled events:      1" in told
    assert new.simcourier("deliveries", "list").stdout == ""
    carry_over(old, new)

    assert state_of(new, "waiting") == "WAITING"
    assert state_of(new, "failed") == "FAILED"
    old.start_cloud()
    new.start("worker")
    new.start("email-sender")
    new.simcourier("deliveries", "retry", waiting, check=False)  # it may try by itself at this moment
    for event_id in (unmailed, waiting, queued, str(spooled.id)):
        mail = new.wait_for_mail(event_id)
        assert unpacked(fetch(link_in(mail))) == files_below(results)
    # What was used before is recognised: nothing is delivered or mailed again, nothing is set aside.
    again = publish(
        results, to="anna@example.org", backend="local", settings=new.settings,
        event_id=delivered, simulation_id="delivered",
    )  # fmt: skip
    assert again.state == "sent"
    new.wait_until_quiet()
    assert len(new.mails()) == 4
    assert len(stored_archives(old)) == 5
    assert state_of(new, delivered) == "DELIVERED"
    letters = new.simcourier("dead", "list").stdout
    assert "The body is no JSON" in letters
    assert "used before" not in letters
    assert in_ledger(new, lambda: User.objects.get(username="admin").check_password("correct horse"))


@pytest.mark.full
def test_what_up_has_made_goes_on_word_by_word_as_the_page_on_growing_says(
    new: Installation, results: Path, tmp_path: Path
) -> None:
    """The keys, the password and the links are those that ``up`` has made itself."""
    from django.contrib.auth import authenticate

    (before,) = blocks("docs/growing.md", "Before")
    (over,) = blocks("docs/growing.md", "Carry over")
    (serve,) = blocks("docs/growing.md", "After")
    shown = {line.partition("=")[0]: line for line in before.splitlines() if not line.startswith("#")}
    file = adapted(before, {line: f"{name}={new.environ[name]}" for name, line in shown.items() if "MAIL" not in name})
    (tmp_path / "grown.env").write_text(file.replace(shown["SIMCOURIER_EMAIL_URL"], ""))
    site, cloud, other = free_ports(3)
    home = tmp_path / "home of whoever ran up"
    folder = home / ".local" / "share" / "simcourier"
    clean = {name: value for name, value in new.environ.items() if name not in shown and name[:4] != "XDG_"} | {
        "HOME": str(home)
    }
    del clean["SIMCOURIER_DATA_DIR"]  # as on that page, the new installation has the data folder of the old one
    old_environ = clean | {"SIMCOURIER_WEB_PORT": str(site), "SIMCOURIER_LOCAL_CLOUD_PORT": str(cloud)}
    up = subprocess.Popen([sys.executable, "-m", "simcourier", "up"], cwd=ROOT, env=old_environ)
    new.processes.append(up)
    new.environ["SIMCOURIER_DATA_DIR"] = str(folder)
    new.mail_folder = folder / "mail"
    wait_until(lambda: answers(f"http://127.0.0.1:{site}/healthz"), "up is up")
    settings = load(old_environ | {"SIMCOURIER_DATA_DIR": str(folder)})
    first = publish(results, to="anna@example.org", backend="local", settings=settings)
    link = link_in(new.wait_for_mail(str(first.event_id)))
    new.stop(up)
    waits = publish(results, to="anna@example.org", backend="local", settings=settings)
    assert waits.state == "sent"

    told = type_at(clean, tmp_path, over).stdout
    assert told.count("Nothing was carried over.") == 1, "at first it is only looked at"
    assert f"--folder {folder / 'local-cloud'} --key-file {folder / 'local-cloud-key'}" in told
    served = subprocess.Popen(
        ["sh", "-ec", f"exec {serve.strip().replace('8976', str(cloud))}"], cwd=tmp_path, env=with_programs(clean)
    )
    new.processes.append(served)
    new.start("worker")
    new.start("email-sender")

    second = new.wait_for_mail(str(waits.event_id))
    for url in (link, link_in(second)):
        assert unpacked(fetch(url)) == files_below(results)
    password = (folder / "admin-password").read_text().strip()
    assert in_ledger(new, lambda: authenticate(username="admin", password=password)) is not None
    again = subprocess.run(
        [sys.executable, "-m", "simcourier", "up"],
        cwd=ROOT, env=old_environ | {"SIMCOURIER_LOCAL_CLOUD_PORT": str(other)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 1
    assert "carried over to another one" in again.stderr
    assert len(again.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "point", [point if point in AT_ONCE else pytest.param(point, marks=pytest.mark.full) for point in POINTS]
)
def test_a_carry_over_that_was_killed_anywhere_is_finished_by_the_next(
    old: Installation, new: Installation, results: Path, point: str
) -> None:
    event_id = old.publish(results)
    dying = new.start("carry-over", "--from", str(old.folder), dies_at=f"carry_over.{point}")
    assert dying.wait(120) == -signal.SIGKILL

    carry_over(old, new)
    old.start_cloud()
    new.start("worker")
    new.start("email-sender")

    new.wait_for_mail(event_id)
    new.wait_until_quiet()
    assert len(new.mails()) == 1
    assert new.simcourier("dead", "list", "--json").stdout.strip() == "[]"


@pytest.mark.full
def test_what_is_published_during_the_carry_over_is_moved_or_stays_spooled(
    old: Installation, new: Installation, results: Path
) -> None:
    published: list[str] = []
    over = threading.Event()

    def simulators() -> None:
        while not over.wait(0.005):
            published.append(
                str(publish(results, to="anna@example.org", backend="local", settings=old.settings).event_id)
            )

    thread = threading.Thread(target=simulators)
    thread.start()
    try:
        wait_until(lambda: len(published) > 20, "some are there before")
        moved = carry_over(old, new)
        count = len(published)
        wait_until(lambda: len(published) > count + 20, "some come after")
    finally:
        over.set()
        thread.join()
    assert "messages were moved" in moved
    carry_over(old, new)
    new.start("worker", "--no-results", "--no-sweep")

    def missing() -> set[str]:
        known: set[str] = in_ledger(new, lambda: {str(one.id) for one in recent(limit=10000)})
        return set(published) - known

    from ledger.api import recent

    wait_until(lambda: not missing(), "every event is in the new ledger")


def test_the_old_installation_refuses_to_go_on_and_its_publishers_keep_their_events(
    old: Installation, new: Installation, results: Path
) -> None:
    carry_over(old, new)

    worker = old.simcourier("worker", check=False)
    assert (worker.returncode, len(worker.stderr.splitlines())) == (1, 1)
    assert "carried over to another one: set SIMCOURIER_DATABASE_URL" in worker.stderr
    published = publish(results, to="anna@example.org", backend="local", settings=old.settings)
    assert "set SIMCOURIER_BROKER_URL" in published.reason
    assert published.file is not None
    assert published.file.exists()

    # Carried over again, it is sent.
    assert "Events from the spool that were sent: 1." in carry_over(old, new)


@pytest.mark.parametrize(
    ("role", "sign"),
    [
        ("worker", "worker.started"),
        pytest.param("email-sender", "email_sender.started", marks=pytest.mark.full),
        pytest.param("web", "Listening", marks=pytest.mark.full),
    ],
)
def test_a_role_of_the_old_installation_that_still_runs_is_noticed(
    old: Installation, new: Installation, role: str, sign: str
) -> None:
    old.environ["SIMCOURIER_WEB_PORT"] = str(free_ports(1)[0])
    old.start(role)
    wait_until(lambda: sign in (old.folder / f"01-{role}.log").read_text(), f"the {role} runs")

    done = new.simcourier("carry-over", "--from", str(old.folder), check=False)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "A program of the old installation still runs" in done.stderr


@pytest.mark.full
def test_a_carry_over_is_refused_in_a_sentence_and_changes_nothing(
    old: Installation, new: Installation, tmp_path: Path
) -> None:
    def refused(*options: str, folder: Path = old.folder, by: Installation = new) -> str:
        done = by.simcourier("carry-over", "--from", str(folder), *options, check=False)
        assert done.returncode in {1, 2}
        assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.stderr

    with exclusive(old.folder):
        assert "'simcourier up' runs on" in refused()
    (old.folder / "secret-key").unlink()
    assert "--old-key-file" in refused()
    (old.folder / "key").write_text(SECRET)
    key = ("--old-key-file", str(old.folder / "key"))
    assert "There is no ledger" in refused(folder=tmp_path)
    assert "SIMCOURIER_BROKER_URL must say" in refused(by=old)
    (tmp_path / "token").write_text("127.0.0.1:1")
    new.simcourier("backends", "add", "local", "--token-file", str(tmp_path / "token"))
    assert "is in use already (storage backends: 1)" in refused(*key)
    assert "is in use already" in refused(*key, "--dry-run")

    new.simcourier("manage", "shell", "--no-imports", "-c",
        "from ledger.models import StorageBackend; StorageBackend.objects.all().delete()")  # fmt: skip
    away = f"amqp://127.0.0.1:{free_ports(1)[0]}"
    new.environ["SIMCOURIER_BROKER_URL"] = away
    assert "cannot be reached" in refused(*key)

    assert "local" in old.simcourier("backends", "list").stdout
    assert new.simcourier("backends", "list").stdout == ""
