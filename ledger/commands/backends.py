"""``simcourier backends``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from ledger.commands import complete
from ledger.commands.common import NotFound, as_json_option, prepared, print_json, print_table
from messaging.cli import Group, interruptible
from messaging.terminal import say, say_json


@click.group(cls=Group, short_help="Definitions of storage backends.")
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
    told = ({**row, "active": "yes" if row["active"] else "no"} for row in rows)
    print_table(
        ["ID", "NAME", "KEEP DAYS", "ACTIVE", "HEALTH"],
        ([str(row[key]) for key in ("id", "name", "keep_days", "active", "health")] for row in told),
        "No storage backends; add one in the admin, or with 'simcourier backends add'.",
    )


@backends.command("add")
@click.argument("identifier", metavar="ID", shell_complete=complete.backends)
@click.option("--name", help="What people call it [default: the identifier].")
@click.option("--token-file", type=click.File("r"), help="File that holds the token; - for standard input.")
@click.option("--config-file", type=click.File("r"), help="File that holds the config (JSON); - for standard input.")
@click.option(
    "--keep-days",
    type=click.IntRange(0),
    help="Days after the mail for which archives are kept; 0: for ever [default: 30].",
)
@click.option("--description", help="For the people who choose one.")
@click.option("--active/--inactive", default=None, help="Whether events may name it [default: active].")
@click.pass_context
def add_backend(
    ctx: click.Context,
    identifier: str,
    *,
    name: str | None,
    token_file: Any,
    config_file: Any,
    keep_days: int | None,
    description: str | None,
    active: bool | None,
) -> None:
    """Add a definition, or change the one with this identifier: what is not given stays as it is.

    Secrets come from files, never from the command line.

    \b
    Example:
      echo 10.10.160.10:8976 | simcourier backends add local --token-file -
    """
    settings = prepared(ctx)
    from backends.registry import WrongConfig, admit, without_effect
    from ledger.definitions import define, definitions, parse_config

    before = next((one for one in definitions() if one.identifier == identifier), None)
    if before and all(given is None for given in (name, token_file, config_file, keep_days, description, active)):
        raise click.UsageError(f"'{identifier}' is there already, and nothing to change was given.")
    token = token_file.read().strip() if token_file else None
    config = parse_config(config_file.read()) if config_file else None
    old_token, old_config = (before.token.get_secret_value(), before.config_values()) if before else ("", {})
    try:
        admit(
            identifier,
            old_token if token is None else token,
            old_config if config is None else config,
            settings.site,
        )
    except WrongConfig as error:
        raise click.UsageError(str(error)) from error
    if hindrance := without_effect(identifier, token or "", old_config if config is None else config):
        raise click.UsageError(f"Backend token: {hindrance}")
    created = define(
        identifier,
        name=name,
        token=token,
        config=config,
        keep_days=keep_days,
        description=description,
        active=active,
    )
    click.echo(f"{identifier}: {'added' if created else 'changed'}.")


@backends.command("check")
@click.argument("identifiers", metavar="[ID]...", nargs=-1, shell_complete=complete.backends)
@as_json_option
@click.pass_context
def check_backends(ctx: click.Context, identifiers: tuple[str, ...], *, as_json: bool) -> None:
    """Try definitions out, all active ones if none is named: sign in, store a small file, link, fetch and delete it.

    Exit code 1 if a step does not work. A definition that works is marked healthy.

    \b
    Example:
      simcourier backends check local
    """
    settings = prepared(ctx)
    interruptible()  # what was stored is deleted
    from ledger.checks import check_definition
    from ledger.definitions import definitions

    known = {one.identifier: one for one in definitions()}
    unknown = [identifier for identifier in identifiers if identifier not in known]
    if unknown:
        raise NotFound(f"No storage backend has the identifier '{unknown[0]}'; there are {', '.join(known) or 'none'}.")
    report: dict[str, list[dict[str, Any]]] = {}
    for one in known.values():
        if one.identifier not in identifiers and (identifiers or not one.active):
            continue
        steps = report[one.identifier] = []
        for step in check_definition(one, settings.site):
            steps.append({"step": step.name, "ok": step.ok, "text": step.text})
            if not as_json:
                say(f"{one.identifier:<16}  {'ok    ' if step.ok else 'FAILED'}  {step.name}: {step.text}")
    if as_json:
        print_json(report)
    elif not report:
        click.echo("No active storage backends.")
    if not all(step["ok"] for steps in report.values() for step in steps):
        ctx.exit(1)


@backends.command("export")
@click.argument("identifiers", metavar="[ID]...", nargs=-1, shell_complete=complete.backends)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this new file, which its owner alone can read [default: standard output].",
)
@click.option("--with-secrets", is_flag=True, help="Tokens and configs too, in plain text; needs --output.")
@click.pass_context
def export_backends(
    ctx: click.Context, identifiers: tuple[str, ...], *, output: Path | None, with_secrets: bool
) -> None:
    """Write definitions, all if none is named, as JSON for 'backends import'; without their secrets unless asked for.

    \b
    Example:
      simcourier backends export --with-secrets -o backends.json
    """
    if with_secrets and output is None:
        raise click.UsageError("--with-secrets needs --output: secrets are not printed.")
    prepared(ctx)
    from ledger.definitions import definitions
    from ledger.exchange import exported

    chosen = [one for one in definitions() if not identifiers or one.identifier in identifiers]
    missing = set(identifiers) - {one.identifier for one in chosen}
    if missing:
        raise NotFound(f"No storage backend has the identifier '{min(missing)}'.")
    text = exported(chosen, secrets=with_secrets)
    if output is None:
        say_json(text)
        return
    try:
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise click.UsageError(f"{output} cannot be written ({error.strerror}); name a new file.") from error
    click.echo(f"{'1 definition is' if len(chosen) == 1 else f'{len(chosen)} definitions are'} in {output}.")


@backends.command("import")
@click.argument("source", metavar="FILE", type=click.File("rb"))
@click.option("--replace", is_flag=True, help="Change definitions that are there already.")
@click.pass_context
def import_backends(ctx: click.Context, source: Any, *, replace: bool) -> None:
    """Add the definitions of FILE: an export, or a dump of OPS on the Bench (dumpdata omnetppManager.storagebackend).

    Exit code 1 if a definition was refused; the others are imported.

    \b
    Example:
      simcourier backends import backends.json
    """
    settings = prepared(ctx)
    from ledger.definitions import definitions
    from ledger.exchange import import_definitions

    refused = 0
    known = [one.identifier for one in definitions()]
    try:
        text = source.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{source.name} is not UTF-8; save it as that.") from error
    for one in import_definitions(text, known, settings.site, replace=replace):
        reason = f": {one.reason.rstrip('.')}" if one.reason else ""
        refused += one.outcome == "refused"
        say(f"{one.identifier}: {one.outcome}{reason}.", err=one.outcome == "refused")
    ctx.exit(1 if refused else 0)


@backends.command("rotate-key")
@click.pass_context
def rotate_key(ctx: click.Context) -> None:
    """Encrypt all definitions with SIMCOURIER_SECRET_KEY; those of SIMCOURIER_SECRET_KEY_FALLBACKS are needed no more.

    \b
    Example:
      simcourier backends rotate-key
    """
    prepared(ctx)
    from ledger.definitions import encrypt_again

    click.echo(f"{encrypt_again()} definitions are encrypted with SIMCOURIER_SECRET_KEY.")
