"""Writes the parts of docs/ that follow from the code: ``python -m tests.support.docs`` (scripts/docs)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from backends.credentials.dropbox import main as dropbox_authorize
from backends.credentials.seafile import get_token, list_repo_ids
from local_cloud.commands import KEY, variable
from local_cloud.commands import main as local_cloud
from messaging.messages import schemas
from messaging.settings import PREFIX, Settings
from simcourier.cli import main as main_command
from tests.support.security import attempts_table, limits_table

DOCS = Path(__file__).parent.parent.parent / "docs"
FROM_HERE = "# From here on written by scripts/docs."
BEFORE, AFTER = "<!-- written by scripts/docs -->", "<!-- end -->"
BEFORE_CLOUD, AFTER_CLOUD = "<!-- of local-cloud, written by scripts/docs -->", "<!-- end of local-cloud -->"
# What a default depends on, in words.
COMPUTED = {
    "data_dir": "the user's data folder for `simcourier`",
    "broker_url": "`sqlite:///<data dir>/broker.db`",
    "database_url": "`sqlite:///<data dir>/simcourier.db`",
    "email_url": "`file://<data dir>/mail`",
    "email_from": "the user's name at this host",
}
WIDTH = 110
COMMANDS_HEAD = """# Commands

What each command says of itself with `--help`; written by scripts/docs. Shells [complete](operating.md#in-the-shell)
them. The settings that they share are in [settings.md](settings.md).
"""
PROGRAMS: Mapping[str, click.Command] = {
    "local-cloud": local_cloud,
    "dropbox-authorize": dropbox_authorize,
    "seafile-get-token": get_token,
    "seafile-list-repo-ids": list_repo_ids,
}
OF_KEY = "One upload key itself, called default; better in the file of `SIMCOURIER_LOCAL_CLOUD_KEY_FILE`."


def with_schemas(document: str) -> str:
    """The text of docs/asyncapi.yaml with the messages' schemas as they are now."""
    head, _, _ = document.partition(FROM_HERE)
    text = yaml.safe_dump(flat_schemas(), sort_keys=False, allow_unicode=True, width=110)
    indented = "".join(f"    {line}\n" if line else "\n" for line in text.splitlines())
    return f"{head}{FROM_HERE}\n  schemas:\n{indented}"


def flat_schemas() -> dict[str, Any]:
    """All schemas side by side, since ``#/$defs`` would be looked for at the top of an AsyncAPI document."""
    flat: dict[str, Any] = {}
    for schema in schemas().values():
        definitions = schema.pop("$defs")
        flat[schema["title"]] = schema
        for name, definition in definitions.items():
            assert flat.setdefault(name, definition) == definition, f"two schemas are called {name}"
    moved = _moved(flat)
    assert isinstance(moved, dict)
    return moved


def with_settings(document: str) -> str:
    """The text of docs/settings.md with the tables of settings as they are now."""
    document = _with_table(document, BEFORE, AFTER, [_row(name) for name in Settings.model_fields])
    return _with_table(
        document, BEFORE_CLOUD, AFTER_CLOUD, [*map(_cloud_row, cloud_options()), f"| `{KEY}` |  | {OF_KEY} |"]
    )


def with_security(document: str) -> str:
    """The text of docs/security.md with its tables as they are now."""
    for name, lines in (("limits", limits_table()), ("attempts", attempts_table())):
        before, after = f"<!-- {name}, written by scripts/docs -->", f"<!-- end of {name} -->"
        head, _, rest = document.partition(before)
        _, _, tail = rest.partition(after)
        document = "\n".join([f"{head}{before}", *lines, f"{after}{tail}"])
    return document


def commands() -> str:
    """The text of docs/commands.md: what each command says of itself with ``--help``."""
    programs = {"simcourier": main_command, **PROGRAMS}
    parts = [part for name, program in programs.items() for part in _helps(program, name)]
    return "\n".join([COMMANDS_HEAD, *parts])


def _helps(command: click.Command, name: str, parent: click.Context | None = None, level: int = 2) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    yield f"{'#' * level} {context.command_path}\n\n```text\n{_plain_help(context)}\n```\n"
    if not isinstance(command, click.Group):
        return
    for inner in command.list_commands(context):
        found = command.get_command(context, inner)
        if found is not None and not found.hidden and inner not in PROGRAMS:
            yield from _helps(found, inner, context, level + 1)


def _plain_help(context: click.Context) -> str:
    formatter = click.HelpFormatter(width=WIDTH)
    context.command.format_help(context, formatter)
    return "\n".join(line.rstrip() for line in formatter.getvalue().rstrip().splitlines())


def cloud_options() -> list[click.Option]:
    """Those that ``local-cloud`` also reads from the environment."""
    return [one for one in local_cloud.params if isinstance(one, click.Option) and one.name]


def _with_table(document: str, before: str, after: str, rows: list[str]) -> str:
    table = "\n".join(["| variable | default | |", "|---|---|---|", *rows])
    return re.sub(f"{before}.*{after}", lambda _: f"{before}\n{table}\n{after}", document, flags=re.DOTALL)


def _cloud_row(option: click.Option) -> str:
    default = f"`{option.default}`" if option.show_default else ""
    return f"| `{variable(option)}` | {default} | {(option.help or '').replace('|', ' or ')} |"


def _row(name: str) -> str:
    field = Settings.model_fields[name]
    default = COMPUTED.get(name) or ("" if field.default in {None, "", ()} else f"`{field.default}`")
    return f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |"


def _moved(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            key: value.replace("#/$defs/", "#/components/schemas/") if key == "$ref" else _moved(value)
            for key, value in part.items()
        }
    return [_moved(one) for one in part] if isinstance(part, list) else part


def main() -> None:
    """Write them."""
    (DOCS / "commands.md").write_text(commands(), "utf-8")
    for name, renew in (
        ("asyncapi.yaml", with_schemas),
        ("settings.md", with_settings),
        ("security.md", with_security),
    ):
        file = DOCS / name
        file.write_text(renew(file.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
