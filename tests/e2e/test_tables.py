"""The ledger's tables: made and brought up to date by whoever starts first, never under others that use them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from tests.support.commands import environ, sentence, simcourier, started
from tests.support.ledger import SECRET
from tests.support.newer import NAME
from tests.support.scratch import free_ports, wait_until

NEWER = "tests.support.newer"


@pytest.fixture(
    params=[pytest.param("sqlite", marks=pytest.mark.full), pytest.param("postgresql", marks=pytest.mark.postgresql)]
)
def env(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Settings with an empty database, once per kind."""
    settings = {"data_dir": tmp_path / "data", "secret_key": SECRET, "web_port": free_ports(1)[0], "grace_seconds": 1}
    if request.param == "postgresql":
        settings["database_url"] = request.getfixturevalue("database_url")
    return environ(**settings)


def has_said(log: Path, text: str) -> Callable[[], bool]:
    return lambda: text in log.read_text(errors="replace")


def test_roles_that_start_at_once_on_an_empty_database_all_come_up(env: dict[str, str], tmp_path: Path) -> None:
    roles = {"worker": "worker.started", "email-sender": "email_sender.started", "web": "Listening at"}
    with ExitStack() as running:
        for role in roles:
            running.enter_context(started(role, env=env, log=tmp_path / role))

        for role, told in roles.items():
            wait_until(has_said(tmp_path / role, told), f"{role} is up: {(tmp_path / role).read_text()}")
        assert simcourier("backends", "list", "--json", env=env).stdout == "[]\n"


def test_the_first_account_can_be_made_before_anything_was_started(env: dict[str, str]) -> None:
    words = ("--noinput", "--username", "anna", "--email", "anna@example.org")
    done = simcourier("manage", "createsuperuser", *words, env=env | {"DJANGO_SUPERUSER_PASSWORD": SECRET})

    assert done.returncode == 0, done.stderr
    assert "Superuser created" in done.stdout


def test_tables_are_not_changed_under_a_process_that_uses_them(env: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "worker"
    with started("worker", env=env, log=log) as worker:
        wait_until(has_said(log, "worker.started"), "the worker is up")

        refused = sentence(simcourier("email-sender", env=env, module=NEWER))
        assert "worker" in refused
        assert str(worker.pid) in refused
        assert "1 of SimCourier's processes" in refused
        assert "Stop these" in refused
        assert str(worker.pid) in sentence(simcourier("manage", "migrate", env=env, module=NEWER))
        assert simcourier("manage", "migrate", "--plan", env=env, module=NEWER).returncode == 0
        assert simcourier("where", "x", env=env).stderr.startswith("Error: No delivery")
        nothing_to_do = simcourier("manage", "migrate", env=env)
        assert (nothing_to_do.returncode, "No migrations to apply" in nothing_to_do.stdout) == (0, True)
        assert str(worker.pid) in sentence(simcourier("manage", "migrate", "simcourier", "zero", env=env))

        worker.send_signal(signal.SIGTERM)
        assert worker.wait(120) == 0
    with started("email-sender", env=env, log=log, module=NEWER):
        wait_until(has_said(log, "email_sender.started"), "the newer one is up")

    older = sentence(simcourier("worker", env=env))
    assert NAME in older
    assert "update SimCourier on this machine" in older


def test_a_process_that_was_killed_is_in_nobodys_way(env: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started("worker", env=env, log=log):
        wait_until(has_said(log, "worker.started"), "the worker is up")

    assert "No delivery" in sentence(simcourier("where", "x", env=env, module=NEWER))


@pytest.fixture
def users(database_url: str) -> Iterator[Callable[[], set[int]]]:
    """The server's processes that hold a lock for a user of the ledger."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        query = (
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        yield lambda: {pid for (pid,) in connection.execute(query).fetchall()}


@pytest.mark.full
@pytest.mark.postgresql
def test_a_user_whose_session_was_lost_becomes_one_again(
    database_url: str, users: Callable[[], set[int]], tmp_path: Path
) -> None:
    env = environ(data_dir=tmp_path / "data", secret_key=SECRET, database_url=database_url, grace_seconds=1)
    log = tmp_path / "log"
    with started("email-sender", env=env, log=log) as sender:
        wait_until(has_said(log, "email_sender.started"), "the email sender is up")
        first = users()
        assert len(first) == 1
        disconnect(database_url, first)

        wait_until(lambda: len(users() - first) == 1, "it is a user again", timeout=120)
        assert sender.poll() is None


@pytest.mark.full
@pytest.mark.postgresql
def test_a_process_ends_when_the_tables_were_changed_while_its_session_was_lost(
    database_url: str, users: Callable[[], set[int]], tmp_path: Path
) -> None:
    env = environ(data_dir=tmp_path / "data", secret_key=SECRET, database_url=database_url, grace_seconds=1)
    log = tmp_path / "log"
    with started("email-sender", env=env, log=log) as sender:
        wait_until(has_said(log, "email_sender.started"), "the email sender is up")
        disconnect(database_url, users())
        assert simcourier("manage", "migrate", env=env, module=NEWER).returncode == 0

        deadline = time.monotonic() + 60
        while sender.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        assert sender.returncode == 0
        assert "ledger.changed" in log.read_text()


def disconnect(database_url: str, pids: set[int]) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for pid in pids:
            connection.execute("SELECT pg_terminate_backend(%s)", [pid])
