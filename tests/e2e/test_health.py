"""``simcourier health``: what it says of processes that work, are stuck, or have lost their broker or database."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.installation import Installation
from tests.support.nodes import PostgresNode, RabbitNode
from tests.support.scratch import free_ports, wait_until


@pytest.fixture
def embedded(tmp_path: Path, ledger_template: Path) -> Iterator[Installation]:
    with Installation(tmp_path / "data", template=ledger_template) as one:
        yield one


def asked(installation: Installation, *arguments: str) -> tuple[int, str]:
    """Exit code, and what was said."""
    done = installation.simcourier("health", *arguments, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def wait_healthy(installation: Installation, role: str) -> None:
    wait_until(lambda: asked(installation, role)[0] == 0, f"{role} is healthy", step=0.3)


def test_a_worker_is_healthy_until_it_is_stuck_and_again_when_it_goes_on(embedded: Installation) -> None:
    assert asked(embedded, "worker")[1].startswith("Error: No worker runs on this machine")
    worker = embedded.start("worker")
    wait_healthy(embedded, "worker")
    assert asked(embedded, "email-sender")[0] == 1
    assert (embedded.folder / "health").stat().st_mode & 0o777 == 0o700

    os.kill(worker.pid, signal.SIGSTOP)
    wait_until(lambda: asked(embedded, "worker", "--within", "2")[0] == 1, "the silence is noticed", step=0.3)
    said = asked(embedded, "worker", "--within", "2")[1]
    os.kill(worker.pid, signal.SIGCONT)

    assert said.startswith(f"Error: The worker (process {worker.pid}) has been silent for ")
    assert "its broker is away, or it is stuck" in said
    wait_healthy(embedded, "worker")
    worker.kill()
    worker.wait()
    assert asked(embedded, "worker")[1].startswith("Error: No worker runs on this machine")


def test_work_that_takes_long_is_no_silence(embedded: Installation, results: Path) -> None:
    """The upload goes to a server that takes it and never answers."""
    with socket.create_server(("127.0.0.1", embedded.cloud_port)):
        embedded.start("worker")
        embedded.wait_ready()
        event_id = embedded.publish(results)
        wait_until(lambda: (embedded.where(event_id) or {}).get("stage") == "storing", "it is being stored", step=0.3)
        time.sleep(3)  # so that a silence would be longer than what is asked for
        wait_until(lambda: asked(embedded, "worker", "--within", "2")[0] == 0, "signs of life go on", step=0.3)


def test_a_consumer_that_has_never_reached_its_broker_is_not_healthy(tmp_path: Path, ledger_template: Path) -> None:
    nobody = f"amqp://guest:guest@127.0.0.1:{free_ports(1)[0]}/"
    with Installation(tmp_path / "data", template=ledger_template, broker_url=nobody) as one:
        sender = one.start("email-sender")
        wait_until(lambda: "process" in asked(one, "email-sender")[1], "it is running", step=0.3)

        assert asked(one, "email-sender") == (
            1, f"Error: The email-sender (process {sender.pid}) has not reached its broker yet."
        )  # fmt: skip


@pytest.mark.full
@pytest.mark.rabbitmq
def test_a_worker_whose_broker_is_away_is_unhealthy_until_it_is_back(
    rabbit_node: RabbitNode, tmp_path: Path, ledger_template: Path
) -> None:
    with Installation(tmp_path / "data", template=ledger_template, broker_url=rabbit_node.url) as one:
        one.start("worker")
        wait_healthy(one, "worker")

        rabbit_node.kill()
        wait_until(lambda: asked(one, "worker", "--within", "3")[0] == 1, "the silence is noticed", step=0.3)
        rabbit_node.start()

        wait_until(lambda: asked(one, "worker", "--within", "3")[0] == 0, "it is healthy again", step=0.3)


def test_a_site_on_a_taken_port_says_so_in_a_sentence(embedded: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = embedded.simcourier("web", "--port", str(port), check=False)

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"Error: Nothing can listen on 127.0.0.1:{port} (Address already in use); choose another address with "
        "SIMCOURIER_WEB_HOST and SIMCOURIER_WEB_PORT.\n"
    )
    elsewhere = embedded.simcourier("web", "--host", "192.0.2.1", check=False)
    assert (elsewhere.returncode, elsewhere.stderr.count("\n")) == (1, 1)


def answer(url: str, host: str = "localhost", **headers: str) -> tuple[int, str, bytes]:
    """Status, type and body of a page, asked for under a host name."""
    request = urllib.request.Request(url, headers={"Host": host, **headers})
    try:
        with urllib.request.urlopen(request, timeout=120) as page:
            return page.status, page.headers["Content-Type"], page.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_site_behind_a_proxy_answers_under_its_public_name_only(embedded: Installation, address: str) -> None:
    (port,) = free_ports(1)
    embedded.environ |= {
        "SIMCOURIER_WEB_HOST": address,
        "SIMCOURIER_WEB_PORT": str(port),
        "SIMCOURIER_PUBLIC_URL": "https://results.example.org",
    }
    site = f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
    embedded.start("web")
    wait_healthy(embedded, "web")

    assert answer(f"{site}/admin/login/", "results.example.org")[0] == 200
    status, kind, body = answer(f"{site}/admin/login/", "web:8974")
    assert (status, kind) == (400, "text/plain; charset=utf-8")
    assert b"SIMCOURIER_PUBLIC_URL must be the address" in body
    assert not any("Traceback" in log.read_text() for log in embedded.folder.glob("*.log"))


@pytest.mark.postgresql
def test_a_site_whose_database_is_away_answers_in_json_what_is_the_matter(
    postgres_node: PostgresNode, new_database_url: Callable[[], str], tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    site = f"http://127.0.0.1:{port}"
    with Installation(tmp_path / "data", database_url=new_database_url(), web_port=str(port)) as one:
        one.start("web")
        wait_healthy(one, "web")
        postgres_node.stop()
        try:
            told = [answer(f"{site}/{path}") for path in ("api/backends", f"api/deliveries/{uuid4()}", "healthz")]
            page = answer(f"{site}/admin/", Cookie=f"sessionid={uuid4().hex}")
            code, said = asked(one, "web")
        finally:
            postgres_node.start()
        wait_healthy(one, "web")
        log = "".join(path.read_text() for path in one.folder.glob("*.log"))
    assert all(json.loads(line)["role"] == "web" for line in log.splitlines())
    assert "Listening at: " in log

    for status, kind, body in told:
        assert (status, kind) == (503, "application/json")
        assert json.loads(body)["error"].startswith("The ledger at ")
    assert (code, said.startswith("Error: The ledger at ")) == (1, True)
    assert page[:2] == (503, "text/plain; charset=utf-8")
    assert page[2].startswith(b"The ledger cannot be reached at the moment")
    assert "/admin/" in log
    assert '"exception"' not in log
    assert "Traceback" not in log


def test_nothing_that_listens_is_told_with_its_address(embedded: Installation) -> None:
    code, said = asked(embedded, "local-cloud")

    assert code == 1
    assert said == (
        f"Error: Nothing answers at http://127.0.0.1:{embedded.cloud_port}/healthz ([Errno 111] Connection refused)."
    )
    embedded.start_cloud()
    assert asked(embedded, "local-cloud") == (0, f"local-cloud: answers on port {embedded.cloud_port}")


def test_one_of_djangos_commands_says_in_a_sentence_that_the_database_is_away(embedded: Installation) -> None:
    embedded.environ["SIMCOURIER_DATABASE_URL"] = (
        f"postgresql://simcourier:hidden@127.0.0.1:{free_ports(1)[0]}/simcourier"
    )

    done = embedded.simcourier("manage", "migrate", check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("Error: The ledger at ")
    assert done.stderr.count("\n") == 1
    assert "hidden" not in done.stderr
