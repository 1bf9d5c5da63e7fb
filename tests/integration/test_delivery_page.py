"""A delivery's page: what a researcher sees of it without an account, and what they may ask for."""

from __future__ import annotations

import io
import re
import shlex
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from click.testing import CliRunner
from PIL import Image

from backends.contract import Link, Stored
from messaging.messages import Results, SimulationCompleted
from messaging.settings import Settings
from producer.event import completed_event
from producer.options import publish_arguments
from tests.support.events import event
from tests.support.ledger import SECRET, next_tick
from tests.support.markup import Element, parsed

if TYPE_CHECKING:
    from django.test import Client

    from ledger.api import Claim, Deliveries

ANNA, BERT = "anna@example.org", "bert@example.com"


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (2, 2)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def client(sqlite_ledger: Settings) -> Client:
    """A browser without an account, whose forms must prove that they come from the site."""
    from django.test import Client

    del sqlite_ledger
    return Client(headers={"host": "localhost"}, enforce_csrf_checks=True)


@pytest.fixture
def deliveries(sqlite_ledger: Settings) -> Deliveries:
    from ledger.api import Deliveries

    del sqlite_ledger
    return Deliveries("host:1", lease=30, overdue=60)


def claimed(deliveries: Deliveries, one: SimulationCompleted) -> Claim:
    from ledger.api import Claim

    held = deliveries.claim(one, one.to_bytes(), None)
    assert isinstance(held, Claim)
    return held


def delivered(
    deliveries: Deliveries, *, keep_days: int = 30, expires: datetime | None = None, **data: Any
) -> SimulationCompleted:
    """One to Anna and Bert, whose mails are sent."""
    from ledger.api import Notices

    one = event("/scratch/an na/mm1", **{"recipients": [ANNA, BERT]} | data)
    held = claimed(deliveries, one)
    generation = deliveries.packed(
        held,
        name="mm1.zip",
        size=3 * 1024**2,
        sha256="ab" * 32,
        warnings=["core.1: not readable."],
        notes=["1 number is NaN."],
        statistics=[{"label": "delay, mean", "value": "23 ms", "number": 0.023, "unit": "s"}],
        contents={"files": 3, "bytes": 5 * 1024**2, "names": ["a.sca"], "summary": "summary"},
        pictures=[{"title": "queueLength", "note": "9 samples", "alt": "From 0 to 9 s.", "png": png()}],
    )
    deliveries.place(held, backend="memory", generation=generation, key="k")
    deliveries.stored(held, backend="memory", generation=generation, stored=Stored(key="k", size=3 * 1024**2))
    deliveries.finish(held, Link(url="https://files.example.org/f/x", expires=expires), keep_days=keep_days)
    notices = Notices(lease=30, overdue=60)
    while notice := notices.claim_next(one.id):
        notices.data_starts(notice)
        notices.sent(notice)
    return one


def path(one: SimulationCompleted) -> str:
    from ledger.addresses import page_path

    return page_path(one.id)


def page(client: Client, one: SimulationCompleted) -> Element:
    answer = client.get(path(one))
    assert answer.status_code == 200, answer.content
    return parsed(answer.content.decode())


def press(client: Client, one: SimulationCompleted, action: str) -> Any:
    """Press the button whose form leads to ``action``, with the token that the page holds."""
    return client.post(f"{path(one)}{action}", token_for(client, one, action))


def token_for(client: Client, one: SimulationCompleted, action: str) -> dict[str, str]:
    (form,) = [form for form in page(client, one).all("form") if form.attributes["action"] == action]
    return {field.attributes["name"]: field.attributes["value"] for field in form.all("input")}


def pending(one: SimulationCompleted) -> list[str]:
    from ledger.models import Notification

    rows = Notification.objects.filter(delivery_id=one.id, state="PENDING").order_by("recipient")
    return list(rows.values_list("recipient", flat=True))


def until(days: int) -> str:
    return f"{datetime.now(UTC).date() + timedelta(days=days):%d %B %Y}"


def test_page_and_mail_compare_a_number_with_those_of_earlier_runs_in_the_same_words(
    client: Client, deliveries: Deliveries
) -> None:
    from consumer.mail.render import Renderer
    from ledger.api import Notices

    def statistics(*numbers: float) -> list[dict[str, Any]]:
        units = ("s", "", "s")
        return [
            {"label": f"number {place}", "value": str(number), "number": number, "unit": unit}
            for place, (number, unit) in enumerate(zip(numbers, units, strict=True))
        ]

    for delay in (15_051.0, 15_052.0, 15_053.0, 15_060.0):
        next_tick()  # each is received after the one before
        one = event("/scratch/mm1", recipients=[ANNA], title="mm1")
        held = claimed(deliveries, one)
        told = statistics(delay, 3000.0, delay / 1e6)
        deliveries.packed(held, name="mm1.zip", size=9, sha256="ab" * 32, warnings=[], statistics=told)
        deliveries.finish(held, Link(url="https://files.example.org/f/x", expires=None), keep_days=30)

    notice = Notices(lease=30, overdue=60).claim_next(one.id)
    assert notice is not None
    mail = Renderer("sim@example.org").render(notice, datetime.now(UTC)).get_body(("html",))
    assert mail is not None
    for words in (page(client, one).words, parsed(mail.get_content()).words):
        assert "above all 3 earlier runs: 15\u202f051 s to 15\u202f053 s, mean 15\u202f052 s" in words
        assert "number 1 3 earlier runs: 3000 each" in words
        assert "above all 3 earlier runs: 15.05 ms each" in words, "digits that are not shown make no difference"


def test_a_delivered_one_tells_link_size_digest_numbers_plot_and_every_step(
    client: Client, deliveries: Deliveries
) -> None:
    one = delivered(deliveries)
    shown = page(client, one)

    for told in (
        "Delivered", "2 of 2 mails are sent", "mm1.zip (3.0 MiB)", f"until {until(30)}, 23:59 UTC", "ab" * 32,
        "3 files of the results, 5.0 MiB; summary/report.html", "delay, mean 23 ms", "1 number is NaN.",
        "core.1: not readable.", "queueLength",
    ):  # fmt: skip
        assert told in shown.words
    receipt = next(each for each in shown.all("ol") if each.attributes.get("class") == "receipt")
    steps = [re.sub(r"^.*? UTC ", "", line.words) for line in receipt.all("li")]
    assert sorted(steps[-2:]) == [
        "mailed: with the link, to a…@example.org",
        "mailed: with the link, to b…@example.com",
    ]
    assert steps[:-2] == [
        "received", "taken by host:1", f"packed, 3.0 MiB by host:1 SHA-256 {'ab' * 32}",
        "stored, and confirmed by the service: memory, 3.0 MiB by host:1", "linked by host:1",
    ]  # fmt: skip
    (link,) = [each for each in shown.all("a") if each.words == "Get the results"]
    assert (link.attributes["href"], link.attributes["rel"]) == ("https://files.example.org/f/x", "noreferrer")
    (image,) = shown.all("img")
    assert image.attributes["alt"] == "From 0 to 9 s."
    picture = client.get(path(one) + image.attributes["src"])
    assert (picture.content, picture["Content-Type"]) == (png(), "image/png")


def test_the_address_is_kept_secret_and_needed(client: Client, deliveries: Deliveries) -> None:
    one, other = delivered(deliveries), delivered(deliveries)
    answer = client.get(path(one))

    assert len(path(one)) > 30
    assert path(one) != path(other)
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["X-Robots-Tag"] == "noindex, nofollow"
    assert answer["Cache-Control"] == "no-store, private" or answer["Cache-Control"] == "private, no-store"
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    for wrong in ("/d/nosuch/", f"/d/{one.id}/", "/d//", "/d/None/"):
        assert client.get(wrong).status_code == 404
    number = next(page(client, one).all("img")).attributes["src"]
    assert client.get(path(other) + number).status_code == 404, "one page shows no other's plots"


def test_another_key_revokes_the_address(client: Client, deliveries: Deliveries) -> None:
    from ledger.addresses import revoke

    one = delivered(deliveries)
    old = path(one)
    assert revoke(one.id)

    answer = client.get(old)
    assert (answer.status_code, "no such page" in answer.content.decode()) == (404, True)
    assert client.get(path(one)).status_code == 200


def test_an_operator_finds_the_page_and_gives_it_another_address(deliveries: Deliveries) -> None:
    from django.contrib.auth.models import User
    from django.test import Client

    one = delivered(deliveries)
    old = path(one)
    operator = Client(headers={"host": "localhost"})
    operator.force_login(User.objects.create_superuser("admin"))
    shown = operator.get(f"/admin/simcourier/delivery/{one.id}/change/").content.decode()
    assert f'href="{old}"' in shown

    action = {"action": "revoke_selected", "_selected_action": [str(one.id)]}
    answer = operator.post("/admin/simcourier/delivery/", action, follow=True)

    assert "1 delivery will be found at a new address; the next mail tells it." in answer.content.decode()
    assert operator.get(old).status_code == 404
    assert path(one) != old


def test_nothing_on_it_runs_inline_and_hostile_texts_stay_texts(client: Client, deliveries: Deliveries) -> None:
    evil = '"><script>alert(1)</script><img src=//evil.example>'
    one = delivered(deliveries, title=evil, simulation_id=evil)
    held = claimed(deliveries, event(title=evil))
    deliveries.wait(held, 30, evil, counted=True)

    for answer in (client.get(path(one)), client.get(path(held.event))):
        shown = parsed(answer.content.decode())
        assert all(urlsplit(each.attributes["src"]).netloc == "" for each in shown.all("img"))
        assert all(each.attributes.get("src", "").startswith("/static/") for each in shown.all("script"))
        assert not list(shown.all("style"))
        assert not [each for each in shown.all() if "style" in each.attributes or "onerror" in each.attributes]


def test_one_in_work_tells_how_far_it_is_and_loads_itself_again(client: Client, deliveries: Deliveries) -> None:
    one = event()
    held = claimed(deliveries, one)
    from ledger.api import Far, Stage

    deliveries.enter(held, Stage.PACKAGING)
    deliveries.progress(held, Far(30, 120))

    shown = page(client, one)
    (bar,) = shown.all("progress")
    assert (bar.attributes["value"], bar.attributes["max"]) == ("30", "120")
    assert "A worker (host:1) has it in work: packaging" in shown.words
    assert [each.attributes["content"] for each in shown.all("meta") if "http-equiv" in each.attributes] == ["10"]
    (script,) = shown.all("script")
    served: Any = client.get(script.attributes["src"])
    assert b'getElementById("live")' in b"".join(served.streaming_content)
    deliveries.progress(held, Far(120, 120))
    (bar,) = page(client, one).all("progress")
    assert not {"value", "max"} & set(bar.attributes), "nobody knows how long the summary takes"
    assert not list(page(client, delivered(deliveries)).all("script")), "nothing changes by itself any more"


def test_one_that_waits_says_why_and_that_only_once_in_its_receipt(client: Client, deliveries: Deliveries) -> None:
    from ledger.models import Delivery

    one = event()
    for _ in range(3):
        Delivery.objects.update(waiting_until=None, state="RECEIVED")
        deliveries.wait(claimed(deliveries, one), 30, "The folder is not there.", counted=True)

    words = page(client, one).words
    assert "It waits and is tried again in" in words
    assert words.count("could not go on: The folder is not there.") == 1


def test_the_mail_is_sent_again_to_the_same_recipients_and_not_too_often(
    client: Client, deliveries: Deliveries
) -> None:
    from ledger.models import Step
    from ledger.work import from_now

    one = delivered(deliveries)
    token = token_for(client, one, "send-again")
    answer = press(client, one, "send-again")

    assert (answer.status_code, answer["Location"]) == (302, f"{path(one)}?done=sent")
    assert "goes out again" in client.get(answer["Location"]).content.decode()
    assert pending(one) == [ANNA, BERT]
    shown = page(client, one)
    assert [each.attributes["action"] for each in shown.all("form")] == ["keep"]
    assert "asked for less than 10 minutes ago" in shown.words, "rather than a button that leads to a refusal"
    refused = client.post(f"{path(one)}send-again", token)
    assert (refused.status_code, "less than 10 minutes ago" in refused.content.decode()) == (429, True)
    for _ in range(4):
        Step.objects.filter(what="resent").update(at=from_now(-3600))
        assert press(client, one, "send-again").status_code == 302
    Step.objects.filter(what="resent").update(at=from_now(-3600))
    assert "5 times today" in page(client, one).words
    assert "5 times today" in client.post(f"{path(one)}send-again", token).content.decode()


def test_what_a_button_has_done_is_not_told_when_its_address_is_opened_later(
    client: Client, deliveries: Deliveries
) -> None:
    from ledger.models import Step
    from ledger.work import from_now

    one = delivered(deliveries)
    for action, told in (("send-again", "goes out again"), ("keep", "It is kept longer")):
        address = press(client, one, action)["Location"]
        assert told in client.get(address).content.decode()
        Step.objects.filter(what__in=["resent", "kept"]).update(at=from_now(-300))
        assert told not in client.get(address).content.decode()


def test_a_mail_whose_recipients_are_not_kept_any_more_is_not_offered(client: Client, deliveries: Deliveries) -> None:
    from ledger.models import Delivery

    one = delivered(deliveries, keep_days=0)
    Delivery.objects.update(body=b"")

    assert not list(page(client, one).all("form"))


def test_the_receipt_names_who_took_it_first(client: Client, deliveries: Deliveries) -> None:
    from ledger.api import Deliveries
    from ledger.models import Delivery
    from ledger.work import from_now

    one = event()
    held = claimed(deliveries, one)
    assert "taken by host:1" in page(client, one).words
    deliveries.packed(held, name="mm1.zip", size=3, sha256="ab" * 32, warnings=[])
    Delivery.objects.update(lease_until=from_now(-1))
    claimed(Deliveries("host:2", lease=30, overdue=60), one)

    words = page(client, one).words
    assert "taken by host:1" in words
    assert "taken over by another worker by host:2" in words


@pytest.mark.parametrize("action", ["send-again", "keep"])
def test_what_no_form_of_ours_has_sent_is_refused(client: Client, deliveries: Deliveries, action: str) -> None:
    one = delivered(deliveries)

    assert client.post(f"{path(one)}{action}").status_code == 403
    assert client.get(f"{path(one)}{action}").status_code == 405
    assert pending(one) == []


def test_no_log_holds_the_key_of_a_page(
    client: Client, deliveries: Deliveries, caplog: pytest.LogCaptureFixture
) -> None:
    from ledger.server import tidy_logs

    tidy_logs()
    one = delivered(deliveries)
    client.post(f"{path(one)}keep")
    client.get(f"{path(one)}keep")
    client.get(f"/api/deliveries/{uuid4()}")  # whoever waits for what was just published does so: not worth a line
    token = token_for(client, one, "send-again")
    press(client, one, "send-again")
    client.post(f"{path(one)}send-again", token)

    key = path(one).split("/")[2]
    records = [f"{record.getMessage()} {vars(record)}" for record in caplog.records if record.name.startswith("django")]
    assert [record.split()[0] for record in records] == ["Forbidden", "Method", "Too"]
    assert all("/d/***" in record and key not in record for record in records)


def test_it_can_be_kept_longer_within_the_bound_and_the_removal_moves(client: Client, deliveries: Deliveries) -> None:
    from ledger.expiry import due
    from ledger.models import Delivery, Notification, Placement
    from ledger.work import from_now

    one = delivered(deliveries)
    assert f"Keep until {until(60)}" in page(client, one).words
    press(client, one, "keep")
    press(client, one, "keep")

    shown = page(client, one).words
    assert f"Available until {until(90)}, 23:59 UTC" in shown
    assert f"to be kept longer: until {until(90)}" in shown
    assert "Keep until" not in shown, "90 days are the most"
    (removed_at,) = Placement.objects.values_list("remove_at", flat=True)
    assert removed_at
    assert removed_at.date() == datetime.now(UTC).date() + timedelta(days=91)
    long_ago = datetime.now(UTC) - timedelta(days=40)
    Notification.objects.update(keep_until=long_ago.date())
    Placement.objects.update(remove_at=from_now(-1))
    assert due() == [], "whatever the mail has promised"
    Delivery.objects.update(kept_until=long_ago.date(), ended_at=long_ago - timedelta(days=30))
    Placement.objects.update(remove_at=from_now(-1))
    assert len(due()) == 1


def test_what_is_kept_for_ever_or_about_to_go_cannot_be_kept_longer(client: Client, deliveries: Deliveries) -> None:
    from ledger.keeping import keep_longer
    from ledger.models import Delivery, Notification

    for_ever = delivered(deliveries, keep_days=0)
    assert "Keep until" not in page(client, for_ever).words
    assert "without an end date" in page(client, for_ever).words
    one = delivered(deliveries)
    assert keep_longer(one.id, 0) is None
    long_ago = datetime.now(UTC) - timedelta(days=40)
    Delivery.objects.filter(id=one.id).update(ended_at=long_ago)
    Notification.objects.filter(delivery_id=one.id).update(keep_until=long_ago.date() + timedelta(days=30))
    assert keep_longer(one.id, 90) is None


def test_a_link_that_the_service_ends_earlier_is_asked_to_live_longer(client: Client, deliveries: Deliveries) -> None:
    from ledger.api import relinked, to_relink

    early = datetime.now(UTC) + timedelta(days=35)
    one = delivered(deliveries, expires=early)
    assert f"until {until(30)}, 23:59" in page(client, one).words
    press(client, one, "keep")

    assert "the storage service is being asked to let the link live as long" in page(client, one).words
    (wish,) = to_relink()
    assert wish.expires.date() == datetime.now(UTC).date() + timedelta(days=61)
    relinked(wish, Link(url="https://files.example.org/f/new", expires=early))
    capped = page(client, one).words
    assert f"until {early:%d %B %Y, %H:%M} UTC" in capped
    assert "but the storage service ends the link earlier. Fetch it in time." in capped
    assert to_relink() == []
    relinked(wish, Link(url="https://files.example.org/f/new", expires=wish.expires))
    assert f"Available until {until(60)}, 23:59 UTC" in page(client, one).words
    assert "link lives longer" in page(client, one).words


def test_after_its_keep_days_it_tells_what_it_was_and_how_to_get_it_again(
    client: Client, deliveries: Deliveries
) -> None:
    from ledger.expiry import Removal, removed
    from ledger.models import Placement

    defined("memory")
    one = delivered(deliveries)
    removed(Removal(Placement.objects.get().pk, one.id, "", "memory", Stored(key="k", size=3), expired=True, tries=0))

    shown = page(client, one)
    assert "Not kept any more" in shown.words
    assert f"Its archive was kept until {until(30)}, and removed after its keep days." in shown.words
    assert "delay, mean 23 ms" in shown.words
    (again,) = shown.all("pre")
    assert again.words == (
        "simcourier publish '/scratch/an na/mm1' \\ --to YOU@EXAMPLE.ORG \\ --backend memory \\ --simulation-id mm1-1 "
        "\\ --title M/M/1"
    )
    assert not [each for each in shown.all("a") if each.words == "Get the results"]
    assert not list(shown.all("form"))
    assert [each.attributes["src"] for each in shown.all("img")]


def defined(*identifiers: str) -> None:
    from ledger.models import StorageBackend

    for one in identifiers:
        StorageBackend.objects.create(storage_backend=one, storage_backend_id=one)


def test_the_repeat_of_a_run_belongs_to_its_study_again(client: Client, deliveries: Deliveries) -> None:
    """What the page shows is read as the command line reads it, and compared with the first event."""
    from producer.commands import publish

    defined("memory", "memory-2")
    study = {"id": "rho study", "parameters": {"rho": 0.8, "seed": 3, "policy": "it's fifo", "fast": True}, "runs": 80}
    first = event(
        "/scratch/an na/mm1",
        campaign=study,
        simulator="OMNeT++ 6",
        labels={"group": "a b"},
        fallback_backends=["nosuch", "memory-2"],
        outcome="failed",
        exit_code=3,
    )
    results = Results(location="file:///scratch/an%20na/mm1", include=("*.sca",), exclude=("*.log",))
    first = first.model_copy(update={"data": first.data.model_copy(update={"results": results})})
    deliveries.fail(claimed(deliveries, first), "The results folder does not exist.")

    (again,) = page(client, first).all("pre")
    words = shlex.split(again.text.replace("\\\n", " "))
    read = publish.make_context("publish", words[2:], help_option_names=["-h", "--help"]).params
    folder, outcome, code = read.pop("results"), read.pop("outcome"), read.pop("exit_code")
    told = publish_arguments({name: read[name] for name in read if name not in {"wait", "as_json"}})
    repeated = completed_event(
        folder, outcome=outcome, exit_code=code, now=datetime.now(UTC), max_bytes=10**6, look=False, **told
    ).data
    expected = first.data.model_copy(
        update={"recipients": ("YOU@example.org",), "fallback_backends": ("memory-2",), "host": repeated.host}
    )
    assert repeated.campaign == expected.campaign
    assert repeated == expected


def test_a_backend_that_is_not_there_is_not_offered_again(client: Client, deliveries: Deliveries) -> None:
    one = event(backend="nosuch")
    deliveries.fail(claimed(deliveries, one), "No storage backend has the identifier 'nosuch'.")

    assert "'nosuch' cannot be chosen; ask the operator for one" in page(client, one).words
    defined("local", "dropbox-group")
    shown = page(client, one)
    (again,) = shown.all("pre")
    assert "--backend BACKEND " in again.words
    assert "put one of these in place of BACKEND: dropbox-group, local." in shown.words


def test_a_failed_one_says_why_and_can_be_mailed_again(client: Client, deliveries: Deliveries) -> None:
    one = event()
    deliveries.fail(claimed(deliveries, one), "The results folder does not exist.")

    shown = page(client, one)
    assert "Could not be delivered" in shown.words
    assert "It failed while collecting: The results folder does not exist." in shown.words
    assert [each.attributes["action"] for each in shown.all("form")] == ["send-again"]


def test_a_mail_about_a_failure_is_not_told_as_one_that_failed(client: Client, deliveries: Deliveries) -> None:
    from ledger.api import Notices, find

    one = event(recipients=[BERT])
    deliveries.fail(claimed(deliveries, one), "The results folder does not exist.")
    notices = Notices(lease=30, overdue=60)
    notice = notices.claim_next(one.id)
    assert notice is not None
    notices.data_starts(notice)
    notices.sent(notice)

    (told,) = find(str(one.id))[0].notices
    assert str(told).startswith(f"{BERT}, about the failure: SENT (")
    assert "mailed: about the failure, to b…@example.com" in page(client, one).words


def test_what_is_not_kept_any_more_has_no_page(client: Client, deliveries: Deliveries) -> None:
    from ledger.models import Delivery, Picture, Placement, Step
    from ledger.retention import Keep, forget

    one = delivered(deliveries)
    address = path(one)
    Placement.objects.all().delete()
    Delivery.objects.update(ended_at=datetime.now(UTC) - timedelta(days=400))
    forget(Keep(90, 365))

    assert client.get(address).status_code == 404
    assert path(one) == ""
    assert (Step.objects.count(), Picture.objects.count()) == (0, 0)


def test_every_mail_names_the_page(deliveries: Deliveries) -> None:
    from ledger.api import Notices
    from ledger.operators import resend

    one = delivered(deliveries)
    resend(one.id)
    notice: Any = Notices(lease=30, overdue=60).claim_next(one.id)

    assert notice.page == path(one)
    assert notice.contents.files == 3
    assert notice.picture.png == png()


def failed_run(deliveries: Deliveries, **data: Any) -> SimulationCompleted:
    """Delivered; the simulation ended with exit code 3."""
    ended = datetime(2026, 5, 4, 3, 0, tzinfo=UTC)
    fields: dict[str, Any] = {
        "outcome": "failed",
        "exit_code": 3,
        "started": ended - timedelta(minutes=75),
        "finished": ended,
    }
    return delivered(deliveries, **fields | {"host": "node17", "log_tail": "<b>Buffer</b> is full\n"} | data)


def test_a_simulation_that_failed_is_told_although_its_delivery_did_well(
    client: Client, deliveries: Deliveries
) -> None:
    shown = page(client, failed_run(deliveries))

    (box,) = [one for one in shown.all("section") if one.attributes.get("id") == "live"]
    assert "failed" in box.attributes["class"].split()
    assert "Delivered; the simulation failed (exit code 3)" in box.words
    assert "What it left behind is stored; 2 of 2 mails are sent." in box.words
    assert "Outcome Failed (exit code 3) Ran 1 h 15 min Ended 04 May 2026, 03:00 UTC Host node17" in shown.words
    assert "<b>Buffer</b> is full" in shown.words


def test_of_a_simulation_that_succeeded_the_page_shows_no_log(client: Client, deliveries: Deliveries) -> None:
    shown = page(client, failed_run(deliveries, outcome="succeeded", exit_code=0))

    (box,) = [one for one in shown.all("section") if one.attributes.get("id") == "live"]
    assert box.attributes["class"].split() == ["now", "delivered"]
    assert "Outcome Succeeded (exit code 0) Ran 1 h 15 min" in shown.words
    assert "is full" not in shown.words


@pytest.mark.parametrize("known", ["", "exit code"])
def test_where_and_the_programs_that_ask_are_told_that_the_simulation_was_aborted(
    known: str, client: Client, deliveries: Deliveries
) -> None:
    from ledger.lookup import find

    one = failed_run(deliveries, outcome="aborted", exit_code=-9 if known else None)

    (view,) = find(str(one.id))
    how = "The simulation was aborted (exit code -9)." if known else "The simulation was aborted."
    assert view.sentence() == f"{how} What it left behind is stored; 2 of 2 mails are sent."
    assert view.why == how
    told = view.as_json("https://site.example.org")
    assert told["simulation"]["outcome"] == "aborted"
    assert told["page"].startswith("https://site.example.org/d/")
    assert client.get(f"/api/deliveries/{one.id}").json()["simulation"] == {
        "outcome": "aborted",
        "exit_code": -9 if known else None,
    }


@pytest.mark.parametrize("version", [b"", b"v0"], ids=["erased", "of another version"])
def test_of_an_event_that_nobody_can_read_any_more_the_page_tells_what_the_ledger_knows(
    client: Client, deliveries: Deliveries, version: bytes
) -> None:
    from ledger.models import Delivery

    one = failed_run(deliveries)
    Delivery.objects.update(body=version and one.to_bytes().replace(b"completed.v1", b"completed." + version))

    shown = page(client, one)
    assert "It is stored; 2 of 2 mails are sent." in shown.words
    assert "simulation failed" not in shown.words
    assert "Send the mail again" not in shown.words


def test_lists_on_a_terminal_tell_that_the_simulation_failed(deliveries: Deliveries, sqlite_ledger: Settings) -> None:
    from simcourier.cli import main

    one = failed_run(deliveries)
    environ = {"SIMCOURIER_DATA_DIR": str(sqlite_ledger.data_dir), "SIMCOURIER_SECRET_KEY": SECRET}
    told = {
        words: CliRunner().invoke(main, words.split(), env=environ).output
        for words in ("deliveries list", f"where {one.id}", f"deliveries show {one.id}")
    }

    assert "The simulation failed (exit code 3)." in told["deliveries list"]
    for words in list(told)[1:]:
        assert "M/M/1: DELIVERED, the simulation failed (exit code 3)\n" in told[words]
        assert re.search(r"Ran: +1 h 15 min, on node17\n", told[words])
