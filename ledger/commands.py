"""``simcourier where | deliveries | dead | backends | web | manage``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from ledger.site import make_data_dir, prepare, setup
from messaging.cli import engine_of, settings_of
from messaging.errors import UserError
from messaging.logs import configure
from messaging.settings import Settings

if TYPE_CHECKING:
    from ledger.lookup import DeliveryView

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class NotFound(UserError):
    """Nothing is known under this name."""


@click.command(short_help="Where is my result?")
@click.argument("identifier", metavar="ID")
@as_json_option
@click.pass_context
def where(ctx: click.Context, identifier: str, *, as_json: bool) -> None:
    """Tell where a result is: ID is the event's id or the simulation's id.

    \b
    Example:
      simcourier where mm1-rho0.8-rep3
    """
    _prepare(ctx)
    from ledger.lookup import find

    found = find(identifier)
    if not found:
        raise NotFound(
            f"No delivery is known under '{identifier}'. If it was published just now, a moment may be missing; "
            "'simcourier spool list' shows events that have not left this machine."
        )
    if as_json:
        _print_json([view.as_json() for view in found])
        return
    for view in found:
        _describe(view)


@click.group(short_help="List and show deliveries; retry and cancel them.")
def deliveries() -> None:
    """List and show deliveries; retry and cancel them.

    \b
    Example:
      simcourier deliveries list --state FAILED
    """


@deliveries.command("list")
@click.option("--state", help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 10000), default=50, show_default=True, help="How many at most.")
@as_json_option
@click.pass_context
def list_deliveries(ctx: click.Context, state: str | None, limit: int, *, as_json: bool) -> None:
    """List the newest deliveries.

    \b
    Example:
      simcourier deliveries list --state WAITING --json
    """
    _prepare(ctx)
    from ledger.lookup import recent
    from ledger.states import State

    if state is not None and state.upper() not in State.values:
        raise click.UsageError(f"{state} is not a state; there are {', '.join(State.values)}.")
    views = recent(state=state.upper() if state else None, limit=limit)
    if as_json:
        _print_json([view.as_json() for view in views])
        return
    _print_table(
        ["ID", "STATE", "SIMULATION", "RECEIVED", "REASON"],
        ([str(view.id), view.state, view.simulation_id, _moment(view.received_at), view.reason] for view in views),
        "No deliveries.",
    )


@deliveries.command("show")
@click.argument("delivery_id", metavar="ID", type=click.UUID)
@as_json_option
@click.pass_context
def show_delivery(ctx: click.Context, delivery_id: UUID, *, as_json: bool) -> None:
    """Show everything about one delivery.

    \b
    Example:
      simcourier deliveries show 6f1c1a52-6a3c-4f0e-9d4b-0d6f4a3f0f4e
    """
    _prepare(ctx)
    from ledger.lookup import find

    found = find(str(delivery_id))
    if not found:
        raise NotFound(f"No delivery has the id {delivery_id}.")
    if as_json:
        _print_json(found[0].as_json())
    else:
        _describe(found[0])


@deliveries.command("retry")
@click.argument("delivery_ids", metavar="ID...", type=click.UUID, nargs=-1, required=True)
@click.pass_context
def retry_deliveries(ctx: click.Context, delivery_ids: tuple[UUID, ...]) -> None:
    """Start failed deliveries again; they go on where they stopped.

    \b
    Example:
      simcourier deliveries retry 6f1c1a52-6a3c-4f0e-9d4b-0d6f4a3f0f4e
    """
    settings = _prepare(ctx)
    from ledger.deliveries import retry
    from ledger.sweep import stamp, wake_up

    refused = _each(delivery_ids, retry, "will be tried again", "is not FAILED")
    with engine_of(settings).publisher() as publisher:
        for delivery_id in delivery_ids:
            message = wake_up(delivery_id)
            if message is not None:  # should this not arrive, the sweep wakes it
                publisher.publish(message)
                stamp(delivery_id)
    ctx.exit(1 if refused else 0)


@deliveries.command("cancel")
@click.argument("delivery_ids", metavar="ID...", type=click.UUID, nargs=-1, required=True)
@click.pass_context
def cancel_deliveries(ctx: click.Context, delivery_ids: tuple[UUID, ...]) -> None:
    """Cancel deliveries that have not ended; nobody is mailed.

    \b
    Example:
      simcourier deliveries cancel 6f1c1a52-6a3c-4f0e-9d4b-0d6f4a3f0f4e
    """
    _prepare(ctx)
    from ledger.deliveries import cancel

    refused = _each(delivery_ids, cancel, "is cancelled", "has ended already or is not known")
    ctx.exit(1 if refused else 0)


@click.group(short_help="Messages that were set aside.")
def dead() -> None:
    """Messages that no consumer could make sense of.

    \b
    Example:
      simcourier dead list
    """


@dead.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that were replayed or discarded.")
@as_json_option
@click.pass_context
def list_dead(ctx: click.Context, *, everything: bool, as_json: bool) -> None:
    """List dead letters, the newest first.

    \b
    Example:
      simcourier dead list --json
    """
    _prepare(ctx)
    from ledger.dead_letters import dead_letters

    letters = dead_letters(everything=everything)
    if as_json:
        _print_json([letter.as_json() for letter in letters])
        return
    _print_table(
        ["NUMBER", "QUEUE", "TIMES", "LAST", "REASON"],
        ([str(one.id), one.queue, str(one.times), _moment(one.last_at), one.reason] for one in letters),
        "No dead letters.",
    )


@dead.command("show")
@click.argument("number", type=int)
@as_json_option
@click.pass_context
def show_dead(ctx: click.Context, number: int, *, as_json: bool) -> None:
    """Show a dead letter with its headers and its body.

    \b
    Example:
      simcourier dead show 1
    """
    _prepare(ctx)
    from ledger.dead_letters import dead_letter

    letter = dead_letter(number)
    if letter is None:
        raise NotFound(f"There is no dead letter number {number}.")
    if as_json:
        _print_json(letter.as_json())
        return
    click.echo(f"{letter.reason}\nQueue {letter.queue}, {letter.times} times, last {_moment(letter.last_at)}")
    for name, value in letter.headers.items():
        click.echo(f"{name}: {value}")
    click.echo("")
    click.echo(letter.body)


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
    _prepare(ctx)
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
        _print_json(rows)
        return
    _print_table(
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
    _prepare(ctx)
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


@click.command(short_help="The site: Django admin and JSON API.")
@click.option("--host", help="Address to listen on [default: SIMCOURIER_WEB_HOST].")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on [default: SIMCOURIER_WEB_PORT].")
@click.option("--threads", type=click.IntRange(1, 64), default=4, show_default=True, help="Requests at a time.")
@click.pass_context
def web(ctx: click.Context, *, host: str | None, port: int | None, threads: int) -> None:
    """Serve the site: the Django admin and the JSON API, until SIGTERM or Ctrl-C.

    \b
    Example:
      simcourier web --host 127.0.0.1 --port 8974
    """
    settings = _prepare(ctx)
    configure("web")
    from ledger.server import serve

    host, port = host or settings.web_host, port or settings.web_port
    serve(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", threads)


@click.command(
    short_help="Django's own commands.", context_settings={"ignore_unknown_options": True, "help_option_names": []}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def manage(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Run one of Django's commands with SimCourier's settings.

    \b
    Example:
      simcourier manage createsuperuser
    """
    settings = settings_of(ctx)
    make_data_dir(settings.data_dir)
    setup(settings)
    from django.core.management import execute_from_command_line

    execute_from_command_line(["simcourier manage", *arguments])


def _prepare(ctx: click.Context) -> Settings:
    settings = settings_of(ctx)
    make_data_dir(settings.data_dir)
    prepare(settings)
    return settings


def _each(ids: Iterable[UUID], move: Callable[[UUID], bool], done: str, not_done: str) -> int:
    refused = 0
    for one in ids:
        if move(one):
            click.echo(f"{one} {done}.")
        else:
            refused += 1
            click.echo(f"Error: {one} {not_done}.", err=True)
    return refused


def _describe(view: DeliveryView) -> None:
    click.echo(f"{view.title or view.simulation_id}: {view.state}")
    click.echo(f"  {view.sentence()}")
    rows = {
        "Delivery": str(view.id),
        "Simulation": view.simulation_id,
        "Campaign": view.campaign_id,
        "Received": _moment(view.received_at),
        "Ended": _moment(view.ended_at),
        "Backend": view.backend,
        "Archive": f"{view.archive_name} ({view.archive_size} bytes)" if view.archive_name else "",
        "SHA-256": view.archive_sha256,
        "Link": view.link,
        "Link ends": _moment(view.link_expires),
        "Failed tries": str(view.attempts or ""),
    }
    for label, value in rows.items():
        if value:
            click.echo(f"  {label + ':':<13} {value}")
    for warning in view.warnings:
        click.echo(f"  {'Left out:':<13} {warning}")
    for notice in view.notices:
        told = f" ({_moment(notice.sent_at)})" if notice.sent_at else ""
        why = f": {notice.reason}" if notice.reason else ""
        click.echo(f"  {'Mail:':<13} {notice.recipient}, {notice.kind}: {notice.state}{told}{why}")


def _print_table(head: list[str], rows: Iterable[list[str]], nothing: str) -> None:
    table = [head, *rows]
    if len(table) == 1:
        click.echo(nothing, err=not sys.stdout.isatty())
        return
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for row in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=_plain))


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _moment(value: datetime | None) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if value else ""
