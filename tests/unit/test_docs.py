"""The documentation agrees with the code, and nothing in it leads nowhere."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from local_cloud.commands import KEY, variable
from messaging.messages import digest, parse_event
from messaging.settings import PREFIX, Settings, load
from messaging.topology import Topology
from simcourier._version import __version__
from simcourier.cli import main
from tests.support.docs import cloud_options, commands, with_settings
from tests.support.pages import only_settings

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "docs" / "examples" / "simulation-completed.json"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def test_the_table_of_settings_is_that_of_the_code() -> None:
    text = (ROOT / "docs" / "settings.md").read_text("utf-8")

    assert with_settings(text) == text, "run scripts/docs"
    assert "Undefined" not in text
    assert all(f"`{PREFIX}{name.upper()}`" in text for name in Settings.model_fields)


def test_the_page_of_commands_is_what_they_say_of_themselves() -> None:
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")

    assert commands() == text, "run scripts/docs"
    assert "\n### simcourier publish\n" in text


def test_every_variable_that_a_page_names_is_a_setting() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known}
    known |= {variable(option) for option in cloud_options()} | {KEY}

    named = {name for page in PAGES for name in re.findall(r"\bSIMCOURIER_[A-Z_]+[A-Z]\b", page.read_text("utf-8"))}

    assert {name for name in named - known if not name.startswith("SIMCOURIER_TEST_")} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_to_a_file_of_ours_leads_to_one(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text("utf-8")) if "://" not in target]

    assert [target for target in targets if not (page.parent / target.partition("#")[0]).exists()] == []


def settings_files() -> list[tuple[str, str]]:
    """Blocks of the pages that hold settings and nothing else."""
    return [
        (f"{page.name}: {block.splitlines()[0]}", block)
        for page in PAGES
        for block in re.findall(r"```(?:sh)?\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        if only_settings(block)
    ]


@pytest.mark.parametrize(("name", "block"), settings_files(), ids=lambda value: value.partition("\n")[0])
def test_a_file_of_settings_that_a_page_shows_can_be_read(name: str, block: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of thirty-two characters, or more")
    file = tmp_path / "shown.env"
    file.write_text(
        block.replace("/run/secrets/simcourier_secret_key", f"{tmp_path}/secret").replace("...", "a secret key " * 4)
    )

    settings = load({}, file)

    assert not any("#" in root for root in settings.results_roots), name


def test_the_example_event_is_one() -> None:
    event = parse_event(EXAMPLE.read_bytes())

    assert event.routing_key == "simulation.completed.single"
    assert digest(EXAMPLE.read_bytes())


def test_the_page_on_messages_names_the_exchange_and_every_field_of_an_event() -> None:
    text = (ROOT / "docs" / "messages.md").read_text("utf-8")
    fields = {
        field.alias or name
        for part in (type(parse_event(EXAMPLE.read_bytes()).data),)
        for name, field in part.model_fields.items()
    }

    assert Topology().exchange in text
    assert [name for name in sorted(fields) if f"`{name}`" not in text] == []


def test_the_changelog_has_a_place_for_what_is_new() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert "## [Unreleased]" in text
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|[ab]\d+|rc\d+)?", __version__)
    assert "version" in project["dynamic"]


def test_the_picture_of_the_way_is_well_formed_and_has_a_title_and_a_description() -> None:
    text = (ROOT / "docs" / "way.svg").read_text("utf-8")

    assert re.search(r"<title[^>]*>[^<]+</title>", text)
    assert re.search(r"<desc[^>]*>[^<]+</desc>", text)
    assert "<text" in text
    assert "<script" not in text


def shell_lines() -> list[tuple[str, list[str]]]:
    """Every line of our own commands in the pages' shell blocks, as words."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```(?:sh)?\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                command = re.search(r"(?:^|[|\s])(?:\.venv/bin/)?(simcourier|local-cloud) (?!manage)(.*)", line)
                if command and not line.lstrip().startswith("#"):
                    words = shlex.split(command.group(2), comments=True)
                    own = ["local-cloud"] if command.group(1) == "local-cloud" else []
                    found.append((f"{page.name}: {line.strip()}", [*own, *words]))
    return found


@pytest.mark.parametrize(("line", "words"), shell_lines(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_that_a_page_shows_exists_with_its_options(line: str, words: list[str]) -> None:
    command: click.Command = main
    rest = list(words)
    while isinstance(command, click.Group) and rest:
        if rest[0] == "--env-file":
            del rest[:2]
            continue
        found = command.get_command(click.Context(command), rest.pop(0))
        assert found is not None, line
        command = found
        if rest and rest[0].startswith("--"):
            break  # a group's own options
    rest = rest[: rest.index("--")] if "--" in rest else rest  # behind it stands somebody else's command
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    asked = {word.partition("=")[0] for word in rest if word.startswith("--")}

    assert asked <= known | {"--help"}, line
