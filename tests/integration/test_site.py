"""The admin and the JSON API, through Django's own client."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from messaging.errors import UserError
from messaging.messages import SimulationCompleted, digest
from messaging.settings import Settings
from producer.wait import wait_for_link
from tests.support.events import event
from tests.support.ledger import next_tick
from tests.support.local_cloud import LocalCloud

if TYPE_CHECKING:
    from django.test import Client

LABELS = {
    "storage_backend": "Backend name",
    "storage_backend_id": "Backend identifier",
    "storage_backend_token": "Backend token",
    "storage_backend_config": "Backend config",
    "storage_backend_keep_days": "Backend keep days",
    "storage_backend_desc": "Backend description",
    "storage_backend_active": "Backend active",
}
CANARY = "canary-5d1f0a"
ADD = "/admin/simcourier/storagebackend/add/"


@pytest.fixture
def client(sqlite_ledger: Settings) -> Iterator[Client]:
    """Signed in as an administrator."""
    from django.contrib.auth.models import User
    from django.test import Client
    from django.test.utils import setup_test_environment, teardown_test_environment

    del sqlite_ledger
    setup_test_environment()  # so that answers carry the form they were made from
    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.create_superuser("admin"))
    yield client
    teardown_test_environment()


def fill(**fields: str) -> dict[str, str]:
    return {
        "storage_backend": "Files",
        "storage_backend_id": "local",
        "storage_backend_token": "10.10.160.10:8976",
        "storage_backend_config": f'{{"key": "{CANARY}"}}',
        "storage_backend_keep_days": "30",
        "storage_backend_desc": "",
        "storage_backend_active": "on",
    } | fields


def stored() -> Any:
    from ledger.models import StorageBackend

    return StorageBackend.objects.get()


def test_the_form_has_the_seven_fields_with_their_labels_under_its_heading(client: Client) -> None:
    assert "Storage backends" in client.get("/admin/").content.decode()
    page = client.get(ADD)

    form = page.context["adminform"].form
    assert {name: field.label for name, field in form.fields.items()} == LABELS


def test_a_definition_is_saved_and_its_secrets_are_neither_shown_nor_readable_in_the_database(
    client: Client, sqlite_ledger: Settings
) -> None:
    from ledger.definitions import definition

    assert client.post(ADD, fill()).status_code == 302

    assert definition("local").config_values() == {"key": CANARY}
    for page in ("/admin/simcourier/storagebackend/", f"/admin/simcourier/storagebackend/{stored().pk}/change/"):
        assert CANARY not in client.get(page).content.decode()
    with sqlite3.connect(sqlite_ledger.data_dir / "simcourier.db") as database:
        dump = "\n".join(database.iterdump())
    database.close()
    assert "storage_backend_config" in dump
    assert CANARY not in dump
    assert "10.10.160.10" not in dump
    assert CANARY not in repr(definition("local"))


def test_a_dump_of_the_definitions_holds_no_secret_and_can_be_loaded(client: Client, tmp_path: Path) -> None:
    from django.core.management import call_command

    from ledger.definitions import definition
    from ledger.models import StorageBackend

    client.post(ADD, fill())
    call_command("dumpdata", "simcourier.storagebackend", output=str(tmp_path / "dump.json"))
    StorageBackend.objects.all().delete()
    call_command("loaddata", str(tmp_path / "dump.json"), verbosity=0)

    assert CANARY not in (tmp_path / "dump.json").read_text()
    assert "10.10.160.10:8976" not in (tmp_path / "dump.json").read_text()
    assert definition("local").config_values() == {"key": CANARY}
    assert definition("local").token.get_secret_value() == "10.10.160.10:8976"


def test_a_token_that_the_config_outweighs_is_refused_instead_of_ignored(client: Client) -> None:
    from ledger.definitions import definition

    config = f'{{"server": "10.10.160.10:8976", "key": "{CANARY}"}}'
    client.post(ADD, fill(storage_backend_token="", storage_backend_config=config))
    change = f"/admin/simcourier/storagebackend/{stored().pk}/change/"

    page = client.post(change, fill(storage_backend_token="10.9.9.9:1", storage_backend_config=""))

    assert "The config holds &#x27;server&#x27;" in page.content.decode()
    assert definition("local").token.get_secret_value() == ""


def test_a_definition_s_page_says_why_it_cannot_be_used(client: Client) -> None:
    from ledger.api import mark_unhealthy

    client.post(ADD, fill())
    mark_unhealthy("local", "The key was revoked.", operator="")

    assert (
        "The key was revoked." in client.get(f"/admin/simcourier/storagebackend/{stored().pk}/change/").content.decode()
    )


@pytest.mark.parametrize(
    ("identifier", "fields", "sentence"),
    [
        ("local\n", {}, "Backend identifier: The plugin's id, or plugin id, hyphen and a name"),
        ("local", {"name": "x" * 101}, "Backend name: Ensure this value has at most 100 characters"),
        ("local", {"name": "two\nlines"}, "Backend name: One line without control characters is expected."),
        ("local", {"description": "half \ud800"}, "Backend description: NUL characters and halves of surrogate"),
        ("local", {"token": "a\0b"}, "Backend token: NUL characters"),
        ("local", {"token": "encrypted:x"}, "Backend token: What begins with 'encrypted:' comes from a dump; this one"),
        ("local", {"keep_days": 2**31}, "Backend keep days: Ensure this value is less than or equal to 36500."),
    ],
)
def test_a_definition_that_no_database_could_hold_is_refused_in_a_sentence(
    sqlite_ledger: Settings, identifier: str, fields: dict[str, Any], sentence: str
) -> None:
    from ledger.definitions import WrongDefinition, define, definitions

    del sqlite_ledger
    with pytest.raises(WrongDefinition) as caught:
        define(identifier, **fields)

    assert str(caught.value).startswith(sentence)
    assert definitions() == []


def test_a_config_nested_beyond_measure_is_refused_in_a_sentence(client: Client) -> None:
    from ledger.definitions import WrongDefinition
    from ledger.exchange import NotReadable, import_definitions

    page = client.post(ADD, fill(storage_backend_config="[" * 200_000))
    assert page.status_code == 200
    assert "nested too deeply" in page.content.decode()
    with pytest.raises(NotReadable, match="nested too deeply"):
        list(import_definitions("[" * 200_000, [], {}, replace=False))
    assert issubclass(NotReadable, UserError)
    assert issubclass(WrongDefinition, UserError)


def test_a_secret_that_looks_like_one_of_a_dump_is_refused_at_its_field(client: Client) -> None:
    page = client.post(
        ADD,
        fill(
            storage_backend_id="dropbox",
            storage_backend_token="encrypted:x",
            storage_backend_config=json.dumps({"app_key": "k1", "refresh_token": "encrypted:x"}),
        ),
    )

    assert page.status_code == 200
    assert "comes from a dump; this one was encrypted with another secret key." in page.content.decode()


def test_one_definition_that_cannot_be_stored_does_not_stop_the_others_of_a_file(sqlite_ledger: Settings) -> None:
    from ledger.exchange import FORMAT, import_definitions

    del sqlite_ledger
    rows = [
        {"storage_backend": "x" * 200, "storage_backend_id": "local-a", "storage_backend_token": "10.0.0.1:1"},
        {"storage_backend": "Good", "storage_backend_id": "local-b", "storage_backend_token": "10.0.0.1:1"},
    ]

    told = list(import_definitions(json.dumps({"format": FORMAT, "backends": rows}), [], {}, replace=False))

    assert [(one.identifier, one.outcome) for one in told] == [("local-a", "refused"), ("local-b", "added")]


def test_the_identifier_of_a_definition_stays_since_events_go_by_it(client: Client) -> None:
    client.post(ADD, fill())
    change = f"/admin/simcourier/storagebackend/{stored().pk}/change/"

    client.post(change, fill(storage_backend_id="local-other", storage_backend="Renamed"))

    assert (stored().storage_backend_id, stored().storage_backend) == ("local", "Renamed")


def test_secrets_that_are_left_empty_are_kept(client: Client) -> None:
    from ledger.definitions import definition

    client.post(ADD, fill())
    change = f"/admin/simcourier/storagebackend/{stored().pk}/change/"
    renamed = fill(storage_backend="Other", storage_backend_token="", storage_backend_config="")

    assert client.post(change, renamed).status_code == 302

    after = definition("local")
    assert after.name == "Other"
    assert after.token.get_secret_value() == "10.10.160.10:8976"
    assert after.config_values() == {"key": CANARY}


@pytest.mark.parametrize(
    ("fields", "field", "told"),
    [
        ({"storage_backend_id": "nosuch"}, "storage_backend_id", "no storage plugin"),
        ({"storage_backend_id": "local-my files"}, "storage_backend_id", "hyphen"),
        ({"storage_backend_token": "ftp://x"}, "storage_backend_token", "address"),
        ({"storage_backend_config": "{not json"}, "storage_backend_config", "JSON"),
        ({"storage_backend_config": "[1]"}, "storage_backend_config", "object"),
        ({"storage_backend_config": f'{{"colour": "{CANARY}"}}'}, "storage_backend_config", "colour"),
    ],
)
def test_what_is_wrong_is_told_at_the_field_without_its_value(
    client: Client, fields: dict[str, str], field: str, told: str
) -> None:
    page = client.post(ADD, fill(**fields))

    assert page.status_code == 200
    errors = page.context["adminform"].form.errors
    assert list(errors) == [field]
    assert told in str(errors[field])
    assert CANARY not in str(errors)


def test_a_definition_in_use_cannot_be_deleted(client: Client) -> None:
    from ledger.api import Deliveries

    client.post(ADD, fill())
    delete = f"/admin/simcourier/storagebackend/{stored().pk}/delete/"
    one = event(backend="local")
    Deliveries("host:1", lease=30, overdue=60).record(one, one.to_bytes(), None)

    assert client.post(delete, {"post": "yes"}).status_code == 403
    assert stored()


def test_every_list_of_the_admin_opens(client: Client) -> None:
    from ledger.api import Deliveries, file_dead_letter

    one = event(backend="local", title="<b>bold</b>")
    Deliveries("host:1", lease=30, overdue=60).record(one, one.to_bytes(), None)
    file_dead_letter(b"\xff<script>", headers={}, queue="q", reason="no JSON", publisher=None)

    for name in ("delivery", "deadletter", "notification", "storagebackend"):
        assert client.get(f"/admin/simcourier/{name}/").status_code == 200
    delivery = client.get(f"/admin/simcourier/delivery/{one.id}/change/").content.decode()
    assert "&lt;b&gt;bold" in delivery
    assert "<b>bold" not in delivery
    assert "&lt;script&gt;" in client.get("/admin/simcourier/deadletter/1/change/").content.decode()


def test_every_page_of_the_admin_is_called_what_it_shows(client: Client) -> None:
    from ledger.api import Deliveries
    from ledger.models import Notification

    def called(address: str) -> tuple[str, ...]:
        html = client.get(address).content.decode()
        found = [re.search(rf"<{tag}>(.*?)</{tag}>", html.partition('id="content"')[2]) for tag in ("h1", "h2")]
        title = re.search(r"<title>(.*?)</title>", html, re.DOTALL)
        assert title
        return title[1].strip(), *(one[1] for one in found if one)

    deliveries, one = Deliveries("host:1", lease=30, overdue=60), event()
    held: Any = deliveries.claim(one, one.to_bytes(), None)
    deliveries.fail(held, "There is no room.")
    client.post(ADD, fill())
    admin = "/admin/simcourier"
    mail = Notification.objects.get()
    for model, name in (
        ("delivery", "Deliveries"), ("notification", "Mails"), ("deadletter", "Dead letters"),
        ("storagebackend", "Storage backends"),
    ):  # fmt: skip
        assert called(f"{admin}/{model}/")[:2] == (f"{name} | SimCourier", name)
    assert called("/admin/auth/user/")[:2] == ("Users | SimCourier", "Users")
    assert called("/admin/")[:2] == ("All tables | SimCourier", "All tables")
    assert called(ADD)[:2] == ("Add storage backend | SimCourier", "Add storage backend")
    assert called(f"{admin}/storagebackend/{stored().pk}/change/")[1:] == ("Change storage backend", "Files (local)")
    assert called(f"{admin}/delivery/{one.id}/change/")[1:] == ("Delivery", "M/M/1")
    told = "anna@example.org, about the failure"
    assert called(f"{admin}/notification/{mail.pk}/change/") == (f"{told} | Mail | SimCourier", "Mail", told)


def test_the_api_lists_active_backends_without_secrets_and_tells_where_a_delivery_is(sqlite_ledger: Settings) -> None:
    from django.test import Client

    from ledger.api import Deliveries, define

    del sqlite_ledger
    define("local", name="Files", token="10.10.160.10:8976", config={"key": CANARY}, description="Ours")
    define("local-old", name="Old", token="10.10.160.10:8976", active=False)
    one = event(backend="local")
    Deliveries("host:1", lease=30, overdue=60).record(one, one.to_bytes(), None)
    anybody = Client(headers={"host": "localhost"})

    answer = anybody.get("/api/backends")
    assert answer.json() == {"backends": [{"id": "local", "name": "Files", "description": "Ours"}]}
    told = anybody.get(f"/api/deliveries/{one.id}").json()
    assert (told["state"], told["link"]) == ("RECEIVED", None)
    assert told["event_digest"] == digest(one.to_bytes())
    assert anybody.get("/api/deliveries/00000000-0000-0000-0000-000000000000").status_code == 404
    assert anybody.get("/healthz").json() == {"status": "ok"}
    assert anybody.get("/admin/simcourier/delivery/").status_code == 302


def test_whoever_waits_for_a_link_is_shown_what_the_site_knows_of_the_progress(sqlite_ledger: Settings) -> None:
    from django.test import Client

    from ledger.api import Claim, Deliveries, Far

    del sqlite_ledger
    one = event()
    deliveries = Deliveries("host:1", lease=30, overdue=60)
    claim = deliveries.claim(one, one.to_bytes(), None)
    assert isinstance(claim, Claim)
    deliveries.progress(claim, Far(1_000_000, 4_000_000, 500_000))
    anybody, shown = Client(headers={"host": "localhost"}), list[str]()

    def fetch(url: str) -> tuple[int, bytes]:
        answer = anybody.get(url.removeprefix("http://localhost"))
        return answer.status_code, answer.content

    wait_for_link(
        "http://localhost",
        one.id,
        lambda _line: None,
        digest=digest(one.to_bytes()),
        show=shown.append,
        fetch=fetch,
        sleep=lambda _seconds: deliveries.fail(claim, "One look is enough."),
    )

    assert shown == ["collecting, 1.0 MB of 4.0 MB, 500 kB/s, 6 s left to read"]


def test_a_definition_that_was_corrected_is_tried_at_once(sqlite_ledger: Settings) -> None:
    from ledger.api import define, definition, mark_unhealthy

    del sqlite_ledger
    define("local", name="Files", token="10.10.160.10:8976")
    mark_unhealthy("local", "the key is wrong", operator="")
    assert definition("local").unhealthy_seconds > 0

    define("local", name="Files", token="10.10.160.10:8976", config={"key": CANARY})

    assert definition("local").unhealthy_seconds == 0
    assert definition("local").unhealthy_reason == ""


def test_a_definition_that_was_corrected_in_the_admin_is_tried_at_once(client: Client) -> None:
    from ledger.api import definition, mark_unhealthy

    client.post(ADD, fill())
    mark_unhealthy("local", "the key is wrong", operator="")

    client.post(f"/admin/simcourier/storagebackend/{stored().pk}/change/", fill(storage_backend_token=""))

    assert definition("local").unhealthy_reason == ""
    assert definition("local").unhealthy_seconds == 0


def test_the_button_check_tries_a_definition_out_and_says_each_step(client: Client) -> None:
    from ledger.api import definition, mark_unhealthy

    with LocalCloud() as server:
        client.post(ADD, fill(storage_backend_token=server.url, storage_backend_config=f'{{"key": "{server.key}"}}'))
        mark_unhealthy("local", "it was away", operator="")
        page = f"/admin/simcourier/storagebackend/{stored().pk}"
        assert f'action="{page}/check/"' in client.get(f"{page}/change/").content.decode()

        told = client.post(f"{page}/check/", follow=True).content.decode()

        for step in ("sign in", "store", "link", "fetch: the link gives the file", "delete"):
            assert f"Files, {step}" in told
        assert server.keys() == []
        assert definition("local").unhealthy_reason == ""
        assert client.get(f"{page}/check/").status_code == 405
    assert "Checked: all steps worked." in client.get(f"{page}/history/").content.decode()
    gone = client.post(f"{page}/check/", follow=True).content.decode()
    assert "Files, sign in: The local cloud cannot be reached." in gone


def test_a_definition_whose_plugin_refuses_it_is_told_and_marked(client: Client) -> None:
    from ledger.api import definition

    with LocalCloud() as server:
        client.post(ADD, fill(storage_backend_token=server.url))  # with another key
        told = client.post(
            "/admin/simcourier/storagebackend/",
            {"action": "check_selected", "_selected_action": [str(stored().pk)]},
            follow=True,
        ).content.decode()

    assert "does not accept the credentials" in told
    assert CANARY not in told
    assert "does not accept the credentials" in definition("local").unhealthy_reason


def test_what_a_command_changes_is_in_the_history_without_values(client: Client) -> None:
    from ledger.api import define

    define("local", token="10.10.160.10:8976", config={"key": CANARY})
    define("local", token="10.10.160.11:8976", keep_days=30)

    history = client.get(f"/admin/simcourier/storagebackend/{stored().pk}/history/").content.decode()

    assert "Added." in history
    assert "Changed Backend token." in history
    assert "command-line" in history
    assert "10.10.160" not in history


def test_a_definition_that_an_archive_was_placed_with_cannot_be_deleted(client: Client) -> None:
    from ledger.api import Claim, Deliveries, define

    define("local", token="10.10.160.10:8976")
    deliveries = Deliveries("host:1", lease=30, overdue=60)
    one = event(backend="memory")
    claim = deliveries.claim(one, one.to_bytes(), None)
    assert isinstance(claim, Claim)
    generation = deliveries.packed(claim, name="a.zip", size=3, sha256="0" * 64, warnings=[])
    deliveries.place(claim, backend="local", generation=generation, key="k")  # a fallback

    assert client.post(f"/admin/simcourier/storagebackend/{stored().pk}/delete/", {"post": "yes"}).status_code == 403


def test_changing_one_thing_about_a_definition_keeps_the_others(sqlite_ledger: Settings) -> None:
    from ledger.api import define, definition

    del sqlite_ledger
    define("local", name="Files", token="10.10.160.10:8976", config={"key": CANARY}, keep_days=7, description="Ours")

    assert not define("local", keep_days=9)

    kept = definition("local")
    assert (kept.name, kept.description, kept.keep_days, kept.active) == ("Files", "Ours", 9, True)
    assert kept.token.get_secret_value() == "10.10.160.10:8976"
    assert kept.config_values() == {"key": CANARY}


def test_the_copies_of_one_event_in_several_queues_are_one_dead_letter(sqlite_ledger: Settings) -> None:
    from ledger.api import dead_letters, file_dead_letter

    del sqlite_ledger
    for queue in ("recorder", "lane.single", "recorder"):
        file_dead_letter(b"{}", headers={}, queue=queue, reason="no event", publisher=None)

    assert [letter.times for letter in dead_letters()] == [2]


def test_a_data_folder_that_somebody_made_before_is_closed_to_others(tmp_path: Path) -> None:
    import ledger

    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)

    ledger.make_data_dir(folder)

    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_browser_that_asks_for_an_icon_leaves_no_warning(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    assert client.get("/favicon.ico").status_code == 204
    assert caplog.text == ""


def act(client: Client, model: str, action: str, *rows: Any) -> str:
    """Run an action on rows of a list; the page that follows."""
    chosen = {"action": action, "_selected_action": [str(row) for row in rows]}
    return client.post(f"/admin/simcourier/{model}/", chosen, follow=True).content.decode()


def test_dead_letters_are_replayed_discarded_and_fetched_in_the_admin(client: Client, sqlite_ledger: Settings) -> None:
    from ledger.api import dead_letters, file_dead_letter, to_be_replayed

    good, bad = event().to_bytes(), b"\xff<script>alert(1)</script>"
    queue = sqlite_ledger.topology.recorder
    death = {"x-death": '[{"reason": "delivery_limit", "queue": "lane", "count": 3}]'}
    for body in (good, bad, b"unwanted"):
        file_dead_letter(body, headers=death, queue=queue, reason="It is no event.", publisher="alice")

    told = act(client, "deadletter", "replay_selected", 1, 2)
    assert "2 dead letters will be replayed within seconds, if a worker is running." in told
    assert "2 may come back as a new row: The body is no JSON" in told
    assert "1 dead letter discarded." in act(client, "deadletter", "discard_selected", 3)
    assert "3: it is not open." in act(client, "deadletter", "discard_selected", 3)

    asked_for = {letter.number: letter.message.body for letter in to_be_replayed(sqlite_ledger.topology)}
    assert asked_for == {1: good, 2: bad}
    assert {letter.id for letter in dead_letters()} == {1, 2}
    page = client.get("/admin/simcourier/deadletter/2/change/").content.decode()
    assert "delivery_limit in lane, 3 times" in page
    assert 'href="/admin/simcourier/deadletter/2/body/"' in page
    fetched = client.get("/admin/simcourier/deadletter/2/body/")
    assert fetched.content == bad
    assert fetched["Content-Disposition"] == 'attachment; filename="dead-letter-2.bin"'
    assert (fetched["Content-Type"], fetched["X-Content-Type-Options"]) == ("application/octet-stream", "nosniff")
    assert client.get("/admin/simcourier/deadletter/9/body/").status_code == 404
    assert "Replayed." in client.get("/admin/simcourier/deadletter/1/history/").content.decode()


def test_deliveries_are_tried_again_cancelled_and_mailed_again_in_the_admin(client: Client) -> None:
    from ledger.api import Claim, Deliveries, overdue
    from ledger.models import Delivery, Notification

    deliveries = Deliveries("host:1", lease=30, overdue=60)
    failed, waiting, received = (event(title=title) for title in ("Failed", "Waiting", "Received"))
    for one in (failed, waiting, received):
        deliveries.record(one, one.to_bytes(), None)
    claims = [deliveries.claim(one, one.to_bytes(), None) for one in (failed, waiting)]
    assert all(isinstance(claim, Claim) for claim in claims)
    deliveries.fail(claims[0], "It failed.")  # type: ignore[arg-type]
    deliveries.wait(claims[1], 3600, "The service is away.", counted=True)  # type: ignore[arg-type]

    assert "1 delivery will be mailed again within seconds" in act(client, "delivery", "resend_selected", failed.id)
    assert "Received: it is neither delivered nor failed." in act(client, "delivery", "resend_selected", received.id)
    assert Notification.objects.count() == 1, "it had not gone out yet, so that it is not doubled"
    told = act(client, "delivery", "retry_selected", failed.id, waiting.id, received.id)
    assert "2 deliveries will be tried again within seconds" in told
    assert "Received: it is neither failed nor waiting." in told
    assert {one.subject for one in overdue({})} == {failed.id, waiting.id}
    assert "1 delivery cancelled; nobody is mailed." in act(client, "delivery", "cancel_selected", received.id)
    assert "Received: it has ended already." in act(client, "delivery", "cancel_selected", received.id)

    states = dict(Delivery.objects.values_list("title", "state"))
    assert states == {"Failed": "RECEIVED", "Waiting": "WAITING", "Received": "CANCELLED"}
    assert "Another try." in client.get(f"/admin/simcourier/delivery/{failed.id}/history/").content.decode()


def test_one_delivery_is_moved_from_its_own_page(client: Client) -> None:
    from ledger.api import Deliveries
    from ledger.models import Delivery

    deliveries = Deliveries("host:1", lease=30, overdue=60)
    failed, received = event(title="Broken"), event(title="New")
    for one in (failed, received):
        deliveries.record(one, one.to_bytes(), None)
    claim: Any = deliveries.claim(failed, failed.to_bytes(), None)
    deliveries.fail(claim, "The disk is full.")

    def offered(one: SimulationCompleted) -> list[str]:
        page = client.get(f"/admin/simcourier/delivery/{one.id}/change/").content.decode()
        return re.findall(r'class="historylink move">([^<]+)<', page)

    again = "Give its page a new address"
    assert offered(failed) == ["Try again", "Send the mail again", again]
    assert offered(received) == ["Cancel", again]
    told = client.post(f"/admin/simcourier/delivery/{failed.id}/do/retry/", follow=True).content.decode()
    assert "1 delivery will be tried again within seconds, if a worker is running." in told
    assert Delivery.objects.get(id=failed.id).state == "RECEIVED"
    assert client.post(f"/admin/simcourier/delivery/{failed.id}/do/nosuch/").status_code == 404
    assert client.get(f"/admin/simcourier/delivery/{failed.id}/do/cancel/").status_code == 405


def test_who_may_only_look_has_no_buttons_on_a_delivery(client: Client) -> None:
    from django.contrib.auth.models import Permission, User

    from ledger.api import Deliveries

    one = event()
    Deliveries("host:1", lease=30, overdue=60).record(one, one.to_bytes(), None)
    looks = User.objects.create_user("looks", is_staff=True)
    looks.user_permissions.add(Permission.objects.get(codename="view_delivery"))
    client.force_login(looks)

    assert "historylink move" not in client.get(f"/admin/simcourier/delivery/{one.id}/change/").content.decode()
    assert client.post(f"/admin/simcourier/delivery/{one.id}/do/cancel/").status_code == 403


def test_deliveries_are_found_by_recipient_and_by_campaign(client: Client) -> None:
    from ledger.api import Deliveries

    deliveries = Deliveries("host:1", lease=30, overdue=60)
    study = {"id": "rho study", "parameters": {}}
    hers, theirs = event(title="Hers", recipients=["anna@x.org", "a@y.org"]), event(title="Run 7", campaign=study)
    for one in (hers, theirs):
        next_tick()  # the newest one is listed first
        claim: Any = deliveries.claim(one, one.to_bytes(), None)
        deliveries.fail(claim, f"There is no room. {'And more. ' * 30}")

    def listed(query: str) -> list[str]:
        page = client.get(f"/admin/simcourier/delivery/?{query}").content.decode()
        return re.findall(r'class="field-__str__"><a [^>]*>([^<]+)<', page)

    assert listed("") == ["Run 7", "Hers"]
    assert listed("q=anna@x.org") == ["Hers"]
    assert listed("q=org") == ["Run 7", "Hers"], "each once, however many mails it has"
    assert listed("campaign=rho+study") == ["Run 7"]
    page = client.get("/admin/simcourier/delivery/").content.decode()
    assert "Search ids, titles, campaigns, and recipients of mails" in page
    assert page.count('href="/admin/simcourier/delivery/?campaign=rho+study"') == 1
    assert page.count('<span class="badge bad">failed</span>') == 2


def test_mails_are_listed_newest_first_and_lead_to_their_deliveries(client: Client) -> None:
    from ledger.api import Deliveries
    from ledger.models import Notification
    from ledger.work import from_now

    deliveries = Deliveries("host:1", lease=30, overdue=60)
    for number, title in enumerate(("Old", "New")):
        one = event(title=title)
        claim: Any = deliveries.claim(one, one.to_bytes(), None)
        deliveries.fail(claim, "There is no room.")
        Notification.objects.filter(delivery_id=one.id).update(created_at=from_now(number * 60 - 3600))

    page = client.get("/admin/simcourier/notification/").content.decode()
    assert re.findall(r'<a href="/admin/simcourier/delivery/[^/]+/change/">([^<]+)</a>', page) == ["New", "Old"]


def test_a_delivery_says_until_when_its_archive_is_kept(client: Client) -> None:
    from ledger.api import Deliveries
    from ledger.models import Notification

    one = event()
    deliveries = Deliveries("host:1", lease=30, overdue=60)
    claim: Any = deliveries.claim(one, one.to_bytes(), None)
    deliveries.fail(claim, "There is no room.")
    Notification.objects.update(keep_until=date(2031, 2, 3))

    page = client.get(f"/admin/simcourier/delivery/{one.id}/change/").content.decode()
    assert re.search(r"Kept until:.*?03 Feb 2031", page, re.DOTALL)


def test_the_bar_is_on_the_page_of_all_tables_as_well(client: Client) -> None:
    page = client.get("/admin/").content.decode()

    assert 'class="site-nav"' in page
    assert '<a href="/admin/" aria-current="page">All tables</a>' in page


def test_who_may_only_look_runs_no_action_and_who_may_not_look_fetches_no_body(client: Client) -> None:
    from django.contrib.auth.models import Permission, User

    from ledger.api import dead_letters, file_dead_letter

    file_dead_letter(b"{}", headers={}, queue="q", reason="no event", publisher=None)
    looks, nobody = (User.objects.create_user(name, is_staff=True) for name in ("looks", "nobody"))
    looks.user_permissions.add(Permission.objects.get(codename="view_deadletter"))

    client.force_login(nobody)
    assert client.get("/admin/simcourier/deadletter/1/body/").status_code == 403
    client.force_login(looks)
    assert client.get("/admin/simcourier/deadletter/1/body/").content == b"{}"
    page = act(client, "deadletter", "discard_selected", 1)

    assert "discard_selected" not in page
    assert [letter.id for letter in dead_letters()] == [1]
