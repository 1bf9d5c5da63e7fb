"""``dropbox-authorize`` at a terminal, against the stand-in."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.standins.dropbox.client import DropboxStandin
from tests.support.dropbox import plugin_at
from tests.support.local_cloud import session

COMMAND = [
    sys.executable, "-c", "from backends.credentials.dropbox import main; main(prog_name='dropbox-authorize')",
]  # fmt: skip


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DropboxStandin]:
    with DropboxStandin(tmp_path_factory.mktemp("dropbox")) as standin:
        yield standin


class Terminal:
    """The command, with a terminal for its questions and a pipe for its result."""

    def __init__(self, service: DropboxStandin, *arguments: str, **environment: str) -> None:
        self._service = service
        self._ours, theirs = os.openpty()
        self.shown = ""
        self._process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            env={**os.environ, **service.environment, **environment},
            start_new_session=True,
        )
        os.close(theirs)

    def answer(self, question: str, text: str) -> None:
        """Type when it is asked for."""
        self._read_until(lambda: question in self.shown.rpartition("\n")[2])
        os.write(self._ours, f"{text}\n".encode())
        self._read_until(lambda: question not in self.shown.rpartition("\n")[2])

    def code(self) -> str:
        """Open the address that is shown, and allow the access."""
        self._read_until(lambda: "Code:" in self.shown)
        found = re.search(r"https://\S+", self.shown)
        assert found is not None
        with session() as http:
            page = http.get(found.group(), verify=self._service.facts["ca"], timeout=30).text
        match = re.search(r'data-token="([^"]+)"', page)
        assert match is not None, page
        return match.group(1)

    def end(self) -> tuple[int, str]:
        """Its exit code, and what it wrote to standard output."""
        assert self._process.stdout is not None
        told = self._process.stdout.read().decode()
        self._process.stdout.close()
        code = self._process.wait(30)
        self._read_until(lambda: False)
        os.close(self._ours)
        return code, told

    def _read_until(self, seen: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not seen():
            assert time.monotonic() < deadline, self.shown
            if self._process.poll() is not None and not select.select([self._ours], [], [], 0)[0]:
                return
            if select.select([self._ours], [], [], 0.2)[0]:
                try:
                    self.shown += os.read(self._ours, 4096).decode()
                except OSError:  # the other end is closed
                    return


@pytest.mark.parametrize("with_secret", [True, False])
def test_what_it_prints_is_a_config_that_works(service: DropboxStandin, with_secret: bool) -> None:
    secret = service.config["app_secret"]
    terminal = Terminal(service)
    terminal.answer("App key:", service.config["app_key"])
    terminal.answer("App secret (may be empty):", secret if with_secret else "")
    terminal.answer("Code:", terminal.code())

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
    terminal = Terminal(service, "--app-key", service.config["app_key"])
    terminal.answer("App secret (may be empty):", "")
    terminal.code()

    assert "token_access_type=offline" in terminal.shown
    assert "code_challenge_method=S256" in terminal.shown
    scope = "account_info.read+files.content.write+files.metadata.read+sharing.read+sharing.write"
    assert f"scope={scope}&" in terminal.shown or re.search(rf"scope={re.escape(scope)}\s", terminal.shown)
    terminal.answer("Code:", "wrong")
    assert terminal.end()[0] == 1


def refused(terminal: Terminal) -> str:
    """The one sentence that it ended with."""
    code, told = terminal.end()
    assert (code, told) == (1, ""), terminal.shown
    assert "Traceback" not in terminal.shown
    lines = terminal.shown.replace("\r", "").strip().splitlines()
    assert [line for line in lines if line.startswith("Error: ")] == lines[-1:]
    return lines[-1]


def test_a_wrong_code_is_told_in_a_sentence(service: DropboxStandin) -> None:
    terminal = Terminal(service, "--app-key", service.config["app_key"])
    terminal.answer("App secret (may be empty):", "")
    terminal.answer("Code:", "wrong")

    assert "does not accept the code" in refused(terminal)


def test_a_wrong_app_key_is_told_in_a_sentence(service: DropboxStandin) -> None:
    terminal = Terminal(service, "--app-key", "another")
    terminal.answer("App secret (may be empty):", "")
    terminal.answer("Code:", "any")

    assert "does not know this app key" in refused(terminal)


def test_a_wrong_app_secret_is_noticed_before_the_config_is_printed(service: DropboxStandin) -> None:
    terminal = Terminal(service, "--app-key", service.config["app_key"])
    terminal.answer("App secret (may be empty):", "not-the-secret")
    terminal.answer("Code:", terminal.code())

    sentence = refused(terminal)

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
    terminal = Terminal(service, "--app-key", service.config["app_key"])
    terminal.answer("App secret (may be empty):", "")
    code = terminal.code()
    service.fail(fault, route="oauth2/token")
    terminal.answer("Code:", code)

    assert told in refused(terminal)


def test_no_way_to_dropbox_is_told_in_a_sentence(service: DropboxStandin) -> None:
    terminal = Terminal(service, "--app-key", "any", DROPBOX_API_HOST="127.0.0.1:1")
    terminal.answer("App secret (may be empty):", "")
    terminal.answer("Code:", "any")

    assert "cannot be reached" in refused(terminal)


@pytest.mark.parametrize("key", ["two words", "schlüssel"])
def test_an_app_key_that_is_none_is_wrong_use(service: DropboxStandin, key: str) -> None:
    terminal = Terminal(service, "--app-key", key)

    code, told = terminal.end()

    assert (code, told) == (2, "")
    assert "copy it from the app console" in terminal.shown
