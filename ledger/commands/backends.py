"""``simcourier backends``."""

from __future__ import annotations

import json
from typing import Any

import click

from ledger.commands.common import as_json_option, prepared, print_json, print_table


@click.group(short_help="Definitions of storage backends.")
def backends() -> None:
    """Definitions of storage backends.

    \b
    Example:
      simcourier backends list
    """


@backends.command("list")
@as_json_option
@click.pass_context
def list_backends(ctx: click.Context, *, as_json: bool) -> None:
    """List the definitions, without their secrets.

    \b
    Example:
      simcourier backends list --json
    """
    prepared(ctx)
    from ledger.definitions import definitions

    rows = [
        {
            "id": one.identifier,
            "name": one.name,
            "description": one.description,
            "keep_days": one.keep_days,
            "active": one.active,
            "health": one.unhealthy_reason or "ok",
        }
        for one in definitions()
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "NAME", "KEEP DAYS", "ACTIVE", "HEALTH"],
        ([str(row[key]) for key in ("id", "name", "keep_days", "active", "health")] for row in rows),
        "No storage backends; add one in the admin, or with 'simcourier backends add'.",
    )


@backends.command("add")
@click.argument("identifier", metavar="ID")
@click.option("--name", help="For people [default: the identifier].")
@click.option("--token-file", type=click.File("r"), help="File that holds the token; - for standard input.")
@click.option("--config-file", type=click.File("r"), help="File that holds the config (JSON); - for standard input.")
@click.option("--keep-days", type=click.IntRange(0), default=30, show_default=True, help="0: for ever.")
@click.option("--description", default="", help="For the people who choose one.")
@click.pass_context
def add_backend(
    ctx: click.Context,
    identifier: str,
    *,
    name: str | None,
    token_file: Any,
    config_file: Any,
    keep_days: int,
    description: str,
) -> None:
    """Add a definition, or bring the one with this identifier up to date. Secrets come from files, never from argv.

    \b
    Example:
      echo 10.10.160.10:8976 | simcourier backends add local --token-file -
    """
    prepared(ctx)
    from backends.registry import WrongConfig
    from backends.registry import configure as configure_plugin
    from ledger.definitions import define

    token = token_file.read().strip() if token_file else ""
    try:
        config = json.load(config_file) if config_file else {}
    except ValueError as error:
        raise click.UsageError(f"The config is no JSON: {error}.") from error
    try:
        configure_plugin(identifier, token, config)
    except WrongConfig as error:
        raise click.UsageError(str(error)) from error
    created = define(
        identifier, name=name or identifier, token=token, config=config, keep_days=keep_days, description=description
    )
    click.echo(f"{identifier}: {'added' if created else 'brought up to date'}.")
