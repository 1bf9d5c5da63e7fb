"""What operators read about deliveries and dead letters cannot steer their terminal, whoever wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from click.testing import CliRunner

from messaging.settings import Settings
from tests.support.events import event
from tests.support.ledger import SECRET, next_tick

if TYPE_CHECKING:
    from ledger.api import Claim

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\x08"
STEERS = tuple("\x1b\x07\x9b\r\x08\u202e\x7f")
TITLE = "report\u202egpj.exe"  # no control character by the messages' rules, and it turns the text


@pytest.fixture
def told(sqlite_ledger: Settings) -> UUID:
    """A delivery and a dead letter in which everything that others write is hostile."""
    from ledger.api import Deliveries, file_dead_letter
    from ledger.models import Delivery, Notification

    one = event(title=TITLE)
    deliveries = Deliveries(f"host{HOSTILE}:1", lease=30, overdue=60)
    claim: Claim = deliveries.claim(one, one.to_bytes(), None)  # type: ignore[assignment] # nobody else is there
    deliveries.packed(
        claim, name="a.zip", size=1, sha256="0" * 64, warnings=[f"{HOSTILE}.csv: not a regular file."],
        notes=[f"{HOSTILE} has no end."], statistics=[{"label": HOSTILE, "value": HOSTILE}],
    )  # fmt: skip
    deliveries.fail(claim, f"The service answered: {HOSTILE}")
    Delivery.objects.update(link=f"https://x/{HOSTILE}")
    Notification.objects.update(reason=f"550 {HOSTILE}")
    file_dead_letter(f"{HOSTILE} body".encode(), headers={f"h{HOSTILE}": HOSTILE}, queue=f"q{HOSTILE}",
                     reason=f"no JSON: {HOSTILE}", publisher=HOSTILE)  # fmt: skip
    del sqlite_ledger
    return one.id


@pytest.mark.parametrize(
    "command",
    ["where ID", "where ID --json", "deliveries show ID", "deliveries list", "deliveries list --json", "dead list",
     "dead list --json", "dead show 1", "dead show 1 --json", "where \x1b[2J"],
)  # fmt: skip
def test_nothing_that_others_wrote_steers_the_terminal(told: UUID, sqlite_ledger: Settings, command: str) -> None:
    from simcourier.cli import main

    environ = {"SIMCOURIER_DATA_DIR": str(sqlite_ledger.data_dir), "SIMCOURIER_SECRET_KEY": SECRET}
    shown = CliRunner().invoke(main, command.replace("ID", str(told)).split(" "), env=environ)

    assert shown.exception is None or isinstance(shown.exception, SystemExit)
    assert shown.output
    assert not [one for one in STEERS if one in shown.output]
    if not command.startswith("where \x1b"):
        assert "owned" in shown.output


def test_no_page_and_no_mail_is_given_what_steers_a_terminal(told: UUID) -> None:
    """What a mail server, a storage service or a client wrote, as the admin's lists show it."""
    from ledger.api import Notices, file_dead_letter, mark_unhealthy
    from ledger.models import DeadLetter, Delivery, Notification, StorageBackend

    notices = Notices(lease=30, overdue=60)
    notice = notices.claim_next(told)
    assert notice is not None
    notices.postpone(notice, 0, f"451 {HOSTILE}")
    next_tick()
    waits = Notification.objects.get(id=notice.id).reason
    notice = notices.claim_next(told)
    assert notice is not None
    notices.fail(notice, f"550 {HOSTILE}")
    StorageBackend.objects.create(storage_backend="Local", storage_backend_id="local-7")
    mark_unhealthy("local-7", f"The service answered: {HOSTILE}", operator="operator@example.org")
    file_dead_letter(b"other", headers={}, queue="lane", reason=f"no JSON: {HOSTILE}", publisher="")

    texts = [
        waits,
        Notification.objects.get(id=notice.id).reason,
        Notification.objects.get(delivery=None).text,
        StorageBackend.objects.get(storage_backend_id="local-7").unhealthy_reason,
        Delivery.objects.get(id=told).reason,
        DeadLetter.objects.get(body=b"other").reason,
    ]
    for text in texts:
        assert "\\x1b]0;owned" in text
        assert not [one for one in STEERS if one in text]
