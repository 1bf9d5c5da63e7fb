"""Definitions of storage backends, as frozen values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from pydantic import SecretStr

from ledger.models import StorageBackend
from ledger.work import from_now, seconds, seconds_until, unit_of_work
from messaging.errors import UserError


class UnknownBackend(Exception):
    """No definition has this identifier."""


class WrongIdentifier(UserError):
    """An identifier is a plugin's id, or that, a hyphen and a name."""


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
        raise UnknownBackend(f"No storage backend has the identifier '{identifier}'.")
    return _frozen(row)


@unit_of_work
def definitions() -> list[Definition]:
    """All definitions, by identifier."""
    return [_frozen(row) for row in _rows()]


@unit_of_work
def define(
    identifier: str,
    *,
    name: str,
    token: str = "",
    config: Mapping[str, Any] | None = None,
    keep_days: int = 30,
    description: str = "",
    active: bool = True,
) -> bool:
    """Add a definition, or bring the one with this identifier up to date; True: it is new.

    Raises:
        WrongIdentifier: the identifier is not formed as it must be.
    """
    try:
        StorageBackend._meta.get_field("storage_backend_id").run_validators(identifier)  # noqa: SLF001 - Django's own name
    except ValidationError as error:
        raise WrongIdentifier(f"'{identifier}' is no identifier: {' '.join(error.messages)}") from error
    _, created = StorageBackend.objects.update_or_create(
        storage_backend_id=identifier,
        defaults={
            "storage_backend": name,
            "storage_backend_token": token,
            "storage_backend_config": json.dumps(dict(config or {})),
            "storage_backend_keep_days": keep_days,
            "storage_backend_desc": description,
            "storage_backend_active": active,
            "unhealthy_reason": "",  # it is another definition now: the next delivery finds out
            "unhealthy_until": None,
        },
    )
    return created


@unit_of_work
def mark_unhealthy(identifier: str, reason: str, retry_in: float) -> bool:
    """Note that nothing can be stored with this definition; the first delivery after ``retry_in`` seconds probes it.

    True if it was healthy until now.
    """
    rows = StorageBackend.objects.filter(storage_backend_id=identifier)
    was_healthy = rows.filter(unhealthy_reason="").exists()
    rows.update(unhealthy_reason=reason, unhealthy_until=from_now(retry_in))
    return was_healthy


@unit_of_work
def mark_healthy(identifier: str) -> None:
    """Note that something could be stored."""
    StorageBackend.objects.filter(storage_backend_id=identifier).exclude(unhealthy_reason="").update(
        unhealthy_reason="", unhealthy_until=None
    )


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
