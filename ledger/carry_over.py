"""Copies an embedded ledger into a fresh PostgreSQL one: all rows, in one transaction, once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ImproperlyConfigured
from django.core.management.color import no_style
from django.db import DatabaseError, connections, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Model
from django.db.models.functions import Now

from ledger.models import Lock, SignInTries, StorageBackend
from ledger.site import CARRIED_OVER
from messaging import faults
from messaging.errors import UserError

M = TypeVar("M", bound=Model)

OLD: Final = "old"
NEW: Final = "default"
BATCH: Final = 100
# Seconds to wait for a program that has the old ledger open; one that goes on running is told.
PATIENCE: Final = 2


class CannotCarryOver(UserError):
    """The old installation stays as it is; the text says what to do first."""


class OldLedger:
    """The embedded ledger in ``file``; while it is open, no other process can use it.

    Args:
        file: the SQLite file.
        key: the secret key that its definitions are encrypted with; None: the new one.

    Raises:
        CannotCarryOver: there is none, somebody uses it, it is of another version, or the key does not fit.
    """

    def __init__(self, file: Path, key: str | None) -> None:
        if not file.is_file():
            raise CannotCarryOver(
                f"There is no ledger {file}; --from must name the data folder of an embedded installation."
            )
        # What is written is encrypted with the new key, what is read may be with either.
        self._fallbacks = django_settings.SECRET_KEY_FALLBACKS
        django_settings.SECRET_KEY_FALLBACKS = [*self._fallbacks, *([key] if key else [])]
        connections.settings[OLD] = _configured(file)
        self._file = file
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others use it again."""
        connections[OLD].close()
        del connections[OLD], connections.settings[OLD]
        django_settings.SECRET_KEY_FALLBACKS = self._fallbacks

    def counts(self) -> dict[str, int]:
        """How many rows there are, by what they are called."""
        tables: list[type[Model]] = [*_tables(), User]
        return {str(model._meta.verbose_name_plural): _all(model, OLD).count() for model in tables}  # noqa: SLF001 - Django's public name

    @property
    def carried(self) -> bool:
        """Whether its rows are in the new ledger."""
        token = self._token()
        return token is not None and Lock.objects.using(NEW).filter(name=CARRIED_OVER, holder=token).exists()

    def expect_fresh(self) -> None:
        """Make sure that nothing in the new ledger is in the way.

        Raises:
            CannotCarryOver: it has rows.
        """
        for model in _tables():
            count = _all(model, NEW).count()
            if count:
                raise CannotCarryOver(
                    f"The ledger that SIMCOURIER_DATABASE_URL names is in use already "
                    f"({model._meta.verbose_name_plural}: {count}); name an empty database, "  # noqa: SLF001
                    "and run: simcourier manage migrate"
                )

    def carry(self, tell: Callable[[str], None]) -> None:
        """Copy all rows and mark both ledgers, unless that was done before.

        The old one is marked first: it is refused from then on, so that nothing is done there that the copy lacks.
        """
        if self.carried:
            tell("The rows were carried over before.")
            return
        with transaction.atomic(using=NEW):
            _keep_others_from_writing()
            self.expect_fresh()
            for model in _tables():
                self._copy(model, tell)
            _copy_accounts()
            _reset_sequences()
            faults.point("carry_over.copied")
            token = self._mark()
            faults.point("carry_over.marked")
            Lock.objects.using(NEW).create(name=CARRIED_OVER, holder=token, until=Now())
        faults.point("carry_over.committed")

    def _check(self) -> None:
        old = connections[OLD]
        try:
            executor = MigrationExecutor(old)
            waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
            if not waiting:
                list(_all(StorageBackend, OLD))
                with transaction.atomic(using=OLD):  # takes the file for ourselves
                    pass
        except ImproperlyConfigured as error:
            raise CannotCarryOver(
                f"The definitions in {self._file} are encrypted with another key than SIMCOURIER_SECRET_KEY; name the "
                "file that holds the old one with --old-key-file."
            ) from error
        except DatabaseError as error:
            if "locked" in str(error):
                raise CannotCarryOver(
                    f"A program of the old installation still runs (it has {self._file} open); stop 'simcourier up', "
                    "or its worker, email sender and site, then run this again."
                ) from error
            raise CannotCarryOver(f"The old ledger {self._file} cannot be read ({error}).") from error
        if waiting:
            raise CannotCarryOver(
                f"The old ledger {self._file} is of an earlier version; run 'simcourier up' of this version there "
                "once, stop it, then run this again."
            )

    def _copy(self, model: type[Model], tell: Callable[[str], None]) -> None:
        name, total, done = model._meta.verbose_name_plural, _all(model, OLD).count(), 0  # noqa: SLF001
        for batch in _batches(_all(model, OLD).order_by("pk").iterator(chunk_size=BATCH)):
            _all(model, NEW).bulk_create(batch)
            done += len(batch)
            if done % (100 * BATCH) == 0:
                tell(f"{name}: {done} of {total}")

    def _token(self) -> str | None:
        return Lock.objects.using(OLD).filter(name=CARRIED_OVER).values_list("holder", flat=True).first()

    def _mark(self) -> str:
        token = self._token() or uuid.uuid4().hex
        Lock.objects.using(OLD).update_or_create(name=CARRIED_OVER, defaults={"holder": token, "until": Now()})
        return token


def _configured(file: Path) -> dict[str, Any]:
    alone = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(file),
        "OPTIONS": {
            "timeout": PATIENCE,
            "transaction_mode": "EXCLUSIVE",
            # With a write-ahead log this needs that nobody else has the file open, not even to read
            # (https://www.sqlite.org/pragma.html#pragma_locking_mode).
            "init_command": "PRAGMA locking_mode=EXCLUSIVE;",
        },
    }
    configured: dict[str, Any] = connections.configure_settings({NEW: connections.settings[NEW], OLD: alone})[OLD]
    return configured


def _tables() -> list[type[Model]]:
    """What is copied as it is; a foreign key that points ahead is checked when the transaction ends."""
    of_one_ledger = (Lock, SignInTries)
    return [model for model in apps.get_app_config("simcourier").get_models() if model not in of_one_ledger]


def _all(model: type[M], using: str) -> Any:
    return model._base_manager.using(using)  # noqa: SLF001 - Django's public name


def _batches(rows: Iterator[M]) -> Iterator[list[M]]:
    while batch := list(islice(rows, BATCH)):
        yield batch


def _keep_others_from_writing() -> None:
    """A worker may be running on the new ledger already: what it writes waits until the rows are there."""
    names = ", ".join(connections[NEW].ops.quote_name(model._meta.db_table) for model in _tables())  # noqa: SLF001
    with connections[NEW].cursor() as cursor:
        cursor.execute(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE")


def _reset_sequences() -> None:
    """The next row that is numbered comes after those that were copied."""
    with connections[NEW].cursor() as cursor:
        for statement in connections[NEW].ops.sequence_reset_sql(no_style(), _tables()):
            cursor.execute(statement)


def _copy_accounts() -> None:
    """Users, groups and the admin's history; a user whom the new site knows by name stays as it is there."""
    groups = {}
    for group in _all(Group, OLD):
        groups[group.pk], made = _all(Group, NEW).get_or_create(name=group.name)
        if made:
            groups[group.pk].permissions.set(_permissions(group.permissions.all()))
    users = {}
    for user in _all(User, OLD).order_by("pk"):
        old_id = user.pk
        known = _all(User, NEW).filter(username=user.username).first()
        if known is None:
            mine, permissions = [groups[group.pk] for group in user.groups.all()], user.user_permissions.all()
            allowed = _permissions(permissions)
            user.pk = None
            user.save(using=NEW, force_insert=True)
            user.groups.set(mine)
            user.user_permissions.set(allowed)
        users[old_id] = (known or user).pk
    for batch in _batches(_all(LogEntry, OLD).order_by("pk").iterator(chunk_size=BATCH)):
        for entry in batch:
            old_type = entry.content_type
            entry.pk = None
            entry.user_id = users[entry.user_id]
            entry.content_type_id = _content_type(old_type).pk if old_type else None
        _all(LogEntry, NEW).bulk_create(batch)


def _permissions(old: Any) -> list[Permission]:
    """The same permissions in the new ledger, where they have other numbers."""
    return [
        _all(Permission, NEW).get(content_type=_content_type(one.content_type), codename=one.codename) for one in old
    ]


def _content_type(old: ContentType) -> ContentType:
    found: ContentType = _all(ContentType, NEW).get(app_label=old.app_label, model=old.model)
    return found
