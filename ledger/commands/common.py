"""What the ledger's commands share: a ledger that is ready, and how lists and moments are printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import click

from ledger.site import make_data_dir, prepare
from messaging.cli import settings_of
from messaging.errors import UserError
from messaging.settings import Settings
from messaging.terminal import printable, say

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class NotFound(UserError):
    """Nothing is known under this name."""


def prepared(ctx: click.Context) -> Settings:
    """The settings, after Django was started and the tables were seen to be there."""
    settings = settings_of(ctx)
    make_data_dir(settings.data_dir)
    prepare(settings, ctx.info_name or "command")
    return settings


def print_table(head: list[str], rows: Iterable[list[str]], nothing: str) -> None:
    """Columns as wide as their widest cell; ``nothing`` is told where there are no rows."""
    table = [head, *rows]
    if len(table) == 1:
        click.echo(nothing, err=not sys.stdout.isatty())
        return
    table = [[printable(cell) for cell in row] for row in table]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for row in table:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_json(value: Any) -> None:
    """Indented JSON; moments as RFC 3339."""
    say(json.dumps(value, indent=2, default=_plain))


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def moment(value: datetime | None) -> str:
    """A moment for people, in UTC."""
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if value else ""
