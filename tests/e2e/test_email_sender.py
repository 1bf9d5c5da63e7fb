"""The email sender against a real SMTP server."""

from __future__ import annotations

import email
import email.policy
import signal
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.support.events import event
from tests.support.installation import Installation, text_of
from tests.support.scratch import free_ports, wait_until
from tests.support.smtp import Mailbox, smtp_server


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with smtp_server(free_ports(1)[0]) as mailbox:
        yield mailbox


@pytest.fixture
def one(tmp_path: Path, mailbox: Mailbox, ledger_template: Path) -> Iterator[Installation]:
    """An embedded installation that mails through the server, with a delivery on its way."""
    with Installation(tmp_path / "data", template=ledger_template, email_url=mailbox.url) as installation:
        installation.start_cloud()
        installation.start("worker")
        installation.wait_ready()
        yield installation


def notices(installation: Installation, event_id: str) -> list[dict[str, Any]]:
    view = installation.where(event_id)
    return list(view["notices"]) if view else []


def parsed(mailbox: Mailbox) -> list[EmailMessage]:
    found = []
    for _, content in mailbox.accepted:
        mail = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        found.append(mail)
    return found


def test_each_recipient_gets_a_mail_of_their_own(one: Installation, mailbox: Mailbox, results: Path) -> None:
    one.start("email-sender")
    event_id = one.publish(results, to=["anna@example.org", "bert@example.org"], title="Größe, 50 %")
    wait_until(lambda: len(mailbox.accepted) == 2, "both mails")
    one.wait_until_quiet()

    assert sorted(recipient for recipient, _ in mailbox.accepted) == ["anna@example.org", "bert@example.org"]
    for mail in parsed(mailbox):
        assert len(mail["To"].addresses) == 1
        assert mail["Subject"] == "Results ready: Größe, 50 %"
        assert mail["Auto-Submitted"] == "auto-generated"
        assert event_id in text_of(mail)
        html = mail.get_body(("html",))
        assert html is not None
        assert "Get the results" in html.get_content()


def test_a_temporary_refusal_is_waited_for_and_a_final_one_concerns_that_recipient_only(
    one: Installation, mailbox: Mailbox, results: Path
) -> None:
    answers = iter(["451 try later"])
    mailbox.answer_data = lambda: next(answers, "")
    mailbox.answer_rcpt = lambda address: "550 no such user" if address.startswith("nobody") else ""
    one.start("email-sender")

    event_id = one.publish(results, to=["nobody@example.org", "anna@example.org"])
    wait_until(lambda: len(mailbox.accepted) == 1, "the mail that was refused at first")
    one.wait_until_quiet()

    states = {notice["recipient"]: notice for notice in notices(one, event_id)}
    assert states["anna@example.org"]["state"] == "SENT"
    assert states["nobody@example.org"]["state"] == "FAILED"
    assert "550 no such user" in states["nobody@example.org"]["reason"]
    assert [recipient for recipient, _ in mailbox.accepted] == ["anna@example.org"]


@pytest.mark.parametrize(
    ("point", "mails", "uncertain"),
    [
        pytest.param("mail.claimed", 1, 0, marks=pytest.mark.full),  # nothing was said to the server yet
        ("mail.data", 1, 1),  # DATA was about to begin: nobody can know, so it is counted
        ("mail.accepted", 2, 1),  # the server has it and we died before we could write that down
        pytest.param("mail.sent", 2, 1, marks=pytest.mark.full),
        ("email-sender.settled", 1, 0),
    ],
)
def test_only_the_data_window_is_uncertain_and_it_is_counted(
    one: Installation, mailbox: Mailbox, results: Path, point: str, mails: int, uncertain: int
) -> None:
    dying = one.start("email-sender", dies_at=point)
    event_id = one.publish(results)
    assert dying.wait(120) == -signal.SIGKILL
    one.start("email-sender")
    wait_until(lambda: [notice["state"] for notice in notices(one, event_id)] == ["SENT"], "the mail is sent", step=0.5)
    one.wait_until_quiet()

    assert [notice["uncertain"] for notice in notices(one, event_id)] == [uncertain]
    assert len(mailbox.accepted) == mails
    assert len({mail["Message-ID"] for mail in parsed(mailbox)}) == 1


def test_a_mail_server_that_is_away_is_waited_for(tmp_path: Path, results: Path, ledger_template: Path) -> None:
    port = free_ports(1)[0]
    with Installation(tmp_path / "data", template=ledger_template, email_url=f"smtp://127.0.0.1:{port}") as one:
        one.start_cloud()
        one.start("worker")
        one.wait_ready()
        one.start("email-sender")
        event_id = one.publish(results)
        wait_until(lambda: any(notice["reason"] for notice in notices(one, event_id)), "it was tried", step=0.3)

        with smtp_server(port) as mailbox:
            wait_until(lambda: len(mailbox.accepted) == 1, "the mail arrives")
            one.wait_until_quiet()


def test_what_a_server_says_to_quit_is_no_reason_to_send_a_mail_again(
    one: Installation, mailbox: Mailbox, results: Path
) -> None:
    mailbox.answer_quit = "421 closing"
    one.start("email-sender")
    event_id = one.publish(results)
    wait_until(lambda: [notice["state"] for notice in notices(one, event_id)] == ["SENT"], "the mail is sent", step=0.3)
    one.wait_until_quiet()

    assert len(mailbox.accepted) == 1
    assert [notice["uncertain"] for notice in notices(one, event_id)] == [0]


def test_an_address_that_smtp_cannot_carry_fails_for_that_recipient_only(
    one: Installation, mailbox: Mailbox, results: Path
) -> None:
    one.start("email-sender")
    both = event(results, backend="local", recipients=["anna.@example.org", "anna@example.org"])
    one.send(both.to_bytes())  # our own library would refuse the first one
    wait_until(lambda: len(mailbox.accepted) == 1, "the other mail")
    one.wait_until_quiet()

    states = {notice["recipient"]: notice["state"] for notice in notices(one, str(both.id))}
    assert states == {"anna.@example.org": "FAILED", "anna@example.org": "SENT"}
