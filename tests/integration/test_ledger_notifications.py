"""Moves of a notification, and the sweep, on both databases."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from backends.contract import Link, Stored
from backends.errors import Superseded
from messaging.messages import Lane, OperatorNoticeMessage, SimulationCompleted, parse
from messaging.settings import Settings
from tests.support.events import event
from tests.support.ledger import next_tick

if TYPE_CHECKING:
    from ledger.deliveries import Deliveries
    from ledger.notifications import Notices


@pytest.fixture
def deliveries(ledger_settings: Settings) -> Deliveries:
    from ledger.api import Deliveries

    del ledger_settings
    return Deliveries("host:1", lease=30, overdue=60)


@pytest.fixture
def notices(deliveries: Deliveries) -> Notices:
    from ledger.api import Notices

    del deliveries
    return Notices(lease=30, overdue=60)


def delivered(deliveries: Deliveries, *, keep_days: int = 30, **data: Any) -> SimulationCompleted:
    from ledger.api import Claim

    one = event(**data)
    held = deliveries.claim(one, one.to_bytes(), None)
    assert isinstance(held, Claim)
    generation = deliveries.packed(held, name="a.zip", size=3, sha256="0" * 64, warnings=["x: left out"])
    deliveries.place(held, backend="memory", generation=generation, key="k")
    deliveries.stored(held, backend="memory", generation=generation, stored=Stored(key="k", size=3))
    deliveries.finish(held, Link(url="http://example.org/f"), keep_days=keep_days)
    return one


def change(one: SimulationCompleted, **values: Any) -> None:
    from ledger.models import Notification

    Notification.objects.filter(delivery_id=one.id).update(**values)


def row(one: SimulationCompleted) -> Any:
    from ledger.models import Notification

    return Notification.objects.get(delivery_id=one.id)


def test_each_recipient_is_claimed_once(deliveries: Deliveries, notices: Notices) -> None:
    one = delivered(deliveries, recipients=["a@example.org", "b@example.org"])

    first, second, third = (notices.claim_next(one.id) for _ in range(3))

    assert first is not None
    assert second is not None
    assert third is None
    assert {first.recipient, second.recipient} == {"a@example.org", "b@example.org"}
    for notice in (first, second):
        notices.sent(notice)
    assert notices.seconds_to_next(one.id) is None


def test_of_many_senders_at_once_one_gets_the_mail(deliveries: Deliveries, notices: Notices) -> None:
    from django.db import connections

    one = delivered(deliveries)
    got: list[Any] = []
    start = threading.Barrier(8)

    def try_it() -> None:
        start.wait()
        got.append(notices.claim_next(one.id))
        connections.close_all()

    threads = [threading.Thread(target=try_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(got) == 8
    assert sum(notice is not None for notice in got) == 1


def test_the_date_that_the_mail_states_is_counted_from_the_claim(deliveries: Deliveries, notices: Notices) -> None:
    from django.utils import timezone

    from ledger.api import DeliveryNotice

    kept = notices.claim_next(delivered(deliveries, keep_days=30).id)
    for_ever = notices.claim_next(delivered(deliveries, keep_days=0).id)

    assert isinstance(kept, DeliveryNotice)
    assert kept.keep_until == (timezone.now() + timedelta(days=30)).date()
    assert isinstance(for_ever, DeliveryNotice)
    assert for_ever.keep_until is None


def test_a_sender_that_died_before_data_is_replaced_without_counting(deliveries: Deliveries, notices: Notices) -> None:
    from ledger.work import from_now

    one = delivered(deliveries)
    dead = notices.claim_next(one.id)
    assert dead is not None
    assert notices.claim_next(one.id) is None
    change(one, lease_until=from_now(-1))

    again = notices.claim_next(one.id)

    assert again is not None
    assert again.uncertain == 0
    with pytest.raises(Superseded):
        notices.data_starts(dead)
    notices.sent(dead)
    assert row(one).state == "SENDING"


def test_a_sender_that_died_in_the_data_window_is_counted_as_uncertain(
    deliveries: Deliveries, notices: Notices
) -> None:
    from ledger.work import from_now

    one = delivered(deliveries)
    dead = notices.claim_next(one.id)
    assert dead is not None
    notices.data_starts(dead)
    change(one, lease_until=from_now(-1))

    again = notices.claim_next(one.id)

    assert again is not None
    assert again.id == dead.id
    assert again.uncertain == 1
    assert not row(one).data_started


def test_a_postponed_mail_is_due_later_and_the_next_time_is_told(deliveries: Deliveries, notices: Notices) -> None:
    one = delivered(deliveries)
    notice = notices.claim_next(one.id)
    assert notice is not None
    notices.data_starts(notice)
    notices.postpone(notice, 100, "451 try later")

    assert notices.claim_next(one.id) is None
    left = notices.seconds_to_next(one.id)
    assert left is not None
    assert 90 < left <= 100
    assert not row(one).data_started
    assert row(one).attempts == 1


def test_the_announcement_tells_what_the_mail_needs(deliveries: Deliveries) -> None:
    from ledger.api import announcement

    one = delivered(deliveries)
    told = announcement(one.id)
    assert told is not None
    message: Any = parse(told.body)

    assert message.data.delivery_id == one.id
    assert message.data.link == "http://example.org/f"
    assert message.data.warnings == ("Not in the archive: x: left out",)


def test_the_sweep_finds_what_is_past_its_time_and_waits_twice_as_long_each_time(deliveries: Deliveries) -> None:
    from ledger.api import overdue, stamp
    from ledger.models import Delivery
    from ledger.work import from_now

    waiting = event()
    deliveries.record(waiting, waiting.to_bytes(), None)
    told = delivered(deliveries)
    assert overdue({}) == []
    Delivery.objects.filter(id=waiting.id).update(wake_at=from_now(-1))
    change(told, wake_at=from_now(-1))

    found = {one.subject: one for one in overdue({})}

    assert found[waiting.id].wake_up.routing_key == "wake.single"
    assert found[waiting.id].wake_up.body == waiting.to_bytes()
    assert found[told.id].wake_up.routing_key == "link.ready"
    for one in found:
        stamp(one)
    assert overdue({}) == []
    assert Delivery.objects.get(id=waiting.id).wake_seconds == 120
    assert row(told).wake_seconds == 120


def test_nothing_that_has_ended_is_swept(deliveries: Deliveries, notices: Notices) -> None:
    from ledger.api import overdue
    from ledger.models import Delivery

    one = delivered(deliveries)
    notice = notices.claim_next(one.id)
    assert notice is not None
    notices.sent(notice)

    assert Delivery.objects.get(id=one.id).wake_at is None
    assert row(one).wake_at is None
    assert overdue({}) == []


def test_one_process_at_a_time_holds_the_lock(deliveries: Deliveries) -> None:
    from ledger.api import lock
    from ledger.models import Lock
    from ledger.work import from_now

    del deliveries
    assert lock("sweep", "one", 30)
    assert lock("sweep", "one", 30)
    assert not lock("sweep", "two", 30)
    Lock.objects.update(until=from_now(-1))
    assert lock("sweep", "two", 30)
    assert not lock("sweep", "one", 30)


def test_deliveries_that_wait_for_their_turn_in_a_long_queue_are_not_woken_again(deliveries: Deliveries) -> None:
    from ledger.api import overdue
    from ledger.models import Delivery
    from ledger.work import from_now

    waiting = [event(), event()]
    for one in waiting:
        deliveries.record(one, one.to_bytes(), None)
    Delivery.objects.update(wake_at=from_now(-1))

    assert overdue({Lane.SINGLE: 2}) == []
    assert {one.subject for one in overdue({Lane.SINGLE: 1})} == {one.id for one in waiting}


def test_mails_that_wait_for_their_turn_in_a_long_queue_are_not_announced_again(
    deliveries: Deliveries, notices: Notices
) -> None:
    from ledger.api import overdue
    from ledger.models import Notification
    from ledger.work import from_now

    dead, *waiting = [delivered(deliveries) for _ in range(3)]
    assert notices.claim_next(dead.id)
    Notification.objects.update(wake_at=from_now(-1))

    assert {one.subject for one in overdue({}, 2)} == {dead.id}, "its sender had the message, and is gone"
    assert {one.subject for one in overdue({}, 1)} == {dead.id, *(one.id for one in waiting)}


def test_an_operator_is_mailed_once_when_a_storage_backend_can_no_longer_be_used(
    deliveries: Deliveries, notices: Notices
) -> None:
    from ledger.api import OperatorNotice, define, mark_unhealthy, overdue, stamp

    del deliveries
    define("memory")
    assert mark_unhealthy("memory", "The token was revoked.", operator="ops@example.org")
    assert not mark_unhealthy("memory", "The token was revoked.", operator="ops@example.org")
    define("memory", keep_days=9)  # which makes it healthy until the next delivery
    assert mark_unhealthy("memory", "The token was revoked.", operator="ops@example.org")

    (found,) = overdue({})
    stamp(found.subject)
    message = parse(found.wake_up.body)
    assert isinstance(message, OperatorNoticeMessage)
    assert message.data.about == "storage backend memory"
    assert overdue({}) == []
    notice = notices.claim_next(message.data.notice_id)
    assert isinstance(notice, OperatorNotice)
    assert notice.recipient == "ops@example.org"
    assert "The token was revoked." in notice.text
    assert "simcourier backends check memory" in notice.text
    notices.data_starts(notice)
    notices.sent(notice)
    assert notices.seconds_to_next(notice.id) is None


def test_another_outage_of_the_same_storage_backend_is_mailed_again(deliveries: Deliveries) -> None:
    from ledger.api import define, mark_healthy, mark_unhealthy
    from ledger.models import Notification

    del deliveries
    define("memory")
    mark_unhealthy("memory", "The token was revoked.", operator="ops@example.org")
    mark_healthy("memory")
    next_tick()
    mark_unhealthy("memory", "The account is full.", operator="ops@example.org")
    mark_unhealthy("memory", "The account is full.", operator="ops@example.org")

    texts = [notice.text for notice in Notification.objects.order_by("created_at")]
    assert ["The token was revoked." in text for text in texts] == [True, False]


def test_an_outage_for_the_same_reason_is_mailed_when_the_quiet_hours_are_over(deliveries: Deliveries) -> None:
    from ledger.api import define, mark_healthy, mark_unhealthy
    from ledger.models import Notification
    from ledger.telling import QUIET_SECONDS
    from ledger.work import from_now

    del deliveries
    define("memory")
    for _ in range(2):  # it comes and goes
        mark_unhealthy("memory", "The account is full.", operator="ops@example.org")
        mark_healthy("memory")
    mark_unhealthy("memory", "The account is full.", operator="ops@example.org")
    assert Notification.objects.count() == 1

    Notification.objects.update(created_at=from_now(-QUIET_SECONDS - 1))
    mark_unhealthy("memory", "The account is full.", operator="ops@example.org")  # a probe, hours later
    mark_unhealthy("memory", "The account is full.", operator="ops@example.org")

    assert Notification.objects.count() == 2


def test_what_an_operator_is_told_of_is_gathered_in_the_mail_that_waits(
    deliveries: Deliveries, notices: Notices
) -> None:
    from ledger.api import file_dead_letter
    from ledger.models import Notification

    del deliveries
    ops = "ops@example.org"
    for number in range(3):
        file_dead_letter(b"%d" % number, headers={}, queue="q", reason=f"odd {number}", publisher=None, operator=ops)
    (text,) = Notification.objects.values_list("text", flat=True)
    assert [f"odd {number}" in text for number in range(3)] == [True] * 3

    first = Notification.objects.get()
    claimed = notices.claim_next(first.id)
    assert claimed is not None
    file_dead_letter(b"later", headers={}, queue="q", reason="odd too", publisher=None, operator=ops)
    notices.fail(claimed, "550 no")

    assert Notification.objects.count() == 2, "what is being sent is left alone, and what failed makes no other"
    second = Notification.objects.exclude(id=first.id).get()
    assert "odd too" in second.text
    assert notices.claim_next(second.id) is None, "within the hour"


def test_nobody_is_mailed_where_no_operator_is_named(deliveries: Deliveries) -> None:
    from ledger.api import define, mark_unhealthy, overdue

    del deliveries
    define("memory")
    assert mark_unhealthy("memory", "The token was revoked.", operator="")

    assert overdue({}) == []
