"""Django's history of definitions, for changes that were not made in the admin."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.auth.models import User
from django.db import connection

from ledger.models import StorageBackend

COMMAND_LINE = "command-line"


def note(row: StorageBackend, *, added: bool, fields: Iterable[str] = ()) -> None:
    """Keep that ``row`` was added, or which of its fields were changed, by a command; never their values.

    A site with users of its own kind has no account of ours that could stand there: then nothing is kept.
    """
    if User._meta.db_table not in connection.introspection.table_names():  # noqa: SLF001 - Django's own
        return
    user, created = User.objects.get_or_create(username=COMMAND_LINE, defaults={"is_active": False})
    if created:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    labels = [str(field.verbose_name) for field in StorageBackend._meta.fields if field.name in set(fields)]  # noqa: SLF001 - Django's own
    message = [{"added": {}}] if added else [{"changed": {"fields": labels}}]
    LogEntry.objects.log_actions(user.pk, [row], ADDITION if added else CHANGE, message, single_object=True)
