"""``simcourier expire``, and a worker that does the same by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.installation import Installation, link_in, stored_archives
from tests.support.scratch import wait_until


def test_an_archive_is_removed_after_its_keep_days_and_not_before(
    tmp_path: Path, ledger_template: Path, results: Path
) -> None:
    import urllib.error

    from tests.support.installation import fetch

    with Installation(tmp_path / "data", template=ledger_template) as one:
        one.start_cloud()
        worker = one.start("worker")
        one.start("email-sender")
        one.wait_ready()
        event_id = one.publish(results)
        link = link_in(one.wait_for_mail(event_id))
        one.wait_until_quiet()  # it is noted that the mail was sent
        one.stop(worker)
        assert one.simcourier("expire").stdout == "Nothing is to be removed.\n"
        let_its_time_pass()

        (planned,) = json.loads(one.simcourier("expire", "--dry-run", "--json").stdout)
        assert (planned["delivery"], planned["expired"]) == (event_id, True)
        assert len(stored_archives(one)) == 1
        one.start("worker")
        wait_until(lambda: not stored_archives(one), "the worker removes it")

        def expired() -> bool:
            view = one.where(event_id)
            return view is not None and view["state"] == "EXPIRED"

        wait_until(expired, "the delivery is EXPIRED")
        with pytest.raises(urllib.error.HTTPError):
            fetch(link)
        assert one.simcourier("expire").stdout == "Nothing is to be removed.\n"


def let_its_time_pass() -> None:
    from datetime import UTC, datetime, timedelta

    from ledger.models import Notification, Placement
    from ledger.work import from_now

    Placement.objects.update(remove_at=from_now(-1))
    Notification.objects.update(keep_until=datetime.now(UTC).date() - timedelta(days=1))
