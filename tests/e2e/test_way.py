"""The whole way, with real processes, on both engines."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from messaging.cli import engine_of
from messaging.engine import Outgoing
from tests.support.installation import ROOT, Installation, fetch, files_below, link_in, text_of, unpacked
from tests.support.scratch import wait_until

DATA = ROOT / "tests" / "data"


def test_every_result_arrives_whole_with_one_mail_each(installation: Installation, results: Path) -> None:
    installation.start_cloud()
    installation.start("worker")
    second = installation.start("worker", "--no-recorder", "--no-sweep")
    installation.start("email-sender")
    folders = [results, *(path for path in DATA.iterdir() if path.is_dir())]
    installation.wait_ready()

    events = {installation.publish(folder, title=folder.name): folder for folder in folders}

    for event_id, folder in events.items():
        mail = installation.wait_for_mail(event_id)
        assert unpacked(fetch(link_in(mail))) == files_below(folder)
        assert mail["To"] == "anna@example.org"
        assert mail["Subject"] == f"Results ready: {folder.name}"
    assert len(installation.mails()) == len(folders)
    wait_until(lambda: not any((installation.folder / "archives").rglob("*.zip")), "no archive is left here")
    installation.stop(second)


def test_a_delivery_that_waits_in_the_queue_can_be_found_and_a_missing_folder_is_told(
    installation: Installation, results: Path, tmp_path: Path
) -> None:
    recorder = installation.start("worker", "--no-results")
    installation.wait_ready()
    installation.publish(results, simulation_id="one")
    gone = tmp_path / "gone"
    gone.mkdir()
    event_id = installation.publish(gone, simulation_id="two")
    gone.rmdir()
    wait_until(lambda: installation.where(event_id) is not None, "the recorder has written it down")

    view = installation.where("two")
    assert view is not None
    assert (view["id"], view["state"], view["ahead"]) == (event_id, "RECEIVED", 1)
    assert "waits in the queue" in view["sentence"]

    installation.stop(recorder)
    installation.start("worker")
    installation.start("email-sender")
    mail = installation.wait_for_mail(event_id)
    assert "does not exist" in text_of(mail)
    assert mail["Subject"].startswith("Results not delivered")


def test_a_message_that_is_no_event_is_set_aside_unchanged(installation: Installation) -> None:
    installation.start("worker")
    installation.wait_ready()
    body = b'{"specversion": "1.0", "type": "simcourier.simulation.completed.v99"}'
    with engine_of(installation.settings).publisher() as publisher:
        publisher.publish(Outgoing("simulation.completed.single", body, "odd"))

    def listed() -> str:
        return installation.simcourier("dead", "list", "--json").stdout

    wait_until(lambda: '"times": 1' in listed(), "it has been set aside")
    installation.wait_until_quiet()
    assert '"times": 1' in listed(), "the copies for worker and recorder are one"
    assert "v99" in listed()
    assert installation.simcourier("dead", "show", "1").stdout.strip().endswith(body.decode())


@pytest.mark.rabbitmq
@pytest.mark.postgresql
def test_the_example_event_sent_by_another_client_is_delivered(
    amqp_url: str, database_url: str, tmp_path: Path, results: Path
) -> None:
    document = json.loads((ROOT / "docs" / "examples" / "simulation-completed.json").read_bytes())
    document["data"]["results"] = {"location": results.as_uri()}
    event = json.dumps(document)
    with Installation(tmp_path / "data", broker_url=amqp_url, database_url=database_url) as one:
        one.start_cloud()
        one.start("worker")
        one.start("email-sender")
        wait_until(lambda: _amqp_publish(amqp_url, event), "amqp-publish finds the exchange")

        mail = one.wait_for_mail(document["id"])

        assert unpacked(fetch(link_in(mail))) == files_below(results)


def _amqp_publish(url: str, event: str) -> bool:
    address = url if url.endswith("/%2F") else url.rstrip("/") + "/%2F"
    done = subprocess.run(
        ["amqp-publish", f"--url={address}", "--exchange=simcourier.events.v1",
         "--routing-key=simulation.completed.single", "--content-type=application/cloudevents+json", "--persistent"],
        input=event, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode == 0
