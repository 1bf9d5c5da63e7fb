"""Moves of a delivery, on both databases."""

from __future__ import annotations

import os
import re
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from backends.contract import Link, Stored
from backends.errors import Superseded
from messaging.messages import LinkReadyMessage, SimulationCompleted, parse
from messaging.settings import Settings
from tests.support.events import event
from tests.support.ledger import next_tick

if TYPE_CHECKING:
    from ledger.deliveries import Claim, Deliveries

LEASE = 30.0
LINK = Link(url="http://example.org/f/abc")


@pytest.fixture
def deliveries(ledger_settings: Settings) -> Deliveries:
    from ledger.api import Deliveries

    del ledger_settings
    return Deliveries("host:1", lease=LEASE, overdue=60)


def claim(deliveries: Deliveries, one: SimulationCompleted) -> Any:
    return deliveries.claim(one, one.to_bytes(), None)


def claimed(deliveries: Deliveries, one: SimulationCompleted) -> Claim:
    from ledger.api import Claim

    answer = claim(deliveries, one)
    assert isinstance(answer, Claim)
    return answer


def lose_lease(one: SimulationCompleted) -> None:
    """As if the worker had been dead for longer than its lease."""
    from ledger.models import Delivery
    from ledger.work import from_now

    Delivery.objects.filter(id=one.id).update(lease_until=from_now(-1))


def row(one: SimulationCompleted) -> Any:
    from ledger.models import Delivery

    return Delivery.objects.get(id=one.id)


def finish(deliveries: Deliveries, held: Claim) -> None:
    generation = deliveries.packed(held, name="a.zip", size=3, sha256="0" * 64, warnings=[])
    deliveries.place(held, backend="memory", generation=generation, key="k")
    deliveries.stored(held, backend="memory", generation=generation, stored=Stored(key="k", size=3))
    deliveries.finish(held, LINK, keep_days=30)


def test_recording_twice_writes_one_row(deliveries: Deliveries) -> None:
    from ledger.models import Delivery

    one = event()
    deliveries.record(one, one.to_bytes(), "alice")
    deliveries.record(one, one.to_bytes(), "alice")

    assert Delivery.objects.count() == 1
    assert row(one).state == "RECEIVED"
    assert row(one).publisher == "alice"


def test_the_same_id_with_another_body_is_refused_by_record_and_claim(deliveries: Deliveries) -> None:
    from ledger.api import OtherBody

    one = event()
    deliveries.record(one, one.to_bytes(), None)
    other = event(event_id=one.id, title="something else")

    with pytest.raises(OtherBody):
        deliveries.record(other, other.to_bytes(), None)
    with pytest.raises(OtherBody):
        claim(deliveries, other)


def test_a_claim_needs_no_recorder(deliveries: Deliveries) -> None:
    one = event()

    held = claimed(deliveries, one)

    assert held.event == one
    assert row(one).state == "WORKING"


def test_a_worker_that_takes_an_event_just_as_the_recorder_does_has_it_at_once(deliveries: Deliveries) -> None:
    from ledger.api import Claim, Deliveries

    one = event()

    class Slower(Deliveries):
        def _take(self, *arguments: Any) -> bool:
            taken = super()._take(*arguments)
            deliveries.record(one, one.to_bytes(), None)
            return taken

    slower = Slower("host:2", lease=30, overdue=60)

    assert isinstance(slower.claim(one, one.to_bytes(), None), Claim)


def test_a_second_worker_that_meets_a_live_lease_is_told_how_long_it_holds(deliveries: Deliveries) -> None:
    from ledger.api import Held

    one = event()
    claimed(deliveries, one)

    answer = claim(deliveries, one)

    assert isinstance(answer, Held)
    assert 0 < answer.seconds <= LEASE


def test_of_many_workers_at_once_one_gets_the_claim(deliveries: Deliveries) -> None:
    from django.db import connections

    from ledger.api import Claim

    one = event()
    answers: list[Any] = []
    start = threading.Barrier(8)

    def try_it() -> None:
        start.wait()
        answers.append(claim(deliveries, one))
        connections.close_all()

    threads = [threading.Thread(target=try_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(isinstance(answer, Claim) for answer in answers) == 1
    assert len(answers) == 8


def test_a_dead_lease_is_taken_over_and_counted_and_the_dead_worker_can_write_nothing(deliveries: Deliveries) -> None:
    one = event()
    dead = claimed(deliveries, one)
    lose_lease(one)

    second = claimed(deliveries, one)

    assert second.fence > dead.fence
    assert second.crashes == 1
    for write in (
        lambda: deliveries.ensure(dead),
        lambda: deliveries.packed(dead, name="x", size=1, sha256="1" * 64, warnings=[]),
        lambda: deliveries.checkpoint(dead, {}, 1),
        lambda: deliveries.finish(dead, LINK, keep_days=1),
        lambda: deliveries.fail(dead, "no"),
        lambda: deliveries.wait(dead, 1, "no", counted=True),
        lambda: deliveries.give_back(dead),
    ):
        with pytest.raises(Superseded):
            write()
    assert not deliveries.renew(dead)
    assert deliveries.renew(second)
    assert row(one).state == "WORKING"


def test_a_lease_that_ran_out_does_not_pass_ensure_even_before_somebody_takes_over(deliveries: Deliveries) -> None:
    one = event()
    held = claimed(deliveries, one)
    deliveries.ensure(held)
    lose_lease(one)

    with pytest.raises(Superseded):
        deliveries.ensure(held)


def test_finishing_writes_link_state_and_one_notification_per_recipient(deliveries: Deliveries) -> None:
    from ledger.api import Ended, announcement
    from ledger.models import Notification

    one = event(recipients=["a@example.org", "b@example.org", "a@example.org"])
    finish(deliveries, claimed(deliveries, one))

    assert (row(one).state, row(one).link) == ("DELIVERED", LINK.url)
    notices = Notification.objects.filter(delivery_id=one.id)
    assert sorted(notice.recipient for notice in notices) == ["a@example.org", "b@example.org"]
    assert {notice.state for notice in notices} == {"PENDING"}
    assert claim(deliveries, one) == Ended(owed=True)
    first, second = announcement(one.id), announcement(one.id)
    assert first is not None
    assert first == second
    assert first.routing_key == "link.ready"


def test_a_delivery_is_not_delivered_if_its_mails_cannot_be_owed(
    deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would have ended without anybody being told, for ever."""
    from ledger.models import Notification

    one = event()
    held = claimed(deliveries, one)

    def away(*_: object, **__: object) -> None:
        raise RuntimeError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(Notification.objects, "bulk_create", away)
        with pytest.raises(RuntimeError):
            finish(deliveries, held)

    assert (row(one).state, row(one).link) == ("WORKING", "")
    finish(deliveries, held)
    assert Notification.objects.filter(delivery_id=one.id).count() == 1


def test_waiting_ends_when_its_time_has_come(deliveries: Deliveries) -> None:
    from ledger.api import Held

    one = event()
    deliveries.wait(claimed(deliveries, one), 2.0, "the service is away", counted=True)

    early = claim(deliveries, one)
    assert isinstance(early, Held)
    assert 0 < early.seconds <= 2.0
    time.sleep(early.seconds + 0.05)
    again = claimed(deliveries, one)

    assert again.attempts == 1
    assert again.failing_seconds > 1.9
    assert again.trouble_seconds > 1.9
    assert again.crashes == 0


def test_given_back_is_free_at_once_and_not_counted(deliveries: Deliveries) -> None:
    one = event()
    deliveries.give_back(claimed(deliveries, one))

    again = claimed(deliveries, one)

    assert (again.attempts, again.crashes, again.trouble_seconds) == (0, 0, 0)


def test_crashes_in_a_row_are_counted_and_progress_ends_the_row(deliveries: Deliveries) -> None:
    one = event()
    claimed(deliveries, one)
    for count in (1, 2):
        lose_lease(one)
        held = claimed(deliveries, one)
        assert held.crashes == count

    deliveries.packed(held, name="a.zip", size=3, sha256="0" * 64, warnings=[])
    lose_lease(one)

    assert claimed(deliveries, one).crashes == 1


def test_packing_the_same_bytes_again_keeps_generation_and_checkpoint(deliveries: Deliveries) -> None:
    one = event()
    held = claimed(deliveries, one)
    generation = deliveries.packed(held, name="a.zip", size=3, sha256="0" * 64, warnings=[])
    deliveries.place(held, backend="memory", generation=generation, key="k")
    deliveries.checkpoint(held, {"offset": 2}, 2)
    lose_lease(one)

    again = claimed(deliveries, one)
    same = deliveries.packed(again, name="a.zip", size=3, sha256="0" * 64, warnings=[])
    kept = deliveries.place(again, backend="memory", generation=same, key="k")

    assert same == generation
    assert kept == {"offset": 2}


def test_other_bytes_are_a_new_generation_without_a_checkpoint(deliveries: Deliveries) -> None:
    one = event()
    held = claimed(deliveries, one)
    generation = deliveries.packed(held, name="a.zip", size=3, sha256="0" * 64, warnings=[])
    deliveries.place(held, backend="memory", generation=generation, key="k")
    deliveries.checkpoint(held, {"offset": 2}, 2)
    lose_lease(one)

    again = claimed(deliveries, one)
    other = deliveries.packed(again, name="a.zip", size=3, sha256="1" * 64, warnings=[])

    assert other == generation + 1
    assert deliveries.place(again, backend="memory", generation=other, key="k2") is None


def test_a_checkpoint_is_not_handed_to_another_service(deliveries: Deliveries) -> None:
    one = event()
    held = claimed(deliveries, one)
    generation = deliveries.packed(held, name="a.zip", size=3, sha256="0" * 64, warnings=[])
    deliveries.place(held, backend="memory", generation=generation, key="k")
    deliveries.checkpoint(held, {"offset": 2}, 2)

    assert deliveries.place(held, backend="local", generation=generation, key="k") is None


def test_cancelling_takes_the_fence_from_the_worker(deliveries: Deliveries) -> None:
    from ledger.api import Ended, cancel

    one = event()
    held = claimed(deliveries, one)

    assert cancel(one.id)
    assert not cancel(one.id)
    with pytest.raises(Superseded):
        deliveries.finish(held, LINK, keep_days=1)
    assert claim(deliveries, one) == Ended(owed=False)


def test_a_failed_delivery_that_is_retried_tells_its_next_failure_again(deliveries: Deliveries) -> None:
    from ledger.api import Notices, retry
    from ledger.models import Notification

    one = event()
    deliveries.fail(claimed(deliveries, one), "no such folder")
    notices = Notices(lease=30, overdue=60)
    first = notices.claim_next(one.id)
    assert first is not None
    notices.sent(first)

    assert retry(one.id)
    assert not retry(one.id)
    deliveries.fail(claimed(deliveries, one), "still no such folder")

    assert Notification.objects.filter(delivery_id=one.id, kind="failed").count() == 2


def test_a_retry_has_all_its_tries_before_it(deliveries: Deliveries) -> None:
    from ledger.api import retry
    from ledger.models import Delivery
    from ledger.work import from_now

    one = event()
    for _ in range(3):
        deliveries.wait(claimed(deliveries, one), 0, "the service is away", counted=True)
        next_tick()
    Delivery.objects.update(failing_since=from_now(-26 * 3600), trouble_since=from_now(-26 * 3600))
    deliveries.fail(claimed(deliveries, one), "tried for 26 hours")
    assert retry(one.id)

    again = claimed(deliveries, one)
    assert (again.attempts, again.failing_seconds, again.trouble_seconds) == (0, 0, 0)


def test_a_mail_about_a_failure_that_has_not_gone_out_is_dropped_by_a_retry(deliveries: Deliveries) -> None:
    from ledger.api import Kind, Notices, retry

    one = event()
    deliveries.fail(claimed(deliveries, one), "no such folder")
    retry(one.id)
    finish(deliveries, claimed(deliveries, one))

    notices = Notices(lease=30, overdue=60)
    only = notices.claim_next(one.id)
    assert only is not None
    assert only.kind == Kind.DELIVERED
    assert notices.claim_next(one.id) is None


def test_an_operator_tries_a_waiting_delivery_at_once(deliveries: Deliveries) -> None:
    from ledger.api import retry
    from ledger.sweep import wake_up

    one = event()
    deliveries.wait(claimed(deliveries, one), 3600, "busy", counted=True)
    assert wake_up(one.id) is None

    assert retry(one.id)

    assert wake_up(one.id) is not None
    assert claimed(deliveries, one).attempts == 1


def test_a_retry_probes_a_definition_that_is_marked_unhealthy(deliveries: Deliveries) -> None:
    from ledger.api import define, definition, mark_unhealthy, retry

    one = event(backend="memory")
    define("memory")
    mark_unhealthy("memory", "the account is full", operator="")
    deliveries.wait(claimed(deliveries, one), 600, "the account is full", counted=False)

    assert retry(one.id)

    assert definition("memory").unhealthy_seconds == 0
    assert definition("memory").unhealthy_reason == "the account is full"


def test_what_waits_for_a_definition_is_tried_at_once_when_it_is_corrected(deliveries: Deliveries) -> None:
    from ledger.api import Held, define

    waiting, other = event(backend="memory"), event(backend="local")
    for one in (waiting, other):
        deliveries.wait(claimed(deliveries, one), 600, "the token is wrong", counted=False)

    define("memory", token="another one")

    claimed(deliveries, waiting)
    assert isinstance(claim(deliveries, other), Held)


def test_the_day_that_the_mail_promised_is_what_is_shown(deliveries: Deliveries) -> None:
    from ledger.api import DeliveryNotice, Notices, find

    one = event()
    finish(deliveries, claimed(deliveries, one))
    assert find(str(one.id))[0].keep_until is None
    notice = Notices(lease=30, overdue=60).claim_next(one.id)
    assert isinstance(notice, DeliveryNotice)

    assert find(str(one.id))[0].keep_until == notice.keep_until


def test_a_wait_that_is_nobody_s_failure_ends_a_row_of_failures(deliveries: Deliveries) -> None:
    one = event()
    deliveries.wait(claimed(deliveries, one), 0, "busy", counted=True)
    next_tick()
    deliveries.wait(claimed(deliveries, one), 0, "the token is wrong", counted=False)
    next_tick()

    again = claimed(deliveries, one)

    assert (again.attempts, again.failing_seconds) == (0, 0)
    assert again.trouble_seconds > 0


def test_starting_an_upload_anew_is_no_progress(deliveries: Deliveries) -> None:
    one = event()
    held = claimed(deliveries, one)
    deliveries.checkpoint(held, {}, 100)
    for count in (1, 2):
        lose_lease(one)
        held = claimed(deliveries, one)
        deliveries.checkpoint(held, {}, 50)
        assert held.crashes == count


def test_many_warnings_are_cut_to_what_fits_into_a_message(deliveries: Deliveries) -> None:
    from ledger.api import announcement

    one = event()
    held = claimed(deliveries, one)
    deliveries.packed(held, name="a.zip", size=3, sha256="0" * 64, warnings=[f"{n}: left out" for n in range(20_000)])
    deliveries.finish(held, LINK, keep_days=1)

    told = announcement(one.id)
    assert told is not None
    assert len(told.body) < 100_000
    assert b"and 19900 more" in told.body


def test_a_delivery_is_found_by_a_simulation_id_that_looks_like_an_event_id(deliveries: Deliveries) -> None:
    from ledger.api import find

    one = event(simulation_id="00000000-0000-4000-8000-000000000001")
    deliveries.record(one, one.to_bytes(), None)

    assert [view.id for view in find("00000000-0000-4000-8000-000000000001")] == [one.id]


def test_a_mail_that_is_being_sent_when_an_operator_retries_is_not_sent_later(deliveries: Deliveries) -> None:
    from ledger.api import Notices, retry

    one = event()
    deliveries.fail(claimed(deliveries, one), "no such folder")
    notices = Notices(lease=30, overdue=60)
    notice = notices.claim_next(one.id)
    assert notice is not None

    assert retry(one.id)

    with pytest.raises(Superseded):
        notices.data_starts(notice)
    notices.postpone(notice, 0, "451")
    assert notices.claim_next(one.id) is None


def test_whoever_asks_is_told_how_far_the_work_is(deliveries: Deliveries) -> None:
    from ledger.api import Far, Stage, find

    one = event()
    held = claimed(deliveries, one)
    deliveries.enter(held, Stage.PACKAGING)
    assert find(str(one.id))[0].doing == "packaging"

    deliveries.progress(held, Far(1_500_000_000, 6_000_000_000, 90_000_000))

    found = find(str(one.id))[0]
    assert found.doing == "packaging, 1.5 GB of 6.0 GB, 90 MB/s, 50 s left to read"
    assert found.sentence() == f"A worker (host:1) has it in work: {found.doing}."
    assert found.as_json("")["doing"] == found.doing
    deliveries.enter(held, Stage.LINKING)
    assert find(str(one.id))[0].doing == "linking"


def test_the_service_is_waited_for_only_when_it_has_the_whole_archive(deliveries: Deliveries) -> None:
    from ledger.api import Far, find

    one = event()
    held = claimed(deliveries, one)

    def doing() -> str:
        return find(str(one.id))[0].doing

    generation = deliveries.begin(held, name="a.zip")
    deliveries.place(held, backend="memory", generation=generation, key="k")
    assert doing() == "packaging and storing"
    deliveries.checkpoint(held, {"at": 1}, 100, far=Far(600, 900, 50), sha256="1" * 64)
    assert doing() == "packaging and storing, 600 bytes of 900 bytes, 50 bytes/s, 6 s left to read"
    deliveries.checkpoint(held, {"at": 2}, 300, far=Far(900, 900, 50), sha256="2" * 64)
    assert doing() == "packaging and storing, all 900 bytes read, the summary is being made"
    deliveries.packed(held, name="a.zip", size=400, sha256="3" * 64, warnings=[], sent_meanwhile=True)
    assert doing() == "storing, 300 bytes of 400 bytes"
    deliveries.checkpoint(held, {"at": 3}, 350, far=Far(350, 400, 25))
    assert doing() == "storing, 350 bytes of 400 bytes, 25 bytes/s, 2 s left"
    deliveries.checkpoint(held, {"at": 4}, 400, far=Far(400, 400, 25))
    assert doing() == "storing, all 400 bytes sent, the service has not confirmed yet"


def test_a_worker_whose_lease_has_run_out_is_not_told_to_work(deliveries: Deliveries) -> None:
    from ledger.api import Far, Stage, find
    from ledger.models import Delivery
    from ledger.work import from_now

    one = event()
    held = claimed(deliveries, one)
    deliveries.enter(held, Stage.PACKAGING)
    deliveries.progress(held, Far(100, 815, 10))
    assert find(str(one.id))[0].lease_over is None
    Delivery.objects.filter(id=one.id).update(lease_until=from_now(-75))

    told = find(str(one.id))[0].sentence()
    gone = r"that had it in work \(packaging\) is not heard of any more, its lease ran out 1 min [1-5]\d s ago"
    assert re.search(gone, told), told
    assert told.endswith("; another worker takes over.")


def test_how_fast_it_went_a_while_ago_is_not_told_as_if_it_were_now(deliveries: Deliveries) -> None:
    from ledger.api import Far, Stage, find
    from ledger.models import Delivery
    from ledger.work import from_now

    one = event()
    held = claimed(deliveries, one)
    deliveries.enter(held, Stage.PACKAGING)
    deliveries.progress(held, Far(100, 815, 10))
    Delivery.objects.filter(id=one.id).update(told_at=from_now(-40))

    view = find(str(one.id))[0]
    assert re.fullmatch(r"packaging, 100 bytes of 815 bytes, nothing new for [45]\d s", view.doing)
    assert view.progress is not None
    assert view.progress.rate is None
    deliveries.progress(held, Far(105, 815, 5))
    assert find(str(one.id))[0].doing == "packaging, 105 bytes of 815 bytes, 5 bytes/s, 2 min 22 s left to read"


def test_a_worker_of_this_machine_that_was_killed_is_gone_before_its_lease_is_over(sqlite_ledger: Settings) -> None:
    from ledger.api import Deliveries, Far, Stage, find
    from ledger.processes import of_this_machine
    from ledger.tables import ready

    del sqlite_ledger
    ready("worker")
    told = []
    for number in (os.getpid(), 2**30):  # as no process is numbered
        deliveries = Deliveries(of_this_machine(number), lease=30, overdue=60)
        one = event()
        held = claimed(deliveries, one)
        deliveries.enter(held, Stage.PACKAGING)
        deliveries.progress(held, Far(100, 815, 10))
        told.append(find(str(one.id))[0])

    alive, killed = told
    assert alive.sentence().endswith(
        "has it in work: packaging, 100 bytes of 815 bytes, 10 bytes/s, 1 min 12 s left to read."
    )
    assert re.search(
        r"\(packaging\) is gone; another worker takes over after its lease, which ends in (30|[12]\d) s\.$",
        killed.sentence(),
    )
    assert (killed.doing, killed.lease_over) == ("", None)


def test_an_upload_that_was_not_finished_keeps_its_generation_unless_the_bytes_differ(
    deliveries: Deliveries,
) -> None:
    one = event()
    held = claimed(deliveries, one)
    first = deliveries.begin(held, name="a.zip")
    deliveries.place(held, backend="memory", generation=first, key="k")
    deliveries.checkpoint(held, {"at": 1}, 10, sha256="1" * 64)
    lose_lease(one)

    again = claimed(deliveries, one)
    assert again.sent_digest == {"bytes": 10, "sha256": "1" * 64}
    assert deliveries.begin(again, name="a.zip") == first
    assert deliveries.begin(again, name="a.zip", anew=True) == first + 1
    assert row(one).checkpoint is None
    assert row(one).sent_digest is None


def test_statistics_go_into_the_message_and_beside_those_of_earlier_runs(deliveries: Deliveries) -> None:
    from ledger.api import announcement, find
    from ledger.study import compared

    for number in (1.0, 3.0, 4.0):
        one = event()
        held = claimed(deliveries, one)
        statistics = [{"label": "delay", "value": f"{number} s", "number": number, "unit": "s"}]
        deliveries.packed(
            held,
            name="a.zip",
            size=3,
            sha256="0" * 64,
            warnings=["b: unreadable"],
            notes=["odd"],
            statistics=statistics,
        )
        deliveries.finish(held, LINK, keep_days=1)

    told = announcement(one.id)
    assert told is not None
    message = parse(told.body)
    assert isinstance(message, LinkReadyMessage)
    data = message.data
    assert [(each.name, each.value) for each in data.statistics] == [("delay", "4.0 s")]
    assert data.warnings == ("odd", "Not in the archive: b: unreadable")
    (beside,) = compared(row(one))
    assert (beside.runs, beside.low, beside.mean, beside.high) == (2, 1.0, 2.0, 3.0)
    assert find(str(one.id))[0].statistics == (("delay", "4.0 s"),)


def delivered_with(deliveries: Deliveries, number: float, publisher: str = "anna", **data: Any) -> SimulationCompleted:
    from ledger.api import Claim

    one = event(**data)
    held = deliveries.claim(one, one.to_bytes(), publisher)
    assert isinstance(held, Claim)
    statistics = [{"label": "delay", "value": f"{number} s", "number": number, "unit": "s"}]
    next_tick()  # so that the next one is received later
    deliveries.packed(held, name="a.zip", size=3, sha256="0" * 64, warnings=[], statistics=statistics)
    deliveries.finish(held, LINK, keep_days=1)
    return one


def test_a_run_whose_event_only_another_version_can_read_is_left_out_of_the_next_one_s_mail(
    deliveries: Deliveries,
) -> None:
    from ledger.api import DeliveryNotice, Notices
    from ledger.models import Delivery
    from ledger.study import compared

    old = delivered_with(deliveries, 1.0)
    Delivery.objects.filter(id=old.id).update(body=old.to_bytes().replace(b"completed.v1", b"completed.v0"))
    delivered_with(deliveries, 3.0)
    last = delivered_with(deliveries, 4.0)

    notice = Notices(lease=30, overdue=60).claim_next(last.id)
    assert isinstance(notice, DeliveryNotice)
    (beside,) = notice.statistics
    assert (beside.runs, beside.low, beside.high) == (1, 3.0, 3.0)
    (alone,) = compared(row(old))
    assert (alone.value, alone.runs) == ("1.0 s", 0)


@pytest.mark.parametrize("study", [{"title": "mm1"}, {"campaign": {"id": "mm1"}}])
def test_a_run_is_compared_with_those_of_its_own_publisher_alone(deliveries: Deliveries, study: dict[str, Any]) -> None:
    from ledger.study import compared

    for publisher, number in (("anna", 1.0), ("ben", 100.0), ("anna", 3.0)):
        one = delivered_with(deliveries, number, publisher, **study)

    (beside,) = compared(row(one))
    assert (beside.runs, beside.low, beside.high) == (1, 1.0, 1.0)


def test_a_run_of_a_campaign_is_compared_with_those_of_the_same_parameters_whatever_their_seeds(
    deliveries: Deliveries,
) -> None:
    from ledger.study import compared

    def run(number: float, **parameters: Any) -> SimulationCompleted:
        return delivered_with(deliveries, number, campaign={"id": "mm1", "parameters": parameters})

    for seed in range(3):
        run(1000.0 + seed, rho=0.2, seed=seed)
        run(2.0, rho=1, seed=seed)
        first = run(3000.0, rho=0.8, seed=seed)
    other = run(1.0, rho=0.8, seed=7, buffer=10)
    last = run(3001.0, seed=9, rho=0.80)

    (beside,) = compared(row(last))
    assert (beside.runs, beside.low, beside.high) == (3, 3000.0, 3000.0)
    assert beside.earlier == "above all 3 earlier runs: 3000 s each"
    (beside,) = compared(row(first))
    assert (beside.runs, beside.beyond) == (2, ""), "two others say little"
    (beside,) = compared(row(other))
    assert beside.earlier == "", "nothing is like it"


@pytest.mark.parametrize("study", [{"title": "mm1"}, {"campaign": {"id": "mm1", "parameters": {"rho": 0.8}}}])
def test_simulations_that_did_not_succeed_say_nothing_about_what_is_usual(
    deliveries: Deliveries, study: dict[str, Any]
) -> None:
    from ledger.study import compared

    for outcome, number in (("failed", 1.0), ("succeeded", 2.0), ("aborted", 3.0), ("failed", 4.0)):
        one = delivered_with(deliveries, number, outcome=outcome, **study)

    (beside,) = compared(row(one))
    assert (beside.runs, beside.low, beside.high) == (1, 2.0, 2.0)
