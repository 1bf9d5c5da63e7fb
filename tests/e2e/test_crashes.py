"""kill -9 at every step boundary: another process finishes, one link, one mail."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.installation import Installation, fetch, files_below, link_in, stored_archives, unpacked

WORKER_POINTS = [
    "delivery.claimed",
    "delivery.collecting",
    "delivery.packaging",
    "delivery.packed",
    "delivery.storing",
    "delivery.stored",
    "delivery.linking",
    "delivery.linked",
    "delivery.finished",
    "result.published",
    "result.settled",
]
# Between these the engine has no part: on the second one they are tried with --full only.
WITHIN = {"delivery.collecting", "delivery.packaging", "delivery.packed", "delivery.storing", "delivery.linking"}
SENDER_POINTS = ["mail.claimed", "mail.data", "mail.sent", "result.settled"]


@pytest.mark.parametrize("point", WORKER_POINTS)
def test_a_worker_killed_anywhere_is_replaced_by_another_with_one_link_and_one_mail(
    installation: Installation, results: Path, point: str
) -> None:
    installation.start_cloud()
    # Only the results worker dies: the recorder passes the same points for its own messages.
    dying = installation.start("worker", "--no-recorder", "--no-sweep", dies_at=point)
    installation.wait_ready()
    event_id = installation.publish(results)
    assert dying.wait(30) == -signal.SIGKILL

    installation.start("worker")
    installation.start("email-sender")
    mail = installation.wait_for_mail(event_id)

    assert unpacked(fetch(link_in(mail))) == files_below(results)
    assert len(stored_archives(installation)) == 1
    installation.wait_until_quiet()
    assert len(installation.mails()) == 1


@pytest.mark.parametrize("point", SENDER_POINTS)
def test_an_email_sender_killed_anywhere_is_replaced_by_another_and_one_mail_is_there(
    installation: Installation, results: Path, point: str
) -> None:
    installation.start_cloud()
    installation.start("worker")
    installation.wait_ready()
    dying = installation.start("email-sender", dies_at=point)
    event_id = installation.publish(results)
    assert dying.wait(30) == -signal.SIGKILL

    installation.start("email-sender")
    installation.wait_for_mail(event_id)

    installation.wait_until_quiet()
    assert len(installation.mails()) == 1
