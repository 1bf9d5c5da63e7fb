"""From a definition's identifier, token and config to a plugin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any

import pytest
import requests
from pydantic import BaseModel, ConfigDict, SecretStr

from backends import registry
from backends.contract import Archive, Backend, Link, Progress, Status, Stored
from backends.local import Local
from backends.memory import Memory
from backends.registry import WrongConfig, build, configure, plugin, plugin_id, plugin_ids

SECRET = "a-secret-nobody-may-read"


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    server: str
    token: SecretStr
    repoid: int = 0


class Other(Backend[Config]):
    """As a third party writes it."""

    identifier = "other"
    Config = Config

    def check(self) -> Status:
        raise NotImplementedError

    def store(self, archive: Archive, progress: Progress) -> Stored:
        raise NotImplementedError

    def link(self, stored: Stored, expires: Any) -> Link:
        raise NotImplementedError

    def delete(self, stored: Stored) -> None:
        raise NotImplementedError


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Adds an entry point beside those that are installed."""

    added: list[EntryPoint] = []

    def add(name: str, value: str) -> None:
        added.append(EntryPoint(name, value, registry.GROUP))
        more = EntryPoints([*entry_points(group=registry.GROUP), *added])
        monkeypatch.setattr(registry, "entry_points", lambda *, group: more.select(group=group))

    return add


@pytest.fixture(autouse=True)
def other(install: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "OtherPlugin", Other, raising=False)
    install("other", "backends.registry:OtherPlugin")


def test_the_plugins_that_are_installed_are_found() -> None:
    assert {"local", "other"} <= set(plugin_ids())
    assert "memory" not in plugin_ids(), "it is for tests"
    assert (plugin("local"), plugin("memory"), plugin("other")) == (Local, Memory, Other)


@pytest.mark.parametrize(
    ("identifier", "wanted"),
    [("seafile", "seafile"), ("seafile-bremen", "seafile"), ("dropbox_oauth2-a-b", "dropbox_oauth2"), ("", "")],
)
def test_a_definitions_identifier_begins_with_the_plugins_id(identifier: str, wanted: str) -> None:
    assert plugin_id(identifier) == wanted


@pytest.mark.parametrize("identifier", ["loca", "locals", "Local", "dropbox_oauth2", "", "-local", " local"])
def test_only_the_exact_id_finds_a_plugin(identifier: str) -> None:
    with pytest.raises(WrongConfig, match=r"There is no storage plugin .*installed are .*local") as caught:
        plugin(identifier)

    assert caught.value.part == "id"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("no_such_module_of_anybody:Plugin", "cannot be imported"),
        ("json:dumps", "is no Backend"),
        ("json:x", "cannot be imported"),
    ],
)
def test_an_entry_point_that_leads_nowhere_is_told(install: Callable[..., None], value: str, said: str) -> None:
    install("broken", value)

    with pytest.raises(WrongConfig, match=said) as caught:
        plugin("broken-one")

    assert caught.value.part == "id"


def test_the_token_fills_the_plugins_field() -> None:
    local = configure("local", "10.10.160.10:8976", {"key": SECRET})

    assert isinstance(local, Local.Config)
    assert local.server == "http://10.10.160.10:8976"
    assert local.key is not None
    assert local.key.get_secret_value() == SECRET


def test_the_config_is_stronger_than_the_token_and_both_than_the_site() -> None:
    site = {"other_server": "site", "other_token": "site", "local_server": "not this", "other_repoid": None}

    given = configure("other", "from token", {"token": SECRET}, site)

    assert isinstance(given, Config)
    assert (given.server, given.token.get_secret_value(), given.repoid) == ("site", SECRET, 0)
    assert configure("other-2", SECRET, {"server": "own"}, site) == Config(server="own", token=SecretStr(SECRET))


def test_the_definitions_config_is_not_changed() -> None:
    config = {"server": "x"}

    configure("other", SECRET, config, {"other_repoid": 5})

    assert config == {"server": "x"}


@pytest.mark.parametrize(
    ("identifier", "token", "config", "part", "field"),
    [
        ("local", "not an address at all:x", {}, "token", "Backend token"),
        ("local", "", {}, "token", "Backend token"),
        ("local", f"http://anna:{SECRET}@files.example.org", {}, "token", "Backend token"),
        ("local", f"http://{SECRET}@files.example.org", {}, "token", "Backend token"),
        ("local", "", {"server": f"ftp://{SECRET}"}, "config", "Backend config, server"),
        ("local", "ok:1", {"key": [SECRET]}, "config", "Backend config, key"),
        ("local", "ok:1", {"key": f"{SECRET}\r\nX: y"}, "config", "Backend config, key"),
        ("local", "ok:1", {"kee": SECRET}, "config", "Backend config, kee"),
        ("other", SECRET, {}, "config", "Backend config, server"),
        ("other", "", {"server": "x", "repoid": SECRET}, "config", "Backend config, token"),
    ],
)
def test_what_is_wrong_is_named_and_its_value_is_not_told(
    identifier: str, token: str, config: Mapping[str, Any], part: str, field: str
) -> None:
    with pytest.raises(WrongConfig) as caught:
        configure(identifier, token, config)

    assert caught.value.part == part
    assert str(caught.value).startswith(f"{field}: ")
    assert SECRET not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("10.10.160.10:8976", "http://10.10.160.10:8976"),
        (" files.example.org/ ", "http://files.example.org"),
        ("https://files.example.org/cloud/", "https://files.example.org/cloud"),
        ("[::1]:8976", "http://[::1]:8976"),
    ],
)
def test_the_local_clouds_address_may_be_written_shortly(given: str, used: str) -> None:
    config = configure("local", given, {})

    assert isinstance(config, Local.Config)
    assert config.server == used


def test_build_gives_the_plugin_with_its_config_and_the_session() -> None:
    with requests.Session() as http:
        backend = build("other-bremen", SECRET, {"server": "x"}, http)

        assert isinstance(backend, Other)
        assert backend.http is http
        assert SECRET not in f"{backend!r} {backend.config!r} {backend.config}"
