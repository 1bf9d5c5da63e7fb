"""The operator's front page, through Django's own client."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from messaging.engine import BrokerUnavailable, QueueDepth
from messaging.settings import Settings
from tests.support.events import event
from tests.support.local_cloud import LocalCloud
from tests.support.scratch import wait_until
from tests.support.scripted_engine import ScriptedEngine

if TYPE_CHECKING:
    from django.test import Client

HOSTILE = "<script>alert(1)</script>"


class Broker(ScriptedEngine):
    """One whose queues can be looked at."""

    def depths(self) -> dict[str, QueueDepth]:
        if self.away:
            raise BrokerUnavailable("The broker cannot be reached (gone).")
        return {queue: QueueDepth(7, 0, 2) for queue in self.topology.queues}


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def client(sqlite_ledger: Settings, broker: Broker) -> Iterator[Client]:
    """Signed in as an administrator."""
    from django.contrib.auth.models import User
    from django.test import Client, override_settings

    del sqlite_ledger
    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.create_superuser("admin"))
    with override_settings(SIMCOURIER_ENGINE=broker):
        yield client


def claimed(**data: Any) -> Any:
    """A delivery that ``host:1`` has in work."""
    from ledger.api import Deliveries

    one = event(**data)
    return Deliveries("host:1", lease=30, overdue=60).claim(one, one.to_bytes(), None)


def received(**data: Any) -> Any:
    from ledger.api import Deliveries

    one = event(**data)
    Deliveries("host:1", lease=30, overdue=60).record(one, one.to_bytes(), None)
    return one


def rows(page: str, section: str) -> list[str]:
    """Texts of the rows of a section's table, or of its list."""
    part = page.partition(f'id="{section}"')[2].partition("</section>")[0]
    found = re.findall(r"<tr.*?</tr>|<li.*?</li>", part, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in found]


def shown(client: Client, path: str = "/") -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def test_it_shows_what_waits_since_when_and_marks_what_waits_too_long(client: Client) -> None:
    from ledger.models import Delivery
    from ledger.work import from_now

    late = received()
    Delivery.objects.filter(id=late.id).update(received_at=from_now(-7260))

    found = rows(shown(client), "queues")

    assert "Single runs 1 2 h 1 min too long 0 0 7 ready, 2 later" in found
    assert "Runs of campaigns 0 - 0 0 7 ready, 2 later" in found
    assert "Dead letters 0 - - - 7 ready, 2 later" in found


def test_it_shows_why_deliveries_are_tried_again_later_and_when(client: Client) -> None:
    from ledger.api import Deliveries

    assert 'id="waits"' not in shown(client)
    deliveries = Deliveries("host:1", lease=30, overdue=60)
    for reason in ("Nobody answers.", "Nobody answers.", "<b>There is no room.</b>"):
        deliveries.wait(claimed(), 600, reason, counted=True)

    often, once = rows(shown(client), "waits")

    assert re.fullmatch(r"2 deliveries next try in (10|[5-9]) min \d+ s, for \d+ s so far Nobody answers\.", often)
    assert once.startswith("1 delivery next try in ")
    assert once.endswith("so far &lt;b&gt;There is no room.&lt;/b&gt;")


def test_it_shows_who_is_alive_and_what_each_does(client: Client) -> None:
    import os
    import socket

    from ledger.api import Deliveries, Stage
    from ledger.models import Delivery
    from ledger.tables import ready
    from ledger.work import from_now

    assert "No worker is running" in shown(client)
    ready("worker")
    claim = claimed(title="rho = 0.8")
    Deliveries("host:1", lease=30, overdue=60).enter(claim, Stage.PACKAGING)

    found = rows(shown(client), "workers")

    assert f"worker {socket.gethostname()}:{os.getpid()} has nothing in work" in found
    assert "worker host:1 rho = 0.8 packaging" in found
    assert "No worker is running" not in shown(client)
    assert "No email-sender is running" in shown(client)
    Delivery.objects.update(lease_until=from_now(-1))
    assert "worker host:1 gone rho = 0.8 packaging" in rows(shown(client), "workers")


def test_a_worker_that_was_killed_here_is_shown_as_gone_at_once(client: Client) -> None:
    from ledger.api import Deliveries, Far, Stage
    from ledger.processes import of_this_machine

    dead = Deliveries(of_this_machine(2**30), lease=30, overdue=60)  # as no process is numbered
    one = event(title="rho = 0.8")
    held: Any = dead.claim(one, one.to_bytes(), None)
    dead.enter(held, Stage.STORING)
    dead.progress(held, Far(3_000_000, 8_000_000, 82_000_000))

    (row,) = [one for one in rows(shown(client), "workers") if "rho" in one]
    assert row.startswith(f"worker {of_this_machine(2**30)} gone rho = 0.8 ")
    assert "/s" not in row


def test_it_shows_the_last_failures_with_their_reasons_and_runs_nothing_that_others_wrote(client: Client) -> None:
    from ledger.api import Deliveries

    Deliveries("host:1", lease=30, overdue=60).fail(claimed(title=HOSTILE), "The disk was full.")

    page = shown(client)

    (failure,) = [row for row in rows(page, "failures") if "disk" in row]
    assert failure.endswith("The disk was full.")
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page


def delivered(**data: Any) -> Any:
    from backends.contract import Link, Stored
    from ledger.api import Deliveries

    held = claimed(**data)
    deliveries = Deliveries("host:1", lease=30, overdue=60)
    generation = deliveries.packed(held, name="a.zip", size=1, sha256="0" * 64, warnings=[])
    deliveries.place(held, backend="memory", generation=generation, key="k")
    deliveries.stored(held, backend="memory", generation=generation, stored=Stored(key="k", size=1))
    deliveries.finish(held, Link(url="https://files.example.org/f/x", expires=None), keep_days=30)
    return held.delivery_id


def test_a_simulation_that_failed_is_told_with_the_failures_in_the_list_and_on_its_page(client: Client) -> None:
    crashed = delivered(title="Crashed", outcome="failed", exit_code=139, host="node17", log_tail="Killed <b>now</b>")
    delivered(title="Fine")

    (failure,) = rows(shown(client), "failures")
    assert failure.startswith("Crashed simulation, ")
    assert failure.endswith("The simulation failed (exit code 139).")
    listed = shown(client, "/admin/simcourier/delivery/")
    assert listed.count(">The simulation failed (exit code 139).<") == 1
    assert listed.count(">simulation failed<") == 1
    told = shown(client, f"/admin/simcourier/delivery/{crashed}/change/")
    assert "failed (exit code 139), on node17" in told
    assert "Killed &lt;b&gt;now&lt;/b&gt;" in told


def test_simulations_that_failed_keep_no_failure_of_ours_from_its_place(client: Client) -> None:
    from ledger.api import Deliveries

    Deliveries("host:1", lease=30, overdue=60).fail(claimed(title="Ours", outcome="failed"), "The disk is full.")
    for number in range(9):
        delivered(title=f"Theirs {number}", outcome="aborted")

    told = rows(shown(client), "failures")
    assert ["Ours" in one for one in told] == [False] * 4 + [True]
    assert told[-1].endswith("The simulation failed. The disk is full.")


def test_deliveries_of_the_last_day_are_counted_by_hour_and_by_what_became_of_them(client: Client) -> None:
    from ledger.api import Deliveries
    from ledger.models import Delivery
    from ledger.timeline import timeline

    now = datetime(2026, 11, 3, 12, 30, tzinfo=UTC)
    for hours in (0, 0, 3, 23, 30):
        one = received()
        Delivery.objects.filter(id=one.id).update(received_at=now - timedelta(hours=hours))
    Deliveries("host:1", lease=30, overdue=60).fail(claimed(), "broken")
    Delivery.objects.filter(state="FAILED").update(received_at=now)

    line = timeline(now)

    assert [(hour.begins.hour, hour.numbers) for hour in line.hours] == [
        (12, (0, 2, 0, 1)), (9, (0, 1, 0, 0)), (13, (0, 1, 0, 0))
    ]  # fmt: skip
    assert line.said.startswith("5 deliveries have come within the last 24 hours: 0 delivered, 4 not yet")
    heights = {block.kind: block.height for block in line.blocks if block.x > line.width - 40}
    assert heights["open"] == pytest.approx(2 * heights["failed"], abs=0.1)
    assert max(block.y + block.height for block in line.blocks) <= line.base + 0.1
    assert min(block.y for block in line.blocks) >= 0
    assert line.said in shown(client) or "deliveries have come" in shown(client)


def test_backends_are_shown_with_health_and_with_room_that_is_asked_for_in_the_background(client: Client) -> None:
    from ledger.api import define, mark_unhealthy

    define("memory", name="Somewhere", token="room-of-this-test")
    assert "Somewhere (memory) ok" in " ".join(rows(shown(client), "backends"))
    wait_until(lambda: "not known" not in shown(client), "the backend was asked")
    mark_unhealthy("memory", "The token was revoked.", operator="")

    assert "Somewhere (memory) cannot be used The token was revoked." in " ".join(rows(shown(client), "backends"))


def test_room_is_told_in_the_units_of_doctor_and_check(client: Client) -> None:
    from ledger.api import define

    with LocalCloud() as cloud:
        define("local-room", name="Ours", token=cloud.url, config={"key": cloud.key})
        shown(client)
        wait_until(lambda: "not known" not in " ".join(rows(shown(client), "backends")), "the backend was asked")

    assert re.search(r"Ours \(local-room\) ok [\d.]+ [MGT]iB free", " ".join(rows(shown(client), "backends")))


def test_a_broker_that_is_away_is_said_and_the_rest_is_shown(client: Client, broker: Broker) -> None:
    broker.away = True

    page = shown(client)

    assert "The broker cannot be reached (gone)." in page
    assert "Single runs 0 - 0 0 -" in rows(page, "queues")


def test_the_script_gets_the_changing_part_alone_and_nothing_is_inline(client: Client) -> None:
    page, part = shown(client), shown(client, "/overview/now")

    assert part.lstrip().startswith("<div data-at=")
    assert 'id="queues"' in part
    assert "<html" not in part
    assert re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", page) == []
    assert client.get("/").headers["Cache-Control"].startswith("max-age=0, no-cache, no-store")


def test_what_a_screen_reader_needs_is_there(client: Client) -> None:
    page = shown(client)

    assert page.count("<h1") == 1
    assert page.count("<table") == page.count("<caption")
    assert re.findall(r"<th(?! scope=)[^e]", page) == []
    for section in re.findall(r"<section[^>]* aria-labelledby=\"(\w+)\"", page):
        assert f'<h2 id="{section}">' in page
    assert 'role="img" aria-labelledby="time-title time-desc"' in page
    assert len(re.findall(r'<nav [^>]*aria-label="Site"', page)) == 1
    assert 'aria-current="page">Overview' in page
    assert '<html lang="en' in page


def test_lists_and_forms_have_the_same_bar_and_the_page_of_a_delivery_says_where_it_is(client: Client) -> None:
    received(title="rho = 0.9")

    page = shown(client, "/admin/simcourier/delivery/?state__exact=RECEIVED&lane__exact=single")

    assert 'aria-current="page">Deliveries' in page
    assert "simcourier/site.css" in page
    assert "rho = 0.9" in page
    assert "rho = 0.9" not in shown(client, "/admin/simcourier/delivery/?state__exact=WORKING&lane__exact=single")
    for address in re.findall(r'<td class="number"><a href="([^"]+)"', shown(client)):
        assert client.get(address.replace("&amp;", "&")).status_code == 200, address


def test_dead_letters_are_listed_by_what_became_of_them(client: Client) -> None:
    from ledger.api import file_dead_letter
    from ledger.dead_letters import discard
    from ledger.models import DeadLetter

    for reason in ("It is no event.", "It is no JSON."):
        file_dead_letter(reason.encode(), headers={}, queue="q", reason=reason, publisher=None)
    discard(DeadLetter.objects.get(reason="It is no JSON.").pk)

    def listed(state: str) -> list[str]:
        return re.findall(r'field-reason">([^<]+)', shown(client, f"/admin/simcourier/deadletter/?state={state}"))

    assert (listed("open"), listed("discarded"), listed("replayed")) == (["It is no event."], ["It is no JSON."], [])
    assert "/admin/simcourier/deadletter/?state=open" in shown(client)


def test_it_is_for_staff_who_may_see_deliveries(client: Client) -> None:
    from django.contrib.auth.models import User

    client.logout()
    assert client.get("/").headers["Location"] == "/admin/login/?next=/"
    assert client.get("/overview/now").headers["Location"].startswith("/admin/login/")
    client.force_login(User.objects.create_user("clerk", is_staff=True))
    assert client.get("/").headers["Location"] == "/admin/"
    assert client.get("/overview/now").status_code == 403


def test_a_ledger_that_is_away_is_said_in_a_sentence(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from ledger import front_page
    from ledger.errors import LedgerUnavailable

    def away(_: object) -> None:
        raise LedgerUnavailable("It is away.")

    monkeypatch.setattr(front_page, "overview", away)
    client.raise_request_exception = False

    answer = client.get("/")

    assert answer.status_code == 503
    assert answer.content.decode() == "The ledger cannot be reached at the moment; try again in a minute.\n"


@contextmanager
def worker_elsewhere(settings: Settings) -> Iterator[None]:
    """Something that the ledger knows as a worker."""
    from ledger.tables import LOCKS, USER, ready

    if settings.embedded_ledger:
        ready("worker")
        yield
        return
    with psycopg.connect(settings.database_url.get_secret_value(), application_name="simcourier worker far:7") as other:
        other.execute("SELECT pg_advisory_lock_shared(%s, %s)", [LOCKS, USER])
        yield


def test_both_databases_tell_the_same(ledger_settings: Settings) -> None:
    from ledger.api import Deliveries
    from ledger.metrics import exposition
    from ledger.overview import overview

    received()
    Deliveries("host:1", lease=30, overdue=60).fail(claimed(), "broken")
    with worker_elsewhere(ledger_settings):
        seen = overview(None)

        assert 'simcourier_deliveries{lane="single",state="FAILED"} 1.0' in exposition(None).decode()
    assert [(one.name, one.waiting.count) for one in seen.queues if one.oldest] == [("Single runs", 1), ("Mails", 1)]
    assert [hour.numbers for hour in seen.timeline.hours] == [(0, 1, 0, 1)]
    assert [one.title for one in seen.failures] == ["M/M/1"]
    workers = [one.place for one in seen.workers]
    assert len(workers) == 1
    assert ledger_settings.embedded_ledger or workers == ["far:7"]
