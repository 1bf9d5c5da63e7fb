"""Starts that cannot succeed: each ends in one sentence for the person who can mend it, and nothing is lost."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from messaging.topology import Topology
from tests.support.broker import delete_queues
from tests.support.commands import ROOT, environ, sentence, simcourier, started
from tests.support.ledger import SECRET
from tests.support.nodes import PostgresNode, RabbitNode, create_database
from tests.support.relay import Relay
from tests.support.scratch import free_ports, wait_until

# Commands that need the ledger at once; worker and email sender wait for one that cannot be reached.
# All of them with --full; they start alike.
ROLES = ("worker", *(pytest.param(role, marks=pytest.mark.full) for role in ("email-sender", "web", "up")))
PASSWORD = "canary-8b1d"
NOBODY = pwd.getpwnam("nobody")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
# A line of a traceback that leads through what is ours, once it has begun: Python's own start is not.
OURS = re.compile(rf'File "{re.escape(str(ROOT))}/(?!\.venv/|simcourier/(__init__|__main__|_version)\.py)')
AS_NOBODY = ("setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups")


def ports() -> dict[str, int]:
    web, cloud = free_ports(2)
    return {"web_port": web, "local_cloud_port": cloud}


def settings(folder: Path, **more: object) -> dict[str, str]:
    base: dict[str, object] = {"data_dir": folder / "data", "secret_key": SECRET, "results_roots": "/", **ports()}
    return environ(**(base | {"grace_seconds": 1} | more))


def has_said(log: Path, text: str) -> Callable[[], bool]:
    return lambda: text in log.read_text(errors="replace")


@pytest.fixture
def prefix(amqp_url: str) -> Iterator[str]:
    """Of the broker's names, which go after the test."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    yield name
    delete_queues(amqp_url, Topology(prefix=name))


# --- database


@pytest.mark.postgresql
@pytest.mark.parametrize("role", ["worker", "email-sender"])
def test_a_role_that_starts_before_the_database_says_so_and_goes_on_once_it_is_there(
    role: str, postgres_node: PostgresNode, tmp_path: Path
) -> None:
    database = create_database(postgres_node.url())
    log = tmp_path / "log"
    with Relay(postgres_node.port) as relay:
        url = database.replace(f":{postgres_node.port}/", f":{relay.port}/")
        with started(role, env=settings(tmp_path, database_url=url), log=log) as process:
            wait_until(has_said(log, "ledger.unavailable"), "it says that it waits")
            assert f"127.0.0.1:{relay.port}" in log.read_text()
            relay.open()

            wait_until(has_said(log, f"{role.replace('-', '_')}.started"), "it has started")
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("command", [("web",), ("up",), ("where", "x"), ("manage", "migrate")])
def test_a_database_that_is_down_is_one_sentence(command: tuple[str, ...], tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"postgresql://simcourier:{PASSWORD}@127.0.0.1:{port}/simcourier"

    done = simcourier(*command, env=settings(tmp_path, database_url=url))

    assert done.returncode == 1
    told = sentence(done)
    assert f"127.0.0.1:{port}, database simcourier" in told
    assert "Connection refused" in told
    assert "check that PostgreSQL runs there" in told
    assert PASSWORD not in told


@pytest.fixture(scope="module")
def guarded(postgres_node: PostgresNode) -> Iterator[str]:
    """An address at the PostgreSQL node for a user who needs a password, without the password."""
    with psycopg.connect(postgres_node.url(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE walter LOGIN PASSWORD '{SECRET}'")
        row = connection.execute("SHOW hba_file").fetchone()
        assert row is not None
        rules = Path(row[0])
        before = rules.read_text()
        rules.write_text(f"host all walter 127.0.0.1/32 scram-sha-256\n{before}")
        connection.execute("SELECT pg_reload_conf()")
        place = f"127.0.0.1:{postgres_node.port}/postgres"
        wait_until(lambda: wants_a_password(f"postgresql://walter@{place}"), "the server has read the rules")
        yield place
        rules.write_text(before)
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("DROP ROLE walter")


def wants_a_password(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return True
    return False


@pytest.mark.postgresql
@pytest.mark.parametrize("role", ROLES)
def test_a_wrong_password_of_the_database_is_one_sentence(role: str, guarded: str, tmp_path: Path) -> None:
    done = simcourier(role, env=settings(tmp_path, database_url=f"postgresql://walter:{PASSWORD}@{guarded}"))

    assert done.returncode == 1
    told = sentence(done)
    assert 'password authentication failed for user "walter"' in told
    assert "SIMCOURIER_DATABASE_URL" in told
    assert PASSWORD not in done.stdout + told


@pytest.mark.postgresql
@pytest.mark.parametrize("role", ROLES)
def test_a_database_that_does_not_exist_is_one_sentence(role: str, postgres_node: PostgresNode, tmp_path: Path) -> None:
    done = simcourier(role, env=settings(tmp_path, database_url=postgres_node.url("nowhere")))

    assert done.returncode == 1
    assert 'database "nowhere" does not exist' in sentence(done)


@pytest.mark.postgresql
def test_a_database_user_who_may_not_make_tables_is_one_sentence(postgres_node: PostgresNode, tmp_path: Path) -> None:
    url = create_database(postgres_node.url())
    role = f"reader_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")

    done = simcourier("worker", env=settings(tmp_path, database_url=url.replace("postgres@", f"{role}@")))

    assert done.returncode == 1
    assert "permission denied for schema public" in sentence(done)


def test_a_database_in_memory_is_one_sentence(tmp_path: Path) -> None:
    done = simcourier("worker", env=settings(tmp_path, database_url="sqlite://"))

    assert done.returncode == 2
    assert "SIMCOURIER_DATABASE_URL must name a file" in sentence(done)


def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "simcourier.db").write_bytes(b"something else" * 1000)

    done = simcourier("worker", env=settings(tmp_path))

    assert done.returncode == 1
    assert f"{folder}/simcourier.db cannot be used: file is not a database" in sentence(done)
    assert (folder / "simcourier.db").read_bytes() == b"something else" * 1000


# --- broker


@pytest.mark.rabbitmq
@pytest.mark.parametrize("role", ["worker", "email-sender"])
def test_a_role_that_starts_before_the_broker_says_so_and_goes_on_once_it_is_there(
    role: str, rabbit_node: RabbitNode, prefix: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with Relay(rabbit_node.port) as relay:
        url = f"amqp://guest:guest@127.0.0.1:{relay.port}/"
        with started(role, env=settings(tmp_path, broker_url=url, broker_prefix=prefix), log=log) as process:
            wait_until(has_said(log, "broker.unavailable"), "it says that it waits")
            assert f"127.0.0.1:{relay.port}" in log.read_text()
            relay.open()

            wait_until(has_said(log, "broker.connected"), "it is connected")
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0
    assert "Traceback" not in log.read_text()


def test_up_with_a_broker_that_is_down_is_one_sentence(tmp_path: Path) -> None:
    (port,) = free_ports(1)

    done = simcourier("up", env=settings(tmp_path, broker_url=f"amqp://guest:{PASSWORD}@127.0.0.1:{port}/"))

    assert done.returncode == 1
    assert f"RabbitMQ at 127.0.0.1:{port}, vhost / cannot be reached" in sentence(done)
    assert PASSWORD not in done.stderr


def test_publish_with_a_broker_that_is_down_keeps_the_event_and_says_so(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.sca").write_text("1")
    env = settings(tmp_path, broker_url=f"amqp://guest:{PASSWORD}@127.0.0.1:{port}/")

    done = simcourier("publish", str(tmp_path / "results"), "--to", "a@example.org", "--backend", "local", env=env)

    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert f"127.0.0.1:{port}" in done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert len(list((tmp_path / "data" / "spool").glob("*.json"))) == 1


@pytest.mark.rabbitmq
@pytest.mark.parametrize("role", ["worker", "email-sender", "up"])
@pytest.mark.parametrize("wrong", ["password", "vhost"])
def test_a_broker_that_does_not_let_us_in_is_one_sentence(
    role: str, wrong: str, rabbit_node: RabbitNode, tmp_path: Path
) -> None:
    place = f"127.0.0.1:{rabbit_node.port}"
    url = f"amqp://guest:{PASSWORD}@{place}/" if wrong == "password" else f"amqp://guest:guest@{place}/nowhere"

    done = simcourier(role, env=settings(tmp_path, broker_url=url))

    assert done.returncode == 1
    told = sentence(done)
    assert "does not let the user 'guest' in: check user, password and vhost" in told
    assert PASSWORD not in done.stdout + told


# --- data folder


@pytest.mark.parametrize("role", ROLES)
def test_a_data_folder_that_is_a_file_is_one_sentence(role: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    done = simcourier(role, env=settings(tmp_path))

    assert done.returncode == 1
    assert "is a file; set SIMCOURIER_DATA_DIR" in sentence(done)


@as_root
@pytest.mark.parametrize("role", ROLES)
def test_a_data_folder_of_somebody_else_is_one_sentence_and_left_alone(role: str, tmp_path: Path) -> None:
    """Also for root: the owner could not use what root makes there."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.chown(folder, "nobody")

    done = simcourier(role, env=settings(tmp_path))

    assert done.returncode == 1
    assert "belongs to the user 'nobody', and this is 'root'" in sentence(done)
    assert list(folder.iterdir()) == []


@as_root
@pytest.mark.parametrize("role", ROLES)
def test_a_data_folder_that_cannot_be_made_is_one_sentence(role: str, open_folder: Path) -> None:
    done = simcourier(role, env=settings(open_folder), before=AS_NOBODY)

    assert done.returncode == 1
    assert "cannot be used (Permission denied); set SIMCOURIER_DATA_DIR" in sentence(done)


@as_root
@pytest.mark.parametrize("role", ROLES)
def test_a_data_folder_on_a_read_only_disk_is_one_sentence(role: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    mount = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs -o ro,mode=700 none {folder} && exec "$@"', "sh")

    done = simcourier(role, env=settings(tmp_path), before=mount)

    assert done.returncode == 1
    assert "Read-only file system" in sentence(done)


@as_root
@pytest.mark.parametrize("role", ROLES)
def test_a_data_folder_on_a_network_file_system_is_one_sentence(role: str, tmp_path: Path) -> None:
    """The process sees a table of mounts in which everything comes from a server."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text("27 1 0:40 / / rw - nfs4 server:/ rw\n")
    bind = ("unshare", "-m", "sh", "-c", f'mount --bind {mounts} /proc/$$/mountinfo && exec "$@"', "sh")

    done = simcourier(role, env=settings(tmp_path), before=bind)

    assert done.returncode == 2
    told = sentence(done)
    assert "lies on a network file system (nfs4), where SQLite loses data" in told
    assert "SIMCOURIER_DATA_DIR" in told
    assert not list((tmp_path / "data").glob("*.db*"))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, and only we may write."""
    folder = Path("/tmp") / f"simcourier-test-{uuid.uuid4().hex[:8]}"
    folder.mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


@as_root
@pytest.mark.parametrize("wrong", ["a file", "somebody else's"])
def test_publish_with_a_data_folder_that_it_cannot_write_is_one_sentence(wrong: str, open_folder: Path) -> None:
    """The event was not accepted, and the simulator's host is told so."""
    (open_folder / "results").mkdir()
    (open_folder / "results" / "a.sca").write_text("1")
    if wrong == "a file":
        (open_folder / "data").write_text("")
    else:
        (open_folder / "data").mkdir(mode=0o755)
    command = ("publish", str(open_folder / "results"), "--to", "a@example.org", "--backend", "local")

    done = simcourier(*command, env=settings(open_folder), before=AS_NOBODY)

    assert done.returncode == 1
    assert "let SIMCOURIER_DATA_DIR name another folder" in sentence(done)


# --- together


def test_a_worker_beside_up_works_a_second_up_is_refused_and_all_files_are_the_owners_alone(tmp_path: Path) -> None:
    env = settings(tmp_path)
    up, worker = tmp_path / "up.log", tmp_path / "worker.log"
    with started("up", env=env, log=up) as first:
        wait_until(has_said(up, "Stop with"), "it is up")
        with started("worker", env=env, log=worker) as beside:
            wait_until(has_said(worker, "worker.started"), "the worker beside it has started")
            second = simcourier("up", env=env | {"SIMCOURIER_WEB_PORT": str(free_ports(1)[0])})
            beside.send_signal(signal.SIGTERM)
            assert beside.wait(120) == 0
        assert second.returncode == 1
        assert f"already running on the data folder {tmp_path / 'data'}" in sentence(second)

        results = tmp_path / "results"
        results.mkdir()
        (results / "a.sca").write_text("1")
        sent = simcourier("publish", str(results), "--to", "a@example.org", "--backend", "local", "--wait", env=env)
        assert sent.returncode == 0, sent.stderr
        wait_until(lambda: any((tmp_path / "data" / "mail").glob("*.eml")), "the mail")
        assert readable_by_others(tmp_path / "data") == []
        first.send_signal(signal.SIGTERM)
        assert first.wait(120) == 0


def readable_by_others(folder: Path) -> list[Path]:
    return [path for path in (folder, *folder.rglob("*")) if stat.S_IMODE(path.lstat().st_mode) & 0o077]


def test_a_ledger_that_others_could_read_is_closed_by_the_next_start(tmp_path: Path) -> None:
    env = settings(tmp_path)
    assert simcourier("backends", "list", env=env).returncode == 0
    file = tmp_path / "data" / "simcourier.db"
    file.chmod(0o644)

    assert simcourier("backends", "list", env=env).returncode == 0
    assert readable_by_others(tmp_path / "data") == []


# --- ports


@pytest.mark.parametrize("variable", ["WEB", "LOCAL_CLOUD"])
def test_a_port_that_up_cannot_have_is_one_sentence(variable: str, tmp_path: Path) -> None:
    env = settings(tmp_path)
    with socket.create_server(("127.0.0.1", int(env[f"SIMCOURIER_{variable}_PORT"]))):
        done = simcourier("up", env=env)

    assert done.returncode == 1
    assert f"choose another address with SIMCOURIER_{variable}_HOST and _PORT" in sentence(done)


def test_a_port_that_the_local_cloud_cannot_have_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = simcourier("local-cloud", "--folder", str(tmp_path / "cloud"), "--port", port, env=environ())

    assert done.returncode == 1
    assert f"Nothing can listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


# --- Ctrl-C


@pytest.mark.parametrize("command", [("where", "x"), ("up",)])
def test_ctrl_c_at_any_time_of_the_start_shows_no_traceback(command: tuple[str, ...], tmp_path: Path) -> None:
    env = settings(tmp_path)
    for step in range(8):
        process = subprocess.Popen(
            [sys.executable, "-m", "simcourier", *command],
            cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        time.sleep(0.1 + 0.08 * step)  # the moment is the point: from Python's own start to the command's work
        process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=120)

        assert process.returncode in {0, 1, -signal.SIGINT}  # a shell says 130 for the last
        told = said + complained
        assert not OURS.search(told)
        assert "Aborted" not in complained


def test_ctrl_c_leaves_nothing_of_the_demo(tmp_path: Path) -> None:
    env = environ() | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "simcourier", "demo"],
        cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert "Starting worker" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, complained = process.communicate(timeout=120)

    assert process.returncode in {130, -signal.SIGINT}  # a shell says 130 to both
    assert complained == ""
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_that_is_ignored_from_the_start_stays_ignored(tmp_path: Path) -> None:
    """As for what a script starts in the background."""
    ignoring = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, "-m", "simcourier", "where", "x")
    with subprocess.Popen(ignoring, cwd=ROOT, env=settings(tmp_path), stderr=subprocess.PIPE, text=True) as process:
        wait_until((tmp_path / "data").exists, "it is at work")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)

    assert said.startswith("Error: No delivery")
