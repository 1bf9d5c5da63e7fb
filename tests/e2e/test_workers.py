"""What an operator relies on who starts and ends workers: lanes in turn, several deliveries at once, no work lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from tests.support.installation import KEY, Installation, fetch, files_below, link_in, stored_archives, unpacked
from tests.support.scratch import wait_until
from tests.support.throttle import Throttle

MB = 1_000_000
FAST = 1000 * MB


@pytest.fixture
def slow(installation: Installation) -> Iterator[Throttle]:
    """The way to the local cloud; each upload brings as many bytes a second as one likes."""
    from ledger.definitions import define

    with Throttle(installation.cloud_port, FAST) as throttle:
        define("local", name="Local cloud", token=f"127.0.0.1:{throttle.port}", config={"key": KEY})
        connections.close_all()
        yield throttle


def state(installation: Installation, event_id: str) -> dict[str, Any]:
    """What `simcourier where` tells."""
    return installation.where(event_id) or {"state": None}


def test_single_runs_are_delivered_in_turn_with_a_campaign_that_was_there_before_them(
    installation: Installation, results: Path
) -> None:
    installation.start_cloud()
    installation.start("worker", "--no-results")
    installation.wait_ready()
    study = [installation.publish(results, campaign="a long study") for _ in range(12)]
    single = [installation.publish(results) for _ in range(3)]

    installation.start("worker", "--concurrency", "1")
    wait_until(lambda: all(state(installation, one)["state"] == "DELIVERED" for one in study + single), "all")

    by_end = sorted(study + single, key=lambda one: state(installation, one)["ended_at"])
    lanes = ["single" if one in single else "campaign" for one in by_end]
    assert lanes[:6] in (["single", "campaign"] * 3, ["campaign", "single"] * 3)


def test_a_worker_works_on_as_many_deliveries_at_once_as_it_was_told(
    installation: Installation, slow: Throttle, results: Path
) -> None:
    (results / "noise.bin").write_bytes(os.urandom(2 * MB))
    slow.rate = MB / 20
    installation.start_cloud()
    installation.start("worker", "--concurrency", "4")
    installation.start("email-sender")
    installation.wait_ready()
    events = [installation.publish(results) for _ in range(5)]

    def stages() -> list[str]:
        views = [installation.where(one) for one in events]
        return sorted(view["stage"] if view else "not recorded" for view in views)

    wait_until(lambda: stages() == ["", *["storing"] * 4], "four are sent at once, and one waits")
    assert sorted(state(installation, one)["state"] for one in events) == ["RECEIVED", *["WORKING"] * 4]
    slow.rate = FAST
    assert all(unpacked(fetch(link_in(installation.wait_for_mail(one)))) == files_below(results) for one in events)


def test_a_worker_that_is_ended_in_a_long_upload_hands_it_back_and_another_one_goes_on_with_it(
    installation: Installation, slow: Throttle, results: Path
) -> None:
    (results / "noise.bin").write_bytes(os.urandom(24 * MB))
    slow.rate = MB / 2
    installation.environ["SIMCOURIER_GRACE_SECONDS"] = "1"
    installation.start_cloud()
    first = installation.start("worker", "--no-sweep")
    installation.wait_ready()
    event = installation.publish(results)
    wait_until(lambda: slow.sent > MB, "the upload is on its way")

    asked_at = time.monotonic()
    first.send_signal(signal.SIGTERM)
    assert first.wait(120) == 0
    took = time.monotonic() - asked_at

    handed_back = state(installation, event)
    assert took < 1 + 20, "the grace period, and a moment; the upload would take 48 s"
    assert handed_back["state"] == "RECEIVED"
    assert handed_back["failed_tries"] == 0
    slow.rate = FAST
    installation.start("worker", "--no-sweep")
    installation.start("email-sender")
    assert unpacked(fetch(link_in(installation.wait_for_mail(event)))) == files_below(results)
    (archive,) = stored_archives(installation)
    assert slow.sent < archive.stat().st_size + 2 * MB, "what had arrived was not sent again"
