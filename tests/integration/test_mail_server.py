"""What the email sender makes of a mail server's answers, on a real one; and how it is shown."""

from __future__ import annotations

import email
import email.policy
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from backends.contract import Link
from messaging.engine import Taken
from messaging.messages import SimulationCompleted, parse_event
from messaging.settings import Settings
from simcourier.cli import main
from tests.support.events import event
from tests.support.ledger import SECRET, next_tick
from tests.support.scratch import free_ports, wait_until
from tests.support.smtp import Mailbox, smtp_server

if TYPE_CHECKING:
    from consumer.email_sender import EmailSender
    from consumer.stop import Stop

ANNA, BERT = "anna@example.org", "bert@example.org"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with smtp_server(free_ports(1)[0]) as mailbox:
        yield mailbox


@pytest.fixture
def sender(sqlite_ledger: Settings, mailbox: Mailbox) -> EmailSender:
    del sqlite_ledger
    return sender_to(mailbox)


def sender_to(mailbox: Mailbox, *, lease: float = 30, timeout: float = 60, stop: Stop | None = None) -> EmailSender:
    from consumer.decide import Policy
    from consumer.email_sender import EmailSender
    from consumer.mail.render import Renderer
    from consumer.mail.transports import transport
    from consumer.stop import Stop
    from ledger.api import Notices

    return EmailSender(
        Notices(lease=lease, overdue=60),
        Renderer("SimCourier <sim@example.org>"),
        transport(mailbox.url, timeout=timeout),
        Policy(patience=5 * 24 * 3600),
        stop or Stop(1),
    )


@pytest.fixture
def one(sqlite_ledger: Settings) -> SimulationCompleted:
    """A delivery to Anna and Bert that has just got its link."""
    from ledger.api import Claim, Deliveries

    del sqlite_ledger
    one = event(recipients=[ANNA, BERT])
    deliveries = Deliveries("host:1", lease=30, overdue=60)
    held = deliveries.claim(one, one.to_bytes(), None)
    assert isinstance(held, Claim)
    deliveries.packed(held, name="a.zip", size=3, sha256="0" * 64, warnings=[])
    deliveries.finish(held, Link(url="http://example.org/f"), keep_days=30)
    return one


def work(sender: EmailSender, one: SimulationCompleted) -> Any:
    """One wake-up; how it is settled."""
    from ledger.api import announcement

    told = announcement(one.id)
    assert told is not None
    return sender.handle(Taken("notifications", told.body, told.message_id, {}, False, None, None)).settle


def pass_time(**columns: str) -> None:
    """As if what stands in these columns were over."""
    from ledger.models import Notification
    from ledger.work import from_now

    for name, state in columns.items():
        Notification.objects.filter(state=state).update(**{name: from_now(-1)})


def states() -> dict[str, tuple[str, str]]:
    from ledger.models import Notification

    return {row.recipient: (row.state, row.reason) for row in Notification.objects.all()}


def shown(settings: Settings, one: SimulationCompleted) -> list[str]:
    """The lines about mails that ``where`` and ``deliveries show`` print."""
    environ = {"SIMCOURIER_DATA_DIR": str(settings.data_dir), "SIMCOURIER_SECRET_KEY": SECRET}
    told = [
        CliRunner().invoke(main, [*words, str(one.id)], env=environ).stdout
        for words in (["where"], ["deliveries", "show"])
    ]
    told = [re.sub(r" in \d+ s", " in a moment", text) for text in told]
    assert told[0] == told[1]
    return [line.partition("Mail:")[2].strip() for line in told[0].splitlines() if "Mail:" in line]


def mails(mailbox: Mailbox) -> list[EmailMessage]:
    found = []
    for _, content in mailbox.accepted:
        mail = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        found.append(mail)
    return found


def test_recipients_never_see_each_other(sender: EmailSender, one: SimulationCompleted, mailbox: Mailbox) -> None:
    work(sender, one)

    assert sorted(recipient for recipient, _ in mailbox.accepted) == [ANNA, BERT]
    for recipient, content in mailbox.accepted:
        other = BERT if recipient == ANNA else ANNA
        mail = email.message_from_bytes(content, policy=email.policy.default)
        assert mail["To"] == recipient
        assert (mail["Cc"], mail["Bcc"]) == (None, None)
        decoded = content + b"".join(bytes(part.get_payload(decode=True) or b"") for part in mail.walk())
        assert other.partition("@")[0].encode() not in decoded.lower()


@pytest.mark.parametrize("answer", ["450 mailbox busy", "421 shutting down"])
def test_what_is_refused_for_now_waits_and_says_so_and_the_other_recipient_has_the_mail(
    sender: EmailSender, one: SimulationCompleted, mailbox: Mailbox, sqlite_ledger: Settings, answer: str
) -> None:
    from consumer.loop import Ack, Later

    mailbox.answer_rcpt = lambda address: answer if address == BERT else ""
    assert isinstance(work(sender, one), Later)

    assert [recipient for recipient, _ in mailbox.accepted] == [ANNA]
    sent, waits = sorted(shown(sqlite_ledger, one))
    assert sent.startswith(f"{ANNA}, with the link: SENT (")
    assert waits.startswith(f"{BERT}, with the link: PENDING, tried again in a moment: ")
    assert waits.endswith(f"The mail server did not accept the recipient: {answer}")

    mailbox.answer_rcpt = lambda _: ""
    pass_time(due_at="PENDING")
    assert isinstance(work(sender, one), Ack)
    assert [recipient for recipient, _ in mailbox.accepted] == [ANNA, BERT]


def test_what_is_refused_for_good_fails_for_that_recipient_only_and_is_shown(
    sender: EmailSender, one: SimulationCompleted, mailbox: Mailbox, sqlite_ledger: Settings
) -> None:
    from consumer.loop import Ack

    mailbox.answer_rcpt = lambda address: "550 no such user" if address == BERT else ""

    assert isinstance(work(sender, one), Ack)

    assert [recipient for recipient, _ in mailbox.accepted] == [ANNA]
    failed = f"{BERT}, with the link: FAILED: The mail server did not accept the recipient: 550 no such user"
    assert failed in shown(sqlite_ledger, one)
    assert isinstance(work(sender, one), Ack), "and it is over"
    assert len(mailbox.accepted) == 1


def test_a_mail_that_is_refused_for_what_it_says_fails_with_the_server_s_words(
    sender: EmailSender, one: SimulationCompleted, mailbox: Mailbox
) -> None:
    answers = iter(["554 looks like spam"])
    mailbox.answer_data = lambda: next(answers, "")

    work(sender, one)

    assert sorted(state for state, _ in states().values()) == ["FAILED", "SENT"]
    assert "The mail server did not accept the mail: 554 looks like spam" in [reason for _, reason in states().values()]


def test_a_server_that_does_not_take_us_as_a_sender_is_waited_for_since_that_can_be_mended(
    sender: EmailSender, one: SimulationCompleted, mailbox: Mailbox
) -> None:
    mailbox.answer_mail = "550 sim@example.org may not send here"
    work(sender, one)

    reason = "The mail server did not accept sim@example.org as the sender: 550 sim@example.org may not send here"
    assert states() == {ANNA: ("PENDING", reason), BERT: ("PENDING", reason)}

    mailbox.answer_mail = ""
    pass_time(due_at="PENDING")
    work(sender, one)
    assert len(mailbox.accepted) == 2


def test_the_ledger_knows_that_data_begins_before_the_mail_server_does(
    sender: EmailSender, one: SimulationCompleted, mailbox: Mailbox
) -> None:
    from django.db import connections

    from ledger.models import Notification

    known: list[list[bool]] = []

    def answer() -> str:
        known.append(sorted(Notification.objects.values_list("data_started", flat=True)))
        connections.close_all()
        return ""

    mailbox.blocking_data = answer
    work(sender, one)

    assert known == [[False, True], [False, True]], "one mail after the other"
    assert list(Notification.objects.values_list("state", "data_started")) == [("SENT", False), ("SENT", False)]


def test_a_server_that_is_lost_after_data_gets_the_mail_again_with_its_old_id_and_that_is_counted(
    sender: EmailSender, one: SimulationCompleted, mailbox: Mailbox, sqlite_ledger: Settings
) -> None:
    mailbox.lost_after_data = True
    work(sender, one)
    assert {state for state, _ in states().values()} == {"SENDING"}
    mailbox.lost_after_data = False
    work(sender, one)
    assert len(mailbox.accepted) == 2, "nobody touches it before the claim has run out"

    pass_time(lease_until="SENDING")
    work(sender, one)

    assert sorted(mail["To"] for mail in mails(mailbox)) == [ANNA, ANNA, BERT, BERT]
    assert len({(mail["To"], mail["Message-ID"]) for mail in mails(mailbox)}) == 2
    for line in shown(sqlite_ledger, one):
        assert line.endswith(", sent again once without knowing whether it had arrived")


def test_a_server_that_answers_late_is_waited_for_and_nobody_else_sends_the_mail_meanwhile(
    sqlite_ledger: Settings, one: SimulationCompleted, mailbox: Mailbox
) -> None:
    from django.db import connections

    from ledger.api import Notices
    from ledger.models import Notification

    Notification.objects.filter(recipient=BERT).delete()
    taken: list[Any] = []

    def answer() -> str:
        until = Notification.objects.get().lease_until
        assert until is not None
        wait_until(lambda: datetime.now(UTC) > until, "the claim would have run out")
        taken.append(Notices(lease=30, overdue=60).claim_next(one.id))
        connections.close_all()
        return ""

    mailbox.blocking_data = answer
    work(sender_to(mailbox, lease=6, timeout=5), one)

    assert taken == [None]
    assert [recipient for recipient, _ in mailbox.accepted] == [ANNA]
    (line,) = shown(sqlite_ledger, one)
    assert line.startswith(f"{ANNA}, with the link: SENT (")
    assert "sent again" not in line


def test_a_stop_waits_for_a_server_that_does_not_answer_no_longer_than_the_grace_period(
    one: SimulationCompleted, mailbox: Mailbox, sqlite_ledger: Settings
) -> None:
    from consumer.stop import Stop

    asked, goes_on = threading.Event(), threading.Event()

    def answer() -> str:
        asked.set()
        goes_on.wait(120)
        return ""

    mailbox.blocking_data = answer
    stop = Stop(0.5)
    working = threading.Thread(target=work, args=(sender_to(mailbox, stop=stop), one))
    working.start()
    assert asked.wait(120)
    stop.request()
    working.join(60)
    stopped = not working.is_alive()
    goes_on.set()
    working.join()
    mailbox.blocking_data = lambda: ""

    assert stopped
    assert sorted(state for state, _ in states().values()) == ["PENDING", "SENDING"], "nobody knows whether it arrived"
    pass_time(lease_until="SENDING")
    work(sender_to(mailbox), one)
    counted = [line for line in shown(sqlite_ledger, one) if "sent again once without knowing" in line]
    assert len(counted) == 1


def test_a_mail_whose_server_is_lost_each_time_is_given_up_and_says_so(
    sender: EmailSender, one: SimulationCompleted, mailbox: Mailbox
) -> None:
    from ledger.models import Notification

    Notification.objects.filter(recipient=BERT).delete()
    mailbox.lost_after_data = True
    for _ in range(7):
        work(sender, one)
        pass_time(lease_until="SENDING")

    assert len(mailbox.accepted) == 5
    assert len({mail["Message-ID"] for mail in mails(mailbox)}) == 1
    assert states()[ANNA][0] == "FAILED"
    assert "lost before the answer" in states()[ANNA][1]


def test_a_mail_over_which_senders_die_each_time_is_given_up_too(
    sender: EmailSender, one: SimulationCompleted, mailbox: Mailbox
) -> None:
    from ledger.models import Notification

    Notification.objects.update(state="SENDING", data_started=True, uncertain=4)
    pass_time(lease_until="SENDING")

    work(sender, one)

    assert mailbox.accepted == []
    assert {state for state, _ in states().values()} == {"FAILED"}


OPERATOR = "ops@example.org"


@pytest.fixture
def operated(sender: EmailSender) -> EmailSender:
    """An email sender that knows whom to tell."""
    sender._notices.operator = OPERATOR
    return sender


def told(settings: Settings) -> list[str]:
    """The texts of the operator's mails."""
    from ledger.models import Notification

    del settings
    return list(Notification.objects.filter(kind="operator").order_by("created_at").values_list("text", flat=True))


def wake_operator(sender: EmailSender) -> None:
    """What the sweep does for the operator's mails that are due."""
    from ledger.api import overdue

    for one in overdue({}):
        if one.state == "for the operator":
            sender.handle(Taken("notifications", one.wake_up.body, "m", {}, False, None, None))


def test_an_operator_is_mailed_when_a_recipient_is_refused_for_good(
    operated: EmailSender, one: SimulationCompleted, mailbox: Mailbox, sqlite_ledger: Settings
) -> None:
    from ledger.lookup import find

    mailbox.answer_rcpt = lambda address: "550 no such user" if address == BERT else ""
    work(operated, one)
    wake_operator(operated)

    (mail,) = [mail for mail in mails(mailbox) if mail["To"] == OPERATOR]
    text = mail.get_body(("plain",))
    assert text is not None
    words = text.get_content().replace("\r\n", "\n")
    assert f"To {BERT}, with the link, of delivery {one.id}: The mail server did not accept" in words
    assert "550 no such user" in words
    assert f"    simcourier deliveries resend {one.id} --to {BERT}\n" in words
    assert "1 of 2 mails are sent; 1 could not be sent and is not tried again." in find(str(one.id))[0].sentence()
    assert len(told(sqlite_ledger)) == 1


def test_an_operator_is_told_once_of_a_delivery_and_recipient_and_the_next_ones_come_in_one_mail(
    operated: EmailSender, one: SimulationCompleted, mailbox: Mailbox, sqlite_ledger: Settings
) -> None:
    from ledger.operators import resend

    mailbox.answer_rcpt = lambda address: "" if address == OPERATOR else "550 no such user"
    work(operated, one)
    assert len(told(sqlite_ledger)) == 1, "both recipients, in one mail that has not gone out yet"
    assert BERT in told(sqlite_ledger)[0]
    assert ANNA in told(sqlite_ledger)[0]
    wake_operator(operated)

    resend(one.id)
    work(operated, one)
    assert len(told(sqlite_ledger)) == 1, "nothing new"

    next_tick()
    resend(one.id, ["carla@example.org"])
    resend(one.id, ["$(reboot)@example.org"])
    work(operated, one)
    wake_operator(operated)
    assert len([mail for mail in mails(mailbox) if mail["To"] == OPERATOR]) == 1, "no storm of mails"
    assert "--to '$(reboot)@example.org'" in told(sqlite_ledger)[1]
    pass_time(due_at="PENDING", wake_at="PENDING")
    wake_operator(operated)
    assert len([mail for mail in mails(mailbox) if mail["To"] == OPERATOR]) == 2


def test_an_operator_is_told_of_a_mail_that_is_given_up(
    operated: EmailSender, one: SimulationCompleted, mailbox: Mailbox, sqlite_ledger: Settings
) -> None:
    from ledger.models import Notification
    from ledger.work import from_now

    mailbox.answer_rcpt = lambda address: "450 mailbox busy" if address == BERT else ""
    Notification.objects.filter(recipient=BERT).update(attempts=99, trouble_since=from_now(-6 * 24 * 3600))
    work(operated, one)

    (text,) = told(sqlite_ledger)
    assert "450 mailbox busy" in text


def test_a_mail_to_an_operator_that_is_refused_makes_no_other(
    operated: EmailSender, one: SimulationCompleted, mailbox: Mailbox, sqlite_ledger: Settings
) -> None:
    mailbox.answer_rcpt = lambda _: "550 nobody is here"
    work(operated, one)
    for _ in range(3):
        wake_operator(operated)
        pass_time(due_at="PENDING", wake_at="PENDING")

    assert len(told(sqlite_ledger)) == 1
    assert states()[OPERATOR][0] == "FAILED"


def test_the_mail_to_an_operator_names_some_and_says_that_there_are_more(
    operated: EmailSender, one: SimulationCompleted, mailbox: Mailbox, sqlite_ledger: Settings
) -> None:
    from ledger.operators import resend

    mailbox.answer_rcpt = lambda _: "550 " + "x" * 400 + "\n    simcourier deliveries cancel all"
    resend(one.id, [f"user{number}@example.org" for number in range(40)])
    work(operated, one)

    (text,) = told(sqlite_ledger)
    assert len(text) < 21_000
    assert text.endswith('the admin lists them all under Mails, by the state "failed".')
    assert "\n    simcourier deliveries cancel" not in text


def test_an_event_of_another_client_is_one_mail_for_each_mailbox_however_it_is_written(
    sender: EmailSender, mailbox: Mailbox, sqlite_ledger: Settings
) -> None:
    from ledger.api import Claim, Deliveries

    del sqlite_ledger
    one = event(recipients=["dora@example.org", "dora@EXAMPLE.ORG", "anna@exämple.org", "üñ@example.org"])
    body = one.to_bytes().replace(b"xn--exmple-cua.org", "exämple.org".encode()).replace(b"dora@e", b"dora@E", 1)
    deliveries = Deliveries("host:1", lease=30, overdue=60)
    held = deliveries.claim(parse_event(body), body, None)
    assert isinstance(held, Claim)
    deliveries.packed(held, name="a.zip", size=3, sha256="0" * 64, warnings=[])
    deliveries.finish(held, Link(url="http://example.org/f"), keep_days=30)
    work(sender, one)

    assert sorted(recipient for recipient, _ in mailbox.accepted) == ["anna@xn--exmple-cua.org", "dora@example.org"]
    assert sorted(mail["To"] for mail in mails(mailbox)) == ["anna@xn--exmple-cua.org", "dora@example.org"]
    why = "before the @ it has letters beyond ASCII, which not every mail server takes"
    assert states()["üñ@example.org"] == ("FAILED", f"No mail can be sent to this address ({why}).")
