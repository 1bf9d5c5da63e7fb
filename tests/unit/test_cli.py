"""The front door: every command explains itself, errors are sentences with exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from messaging.cli import SpokenGroup
from messaging.errors import UserError
from messaging.settings import WrongSetting
from simcourier._version import __version__
from simcourier.cli import COMMANDS, main

# Hands everything, --help too, to Django.
DJANGO = "manage"


def all_commands() -> Iterator[tuple[str, click.Command]]:
    """Every command that can be typed, with its words."""
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        yield from with_subcommands(name, command)


def with_subcommands(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from with_subcommands(f"{words} {name}", inner)


def in_a_process(*arguments: str, code: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """``simcourier`` as a user runs it, with ``code`` before it."""
    program = f"{code}\nfrom simcourier.cli import main\nmain(prog_name='simcourier')"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SIMCOURIER_")}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=clean | environ,
    )


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != DJANGO])
def test_the_help_of_a_command_and_of_its_subcommands_shows_an_example(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None

    without = []
    for words, _ in with_subcommands(name, command):
        result = CliRunner().invoke(main, [*words.split(), "--help"])
        assert result.exit_code == 0, words
        if "Example" not in result.stdout:
            without.append(words)

    assert without == []


def test_every_list_command_has_json() -> None:
    lists = {words: command for words, command in all_commands() if words.endswith(" list")}

    assert {"spool list", "deliveries list", "dead list", "backends list"} <= lists.keys()
    assert [
        words for words, command in lists.items() if not any("--json" in option.opts for option in command.params)
    ] == []


def test_the_help_lists_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])

    assert result.exit_code == 0
    assert [name for name in COMMANDS if f"  {name} " not in result.stdout] == []


def test_no_help_leaves_the_end_of_a_sentence_out_or_an_option_unexplained() -> None:
    cut, unexplained = [], []
    for words, command in all_commands():
        if isinstance(command, click.Group):
            told = CliRunner().invoke(main, [*words.split(), "--help"]).stdout
            cut += [line for line in told.splitlines() if line.endswith("...") and "[ARGS]" not in line]
        options = [one for one in command.params if isinstance(one, click.Option)]
        unexplained += [f"{words} {one.opts[0]}" for one in options if not (one.help or "").partition("[default")[0]]

    assert cut == []
    assert unexplained == []


def test_the_help_of_the_list_of_deliveries_names_every_state() -> None:
    from ledger.states import State

    told = " ".join(CliRunner().invoke(main, ["deliveries", "list", "--help"]).stdout.split())

    assert [state for state in State.values if state not in told] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("publsh", "No such command 'publsh'. Did you mean 'publish'?"),
        ("worker --no-results --no-recorder --no-sweep", "Nothing is left to do; leave out one of"),
        ("demo --keep {file}", "'{file}' is a file."),
        ("dead discard --all 3", "Say which, in one way: by their numbers, by --all, or by --queue and --reason."),
        ("publish {folder} --to a@example.org --backend local --parameter a=1", "to a campaign, and none is named."),
        ("--env-file /nowhere/at/all where 1", "/nowhere/at/all cannot be read (No such file or directory)."),
    ],
)
def test_wrong_use_is_told_in_words_that_help(words: str, told: str, tmp_path: Path) -> None:
    names = {"file": str(tmp_path / "file"), "folder": str(tmp_path)}
    (tmp_path / "file").touch()

    result = in_a_process(*words.format(**names).split(), SIMCOURIER_DATA_DIR=str(tmp_path / "data"))

    assert result.returncode == 2
    assert told.format(**names) in result.stderr


def test_the_version_is_printed() -> None:
    assert CliRunner().invoke(main, ["--version"]).stdout.split()[-1] == __version__


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["--nonsense"], ["schema", "nonsense"], ["publish"], ["spool", "nonsense"]]
)
def test_wrong_use_is_told_on_standard_error_with_exit_code_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)

    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(("error", "code"), [(UserError("Do this."), 1), (WrongSetting("Do that."), 2)])
def test_an_error_for_the_user_is_one_sentence_and_an_exit_code(error: UserError, code: int) -> None:
    @click.command()
    def fail() -> None:
        raise error

    result = CliRunner().invoke(SpokenGroup(commands={"fail": fail}), ["fail"])

    assert result.exit_code == code
    assert result.stderr == f"Error: {error}\n"
    assert result.stdout == ""


def test_a_wrong_setting_stops_a_command_and_is_named(tmp_path: Path) -> None:
    done = in_a_process(
        "spool", "list", SIMCOURIER_DATA_DIR=str(tmp_path), SIMCOURIER_BROKER_URL="redis://user:hunter2@host"
    )

    assert done.returncode == 2
    assert done.stderr.startswith("Error: SIMCOURIER_BROKER_URL ")
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_help_works_with_wrong_settings() -> None:
    done = in_a_process("publish", "--help", SIMCOURIER_BROKER_URL="redis://host")

    assert done.returncode == 0
    assert done.stderr == ""


def test_settings_are_read_from_the_env_file(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("SIMCOURIER_CONCURRENCY=many\n")

    done = in_a_process("--env-file", str(file), "spool", "list")

    assert done.returncode == 2
    assert done.stderr.startswith("Error: SIMCOURIER_CONCURRENCY should be ")


def test_a_command_whose_packages_are_missing_says_how_to_install_them() -> None:
    done = in_a_process("web", "--help", code="import sys; sys.modules['django'] = None")

    assert done.returncode == 1
    assert "needs the Python package django" in done.stderr
    assert "pip install '.[all]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_module_runs_as_the_command_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "simcourier", "--version"], capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 0
    assert __version__ in done.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 143)])
def test_a_command_that_is_told_to_end_puts_in_order_what_it_has_begun(number: signal.Signals, code: int) -> None:
    program = (
        "import time, messaging.cli\n"
        "messaging.cli.interruptible()\n"
        "try:\n    print('begun', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt:\n    raise SystemExit(1)\n"
        "finally:\n    print('in order')\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "begun\n"
        running.send_signal(number)

        assert running.communicate(timeout=120)[0] == "in order\n"

    assert running.returncode == code
