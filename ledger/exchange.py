"""Definitions of storage backends as a JSON document: written, and read, also as OPS on the Bench dumps its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backends.registry import WrongConfig, admit, named
from ledger.definitions import Definition, WrongDefinition, define
from messaging.errors import UserError

FORMAT = "simcourier-backends-1"
# `manage.py dumpdata omnetppManager.storagebackend` of https://github.com/ComNets-Bremen/ops-on-the-bench
OPS_MODEL = "omnetppmanager.storagebackend"
OPS_PLUGINS = {"dropbox_oauth2": "dropbox"}


class NotReadable(UserError):
    """The file holds no definitions."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    storage_backend: str
    storage_backend_id: str
    storage_backend_token: str | None = None
    storage_backend_config: dict[str, Any] | None = None
    storage_backend_keep_days: int = Field(default=30, ge=0)
    storage_backend_desc: str = ""
    storage_backend_active: bool = True


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one definition of a file: ``added``, ``changed``, ``kept`` (it was there) or ``refused``."""

    identifier: str
    outcome: str
    reason: str = ""


def exported(chosen: Iterable[Definition], *, secrets: bool) -> str:
    """The definitions as a document; token and config only with ``secrets``."""
    rows = []
    for one in chosen:
        entry = _Entry(
            storage_backend=one.name,
            storage_backend_id=one.identifier,
            storage_backend_token=one.token.get_secret_value() if secrets else None,
            storage_backend_config=dict(one.config_values()) if secrets else None,
            storage_backend_keep_days=one.keep_days,
            storage_backend_desc=one.description,
            storage_backend_active=one.active,
        )
        rows.append(entry.model_dump(exclude_none=True))
    return json.dumps({"format": FORMAT, "backends": rows}, indent=2, ensure_ascii=False) + "\n"


def import_definitions(
    text: str, known: Iterable[str], site: Mapping[str, Any], *, replace: bool
) -> Iterable[Imported]:
    """Add the definitions of a document, one after the other; those that are wrong do not stop the others.

    Args:
        text: as `exported` writes it, or a Django dump of OPS on the Bench.
        known: identifiers that are there.
        site: site-wide values for plugins.
        replace: change what is there; else it is kept as it is.

    Raises:
        NotReadable: the text is neither.
    """
    there = set(known)
    for row in _rows(text):
        name = str(row.get("storage_backend_id", ""))
        if name in there and not replace:
            yield Imported(name, "kept", "it is there already; --replace changes it")
            continue
        try:
            entry = _Entry.model_validate(row)
            _expect_usable(entry, site, new=name not in there)
            added = define(
                entry.storage_backend_id,
                name=entry.storage_backend,
                token=entry.storage_backend_token,
                config=entry.storage_backend_config,
                keep_days=entry.storage_backend_keep_days,
                description=entry.storage_backend_desc,
                active=entry.storage_backend_active,
            )
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            yield Imported(name, "refused", f"{named(first['loc'])}: {first['msg']}")
        except (WrongConfig, WrongDefinition) as error:
            yield Imported(name, "refused", str(error))
        else:
            there.add(name)
            yield Imported(name, "added" if added else "changed")


def _expect_usable(entry: _Entry, site: Mapping[str, Any], *, new: bool) -> None:
    if entry.storage_backend_config is None and entry.storage_backend_token is None and not new:
        return  # exported without secrets: those that are there stay
    admit(entry.storage_backend_id, entry.storage_backend_token or "", entry.storage_backend_config or {}, site)


def _rows(text: str) -> list[dict[str, Any]]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise NotReadable(f"The file is no JSON: {error}.") from error
    except RecursionError as error:
        raise NotReadable("The file is nested too deeply.") from error
    if isinstance(document, dict) and document.get("format") == FORMAT and isinstance(document.get("backends"), list):
        return [row if isinstance(row, dict) else {} for row in document["backends"]]
    if isinstance(document, list):
        rows = [_from_ops(row["fields"]) for row in document if _is_ops(row)]
        if rows:
            return rows
    raise NotReadable(
        "The file holds no definitions; expected is what 'simcourier backends export' writes, or what "
        "'manage.py dumpdata omnetppManager.storagebackend' of OPS on the Bench does."
    )


def _is_ops(row: Any) -> bool:
    return (
        isinstance(row, dict) and str(row.get("model", "")).lower() == OPS_MODEL and isinstance(row.get("fields"), dict)
    )


def _from_ops(fields: Mapping[str, Any]) -> dict[str, Any]:
    identifier = str(fields.get("backend_identifier", ""))
    plugin, hyphen, rest = identifier.partition("-")
    return {
        "storage_backend": fields.get("backend_name") or identifier,
        "storage_backend_id": OPS_PLUGINS.get(plugin, plugin) + hyphen + rest,
        "storage_backend_token": str(fields.get("backend_token") or ""),
        "storage_backend_config": _ops_config(fields.get("backend_config")),
        "storage_backend_keep_days": fields.get("backend_keep_days", 30),
        "storage_backend_desc": fields.get("backend_description") or "",
        "storage_backend_active": fields.get("backend_active", True),
    }


def _ops_config(value: Any) -> Any:
    """It is a text there, which may be empty, JSON, or no JSON; the last is told by the model."""
    if not isinstance(value, str):
        return value or {}
    try:
        return json.loads(value) if value.strip() else {}
    except (ValueError, RecursionError):
        return value
