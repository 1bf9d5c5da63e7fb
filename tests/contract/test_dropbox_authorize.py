"""``dropbox-authorize`` at a terminal, against the stand-in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.standins.dropbox.client import DropboxStandin
from tests.support.dropbox import plugin_at
from tests.support.local_cloud import session
from tests.support.pages import adapted, blocks, with_programs
from tests.support.terminal import Terminal, at_terminal


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DropboxStandin]:
    with DropboxStandin(tmp_path_factory.mktemp("dropbox")) as standin:
        yield standin


def authorize(service: DropboxStandin, *arguments: str, **environment: str) -> Terminal:
    entry = "backends.credentials.dropbox:main"
    return at_terminal(entry, "dropbox-authorize", *arguments, environment=service.environment | environment)


def code_of(service: DropboxStandin, terminal: Terminal) -> str:
    """Open the address that is shown, and allow the access."""
    terminal.read_until(lambda: "Code:" in terminal.shown)
    found = re.search(r"https://\S+", terminal.shown)
    assert found is not None
    with session() as http:
        page = http.get(found.group(), verify=service.facts["ca"], timeout=120).text
    match = re.search(r'data-token="([^"]+)"', page)
    assert match is not None, page
    return match.group(1)


@pytest.mark.parametrize("with_secret", [True, False])
def test_what_it_prints_is_a_config_that_works(service: DropboxStandin, with_secret: bool) -> None:
    secret = service.config["app_secret"]
    terminal = authorize(service)
    terminal.answer("App key:", service.config["app_key"])
    terminal.answer("App secret (may be empty):", secret if with_secret else "")
    terminal.answer("Code:", code_of(service, terminal))

    code, told = terminal.end()

    config = json.loads(told)
    assert code == 0, terminal.shown
    assert config.keys() == {"app_key", "refresh_token"} | ({"app_secret"} if with_secret else set())
    assert "It works: Dropbox of Anna Example (anna@example.org)." in terminal.shown
    assert secret not in terminal.shown
    assert config["refresh_token"] not in terminal.shown
    with plugin_at(service) as plugin, session() as http:
        http.verify = str(service.facts["ca"])
        assert plugin(plugin.Config.model_validate(config), http).check().account


def test_the_address_asks_for_the_permissions_that_the_plugin_needs_and_no_others(service: DropboxStandin) -> None:
    terminal = authorize(service, "--app-key", service.config["app_key"])
    terminal.answer("App secret (may be empty):", "")
    code_of(service, terminal)

    assert "token_access_type=offline" in terminal.shown
    assert "code_challenge_method=S256" in terminal.shown
    scope = "account_info.read+files.content.write+files.metadata.read+sharing.read+sharing.write"
    assert f"scope={scope}&" in terminal.shown or re.search(rf"scope={re.escape(scope)}\s", terminal.shown)
    terminal.answer("Code:", "wrong")
    assert terminal.end()[0] == 1


def test_a_wrong_code_is_told_in_a_sentence(service: DropboxStandin) -> None:
    terminal = authorize(service, "--app-key", service.config["app_key"])
    terminal.answer("App secret (may be empty):", "")
    terminal.answer("Code:", "wrong")

    assert "does not accept the code" in terminal.refused()


def test_a_wrong_app_key_is_told_in_a_sentence(service: DropboxStandin) -> None:
    terminal = authorize(service, "--app-key", "another")
    terminal.answer("App secret (may be empty):", "")
    terminal.answer("Code:", "any")

    assert "does not know this app key" in terminal.refused()


def test_a_wrong_app_secret_is_noticed_before_the_config_is_printed(service: DropboxStandin) -> None:
    terminal = authorize(service, "--app-key", service.config["app_key"])
    terminal.answer("App secret (may be empty):", "not-the-secret")
    terminal.answer("Code:", code_of(service, terminal))

    sentence = terminal.refused()

    assert "app key and app secret are not those of one app" in sentence
    assert "not-the-secret" not in terminal.shown


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("unavailable", "answered 503; try again later"),
        ("throttled_text", "answered 429; try again later"),
        ("no_json", "refused the code"),
    ],
)
def test_trouble_at_dropbox_is_told_in_a_sentence(service: DropboxStandin, fault: str, told: str) -> None:
    terminal = authorize(service, "--app-key", service.config["app_key"])
    terminal.answer("App secret (may be empty):", "")
    code = code_of(service, terminal)
    service.fail(fault, route="oauth2/token")
    terminal.answer("Code:", code)

    assert told in terminal.refused()


def test_no_way_to_dropbox_is_told_in_a_sentence(service: DropboxStandin) -> None:
    terminal = authorize(service, "--app-key", "any", DROPBOX_API_HOST="127.0.0.1:1")
    terminal.answer("App secret (may be empty):", "")
    terminal.answer("Code:", "any")

    assert "cannot be reached" in terminal.refused()


@pytest.mark.parametrize("key", ["two words", "schlüssel"])
def test_an_app_key_that_is_none_is_wrong_use(service: DropboxStandin, key: str) -> None:
    terminal = authorize(service, "--app-key", key)

    code, told = terminal.end()

    assert (code, told) == (2, "")
    assert "copy it from the app console" in terminal.shown


@pytest.mark.full
def test_the_commands_of_the_page_make_a_definition_that_works(service: DropboxStandin, tmp_path: Path) -> None:
    (commands,) = blocks("docs/backends/dropbox.md", "The definition")
    script = adapted(commands, {"6l0yfzz4pwimdn8": service.config["app_key"]})
    environment = service.environment | {
        "SIMCOURIER_DATA_DIR": str(tmp_path / "data"),
        "SIMCOURIER_SECRET_KEY": "k" * 32,
    }
    terminal = Terminal(["sh", "-ec", script], environment=with_programs(environment), folder=tmp_path)
    terminal.answer("App secret (may be empty):", "")
    terminal.answer("Code:", code_of(service, terminal))

    code, told = terminal.end()

    assert code == 0, terminal.shown
    assert "Dropbox of Anna Example (anna@example.org)" in told
    assert "delete: the file and its link are gone" in told
    assert not (tmp_path / "dropbox.json").exists()
