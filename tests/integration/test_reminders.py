"""Who got a link is reminded before it goes, once; and a link lives as long as its archive is kept."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from backends.contract import Link, Stored
from backends.errors import PermanentError, TransientError
from backends.memory import Memory
from messaging.messages import SimulationCompleted
from messaging.settings import Settings
from tests.support.events import event

if TYPE_CHECKING:
    from ledger.deliveries import Deliveries

ANNA, BERT = "anna@example.org", "bert@example.org"
REMIND_DAYS = 3


@pytest.fixture
def deliveries(ledger_settings: Settings) -> Deliveries:
    from ledger.api import Deliveries, define

    del ledger_settings
    define("memory", token=f"space-{uuid.uuid4()}", keep_days=30)
    return Deliveries("host:1", lease=30, overdue=60)


def delivered(deliveries: Deliveries, *, keep_days: int = 30, expires: datetime | None = None) -> SimulationCompleted:
    """To Anna, whose mail is sent, and Bert, whom the mail server does not know."""
    from ledger.api import Claim

    one = event(recipients=[ANNA, BERT])
    held = deliveries.claim(one, one.to_bytes(), None)
    assert isinstance(held, Claim)
    generation = deliveries.packed(held, name="a.zip", size=3, sha256="0" * 64, warnings=[])
    deliveries.place(held, backend="memory", generation=generation, key="k")
    deliveries.stored(held, backend="memory", generation=generation, stored=Stored(key="k", size=3))
    deliveries.finish(held, Link(url="memory:x/y", expires=expires), keep_days=keep_days)
    for notice in mails(one):
        if notice.recipient == BERT:
            notices().fail(notice, "550 no such user")
        else:
            notices().sent(notice)
    return one


def notices() -> Any:
    from ledger.api import Notices

    return Notices(lease=30, overdue=60)


def mails(one: SimulationCompleted) -> list[Any]:
    """Claim the mails that are owed."""
    claimed = []
    while notice := notices().claim_next(one.id):
        notices().data_starts(notice)
        claimed.append(notice)
    return claimed


def days_later(one: SimulationCompleted, days: int) -> None:
    """As if the delivery had ended, and been mailed, so many days ago."""
    from ledger.models import Delivery, Notification, Placement

    for row in Delivery.objects.filter(id=one.id, ended_at__isnull=False):
        assert row.ended_at is not None
        Delivery.objects.filter(id=row.id).update(ended_at=row.ended_at - timedelta(days=days))
    for place in Placement.objects.filter(delivery_id=one.id, remove_at__isnull=False):
        assert place.remove_at is not None
        Placement.objects.filter(pk=place.pk).update(remove_at=place.remove_at - timedelta(days=days))
    for told in Notification.objects.filter(delivery_id=one.id, keep_until__isnull=False):
        assert told.keep_until is not None
        Notification.objects.filter(pk=told.pk).update(keep_until=told.keep_until - timedelta(days=days))


def test_whoever_got_the_link_is_reminded_once_some_days_before_it_goes(deliveries: Deliveries) -> None:
    from ledger.api import Kind, overdue, remind

    one = delivered(deliveries)
    assert remind(REMIND_DAYS) == 0, "it is there for another month"
    days_later(one, 28)

    assert remind(REMIND_DAYS) == 1
    assert remind(REMIND_DAYS) == 0
    assert [found.subject for found in overdue({})] == [one.id], "the next sweep wakes the email sender"
    (mail,) = mails(one)
    assert (mail.recipient, mail.kind) == (ANNA, Kind.REMINDER)
    assert mail.keep_until == datetime.now(UTC).date() + timedelta(days=2), (
        "the date that was promised, and no later one"
    )
    notices().sent(mail)
    assert remind(REMIND_DAYS) == 0
    days_later(one, 3)
    assert remind(REMIND_DAYS) == 0, "it is gone already"


def test_one_that_is_kept_longer_is_reminded_of_the_new_date(deliveries: Deliveries) -> None:
    from ledger.api import remind
    from ledger.keeping import keep_longer

    one = delivered(deliveries)
    days_later(one, 28)
    remind(REMIND_DAYS)
    (first,) = mails(one)
    notices().sent(first)
    until = keep_longer(one.id, 90)

    assert until == first.keep_until + timedelta(days=30)
    assert remind(REMIND_DAYS) == 0
    assert remind(40) == 0, "kept for less than twice as long"


def test_another_mail_with_a_later_date_puts_the_reminder_off(deliveries: Deliveries) -> None:
    from ledger.api import remind
    from ledger.operators import resend

    one = delivered(deliveries)
    days_later(one, 28)
    resend(one.id)
    for mail in mails(one):
        notices().sent(mail)

    assert remind(REMIND_DAYS) == 0


@pytest.mark.parametrize(("keep_days", "owed"), [(0, 0), (5, 0), (6, 1)])
def test_what_is_kept_for_a_short_time_or_for_ever_needs_no_reminder(
    deliveries: Deliveries, keep_days: int, owed: int
) -> None:
    from ledger.api import remind

    one = delivered(deliveries, keep_days=keep_days)
    days_later(one, max(0, keep_days - 1))

    assert remind(REMIND_DAYS) == owed


def test_whom_the_ledger_has_forgotten_nobody_can_remind(deliveries: Deliveries) -> None:
    from ledger.api import Keep, forget, remind

    one = delivered(deliveries)
    days_later(one, 28)
    forget(Keep(20, 365))

    assert remind(REMIND_DAYS) == 0


def test_a_reminder_that_is_owed_holds_up_the_removal(deliveries: Deliveries) -> None:
    from ledger.api import expiry, remind

    one = delivered(deliveries)
    days_later(one, 28)
    remind(REMIND_DAYS)
    days_later(one, 5)
    assert expiry.due(look_only=True) == []
    (mail,) = mails(one)
    notices().fail(mail, "It was refused.")

    assert len(expiry.due(look_only=True)) == 1


def relink() -> None:
    from consumer.expirer import relink as round_of_the_worker
    from consumer.stop import Stop

    round_of_the_worker({}, Stop(1))


def test_the_service_is_asked_to_let_a_link_live_as_long_as_its_archive(
    deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ledger.api import find, to_relink
    from ledger.keeping import keep_longer

    asked: list[datetime | None] = []

    def link(_: Memory, stored: Stored, expires: datetime | None) -> Link:
        asked.append(expires)
        if len(asked) == 1:
            raise TransientError("The service is away.")
        return Link(url=f"memory:{stored.key}/new", expires=expires)

    monkeypatch.setattr(Memory, "link", link)
    one = delivered(deliveries, expires=datetime.now(UTC) + timedelta(days=35))
    relink()
    assert asked == [], "nobody wants it longer"
    until = keep_longer(one.id, 90)
    assert until is not None

    relink()
    relink()
    assert len(asked) == 1, "a service that is away is left alone for a while"
    from ledger.models import Delivery
    from ledger.work import from_now

    Delivery.objects.update(relink_at=from_now(-1))
    relink()
    (view,) = find(str(one.id))
    assert view.link == "memory:k/new"
    assert asked[-1] == view.link_expires
    assert view.link_expires == datetime(until.year, until.month, until.day, tzinfo=UTC) + timedelta(days=1)
    assert (view.keep_until, to_relink()) == (until, [])


def test_a_service_that_never_will_is_not_asked_again(deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch) -> None:
    from ledger.api import find
    from ledger.keeping import keep_longer
    from ledger.models import Delivery

    def link(*_: object) -> Link:
        raise PermanentError("Links of this account end after a month.")

    monkeypatch.setattr(Memory, "link", link)
    early = datetime.now(UTC) + timedelta(days=35)
    one = delivered(deliveries, expires=early)
    keep_longer(one.id, 90)

    relink()
    assert Delivery.objects.get(id=one.id).relink_at is None
    assert find(str(one.id))[0].link == "memory:x/y"


def test_a_delivery_from_before_there_were_pages_gets_one_with_its_next_mail(deliveries: Deliveries) -> None:
    from ledger.models import Delivery
    from ledger.operators import resend

    one = delivered(deliveries)
    Delivery.objects.update(page_key=None)
    resend(one.id)

    pages = {mail.page for mail in mails(one)}
    assert len(pages) == 1
    assert pages != {""}
