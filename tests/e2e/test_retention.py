"""A worker lets old deliveries forget, and removes archives that it has left behind."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from django.db import connections
from django.db.models import F

from tests.support.installation import Installation
from tests.support.ledger import use_database
from tests.support.scratch import wait_until


def test_an_old_failure_forgets_whose_it_was_and_a_retry_says_so(installation: Installation, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    worker, sender = installation.start("worker", "--no-sweep"), installation.start("email-sender")
    installation.wait_ready()
    event_id = installation.publish(gone, simulation_id="annas-run")
    gone.rmdir()
    installation.wait_for_mail(event_id)
    installation.wait_until_quiet()
    installation.stop(worker)
    installation.stop(sender)
    use_database(installation.settings)
    from ledger.models import Delivery

    Delivery.objects.update(ended_at=F("ended_at") - timedelta(days=91))
    connections.close_all()
    left_behind = installation.folder / "archives" / event_id
    left_behind.mkdir(parents=True)

    assert "90 days SIMCOURIER_KEEP_RECIPIENTS_DAYS 1" in " ".join(installation.simcourier("retention").stdout.split())
    installation.start("worker")

    def recipients() -> list[str]:
        view = installation.where(event_id)
        return [notice["recipient"] for notice in view["notices"]] if view else []

    wait_until(lambda: recipients() != ["anna@example.org"], "the address is erased")
    wait_until(lambda: not left_behind.exists(), "the archive that was left behind is removed")
    done = installation.simcourier("deliveries", "retry", event_id, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "its event is not kept any more. Publish the results again" in done.stderr
