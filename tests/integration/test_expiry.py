"""Archives go when their keep days are over, never before, and what was left behind goes too; on both databases."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from backends.contract import Link
from backends.errors import PermanentError
from backends.memory import Memory, Space
from backends.suite_doubles import SampleArchive, SampleProgress
from messaging.messages import SimulationCompleted
from messaging.settings import Settings
from tests.support.events import event
from tests.support.ledger import next_tick

if TYPE_CHECKING:
    from ledger.deliveries import Claim, Deliveries

YESTERDAY, TOMORROW = timedelta(days=-1), timedelta(days=1)


@pytest.fixture
def deliveries(ledger_settings: Settings) -> Deliveries:
    from ledger.api import Deliveries, define

    del ledger_settings
    define("memory", token=f"space-{uuid.uuid4()}", keep_days=7)
    return Deliveries("host:1", lease=30, overdue=60)


@pytest.fixture
def space(deliveries: Deliveries) -> Iterator[Space]:
    """What the storage service holds; a file that is not ours is never touched."""
    from ledger.api import definition

    del deliveries
    held = Memory.spaces.setdefault(definition("memory").token.get_secret_value(), Space())
    held.files["somebody else's"] = b"mine"
    yield held
    assert held.files["somebody else's"] == b"mine"


def store(deliveries: Deliveries, claim: Claim, size: int = 10) -> None:
    """One archive goes to the service, as a worker brings it there."""
    from backends.http import session
    from consumer.store import open_backend
    from ledger.api import definition

    generation = deliveries.packed(claim, name="a.zip", size=size, sha256=f"{size:064}", warnings=[])
    key = f"{claim.delivery_id}/{generation}/a.zip"
    deliveries.place(claim, backend="memory", generation=generation, key=key)
    with session() as http:
        backend = open_backend(definition("memory"), http, {})
        stored = backend.store(SampleArchive(size, key=key, name="a.zip"), SampleProgress())
    deliveries.stored(claim, backend="memory", generation=generation, stored=stored)


def claimed(deliveries: Deliveries, one: SimulationCompleted) -> Claim:
    from ledger.api import Claim

    claim = deliveries.claim(one, one.to_bytes(), None)
    assert isinstance(claim, Claim)
    return claim


def delivered(deliveries: Deliveries, *, keep_days: int = 7, mailed: bool = True) -> SimulationCompleted:
    one = event()
    claim = claimed(deliveries, one)
    store(deliveries, claim)
    deliveries.finish(claim, Link(url="memory:x/y"), keep_days=keep_days)
    if mailed:
        mail(one)
    return one


def mail(one: SimulationCompleted) -> None:
    from ledger.api import Notices

    notices = Notices(lease=30, overdue=60)
    notice = notices.claim_next(one.id)
    assert notice is not None
    notices.data_starts(notice)
    notices.sent(notice)


def pass_time(one: SimulationCompleted, promised: date | None = None) -> None:
    """As if the keep days, and a day more, had passed; the mail promised the day ``promised``."""
    from ledger.models import Delivery, Notification, Placement
    from ledger.work import from_now

    Placement.objects.filter(delivery_id=one.id, remove_at__isnull=False).update(remove_at=from_now(-1))
    Delivery.objects.filter(id=one.id).update(ended_at=from_now(-9 * 86400))
    if promised is not None:
        Notification.objects.filter(delivery_id=one.id).update(keep_until=promised)


def expire() -> list[str]:
    from consumer.expirer import expire

    return [problem for _, problem in expire("host:1", {}, "")]


def state(one: SimulationCompleted) -> Any:
    from ledger.models import Delivery

    return Delivery.objects.get(id=one.id).state


def today() -> date:
    from datetime import UTC, datetime

    return datetime.now(UTC).date()


def test_an_archive_is_removed_after_the_day_that_the_mail_promised(deliveries: Deliveries, space: Space) -> None:
    one = delivered(deliveries)
    assert expire() == []
    pass_time(one, today())
    assert expire() == [], "the day itself is not over"

    pass_time(one, today() + YESTERDAY)

    assert expire() == [""]
    assert state(one) == "EXPIRED"
    assert list(space.files) == ["somebody else's"]
    assert expire() == []


def test_an_archive_stays_while_a_mail_about_it_is_still_owed(deliveries: Deliveries, space: Space) -> None:
    one = delivered(deliveries, mailed=False)
    pass_time(one)

    assert expire() == []
    mail(one)
    pass_time(one)
    assert expire() == [], "the mail has just promised it for another week"

    assert state(one) == "DELIVERED"
    assert len(space.files) == 2


def test_without_any_mail_the_day_of_the_link_counts(deliveries: Deliveries, space: Space) -> None:
    from ledger.api import Notices

    one = delivered(deliveries, mailed=False)
    notices = Notices(lease=30, overdue=60)
    notice = notices.claim_next(one.id)
    assert notice is not None
    notices.fail(notice, "no such user")
    pass_time(one)

    assert expire() == [""]
    assert state(one) == "EXPIRED"
    assert len(space.files) == 1


def test_nought_keep_days_keep_for_ever(deliveries: Deliveries, space: Space) -> None:
    one = delivered(deliveries, keep_days=0)
    pass_time(one)

    assert expire() == []
    assert len(space.files) == 2


def test_an_older_generation_is_removed_and_the_archive_stays(deliveries: Deliveries, space: Space) -> None:
    one = event()
    claim = claimed(deliveries, one)
    store(deliveries, claim, size=10)
    deliveries.wait(claim, 0, "a file changed", counted=True)
    next_tick()
    claim = claimed(deliveries, one)
    store(deliveries, claim, size=20)
    deliveries.finish(claim, Link(url="memory:x/y"), keep_days=7)
    mail(one)
    assert len(space.files) == 3
    assert expire() == [], "a worker that was taken for dead may still be sending it"

    pass_time(one, today() + TOMORROW)

    assert expire() == [""]
    assert state(one) == "DELIVERED"
    assert sorted(space.files) == sorted([f"{one.id}/2/a.zip", "somebody else's"])


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_what_a_delivery_without_a_link_left_behind_is_removed(deliveries: Deliveries, space: Space, how: str) -> None:
    from ledger.api import cancel

    one = event()
    claim = claimed(deliveries, one)
    store(deliveries, claim)
    if how == "failed":
        deliveries.fail(claim, "no link")
    else:
        assert cancel(one.id)
    pass_time(one)

    assert expire() == [""]
    assert list(space.files) == ["somebody else's"]


def test_a_failed_delivery_that_is_started_again_keeps_its_place_or_takes_a_new_one(
    deliveries: Deliveries, space: Space
) -> None:
    from ledger.api import retry

    kept, anew = event(), event()
    for one in (kept, anew):
        claim = claimed(deliveries, one)
        store(deliveries, claim)
        deliveries.fail(claim, "no link")
        pass_time(one)
    retry(kept.id)
    assert expire() == [""]
    assert len(space.files) == 2

    retry(anew.id)
    claim = claimed(deliveries, anew)
    store(deliveries, claim)

    assert f"{anew.id}/2/a.zip" in space.files, "a removal that is late cannot meet the new file"


def test_a_service_that_does_not_remove_is_asked_again_later(
    deliveries: Deliveries, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ledger.models import Placement

    one = delivered(deliveries)
    pass_time(one, today() + YESTERDAY)

    def refuses(*_: object) -> None:
        raise PermanentError("The folder is locked.")

    with monkeypatch.context() as patched:
        patched.setattr(Memory, "delete", refuses)
        assert expire() == ["The folder is locked."]
        assert expire() == []
        assert Placement.objects.get(delivery_id=one.id).remove_tries == 1
    assert state(one) == "DELIVERED"
    pass_time(one, today() + YESTERDAY)
    assert expire() == [""]
    assert len(space.files) == 1


def test_a_definition_that_is_marked_unhealthy_is_not_asked_for_each_file(deliveries: Deliveries, space: Space) -> None:
    from ledger.api import mark_unhealthy

    one = delivered(deliveries)
    pass_time(one, today() + YESTERDAY)
    mark_unhealthy("memory", "the token is wrong", operator="")

    assert expire() == []
    assert len(space.files) == 2


def test_two_do_not_remove_at_the_same_time(deliveries: Deliveries, space: Space) -> None:
    from consumer.expirer import Busy
    from consumer.expirer import expire as remove

    one = delivered(deliveries)
    pass_time(one, today() + YESTERDAY)
    first = remove("host:1", {}, "")
    assert next(first)[1] == ""

    with pytest.raises(Busy, match="A worker is removing"):
        list(remove("host:2", {}, ""))

    assert list(first) == []
    assert list(remove("host:2", {}, "")) == []
    assert len(space.files) == 1
