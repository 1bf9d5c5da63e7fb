"""``seafile-get-token`` and ``seafile-list-repo-ids`` at a terminal, against the stand-in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from backends.credentials.common import visible
from backends.http import session
from backends.seafile import Config, Seafile
from tests.standins.seafile.client import SeafileStandin
from tests.support.pages import adapted, blocks, with_programs
from tests.support.terminal import Terminal, at_terminal

ENTRY = "backends.credentials.seafile"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeafileStandin]:
    with SeafileStandin(tmp_path_factory.mktemp("seafile")) as standin:
        yield standin


@pytest.fixture
def service(running: SeafileStandin) -> Iterator[SeafileStandin]:
    yield running
    running.reset()


def get_token(service: SeafileStandin, *arguments: str) -> Terminal:
    return at_terminal(f"{ENTRY}:get_token", "seafile-get-token", *arguments,
                    environment={"SIMCOURIER_SEAFILE_SERVER": service.server})  # fmt: skip


def list_repo_ids(service: SeafileStandin, *arguments: str) -> Terminal:
    return at_terminal(f"{ENTRY}:list_repo_ids", "seafile-list-repo-ids", *arguments,
                    environment={"SIMCOURIER_SEAFILE_SERVER": service.server})  # fmt: skip


def sign_in(service: SeafileStandin, terminal: Terminal) -> Terminal:
    terminal.answer("User name:", service.facts["user"])
    terminal.answer("Password:", service.facts["password"])
    return terminal


def test_it_prints_the_token_and_shows_neither_it_nor_the_password(service: SeafileStandin) -> None:
    terminal = sign_in(service, get_token(service))

    code, told = terminal.end()

    assert (code, told) == (0, f"{service.facts['token']}\n")
    assert service.facts["token"] not in terminal.shown
    assert service.facts["password"] not in terminal.shown
    assert "is not encrypted: passwords and tokens can be read on the way" in terminal.shown


def test_with_a_library_it_prints_a_config_that_works(service: SeafileStandin) -> None:
    terminal = sign_in(service, get_token(service, "--repoid", service.facts["repoid"]))

    code, told = terminal.end()

    assert code == 0, terminal.shown
    assert json.loads(told) == service.config | {"server": service.server}
    assert "It works: library '" in terminal.shown
    with session() as http:
        assert Seafile(Config.model_validate(json.loads(told)), http).check().account


def test_the_code_of_a_second_factor_is_asked_for(service: SeafileStandin) -> None:
    service.change(two_factor=True)
    terminal = sign_in(service, get_token(service))
    terminal.answer("Code of the second factor:", service.facts["one_time"])
    assert terminal.end() == (0, f"{service.facts['token']}\n")

    terminal = sign_in(service, get_token(service))
    terminal.answer("Code of the second factor:", "000000")
    assert "does not accept the code" in terminal.refused()


@pytest.mark.parametrize("translated", [False, True])
def test_a_wrong_password_is_told_in_a_sentence(service: SeafileStandin, translated: bool) -> None:
    service.change(translated=translated)
    terminal = get_token(service, "--username", service.facts["user"])
    terminal.answer("Password:", "not-the-password")

    assert "does not accept user name and password" in terminal.refused()
    assert "not-the-password" not in terminal.shown


def test_a_library_that_cannot_be_used_is_told_before_a_config_is_printed(service: SeafileStandin) -> None:
    service.change(encrypted=True)
    terminal = sign_in(service, get_token(service, "--repoid", service.facts["repoid"]))

    assert "is encrypted" in terminal.refused()


def test_what_is_no_identifier_of_a_library_is_wrong_use_before_a_password_is_asked_for(
    service: SeafileStandin,
) -> None:
    terminal = get_token(service, "--repoid", "results")

    assert terminal.end() == (2, "")
    assert "'results' is not a valid UUID" in terminal.shown
    assert "Password" not in terminal.shown


@pytest.mark.parametrize("token", ["token", "repo_token"])
def test_libraries_are_listed_by_a_token_from_a_file(service: SeafileStandin, tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(f"{service.facts[token]}\n")

    code, told = list_repo_ids(service, "--token-file", str(tmp_path / "token"), "--json").end()

    assert code == 0
    (row,) = [row for row in json.loads(told) if not row["trouble"]]
    assert row == {"repoid": service.facts["repoid"], "name": "Simulation results", "trouble": ""}


def test_a_library_is_listed_once_though_it_comes_by_a_group_too_and_parts_of_one_are_not(
    service: SeafileStandin,
) -> None:
    code, told = sign_in(service, list_repo_ids(service)).end()

    assert code == 0
    usable, other = told.splitlines()
    assert usable == f"{service.facts['repoid']}  Simulation results"
    assert "read-only: cannot be used" in other


def test_a_library_that_cannot_be_used_is_listed_with_the_reason(service: SeafileStandin) -> None:
    service.change(encrypted=True)
    terminal = sign_in(service, list_repo_ids(service))

    code, told = terminal.end()

    assert code == 0, terminal.shown
    (line,) = [line for line in told.splitlines() if line.startswith(service.facts["repoid"])]
    assert "encrypted: cannot be used" in line


@pytest.mark.parametrize(("content", "told"), [("x" * 40, "does not accept the token"), ("", "one word of letters")])
def test_a_token_that_is_none_is_told(service: SeafileStandin, tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "token").write_text(content)

    assert told in list_repo_ids(service, "--token-file", str(tmp_path / "token")).refused()


@pytest.mark.parametrize(
    ("server", "told"), [("http://127.0.0.1:1", "cannot be reached"), ("ftp://files.example.org", "is expected")]
)
def test_a_wrong_server_is_told_in_a_sentence(service: SeafileStandin, server: str, told: str) -> None:
    terminal = get_token(service, "--server", server, "--username", "anna")
    if told == "cannot be reached":
        terminal.answer("Password:", "any")
        assert told in terminal.refused()
    else:
        assert terminal.end() == (2, "")
        assert told in terminal.shown


def test_a_fleet_that_signs_in_too_often_is_told_to_wait(service: SeafileStandin) -> None:
    """Logins are counted by address, five a minute on many servers."""
    service.change(anonymous_limit=1)
    assert sign_in(service, get_token(service)).end()[0] == 0

    assert re.search(r"asks to wait for ([1-5]?\d|60) s", sign_in(service, get_token(service)).refused())


def test_being_throttled_is_told_with_the_time(service: SeafileStandin) -> None:
    service.fail("throttled", value=17)
    terminal = sign_in(service, get_token(service))

    assert "asks to wait for 17 s" in terminal.refused()


def test_a_librarys_name_is_shown_as_the_terminal_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", TextIOWrapper(BytesIO(), encoding="latin-1"))

    assert visible("Grüße \x1b[2J \N{SNOWMAN}") == r"Grüße \ufffd[2J \u2603"


@pytest.mark.full
def test_the_commands_of_the_page_make_a_definition_that_works(service: SeafileStandin, tmp_path: Path) -> None:
    (commands,) = blocks("docs/backends/seafile.md", "The definition")
    here = {
        "https://seafile.example.org": service.server,
        "anna@example.org": service.facts["user"],
        "4bf08b7c-0e1e-4f58-8d2a-3d4e7a2a9a01": service.facts["repoid"],
    }
    environment = with_programs({"SIMCOURIER_DATA_DIR": str(tmp_path / "data"), "SIMCOURIER_SECRET_KEY": "k" * 32})
    terminal = Terminal(["sh", "-ec", adapted(commands, here)], environment=environment, folder=tmp_path)
    for _ in range(2):
        terminal.answer("Password:", service.facts["password"])

    code, told = terminal.end()

    assert code == 0, terminal.shown
    assert told.startswith(f"{service.facts['repoid']}  Simulation results\n")
    assert "delete: the file and its link are gone" in told
    assert not (tmp_path / "seafile.json").exists()
