"""One mail for a campaign: which runs are in which digest, on both databases."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from backends.contract import Link, Stored
from messaging.messages import CampaignDigestMessage, SimulationCompleted, parse
from messaging.settings import Settings
from tests.support.events import event

if TYPE_CHECKING:
    from ledger.deliveries import Deliveries
    from ledger.digests import Digests
    from ledger.notifications import DigestNotice, Notices

ANNA, BERT = "anna@example.org", "bert@example.org"
QUIET = 1800.0


@pytest.fixture
def deliveries(ledger_settings: Settings) -> Deliveries:
    from ledger.api import Deliveries

    del ledger_settings
    return Deliveries("host:1", lease=30, overdue=60)


@pytest.fixture
def digests(deliveries: Deliveries) -> Digests:
    from ledger.api import Digests

    del deliveries
    return Digests(quiet=QUIET, overdue=60)


@pytest.fixture
def notices(deliveries: Deliveries) -> Notices:
    from ledger.api import Notices

    del deliveries
    return Notices(lease=30, overdue=60)


def run(number: int, *, runs: int | None = 3, campaign: str = "study", **data: Any) -> SimulationCompleted:
    study = {"id": campaign, "parameters": {"load": 0.8, "seed": number}, "runs": runs}
    return event(**({"simulation_id": f"run-{number}", "campaign": study} | data))


def ended(
    deliveries: Deliveries, one: SimulationCompleted, *, fails: str = "", publisher: str = "", keep_days: int = 30
) -> SimulationCompleted:
    from ledger.api import Claim

    held = deliveries.claim(one, one.to_bytes(), publisher)
    assert isinstance(held, Claim)
    if fails:
        deliveries.fail(held, fails)
        return one
    statistics = [{"label": "delay, sink, mean", "value": "3 s", "number": 3.0, "unit": "s"}]
    generation = deliveries.packed(held, name="a.zip", size=3, sha256="0" * 64, warnings=[], statistics=statistics)
    deliveries.place(held, backend="memory", generation=generation, key="k")
    deliveries.stored(held, backend="memory", generation=generation, stored=Stored(key="k", size=3))
    deliveries.finish(held, Link(url=f"http://example.org/{one.data.simulation_id}"), keep_days=keep_days)
    return one


def claimed(notices: Notices, messages: list[Any]) -> list[DigestNotice]:
    """The mails that these messages have the email sender send."""
    from ledger.api import DigestNotice

    found = []
    for message in messages:
        parsed = parse(message.body)
        assert isinstance(parsed, CampaignDigestMessage)
        assert message.routing_key == "campaign.digest"
        notice = notices.claim_next(parsed.data.notice_id)
        assert isinstance(notice, DigestNotice)
        found.append(notice)
    return found


def sent(notices: Notices, messages: list[Any]) -> list[DigestNotice]:
    mails = claimed(notices, messages)
    for mail in mails:
        notices.data_starts(mail)
        notices.sent(mail)
    return mails


def told(mail: DigestNotice) -> list[str]:
    return sorted(one.event.simulation_id for one in mail.outcomes)


def pass_time(seconds: float) -> None:
    """As if everything so far had happened that much earlier."""
    from ledger.models import Notification

    for row in Notification.objects.all():
        Notification.objects.filter(id=row.id).update(created_at=row.created_at - timedelta(seconds=seconds))


def states(one: SimulationCompleted) -> dict[str, str]:
    from ledger.models import Notification

    return dict(Notification.objects.filter(delivery_id=one.id).values_list("recipient", "state"))


def test_a_complete_campaign_is_one_mail_for_each_recipient(
    deliveries: Deliveries, digests: Digests, notices: Notices
) -> None:
    from ledger.api import find

    both: dict[str, Any] = {"recipients": [ANNA, BERT]}
    runs = [ended(deliveries, run(1, **both)), ended(deliveries, run(2, **both), fails="The folder is empty.")]
    assert [digests.completed_by(one.id) for one in runs] == [[], []], "one is still open"
    assert digests.due() == []
    assert all(notices.claim_next(one.id) is None for one in runs), "no mail of its own"
    (view,) = find("run-1")
    assert view.sentence() == "It is stored; 0 of 2 mails are sent; gathered for the digest of its campaign: 2."

    runs.append(ended(deliveries, run(3, **both)))
    messages = digests.completed_by(runs[-1].id)
    parsed = [parse(message.body) for message in messages]
    assert [one.data.runs for one in parsed if isinstance(one, CampaignDigestMessage)] == [3, 3]
    mails = claimed(notices, messages)

    assert sorted(mail.recipient for mail in mails) == [ANNA, BERT]
    for mail in mails:
        assert (mail.campaign, mail.runs, told(mail)) == ("study", 3, ["run-1", "run-2", "run-3"])
        assert [one.reason for one in mail.outcomes if one.kind == "failed"] == ["The folder is empty."]
        notices.sent(mail)
    assert [states(one) for one in runs] == 3 * [{ANNA: "SENT", BERT: "SENT"}]
    assert digests.due() == []
    (view,) = find("run-1")
    assert view.sentence() == "It is stored; 2 of 2 mails are sent."
    assert all(notice.sent_at and notice.digest and " in a digest (" in str(notice) for notice in view.notices)
    assert all(notice["digest"] for notice in view.as_json("")["notices"])


def test_a_campaign_that_falls_silent_is_told_and_what_comes_later_goes_into_another_one(
    deliveries: Deliveries, digests: Digests, notices: Notices
) -> None:
    for number in (1, 2):
        ended(deliveries, run(number, runs=4))
    pass_time(QUIET - 60)
    assert digests.due() == []
    pass_time(61)
    (first,) = sent(notices, digests.due())
    assert (told(first), first.before) == (["run-1", "run-2"], ())

    ended(deliveries, run(3, runs=4))
    assert digests.due() == [], "it is given as long again"
    last = ended(deliveries, run(4, runs=4))
    (second,) = sent(notices, digests.completed_by(last.id))

    assert told(second) == ["run-3", "run-4"]
    assert sorted(one.event.simulation_id for one in second.before) == ["run-1", "run-2"]


def test_a_digest_leaves_out_of_what_was_told_before_a_run_that_only_another_version_can_read(
    deliveries: Deliveries, digests: Digests, notices: Notices
) -> None:
    from ledger.models import Delivery

    old, _ = (ended(deliveries, run(number, runs=2)) for number in (1, 2))
    sent(notices, digests.completed_by(old.id))
    Delivery.objects.filter(id=old.id).update(body=old.to_bytes().replace(b"completed.v1", b"completed.v0"))

    ended(deliveries, run(3, runs=4))
    last = ended(deliveries, run(4, runs=4))
    (mail,) = sent(notices, digests.completed_by(last.id))

    assert (told(mail), [one.event.simulation_id for one in mail.before]) == (["run-3", "run-4"], ["run-2"])


def test_a_study_that_never_falls_silent_is_told_once_a_day(
    deliveries: Deliveries, digests: Digests, notices: Notices
) -> None:
    ended(deliveries, run(1, runs=None))
    pass_time(24 * 3600)
    ended(deliveries, run(2, runs=None))

    (mail,) = sent(notices, digests.due())

    assert told(mail) == ["run-1", "run-2"]


def test_a_campaign_that_is_run_once_more_is_told_when_it_is_complete_again(
    deliveries: Deliveries, digests: Digests, notices: Notices
) -> None:
    for number in (1, 2, 3):
        ended(deliveries, run(number))
    sent(notices, digests.due())
    for number in (1, 2):
        again = ended(deliveries, run(number))
        assert digests.completed_by(again.id) == []
    last = ended(deliveries, run(3))

    (mail,) = sent(notices, digests.completed_by(last.id))

    assert len(mail.outcomes) == 3


def test_the_same_campaign_of_two_publishers_is_two_studies(
    deliveries: Deliveries, digests: Digests, notices: Notices
) -> None:
    for number in (1, 2):
        ended(deliveries, run(number, runs=2), publisher="anna")
    ended(deliveries, run(3, runs=2), publisher="bert")

    (mail,) = sent(notices, digests.due())

    assert told(mail) == ["run-1", "run-2"]


def test_a_recipient_is_told_of_no_runs_but_those_that_name_him(
    deliveries: Deliveries, digests: Digests, notices: Notices
) -> None:
    ended(deliveries, run(1, runs=4))
    ended(deliveries, run(2, runs=4, recipients=[BERT]))
    pass_time(QUIET + 1)
    assert {mail.recipient: told(mail) for mail in sent(notices, digests.due())} == {ANNA: ["run-1"], BERT: ["run-2"]}
    ended(deliveries, run(3, runs=4))
    ended(deliveries, run(4, runs=4, recipients=[BERT]))

    mails = {mail.recipient: mail for mail in sent(notices, digests.due())}

    assert told(mails[BERT]) == ["run-4"]
    assert [one.event.simulation_id for one in mails[BERT].before] == ["run-2"]


def test_a_cancelled_run_completes_a_campaign_too(deliveries: Deliveries, digests: Digests, notices: Notices) -> None:
    from ledger.api import cancel

    for number in (1, 2):
        ended(deliveries, run(number))
    missing = run(3)
    deliveries.record(missing, missing.to_bytes(), None)
    assert digests.due() == []
    cancel(missing.id)

    (mail,) = sent(notices, digests.due())

    assert told(mail) == ["run-1", "run-2"]


def test_of_many_workers_that_gather_at_once_each_outcome_is_taken_by_one(
    deliveries: Deliveries, digests: Digests, notices: Notices
) -> None:
    from django.db import connections

    from ledger.models import Notification

    runs = [ended(deliveries, run(number, runs=8, recipients=[ANNA, BERT])) for number in range(8)]
    made: list[Any] = []
    start = threading.Barrier(8)

    def gather(place: int) -> None:
        start.wait()
        made.extend(digests.completed_by(runs[place].id) if place % 2 else digests.due())
        connections.close_all()

    threads = [threading.Thread(target=gather, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    mails = sent(notices, made)

    assert sorted(mail.recipient for mail in mails) == [ANNA, BERT]
    assert all(len(mail.outcomes) == 8 for mail in mails)
    assert Notification.objects.filter(delivery=None).count() == 2, "nobody leaves an empty one"


def test_runs_that_end_while_others_gather_are_all_told_exactly_once(
    deliveries: Deliveries, digests: Digests, notices: Notices
) -> None:
    from django.db import connections

    from ledger.api import Digests

    made: list[Any] = []
    hasty = Digests(quiet=0, overdue=60)
    over = threading.Event()

    def deliver(numbers: range) -> None:
        for number in numbers:
            one = ended(deliveries, run(number, runs=24))
            made.extend(digests.completed_by(one.id))
        connections.close_all()

    def gather() -> None:
        while not over.is_set():
            made.extend(hasty.due())
        connections.close_all()

    workers = [threading.Thread(target=deliver, args=(range(place, 24, 3),)) for place in range(3)]
    gatherers = [threading.Thread(target=gather) for _ in range(2)]
    for thread in [*workers, *gatherers]:
        thread.start()
    for thread in workers:
        thread.join()
    over.set()
    for thread in gatherers:
        thread.join()
    made.extend(hasty.due())

    counted = Counter(name for mail in sent(notices, made) for name in told(mail))
    assert counted == Counter(f"run-{number}" for number in range(24))


def test_a_digest_whose_maker_was_killed_before_its_message_is_sent_off_by_the_sweep(
    deliveries: Deliveries, digests: Digests, notices: Notices
) -> None:
    from ledger.api import overdue, stamp
    from ledger.models import Notification
    from ledger.work import from_now

    for number in (1, 2, 3):
        ended(deliveries, run(number))
    (lost,) = digests.due()
    assert digests.due() == []
    Notification.objects.filter(delivery=None).update(wake_at=from_now(-1))

    (found,) = overdue({})
    stamp(found.subject)

    assert found.wake_up == lost, "the same message"
    assert overdue({}) == []
    (mail,) = sent(notices, [found.wake_up])
    assert told(mail) == ["run-1", "run-2", "run-3"]


def test_a_digest_that_is_refused_for_now_waits_and_each_run_says_so(
    deliveries: Deliveries, digests: Digests, notices: Notices
) -> None:
    from ledger.api import expiry, find
    from ledger.models import Placement
    from ledger.work import from_now

    ended(deliveries, run(1, runs=1))
    (mail,) = claimed(notices, digests.due())
    notices.postpone(mail, 600, "451 try again later")

    (view,) = find("run-1")
    assert str(view.notices[0]).startswith(f"{ANNA}, with the link: GATHERED in a digest, tried again in ")
    assert str(view.notices[0]).endswith(": 451 try again later")
    assert notices.seconds_to_next(mail.id) == pytest.approx(600, abs=60)
    Placement.objects.update(remove_at=from_now(-1))
    assert expiry.due(look_only=True) == [], "nobody has been told of the archive"


def test_a_digest_that_is_refused_for_good_has_failed_with_all_its_runs(
    deliveries: Deliveries, digests: Digests, notices: Notices
) -> None:
    one = ended(deliveries, run(1, runs=1))
    (mail,) = claimed(notices, digests.due())

    notices.fail(mail, "550 no such user")

    assert states(one) == {ANNA: "FAILED"}
    assert notices.claim_next(one.id) is None
    assert digests.due() == []


def test_the_archive_is_kept_as_long_as_the_digest_states(
    deliveries: Deliveries, digests: Digests, notices: Notices
) -> None:
    from django.utils import timezone

    from ledger.expiry import keeps_until
    from ledger.models import Delivery, Notification

    short, for_ever = run(1, runs=2), run(2, runs=2)
    ended(deliveries, short, keep_days=10)
    ended(deliveries, for_ever, keep_days=0)
    Notification.objects.update(created_at=timezone.now() - timedelta(hours=20))
    Delivery.objects.update(ended_at=timezone.now() - timedelta(days=3))
    (mail,) = sent(notices, digests.due())

    today = timezone.now().date()
    assert {one.event.simulation_id: one.keep_until for one in mail.outcomes} == {
        "run-1": today + timedelta(days=10),
        "run-2": None,
    }
    assert keeps_until(Delivery.objects.get(id=short.id)) == today + timedelta(days=10)


def test_a_failed_run_that_is_started_again_is_not_told_as_failed(
    deliveries: Deliveries, digests: Digests, notices: Notices
) -> None:
    from ledger.api import retry

    ended(deliveries, run(1, runs=2))
    failed = ended(deliveries, run(2, runs=2), fails="The disk was full.")
    (message,) = digests.completed_by(failed.id)
    retry(failed.id)
    (first,) = sent(notices, [message])
    assert told(first) == ["run-1"]

    ended(deliveries, failed)
    (second,) = sent(notices, digests.completed_by(failed.id))

    assert [(one.event.simulation_id, one.kind) for one in second.outcomes] == [("run-2", "delivered")]


def test_a_digest_of_which_nothing_is_left_is_not_sent(
    deliveries: Deliveries, digests: Digests, notices: Notices
) -> None:
    from ledger.api import retry
    from ledger.models import Notification

    failed = ended(deliveries, run(1, runs=1), fails="The disk was full.")
    digests.due()
    retry(failed.id)
    (digest,) = Notification.objects.filter(delivery=None)

    assert notices.claim_next(digest.id) is None
    assert notices.seconds_to_next(digest.id) is None


def test_a_mail_that_is_asked_for_again_is_one_about_this_run_alone(
    deliveries: Deliveries, digests: Digests, notices: Notices
) -> None:
    from ledger.api import DeliveryNotice
    from ledger.operators import resend

    one = ended(deliveries, run(1, runs=1))
    sent(notices, digests.due())

    resend(one.id)
    mail = notices.claim_next(one.id)

    assert isinstance(mail, DeliveryNotice)
    assert mail.event.simulation_id == "run-1"
    notices.sent(mail)
    assert digests.due() == []


def test_reminders_of_a_campaign_are_one_mail(
    deliveries: Deliveries, digests: Digests, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ledger.api import remind
    from ledger.models import Delivery, Notification, Placement

    monkeypatch.setattr("ledger.reminders.BATCH", 2)
    runs = [ended(deliveries, run(number, runs=4)) for number in range(4)]
    sent(notices, digests.due())
    for row in Notification.objects.exclude(keep_until=None):
        assert row.keep_until is not None
        Notification.objects.filter(id=row.id).update(keep_until=row.keep_until - timedelta(days=28))
    for place in Placement.objects.all():
        assert place.remove_at is not None
        Placement.objects.filter(pk=place.pk).update(remove_at=place.remove_at - timedelta(days=28))
    until = Notification.objects.filter(delivery_id=runs[0].id).values_list("keep_until", flat=True).get()
    Delivery.objects.filter(id=runs[0].id).update(page_key=None)

    assert remind(3) == 4
    assert remind(3) == 0
    (mail,) = sent(notices, digests.due())

    assert (mail.kind, len(mail.outcomes), mail.before) == ("reminder", 4, ())
    assert {one.keep_until for one in mail.outcomes} == {until}
    assert all(one.page for one in mail.outcomes), "one from before there were pages has got one"
    assert remind(3) == 0
    assert digests.due() == []


def test_without_digests_each_run_has_a_mail_and_a_reminder_of_its_own(ledger_settings: Settings) -> None:
    from ledger.api import Deliveries, DeliveryNotice, Notices

    del ledger_settings
    one = ended(Deliveries("host:1", lease=30, overdue=60, digests=False), run(1, runs=1))

    assert isinstance(Notices(lease=30, overdue=60).claim_next(one.id), DeliveryNotice)


def test_what_is_gathered_is_not_forgotten_and_a_digest_goes_with_its_recipients_address(
    deliveries: Deliveries, digests: Digests, notices: Notices
) -> None:
    from ledger.api import Keep, find, forget
    from ledger.models import Delivery, Notification

    one = ended(deliveries, run(1, runs=1))
    row = Delivery.objects.get(id=one.id)
    assert row.ended_at is not None
    Delivery.objects.filter(id=one.id).update(ended_at=row.ended_at - timedelta(days=100))
    assert forget(Keep(90, 365)) == {}
    sent(notices, digests.due())
    pass_time(100 * 24 * 3600)

    assert forget(Keep(90, 365)) == {"events": 1, "notices and digests": 1}

    assert ANNA not in str(list(Notification.objects.values()))
    (view,) = find("run-1")
    assert (view.notices[0].state, view.notices[0].digest) == ("SENT", None)


def test_more_runs_than_one_mail_holds_go_into_several(
    deliveries: Deliveries, digests: Digests, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.digests.MOST_OUTCOMES", 2)
    for number in range(5):
        ended(deliveries, run(number, runs=5))

    mails = [mail for _ in range(4) for mail in sent(notices, digests.due())]

    assert [len(mail.outcomes) for mail in mails] == [2, 2, 1]
    assert sorted(name for mail in mails for name in told(mail)) == [f"run-{number}" for number in range(5)]


def test_a_number_of_runs_beyond_what_a_column_holds_is_never_reached(deliveries: Deliveries, digests: Digests) -> None:
    one = ended(deliveries, run(1, runs=10**30))

    assert digests.completed_by(one.id) == []
