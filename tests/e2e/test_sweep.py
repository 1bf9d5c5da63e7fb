"""Even a lost message loses nothing."""

from __future__ import annotations

from pathlib import Path

from messaging.cli import engine_of
from tests.support.installation import Installation
from tests.support.scratch import wait_until


def test_a_delivery_whose_message_was_lost_is_woken_and_delivered(installation: Installation, results: Path) -> None:
    installation.start_cloud()
    recorder = installation.start("worker", "--no-results", "--no-sweep")
    installation.wait_ready()
    event_id = installation.publish(results)
    wait_until(lambda: installation.where(event_id) is not None, "it is recorded")
    installation.stop(recorder)
    engine = engine_of(installation.settings)
    with engine.consumer(engine.topology.lanes) as thief:
        taken = thief.take(60)
        assert taken is not None
        thief.ack(taken)

    installation.start("worker")
    installation.start("email-sender")

    installation.wait_for_mail(event_id)


def test_a_mail_whose_message_was_lost_is_woken_and_sent(installation: Installation, results: Path) -> None:
    installation.start_cloud()
    worker = installation.start("worker", "--no-sweep")
    installation.wait_ready()
    engine = engine_of(installation.settings)
    event_id = installation.publish(results)
    with engine.consumer([engine.topology.notifications]) as thief:
        taken = thief.take(60)
        assert taken is not None
        thief.ack(taken)
    installation.stop(worker)

    installation.start("worker", "--no-results", "--no-recorder")
    installation.start("email-sender")

    installation.wait_for_mail(event_id)
