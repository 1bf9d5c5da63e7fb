"""An operator has the mail about a delivery sent again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from backends.contract import Link, Stored
from messaging.cli import engine_of
from messaging.messages import SimulationCompleted, parse
from messaging.settings import Settings
from simcourier.cli import main
from tests.support.events import event
from tests.support.ledger import SECRET

if TYPE_CHECKING:
    from ledger.notifications import Notices

ANNA, BERT, CARL = (f"{name}@example.org" for name in ("anna", "bert", "carl"))


@pytest.fixture
def settings(sqlite_ledger: Settings) -> Settings:
    """With the queues declared."""
    engine_of(sqlite_ledger).consumer([sqlite_ledger.topology.dead]).close()
    return sqlite_ledger


@pytest.fixture
def notices(settings: Settings) -> Notices:
    from ledger.api import Notices

    del settings
    return Notices(lease=30, overdue=60)


def ended(*, failed: bool = False) -> SimulationCompleted:
    """A delivery to Anna and Bert that has ended."""
    from ledger.api import Claim, Deliveries

    one = event(recipients=[ANNA, BERT])
    deliveries = Deliveries("host:1", lease=30, overdue=60)
    held = deliveries.claim(one, one.to_bytes(), None)
    assert isinstance(held, Claim)
    if failed:
        deliveries.fail(held, "The results folder does not exist.")
        return one
    generation = deliveries.packed(held, name="a.zip", size=3, sha256="0" * 64, warnings=[])
    deliveries.place(held, backend="memory", generation=generation, key="k")
    deliveries.stored(held, backend="memory", generation=generation, stored=Stored(key="k", size=3))
    deliveries.finish(held, Link(url="http://example.org/f"), keep_days=30)
    return one


def send_all(notices: Notices, one: SimulationCompleted) -> list[tuple[str, Any]]:
    """Send what is due; recipient and id of each mail."""
    sent = []
    while notice := notices.claim_next(one.id):
        notices.data_starts(notice)
        notices.sent(notice)
        sent.append((notice.recipient, notice.id))
    return sent


def resend(settings: Settings, *arguments: str) -> Result:
    environ = {"SIMCOURIER_DATA_DIR": str(settings.data_dir), "SIMCOURIER_SECRET_KEY": SECRET}
    return CliRunner().invoke(main, ["deliveries", "resend", *arguments], env=environ)


@pytest.mark.parametrize("failed", [False, True])
def test_everybody_whom_the_event_names_is_mailed_again_once(
    settings: Settings, notices: Notices, failed: bool
) -> None:
    one = ended(failed=failed)
    first = send_all(notices, one)

    done = resend(settings, str(one.id))
    again = send_all(notices, one)

    assert (done.exit_code, done.stdout) == (0, f"{one.id}: the mail goes to {ANNA}, {BERT}.\n")
    assert sorted(to for to, _ in again) == [ANNA, BERT]
    assert not {mail for _, mail in first} & {mail for _, mail in again}, "other mails, with Message-IDs of their own"
    assert send_all(notices, one) == []
    with engine_of(settings).consumer([settings.topology.notifications]) as consumer:
        woken = consumer.take(1)
    assert woken is not None
    message: Any = parse(woken.body)
    assert message.data.delivery_id == one.id


def test_with_to_just_these_are_mailed_also_one_whom_the_event_does_not_name(
    settings: Settings, notices: Notices
) -> None:
    one = ended()
    send_all(notices, one)

    resend(settings, str(one.id), "--to", BERT, "--to", CARL)

    assert sorted(to for to, _ in send_all(notices, one)) == [BERT, CARL]


def test_a_mail_that_has_not_gone_out_yet_goes_now_and_is_not_doubled(settings: Settings, notices: Notices) -> None:
    one = ended()
    postponed = notices.claim_next(one.id)
    in_hand = notices.claim_next(one.id)
    assert postponed is not None
    assert in_hand is not None
    notices.postpone(postponed, 3600, "451 try later")
    assert notices.claim_next(one.id) is None

    resend(settings, str(one.id))

    assert send_all(notices, one) == [(postponed.recipient, postponed.id)]
    notices.sent(in_hand)
    assert notices.seconds_to_next(one.id) is None


def test_a_failure_after_a_retry_is_still_told(settings: Settings, notices: Notices) -> None:
    """Mails of a resend and of another try are told apart."""
    from ledger.api import Claim, Deliveries, retry

    one = ended(failed=True)
    send_all(notices, one)
    resend(settings, str(one.id))
    send_all(notices, one)
    assert retry(one.id)
    deliveries = Deliveries("host:1", lease=30, overdue=60)
    held = deliveries.claim(one, one.to_bytes(), None)
    assert isinstance(held, Claim)
    deliveries.fail(held, "It is still not there.")

    assert sorted(to for to, _ in send_all(notices, one)) == [ANNA, BERT]


def age(days: int) -> None:
    """As if everything had happened so many days ago."""
    from ledger.models import Delivery, Notification, Placement
    from ledger.work import from_now

    past = timedelta(days=days)
    for one in Delivery.objects.all():
        if one.ended_at:
            Delivery.objects.filter(id=one.id).update(ended_at=one.ended_at - past)
    for mail in Notification.objects.all():
        if mail.keep_until:
            Notification.objects.filter(id=mail.id).update(keep_until=mail.keep_until - past)
    Placement.objects.update(remove_at=from_now(-1))


def test_the_archive_is_kept_as_long_as_the_last_mail_says(settings: Settings, notices: Notices) -> None:
    from ledger.expiry import due

    one = ended()  # to be kept for 30 days
    send_all(notices, one)
    age(29)
    resend(settings, str(one.id))
    age(10)
    assert due(look_only=True) == [], "the mail is still owed"
    send_all(notices, one)
    age(29)
    assert due(look_only=True) == []
    age(2)

    assert len(due(look_only=True)) == 1


def test_whose_keep_days_are_over_gets_no_link_to_what_is_being_removed(settings: Settings, notices: Notices) -> None:
    one = ended()
    send_all(notices, one)
    age(32)

    done = resend(settings, str(one.id))

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: The keep days of {one.id} are over.")
    assert send_all(notices, one) == []


def test_an_address_is_mailed_in_the_form_that_mail_servers_take(settings: Settings, notices: Notices) -> None:
    one = ended()
    send_all(notices, one)

    assert "goes to anna@xn--exmple-cua.org." in resend(settings, str(one.id), "--to", "anna@EXÄMPLE.org").stdout
    assert [to for to, _ in send_all(notices, one)] == ["anna@xn--exmple-cua.org"]


def test_what_cannot_be_mailed_is_told_in_a_sentence(settings: Settings, notices: Notices) -> None:
    from ledger.models import Delivery

    one = ended()
    send_all(notices, one)
    wrong = resend(settings, str(one.id), "--to", "anna")
    assert (wrong.exit_code, "'anna' is no email address" in wrong.stderr) == (2, True)
    wrong = resend(settings, str(one.id), "--to", "üñ@example.org")
    assert (wrong.exit_code, "before the @ it has letters beyond ASCII" in wrong.stderr) == (2, True)
    Delivery.objects.update(body=b"")
    assert "not kept any more" in resend(settings, str(one.id)).stderr
    Delivery.objects.update(state="EXPIRED")

    refused = resend(settings, str(one.id))

    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == f"Error: {one.id} is neither DELIVERED nor FAILED.\n"
    assert send_all(notices, one) == []


def test_while_the_broker_is_away_the_mail_is_left_to_the_sweep(settings: Settings, notices: Notices) -> None:
    from ledger.api import overdue

    one = ended()
    send_all(notices, one)
    settings.data_dir.joinpath("broker.db").unlink()

    done = resend(settings, str(one.id))

    assert done.exit_code == 0
    assert "The broker could not be told" in done.stderr
    assert [found.subject for found in overdue({})] == [one.id]
