"""Event in, mail with a working link out, through each storage service, on RabbitMQ and PostgreSQL."""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from messaging.topology import Topology
from tests.standins.dropbox.client import DropboxStandin
from tests.standins.seafile.client import SeafileStandin
from tests.support.broker import delete_queues
from tests.support.installation import Installation, files_below, link_in, unpacked
from tests.support.s3 import environment, installed_example, s3_server
from tests.support.scratch import wait_until

pytestmark = [pytest.mark.rabbitmq, pytest.mark.postgresql]


@pytest.fixture
def grown(
    tmp_path: Path, amqp_url: str, new_database_url: Callable[[], str], topology: Topology
) -> Iterator[Installation]:
    with Installation(
        tmp_path / "data", broker_url=amqp_url, database_url=new_database_url(), prefix=topology.prefix,
        operator_email="operator@example.org",
    ) as one:  # fmt: skip
        yield one
    delete_queues(amqp_url, topology)


def define(one: Installation, identifier: str, config: dict[str, str], folder: Path) -> None:
    """As an operator does: three steps, of which the last tries it out."""
    file = folder / f"{identifier}.json"
    file.write_text(json.dumps(config))
    one.simcourier("backends", "add", identifier, "--config-file", str(file))
    assert "FAILED" not in one.simcourier("backends", "check", identifier).stdout


def deliver(one: Installation, backend: str, results: Path, fetch: Callable[[str], bytes]) -> None:
    one.start("worker")
    one.start("email-sender")
    one.wait_ready()
    event_id = one.publish(results, backend=backend)

    mail = one.wait_for_mail(event_id)

    assert unpacked(fetch(link_in(mail))) == files_below(results)


def test_through_dropbox_with_a_link_that_ends(grown: Installation, results: Path, tmp_path: Path) -> None:
    with DropboxStandin(tmp_path / "dropbox") as standin:
        grown.environ |= standin.environment
        define(grown, "dropbox", standin.config, tmp_path)
        trust = ssl.create_default_context(cafile=standin.facts["ca"])

        def fetch(url: str) -> bytes:
            with urllib.request.urlopen(url, timeout=120, context=trust) as answer:
                return bytes(answer.read())

        deliver(grown, "dropbox", results, fetch)

        (link,) = standin.state()["links"]
        assert link["expires"]


def test_through_seafile(grown: Installation, results: Path, tmp_path: Path) -> None:
    with SeafileStandin(tmp_path / "seafile") as standin:
        grown.environ["SIMCOURIER_SEAFILE_SERVER"] = standin.server
        define(grown, "seafile", standin.config, tmp_path)

        def fetch(url: str) -> bytes:
            with urllib.request.urlopen(url, timeout=120) as answer:
                return bytes(answer.read())

        deliver(grown, "seafile", results, fetch)

        assert len(standin.state()["files"]) == 1


def test_through_a_plugin_from_outside(grown: Installation, results: Path, tmp_path: Path) -> None:
    grown.environ |= environment(installed_example(tmp_path / "site"))
    with s3_server() as config:
        define(grown, "s3", config, tmp_path)

        def fetch(url: str) -> bytes:
            with urllib.request.urlopen(url, timeout=120) as answer:
                return bytes(answer.read())

        deliver(grown, "s3", results, fetch)


def test_a_token_that_is_revoked_waits_for_the_operator_who_is_mailed_once(
    grown: Installation, results: Path, tmp_path: Path
) -> None:
    with DropboxStandin(tmp_path / "dropbox") as standin:
        grown.environ |= standin.environment
        define(grown, "dropbox", standin.config, tmp_path)
        standin.revoke()
        grown.start("worker")
        grown.start("email-sender")
        grown.wait_ready()
        events = [grown.publish(results, backend="dropbox", simulation_id=f"run {number}") for number in range(3)]

        def waiting() -> bool:
            views = [grown.where(event_id) for event_id in events]
            return all(view is not None and view["state"] == "WAITING" for view in views)

        wait_until(waiting, "all of them wait")
        wait_until(lambda: len(grown.mails()) == 1, "the operator's mail")
        (mail,) = grown.mails()
        assert (mail["To"], mail["Subject"]) == ("operator@example.org", "SimCourier: storage backend dropbox")

        new = standin.control("grant")
        define(grown, "dropbox", standin.config | {"refresh_token": new}, tmp_path)

        wait_until(lambda: len(grown.mails()) == 4, "each delivery's mail")
