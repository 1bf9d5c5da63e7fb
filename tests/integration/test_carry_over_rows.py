"""Rows of an embedded ledger in PostgreSQL: the same, with their numbers, under the new key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.test import override_settings

from messaging.settings import Settings
from tests.support.events import event
from tests.support.ledger import SECRET, migrated_copy, settings_for, use_database

if TYPE_CHECKING:
    from ledger.carry_over import OldLedger

pytestmark = pytest.mark.postgresql

OLD_SECRET = "the secret key of the old installation"


@pytest.fixture
def grown(tmp_path: Path, migrated_postgres: str) -> Iterator[Settings]:
    """An empty PostgreSQL ledger."""
    settings = settings_for(tmp_path / "new", migrated_postgres)
    use_database(settings)
    call_command("flush", interactive=False, verbosity=0)
    yield settings
    connections.close_all()


@pytest.fixture
def file(tmp_path: Path, ledger_template: Path, grown: Settings) -> Iterator[Path]:
    """An embedded ledger with one row of each kind, made under another key."""
    target = tmp_path / "old" / "simcourier.db"
    target.parent.mkdir()
    migrated_copy(ledger_template, target)
    use_database(settings_for(tmp_path / "old", f"sqlite:///{target}"))
    with override_settings(SECRET_KEY=OLD_SECRET):
        fill()
    use_database(grown)
    yield target
    connections.close_all()


def fill() -> None:
    from django.contrib.admin.models import CHANGE, LogEntry
    from django.contrib.auth.models import Group, Permission, User
    from django.contrib.contenttypes.models import ContentType

    from backends.contract import Stored
    from ledger.api import Claim, Deliveries, Digests, define, file_dead_letter
    from ledger.models import Delivery

    define("memory", name="Memory", token="a token", config={"key": "ü"})
    deliveries = Deliveries("host:1", lease=60, overdue=60)
    for number in range(3):
        one = event(simulation_id=f"run {number}", title="Größe")
        claim = deliveries.claim(one, one.to_bytes(), "alice")
        assert isinstance(claim, Claim)
        generation = deliveries.packed(
            claim,
            name="a.zip",
            size=3,
            sha256="0" * 64,
            warnings=["left out: ä"],
            pictures=[{"title": "delay", "note": "", "alt": "", "png": b"\x89PNG\x00"}],
        )
        deliveries.place(claim, backend="memory", generation=generation, key="k")
        deliveries.checkpoint(claim, {"offset": 2}, 2)
        if number == 1:
            deliveries.stored(claim, backend="memory", generation=generation, stored=Stored(key="k", size=3))
        if number == 2:
            deliveries.fail(claim, "It cannot be done.")
    study = event(simulation_id="of a study", campaign={"id": "study", "runs": 1})
    claim = deliveries.claim(study, study.to_bytes(), "alice")
    assert isinstance(claim, Claim)
    deliveries.fail(claim, "It cannot be done.")
    assert len(Digests(quiet=0, overdue=60).due()) == 1
    for number in range(5):
        file_dead_letter(
            b"\x00\xff%d" % number, headers={"a": "b"}, queue="q", reason="It is no event.", publisher=None
        )
    root = User.objects.create_superuser("admin", password="correct horse")
    helper = User.objects.create_user("helper", password="battery staple")
    group = Group.objects.create(name="operators")
    group.permissions.add(Permission.objects.get(codename="change_storagebackend"))
    helper.groups.add(group)
    helper.user_permissions.add(Permission.objects.get(codename="view_delivery"))
    LogEntry.objects.create(
        user=root, content_type=ContentType.objects.get_for_model(Delivery), object_id="1",
        object_repr="memory", action_flag=CHANGE, change_message="Changed the token.",
    )  # fmt: skip


def opened(file: Path, key: str | None = OLD_SECRET) -> OldLedger:
    from ledger.carry_over import OldLedger

    return OldLedger(file, key)


def rows(using: str) -> dict[str, list[dict[str, Any]]]:
    from django.apps import apps

    return {
        model.__name__: [plain(row) for row in model._base_manager.using(using).order_by("pk").values()]
        for model in apps.get_app_config("simcourier").get_models()
        if model.__name__ not in {"Lock", "SignInTries"}
    }


def plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()}


def test_every_row_is_as_it_was(file: Path) -> None:
    with opened(file) as old:
        expected = rows("old")
        old.carry(print)

        assert rows("default") == expected
    assert {name: len(found) for name, found in expected.items()} == {
        "StorageBackend": 1, "Delivery": 4, "Step": 6, "Picture": 3, "Placement": 3, "Notification": 3, "DeadLetter": 5,
    }  # fmt: skip


def test_the_definitions_are_encrypted_under_the_new_key_alone(file: Path) -> None:
    from ledger.api import definition

    with opened(file) as old:
        old.carry(print)

    found = definition("memory")  # the old key is not known any more
    assert (found.token.get_secret_value(), found.config_values()) == ("a token", {"key": "ü"})
    with connection.cursor() as cursor:
        cursor.execute("SELECT storage_backend_token FROM simcourier_storagebackend")
        assert "a token" not in str(cursor.fetchone())


def test_new_rows_are_numbered_after_the_old_ones(file: Path) -> None:
    from ledger.api import dead_letters, define, file_dead_letter

    with opened(file) as old:
        old.carry(print)
    file_dead_letter(b"new", headers={}, queue="q", reason="It is no event.", publisher=None)
    define("local", name="Another")

    assert sorted(letter.id for letter in dead_letters()) == [1, 2, 3, 4, 5, 6]


def test_accounts_keep_passwords_groups_rights_and_history(file: Path) -> None:
    from django.contrib.admin.models import LogEntry
    from django.contrib.auth.models import User

    User.objects.create_superuser("somebody", password="was here before")
    User.objects.create_superuser("admin", password="a newer one")
    with opened(file) as old:
        old.carry(print)

    helper = User.objects.get(username="helper")
    assert helper.check_password("battery staple")
    assert User.objects.get(username="admin").check_password("a newer one")
    assert helper.get_all_permissions() == {"simcourier.change_storagebackend", "simcourier.view_delivery"}
    entry = LogEntry.objects.get(change_message="Changed the token.")
    assert (entry.user.username, entry.object_repr) == ("admin", "memory")
    assert entry.content_type is not None
    assert entry.content_type.model == "delivery"


def test_rows_are_carried_once_and_into_no_ledger_that_is_in_use(file: Path) -> None:
    from ledger.carry_over import CannotCarryOver
    from ledger.models import Delivery

    said: list[str] = []
    with opened(file) as old:
        old.carry(said.append)
        old.carry(said.append)
    assert said == ["The rows were carried over before."]
    assert Delivery.objects.count() == 4

    call_command("flush", interactive=False, verbosity=0)
    one = event()
    Delivery.objects.create(id=one.id, body=b"", received_at=one.time)
    with opened(file) as old, pytest.raises(CannotCarryOver, match=r"in use already \(deliveries: 1\)"):
        old.carry(said.append)
    assert Delivery.objects.count() == 1


def test_a_key_that_does_not_fit_is_told(file: Path) -> None:
    from ledger.carry_over import CannotCarryOver

    with pytest.raises(CannotCarryOver, match="--old-key-file"):
        opened(file, SECRET)


def test_what_is_no_ledger_is_told(tmp_path: Path, grown: Settings) -> None:
    from ledger.carry_over import CannotCarryOver

    del grown
    (tmp_path / "simcourier.db").write_bytes(b"no database" * 100)
    with pytest.raises(CannotCarryOver, match="cannot be read"):
        opened(tmp_path / "simcourier.db")
    (tmp_path / "empty.db").touch()
    with pytest.raises(CannotCarryOver, match="earlier version"):
        opened(tmp_path / "empty.db")
