"""What names people goes with time, what an event is recognised by stays; on both databases."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.apps import apps

from backends.contract import Link, Stored
from messaging.messages import SimulationCompleted, digest
from messaging.settings import Settings
from tests.support.events import event

if TYPE_CHECKING:
    from ledger.deliveries import Claim, Deliveries
    from ledger.retention import Keep

SECRETS = ("anna", "bert", "/home/anna/results", "Anna's study", "anna-run", "tail of the log", "no such user")


@pytest.fixture
def deliveries(ledger_settings: Settings) -> Deliveries:
    from ledger.api import Deliveries

    del ledger_settings
    return Deliveries("host:1", lease=60, overdue=60)


def of(recipients: int, deliveries: int) -> Keep:
    from ledger.retention import Keep

    return Keep(recipients, deliveries)


def personal() -> SimulationCompleted:
    return event(
        "file:///home/anna/results", simulation_id="anna-run", title="Anna's study", log_tail="tail of the log",
        recipients=["anna@example.org", "bert@example.org"], campaign={"id": "anna's campaign"},
    )  # fmt: skip


def claimed(deliveries: Deliveries, one: SimulationCompleted) -> Claim:
    from ledger.api import Claim

    answer = deliveries.claim(one, one.to_bytes(), "publisher")
    assert isinstance(answer, Claim)
    return answer


def delivered(deliveries: Deliveries) -> SimulationCompleted:
    one = personal()
    claim = claimed(deliveries, one)
    name = "Anna's study.zip"
    generation = deliveries.packed(claim, name=name, size=3, sha256="0" * 64, warnings=["anna.tmp left out"])
    deliveries.place(claim, backend="memory", generation=generation, key=f"{one.id}/1/{name}")
    stored = Stored(key=f"{one.id}/1/{name}", size=3)
    deliveries.stored(claim, backend="memory", generation=generation, stored=stored)
    deliveries.finish(claim, Link(url="http://example.org/f/anna"), keep_days=30)
    return one


def failed(deliveries: Deliveries) -> SimulationCompleted:
    one = personal()
    deliveries.fail(claimed(deliveries, one), "The folder /home/anna/results does not exist.")
    return one


def mailed(one: SimulationCompleted, *, state: str = "SENT") -> None:
    from ledger.models import Notification

    Notification.objects.filter(delivery_id=one.id).update(state=state, reason="550 <anna@example.org> no such user")


def age(one: SimulationCompleted, days: float) -> None:
    """As if the delivery had gone its way ``days`` earlier."""
    from ledger.models import Delivery

    row = Delivery.objects.get(id=one.id)
    changes = {
        name: getattr(row, name) - timedelta(days=days)
        for name in ("received_at", "started_at", "ended_at")
        if getattr(row, name) is not None
    }
    Delivery.objects.filter(id=one.id).update(**changes)


def row(one: SimulationCompleted) -> Any:
    from ledger.models import Delivery

    return Delivery.objects.get(id=one.id)


def everything() -> str:
    """All that the ledger's tables hold."""
    rows = [
        values for model in apps.get_app_config("simcourier").get_models() for values in model._base_manager.values()
    ]
    return repr([{k: bytes(v) if isinstance(v, memoryview) else v for k, v in row.items()} for row in rows])


def test_the_event_and_all_addresses_go_first_and_the_link_stays_with_the_archive(
    deliveries: Deliveries,
) -> None:
    from ledger.api import find, forget

    one = delivered(deliveries)
    mailed(one)
    age(one, 11)

    assert forget(of(10, 11)) == {"events": 1}

    assert [word for word in ("anna@", "bert@", "/home/anna", "tail of", "no such user") if word in everything()] == []
    (view,) = find("anna-run")
    assert (view.state, view.link, view.archive_sha256) == ("DELIVERED", "http://example.org/f/anna", "0" * 64)
    assert {notice.recipient.split()[0] for notice in view.notices} == {"erased"}
    assert view.sentence() == "It is stored; 2 of 2 mails are sent."
    assert forget(of(10, 11)) == {}


def test_a_failed_delivery_is_reduced_until_nothing_tells_whose_it_was(deliveries: Deliveries) -> None:
    from ledger.api import find, forget

    one = failed(deliveries)
    mailed(one)
    age(one, 366)
    before = row(one)

    assert forget(of(90, 365)) == {"deliveries": 1}

    assert [word for word in SECRETS if word in everything()] == []
    after = row(one)
    for name in ("id", "body_digest", "publisher", "state", "received_at", "started_at", "ended_at"):
        assert getattr(after, name) == getattr(before, name)
    (view,) = find(str(one.id))
    assert view.sentence() == "It ended (failed); what it was about is not kept any more."


def test_what_lies_at_a_storage_service_keeps_its_name_until_it_is_removed_there(deliveries: Deliveries) -> None:
    from ledger.api import find, forget
    from ledger.models import Delivery, Placement

    one = delivered(deliveries)
    mailed(one)
    age(one, 1000)
    assert forget(of(90, 365)) == {"events": 1}
    assert "Anna's study.zip" in row(one).stored["key"]
    # As the expiry does it.
    Placement.objects.all().delete()
    Delivery.objects.update(state="EXPIRED")

    assert forget(of(90, 365)) == {"deliveries": 1}

    assert [word for word in SECRETS if word in everything()] == []
    assert find(str(one.id))[0].sentence() == "It ended (expired); what it was about is not kept any more."


@pytest.mark.parametrize("keep", [(0, 0), (30, 30)])
def test_what_is_young_or_kept_for_ever_stays_as_it_is(deliveries: Deliveries, keep: tuple[int, int]) -> None:
    from ledger.api import forget

    one = failed(deliveries)
    mailed(one)
    age(one, 29.9 if keep[0] else 10_000)
    before = everything()

    assert forget(of(*keep)) == {}
    assert everything() == before


def test_what_is_not_done_with_stays_as_it_is(deliveries: Deliveries) -> None:
    from ledger.api import forget

    unmailed = failed(deliveries)
    age(unmailed, 1000)
    under_way = personal()
    claimed(deliveries, under_way)
    age(under_way, 1000)
    still_stored = delivered(deliveries)
    mailed(still_stored)
    age(still_stored, 1000)
    before = everything()

    assert forget(of(0, 1)) == {}
    assert everything() == before


def test_an_event_is_recognised_after_everything_about_it_was_forgotten(deliveries: Deliveries) -> None:
    from ledger.api import Ended, OtherBody, forget

    one = failed(deliveries)
    mailed(one)
    age(one, 5000)
    forget(of(90, 365))

    deliveries.record(one, one.to_bytes(), "publisher")
    assert deliveries.claim(one, one.to_bytes(), "publisher") == Ended(owed=False)
    assert (row(one).state, bytes(row(one).body), row(one).body_digest) == ("FAILED", b"", digest(one.to_bytes()))
    other = event(event_id=one.id, title="something else")
    with pytest.raises(OtherBody):
        deliveries.record(other, other.to_bytes(), "publisher")


def test_what_was_forgotten_cannot_be_tried_again_and_the_operator_is_told_what_to_do(deliveries: Deliveries) -> None:
    from ledger.api import forget, retry
    from ledger.operators import Forgotten

    one = failed(deliveries)
    mailed(one)
    age(one, 100)
    forget(of(90, 365))

    with pytest.raises(Forgotten, match="Publish the results again, as a new event"):
        retry(one.id)
    assert row(one).state == "FAILED"


def test_closed_dead_letters_old_history_and_sessions_that_have_ended_go_and_open_dead_letters_stay(
    deliveries: Deliveries,
) -> None:
    from django.contrib.admin.models import ADDITION, LogEntry
    from django.contrib.auth.models import User
    from django.contrib.sessions.models import Session
    from django.utils.timezone import now

    from ledger.api import file_dead_letter, forget
    from ledger.models import DeadLetter

    del deliveries
    for body in (b"open", b"closed", b"closed lately"):
        file_dead_letter(body, headers={}, queue="q", reason="It is no event.", publisher=None)
    DeadLetter.objects.update(first_at=now() - timedelta(days=900), last_at=now() - timedelta(days=900))
    DeadLetter.objects.filter(body=b"closed").update(closed_at=now() - timedelta(days=91), closed_as="discarded")
    DeadLetter.objects.filter(body=b"closed lately").update(closed_at=now(), closed_as="replayed")
    user = User.objects.create_user("anna")
    for days in (366, 1):
        LogEntry.objects.create(
            user=user, object_repr=f"{days} days", action_flag=ADDITION, action_time=now() - timedelta(days=days)
        )
    Session.objects.create(session_key="ended", session_data="", expire_date=now() - timedelta(days=1))
    Session.objects.create(session_key="live", session_data="", expire_date=now() + timedelta(days=1))

    assert forget(of(90, 365)) == {"dead letters": 1, "history": 1, "sessions": 1}

    assert sorted(bytes(letter.body) for letter in DeadLetter.objects.all()) == [b"closed lately", b"open"]
    assert LogEntry.objects.get().object_repr == "1 days"
    assert Session.objects.get().session_key == "live"


def test_what_operators_were_mailed_goes_and_what_they_are_owed_stays(deliveries: Deliveries) -> None:
    from django.utils.timezone import now

    from ledger.api import forget, notify_operator
    from ledger.models import Notification

    del deliveries
    for about in ("sent", "owed", "sent lately"):
        notify_operator(about, "It cannot be used.", "anna@example.org")
    Notification.objects.exclude(about="owed").update(state="SENT")
    Notification.objects.exclude(about="sent lately").update(created_at=now() - timedelta(days=91))

    assert forget(of(90, 365)) == {"notices and digests": 1}
    assert sorted(Notification.objects.values_list("about", flat=True)) == ["owed", "sent lately"]


def test_batches_are_small_and_what_is_due_is_told_before(deliveries: Deliveries) -> None:
    from ledger.api import forget
    from ledger.retention import due

    for _ in range(5):
        one = failed(deliveries)
        mailed(one)
        age(one, 100)

    assert {kind: count for kind, count in due(of(90, 365)).items() if count} == {"events": 5}
    assert [forget(of(90, 365), limit=2).get("events", 0) for _ in range(4)] == [2, 2, 1, 0]


def test_of_all_workers_one_forgets_once_an_hour_batch_by_batch(
    deliveries: Deliveries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from consumer import sweeper
    from ledger import retention
    from ledger.api import Digests
    from ledger.models import Lock
    from ledger.work import from_now
    from messaging.connect import connect
    from messaging.topology import Topology

    monkeypatch.setattr(sweeper, "forget", partial(retention.forget, limit=2))
    engine = connect(f"sqlite:///{tmp_path}/b/broker.db", Topology())
    digests = Digests(quiet=1800, overdue=60)
    first, second = (sweeper.Sweeper(engine, name, 10, of(90, 365), digests) for name in ("a", "b"))

    def fail_and_age(count: int) -> None:
        for _ in range(count):
            one = failed(deliveries)
            mailed(one)
            age(one, 100)

    def left() -> int:
        return retention.due(of(90, 365))["events"]

    fail_and_age(3)
    first.forget()
    second.forget()
    assert left() == 1
    first.forget()
    assert left() == 0
    first.forget()
    fail_and_age(1)
    first.forget()
    second.forget()
    assert left() == 1, "the hour is not over"
    Lock.objects.filter(name="retention").update(until=from_now(-1))
    second.forget()
    assert left() == 0


def test_archives_of_deliveries_that_ended_elsewhere_go_and_those_under_way_stay(
    deliveries: Deliveries, tmp_path: Path
) -> None:
    from consumer.leftovers import clear_leftovers
    from consumer.workshop import Workshop

    ended, under_way = failed(deliveries), personal()
    claimed(deliveries, under_way)
    workshop = Workshop(
        deliveries=deliveries,
        archives=tmp_path / "archives",
        roots=(),
        site={},
        operator="",
        mail_patience=timedelta(),
    )
    for name in (str(ended.id), str(under_way.id), str(event().id), "something else"):
        (workshop.archives / name).mkdir(parents=True)
        (workshop.archives / name / "a.zip").write_bytes(b"zip")

    clear_leftovers(workshop)

    assert not workshop.folder(ended.id).exists()
    assert workshop.folder(under_way.id).exists()
    assert len(list(workshop.archives.iterdir())) == 3


def test_the_command_tells_what_is_kept_how_long(sqlite_ledger: Settings) -> None:
    from click.testing import CliRunner

    from simcourier.cli import main

    environ = {
        "SIMCOURIER_DATA_DIR": str(sqlite_ledger.data_dir),
        "SIMCOURIER_SECRET_KEY": "x" * 40,
        "SIMCOURIER_KEEP_RECIPIENTS_DAYS": "30",
        "SIMCOURIER_KEEP_DELIVERIES_DAYS": "0",
    }
    table = CliRunner().invoke(main, ["retention"], env=environ)
    listed = CliRunner().invoke(main, ["retention", "--json"], env=environ)

    assert "30 days   SIMCOURIER_KEEP_RECIPIENTS_DAYS" in table.output
    assert "ever      SIMCOURIER_KEEP_DELIVERIES_DAYS" in table.output
    assert [one["days"] for one in json.loads(listed.output)] == [30, 30, 30, 0, 0]
