"""Definitions of storage backends, as frozen values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models.functions import Now
from pydantic import SecretStr

from ledger.history import note
from ledger.models import Delivery, StorageBackend
from ledger.states import State
from ledger.telling import notify_operator
from ledger.work import from_now, seconds, seconds_until, unit_of_work
from messaging.errors import UserError
from messaging.terminal import harmless

# A definition that only a person can mend is probed so often.
PROBE_SECONDS = 600.0


_HEALTHY = {"unhealthy_reason": "", "unhealthy_until": None, "operator_told": False}


class UnknownBackend(Exception):
    """No definition has this identifier."""


class WrongDefinition(UserError):
    """A field of a definition cannot be stored as it is; the text names the field, never its value."""

    exit_code = 2


def parse_config(text: str) -> dict[str, Any]:
    """The config in a JSON text.

    Raises:
        WrongDefinition: it is no JSON object.
    """
    try:
        config = json.loads(text)
    except ValueError as error:
        raise WrongDefinition(f"The config is no JSON: {error}.") from error
    except RecursionError as error:
        raise WrongDefinition("The config is nested too deeply.") from error
    if not isinstance(config, dict):
        raise WrongDefinition("The config must be a JSON object: {...}.")
    return config


@dataclass(frozen=True, slots=True)
class Definition:
    """Where archives can be stored.

    Args:
        identifier: plugin id, or plugin id, hyphen and a name.
        unhealthy_seconds: for how long it is not to be tried, since it failed in a way that only a person can mend;
            0: try.
    """

    identifier: str
    name: str
    description: str
    token: SecretStr
    config: SecretStr
    keep_days: int
    active: bool
    unhealthy_reason: str
    unhealthy_seconds: float

    def config_values(self) -> Mapping[str, Any]:
        """The config as a mapping; `ledger.admin` and `define` let nothing else in."""
        text = self.config.get_secret_value().strip()
        return json.loads(text) if text else {}


@unit_of_work
def definition(identifier: str) -> Definition:
    """The definition with this identifier.

    Raises:
        UnknownBackend: there is none.
    """
    row = _rows().filter(storage_backend_id=identifier).first()
    if row is None:
        active = StorageBackend.objects.filter(storage_backend_active=True).values_list("storage_backend_id", flat=True)
        raise UnknownBackend(
            f"No storage backend has the identifier '{identifier}'; there are: {', '.join(active[:20]) or 'none'}."
        )
    return _frozen(row)


@unit_of_work
def definitions() -> list[Definition]:
    """All definitions, by identifier."""
    return [_frozen(row) for row in _rows()]


@unit_of_work
def define(
    identifier: str,
    *,
    name: str | None = None,
    token: str | None = None,
    config: Mapping[str, Any] | None = None,
    keep_days: int | None = None,
    description: str | None = None,
    active: bool | None = None,
) -> bool:
    """Add a definition, or bring the one with this identifier up to date; True: it is new.

    What is None stays as it is; in a new definition it is empty, the name the identifier, and 30 days are kept.

    Raises:
        WrongDefinition: a field is not as it must be.
    """
    given = {
        "storage_backend": name,
        "storage_backend_token": token,
        "storage_backend_config": None if config is None else json.dumps(dict(config)),
        "storage_backend_keep_days": keep_days,
        "storage_backend_desc": description,
        "storage_backend_active": active,
    }
    values = {field: value for field, value in given.items() if value is not None}
    _expect_sound({"storage_backend_id": identifier, **values})
    with transaction.atomic():
        before = StorageBackend.objects.filter(storage_backend_id=identifier).first()
        row, created = StorageBackend.objects.update_or_create(
            storage_backend_id=identifier, defaults=values, create_defaults={"storage_backend": identifier, **values}
        )
        note(row, added=created, fields=[name for name in values if getattr(before, name, None) != getattr(row, name)])
    try_at_once(identifier)
    return created


def _expect_sound(values: Mapping[str, Any]) -> None:
    others = {field.name for field in StorageBackend._meta.get_fields()} - set(values)  # noqa: SLF001 - Django's own name
    try:
        StorageBackend(**values).clean_fields(exclude=others)
    except ValidationError as error:
        name, texts = next(iter(error.message_dict.items()))
        label = StorageBackend._meta.get_field(name).verbose_name  # type: ignore[union-attr]  # noqa: SLF001
        raise WrongDefinition(f"{label}: {' '.join(texts)}") from error


@unit_of_work
def try_at_once(identifier: str) -> None:
    """The definition has been changed: what was found out about the old one counts no more, nobody waits for it."""
    StorageBackend.objects.filter(storage_backend_id=identifier).update(**_HEALTHY)
    Delivery.objects.filter(state=State.WAITING, backend=identifier).update(waiting_until=Now(), wake_at=Now())


@unit_of_work
def encrypt_again() -> int:
    """Write every secret anew, with the first key; returns how many definitions there are."""
    with transaction.atomic():
        rows = list(StorageBackend.objects.select_for_update())
        for row in rows:
            row.save(update_fields=["storage_backend_token", "storage_backend_config"])
    return len(rows)


@unit_of_work
def mark_unhealthy(identifier: str, reason: str, *, operator: str) -> bool:
    """Note that nothing can be stored with this definition; the first delivery after `PROBE_SECONDS` probes it.

    Args:
        operator: address that is mailed about this outage, once; empty: nobody. For a reason that was mailed in the
            last hours, the mail waits until these are over: a service that comes and goes is told of now and then.

    Returns:
        True if it was healthy until now.
    """
    rows, reason = StorageBackend.objects.filter(storage_backend_id=identifier), harmless(reason)
    with transaction.atomic():
        # Of two workers that find out at the same time, one is the first.
        was_healthy = rows.filter(unhealthy_reason="").update(unhealthy_reason=reason) == 1
        rows.update(unhealthy_reason=reason, unhealthy_until=from_now(PROBE_SECONDS))
        if rows.filter(operator_told=False).exists():
            told = notify_operator(f"storage backend {identifier}", _for_operator(identifier, reason), operator)
            rows.update(operator_told=told)
    return was_healthy


def _for_operator(identifier: str, reason: str) -> str:
    return (
        f"Nothing can be stored with the storage backend '{identifier}' at present: {reason}\n\n"
        f"Its deliveries wait, or go to the fallback that their event names. It is tried again every "
        f"{PROBE_SECONDS / 60:.0f} minutes. Once you have mended it, press 'Check' on its page in the admin, or run\n\n"
        f"    simcourier backends check {identifier}\n\n"
        "and what waits goes on at once."
    )


@unit_of_work
def mark_healthy(identifier: str) -> None:
    """Note that something could be stored."""
    StorageBackend.objects.filter(storage_backend_id=identifier).exclude(unhealthy_reason="").update(**_HEALTHY)


def _rows() -> Any:
    return StorageBackend.objects.annotate(unhealthy_left=seconds_until("unhealthy_until"))


def _frozen(row: Any) -> Definition:
    return Definition(
        identifier=row.storage_backend_id,
        name=row.storage_backend,
        description=row.storage_backend_desc,
        token=SecretStr(row.storage_backend_token),
        config=SecretStr(row.storage_backend_config),
        keep_days=row.storage_backend_keep_days,
        active=row.storage_backend_active,
        unhealthy_reason=row.unhealthy_reason,
        unhealthy_seconds=seconds(row.unhealthy_left),
    )
