"""The email sender on the ledger and a real mail server, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes
from typing import TYPE_CHECKING, Any

import pytest

from backends.contract import Link
from messaging.engine import Taken
from messaging.messages import SimulationCompleted
from messaging.settings import Settings
from tests.support.events import event
from tests.support.scratch import free_ports
from tests.support.smtp import Mailbox, smtp_server

if TYPE_CHECKING:
    from consumer.email_sender import EmailSender


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with smtp_server(free_ports(1)[0]) as server:
        yield server


@pytest.fixture
def sender(sqlite_ledger: Settings, mailbox: Mailbox) -> EmailSender:
    from consumer.decide import Policy
    from consumer.email_sender import EmailSender
    from consumer.mail.render import Renderer
    from consumer.mail.transports import transport
    from consumer.stop import Stop
    from ledger.api import Notices

    del sqlite_ledger
    renderer = Renderer("simcourier@example.org")
    return EmailSender(
        Notices(lease=30, overdue=60), renderer, transport(mailbox.url, timeout=5), Policy(patience=3600), Stop(1)
    )


def delivered(**data: Any) -> Taken:
    """The wake-up for the mails of a delivery that has ended."""
    from ledger.api import Claim, Deliveries, announcement

    deliveries = Deliveries("host:1", lease=30, overdue=60)
    one: SimulationCompleted = event(**data)
    held = deliveries.claim(one, one.to_bytes(), None)
    assert isinstance(held, Claim)
    deliveries.packed(held, name="a.zip", size=3, sha256="0" * 64, warnings=[])
    deliveries.finish(held, Link(url="http://example.org/f"), keep_days=30)
    told = announcement(one.id)
    assert told is not None
    return Taken("notifications", told.body, told.message_id, {}, False, None, None)


def rows() -> dict[str, Any]:
    from ledger.models import Notification

    return {row.recipient: row for row in Notification.objects.all()}


def test_a_temporary_refusal_waits_and_a_final_one_fails(sender: EmailSender, mailbox: Mailbox) -> None:
    from consumer.loop import Later

    answers = {"bert@example.org": "451 try later", "nobody@example.org": "550 no such user"}
    mailbox.answer_rcpt = lambda address: answers.get(address, "")
    result = sender.handle(delivered(recipients=["anna@example.org", *answers]))

    assert isinstance(result.settle, Later)
    assert {recipient: row.state for recipient, row in rows().items()} == {
        "anna@example.org": "SENT",
        "bert@example.org": "PENDING",
        "nobody@example.org": "FAILED",
    }
    assert [recipient for recipient, _ in mailbox.accepted] == ["anna@example.org"]


def test_the_ledger_knows_that_data_begins_before_the_mail_server_does(sender: EmailSender, mailbox: Mailbox) -> None:
    from django.db import connections

    known: list[bool] = []

    def answer() -> str:
        known.extend(row.data_started for row in rows().values())
        connections.close_all()
        return ""

    mailbox.blocking_data = answer
    sender.handle(delivered())

    assert known == [True]
    assert [(row.state, row.data_started) for row in rows().values()] == [("SENT", False)]


def test_a_mail_whose_server_is_lost_after_data_is_counted_as_uncertain(
    sender: EmailSender, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ledger.models import Notification
    from ledger.work import from_now

    wake_up = delivered()
    with monkeypatch.context() as patched:
        patched.setattr(mailbox, "lost_after_data", True)
        sender.handle(wake_up)
    (row,) = rows().values()
    assert (row.state, row.data_started, row.uncertain) == ("SENDING", True, 0)
    Notification.objects.update(lease_until=from_now(-1))
    sender.handle(wake_up)

    (row,) = rows().values()
    assert (row.state, row.uncertain) == ("SENT", 1)
    sent = [message_from_bytes(content)["Message-ID"] for _, content in mailbox.accepted]
    assert len(sent) == 2
    assert len(set(sent)) == 1
