"""A shell completes commands, options, and what the ledger knows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.shell_completion import ShellComplete

from messaging.settings import Settings
from simcourier.cli import main
from simcourier.completion import VARIABLE
from tests.support.commands import environ
from tests.support.events import event
from tests.support.ledger import SECRET, next_tick

if TYPE_CHECKING:
    from messaging.messages import SimulationCompleted

ASK = """
eval "$(simcourier completion bash)"
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_simcourier_completion simcourier
printf '%s\\n' "${COMPREPLY[@]}"
"""


def in_bash(*words: str, **settings: object) -> list[str]:
    """What bash offers for the last word, which is being typed."""
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", ASK, "bash", "simcourier", *words],
        env=environ(secret_key=SECRET, **settings) | path, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


def offered(*words: str) -> list[str]:
    """The same, asked of what the shells' scripts ask."""
    shell = ShellComplete(main, {}, "simcourier", VARIABLE)
    return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]


@pytest.fixture
def ledger(sqlite_ledger: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder with a ledger in it."""
    monkeypatch.setenv("SIMCOURIER_DATA_DIR", str(sqlite_ledger.data_dir))
    monkeypatch.setenv("SIMCOURIER_SECRET_KEY", SECRET)
    return sqlite_ledger.data_dir


def known(simulation_id: str, state: str) -> SimulationCompleted:
    from ledger.api import Deliveries
    from ledger.models import Delivery

    next_tick()  # the newest one is offered first
    one = event(simulation_id=simulation_id)
    Deliveries("host:1", lease=30, overdue=60).record(one, one.to_bytes(), None)
    Delivery.objects.filter(id=one.id).update(state=state)
    return one


def test_bash_is_offered_what_runs_are_called(ledger: Path) -> None:
    known("mm1-rho0.8", "FAILED")

    assert in_bash("where", "mm1-", data_dir=ledger) == ["mm1-rho0.8"]


def test_commands_and_options_are_offered_without_a_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = tmp_path / "none"
    monkeypatch.setenv("SIMCOURIER_DATA_DIR", str(missing))

    assert offered("w") == ["worker", "web", "where"]
    assert offered("deliveries", "re") == ["resend", "retry"]
    assert offered("deliveries", "list", "--state", "wa") == ["WAITING"]
    assert "--json" in offered("deliveries", "list", "--")
    assert offered("where", "") == []
    assert not missing.exists(), "asking changes nothing"


def test_ids_are_offered_where_they_make_sense(ledger: Path) -> None:
    from ledger.api import define

    del ledger
    define("local", token="127.0.0.1:1")
    failed, ended = known("mm1-rho0.8", "FAILED"), known("mm1-rho0.9", "DELIVERED")

    assert offered("where", "mm1-") == ["mm1-rho0.9", "mm1-rho0.8"]
    assert offered("where", str(failed.id)[:9]) == [str(failed.id)]
    assert offered("deliveries", "retry", "") == [str(failed.id)]
    assert set(offered("deliveries", "show", "")) == {str(failed.id), str(ended.id)}
    assert offered("backends", "check", "") == ["local"]
    assert offered("dead", "show", "") == []


def test_a_name_that_a_shell_would_take_for_more_than_one_word_is_not_offered(ledger: Path) -> None:
    del ledger
    one = known("$(touch x) *", "DELIVERED")

    assert offered("where", "") == [str(one.id)]


@pytest.mark.parametrize(("shell", "words"), [("bash", ["-n"]), ("zsh", ["-n"]), ("fish", ["--no-execute"])])
def test_the_script_of_each_shell_is_one_of_its_own(shell: str, words: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "simcourier", "completion", shell], capture_output=True, text=True, check=True
    )
    script = tmp_path / "script"
    script.write_text(done.stdout, "utf-8")

    assert "_SIMCOURIER_COMPLETE" in done.stdout
    if found := shutil.which(shell):
        subprocess.run([found, *words, script], check=True)
