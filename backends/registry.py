"""From a definition's identifier, token and config to a plugin's instance.

Plugins are found by entry point (group ``simcourier.backends``), by their exact id, and imported on first use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal, get_args

import requests
from pydantic import BaseModel, SecretStr, ValidationError

from backends.contract import Backend

GROUP = "simcourier.backends"
LONGEST_NAME = 60  # of a field, in a sentence

Part = Literal["id", "token", "config"]


class WrongConfig(ValueError):
    """A definition cannot be used as it stands; the text names the field, never its value.

    Args:
        part: which part of the definition is wrong.
    """

    def __init__(self, text: str, part: Part) -> None:
        super().__init__(text)
        self.part: Part = part


def plugin_id(identifier: str) -> str:
    """The plugin's id in a definition's identifier: what stands before the first hyphen (``seafile-bremen``)."""
    return identifier.partition("-")[0]


def plugin_ids() -> list[str]:
    """The ids of all installed plugins, but for the one that is for tests."""
    return sorted(entry_points(group=GROUP).names - {"memory"})


def plugin(identifier: str) -> type[Backend[Any]]:
    """The plugin class for a definition's identifier.

    Raises:
        WrongConfig: no plugin has this id, or it cannot be imported.
    """
    return _load(plugin_id(identifier))


@cache  # looking through the installed distributions costs some 20 ms
def _load(wanted: str) -> type[Backend[Any]]:
    found = [entry for entry in entry_points(group=GROUP) if entry.name == wanted]
    if not found:
        raise WrongConfig(
            f"There is no storage plugin '{wanted}'; installed are {', '.join(plugin_ids())}.",
            "id",
        )
    try:
        loaded = found[0].load()
    except (ImportError, AttributeError) as error:
        raise WrongConfig(f"The storage plugin '{wanted}' cannot be imported: {error}.", "id") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Backend)):
        raise WrongConfig(f"The entry point of the storage plugin '{wanted}' is no Backend.", "id")
    return loaded


def admit(identifier: str, token: str, config: Mapping[str, Any], site: Mapping[str, Any] | None = None) -> None:
    """Hold a definition that somebody makes or changes against its plugin; arguments and errors as `configure`."""
    if not plugin(identifier).lasting:
        raise WrongConfig(
            f"The plugin '{plugin_id(identifier)}' is for tests: what it stores ends with the process.", "id"
        )
    configure(identifier, token, config, site)


def without_effect(identifier: str, token: str, config: Mapping[str, Any]) -> str:
    """Why a token that somebody gives would change nothing: the config holds that field too; empty: it counts."""
    field = plugin(identifier).token_field
    if not token or config.get(field, token) == token:
        return ""
    return f"The config holds '{field}', which counts more than the token; change it there, or take it out there."


def configure(
    identifier: str, token: str, config: Mapping[str, Any], site: Mapping[str, Any] | None = None
) -> BaseModel:
    """Hold a definition against its plugin's model and return the validated configuration.

    Args:
        identifier: the definition's.
        token: fills the plugin's `Backend.token_field` where ``config`` does not.
        config: the definition's config.
        site: site-wide values (``seafile_server``), by plugin id and field, for what is still missing.

    Raises:
        WrongConfig: something is wrong or missing.
    """
    chosen = plugin(identifier)
    values = dict(config)
    from_token = bool(token) and chosen.token_field not in values
    if from_token:
        values[chosen.token_field] = token
    prefix = f"{plugin_id(identifier)}_"
    for name, value in (site or {}).items():
        if name.startswith(prefix) and value:
            values.setdefault(name.removeprefix(prefix), value)
    try:
        return chosen.Config.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = named(first["loc"])
        about_token = field == chosen.token_field and (from_token or not config)
        where = "Backend token" if about_token else f"Backend config, {field}" if field else "Backend config"
        text = first["msg"].removeprefix("Value error, ").rstrip(".")
        if field == chosen.token_field and first["type"] == "missing" and not about_token:
            text += " (Backend token may hold it)"
        raise WrongConfig(f"{where}: {text}.", "token" if about_token else "config") from None


def named(place: Iterable[int | str]) -> str:
    """Where in a document something is wrong, for a sentence: its writer chose the names, as long as he liked."""
    return ".".join(part if len(part) <= LONGEST_NAME else f"{part[:LONGEST_NAME]}..." for part in map(str, place))


def secret_values(identifier: str, token: str, config: Mapping[str, Any]) -> list[str]:
    """What of a definition is never to be told: the texts in fields that its plugin's model calls secret.

    Raises:
        WrongConfig: as `plugin`.
    """
    chosen = plugin(identifier)
    fields = chosen.Config.model_fields
    values = {chosen.token_field: token, **config}
    return [
        value
        for name, value in values.items()
        if isinstance(value, str) and name in fields and _is_secret(fields[name].annotation)
    ]


def _is_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(map(_is_secret, get_args(annotation)))


def build(
    identifier: str,
    token: str,
    config: Mapping[str, Any],
    http: requests.Session,
    site: Mapping[str, Any] | None = None,
) -> Backend[Any]:
    """The plugin's instance for a definition; arguments and errors as `configure`."""
    return plugin(identifier)(configure(identifier, token, config, site), http)
