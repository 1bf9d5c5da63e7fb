"""``simcourier where`` and ``simcourier deliveries``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import click

from ledger.commands import complete
from ledger.commands.common import NotFound, as_json_option, moment, prepared, print_json, print_table
from messaging.cli import Group, engine_of
from messaging.engine import BrokerError, Outgoing
from messaging.errors import UserError
from messaging.mailboxes import one_form, why_not
from messaging.messages import is_recipient
from messaging.settings import Settings
from messaging.terminal import printable, say

if TYPE_CHECKING:
    from ledger.lookup import DeliveryView

Command = Callable[..., None]


class Ambiguous(UserError):
    """Several deliveries go by this name."""


def _ids(*states: str) -> Callable[[Command], Command]:
    """Names of deliveries; a shell offers the ids of those in one of the states."""
    return click.argument(
        "names", metavar="ID...", nargs=-1, required=True, shell_complete=complete.deliveries_in(*states)
    )


@click.command(short_help="Where is my result?")
@click.argument("identifier", metavar="ID", shell_complete=complete.deliveries_or_simulations)
@as_json_option
@click.pass_context
def where(ctx: click.Context, identifier: str, *, as_json: bool) -> None:
    """Tell where a result is: ID is the event's id, its beginning, or the simulation's id.

    \b
    Example:
      simcourier where mm1-rho0.8-rep3
    """
    settings = prepared(ctx)
    from ledger.lookup import find, ids_of

    found = find(identifier) or [view for one in ids_of(identifier) for view in find(str(one))]
    if not found:
        raise NotFound(f"No delivery is known under '{identifier}'. {_perhaps(settings)}")
    if as_json:
        print_json([view.as_json(settings.site_url) for view in found])
        return
    for view in found:
        _describe(view, settings)


@click.group(cls=Group, short_help="List, show, retry and cancel deliveries; resend mails.")
def deliveries() -> None:
    """List, show, retry and cancel deliveries; send their mails again.

    ID is an event's id, its beginning (four digits at least), or a simulation's id, if it is one delivery's alone.

    \b
    Example:
      simcourier deliveries list --state FAILED
    """


@deliveries.command("list")
@click.option(
    "--state",
    help="Only those that are RECEIVED, WORKING, WAITING, DELIVERED, FAILED, EXPIRED or CANCELLED.",
    shell_complete=complete.states,
)
@click.option("--limit", type=click.IntRange(1, 10000), default=50, show_default=True, help="How many at most.")
@as_json_option
@click.pass_context
def list_deliveries(ctx: click.Context, state: str | None, limit: int, *, as_json: bool) -> None:
    """List the newest deliveries.

    \b
    Example:
      simcourier deliveries list --state WAITING --json
    """
    settings = prepared(ctx)
    from ledger.lookup import recent
    from ledger.states import State

    if state is not None and state.upper() not in State.values:
        raise click.UsageError(f"{state} is not a state; there are {', '.join(State.values)}.")
    views = recent(state=state.upper() if state else None, limit=limit)
    if as_json:
        print_json([view.as_json(settings.site_url) for view in views])
        return
    print_table(
        ["ID", "STATE", "SIMULATION", "TITLE", "RECEIVED", "REASON"],
        (
            [str(one.id), one.state, one.simulation_id, one.title[:40], moment(one.received_at), one.why]
            for one in views
        ),
        "No deliveries.",
    )
    if len(views) == limit:
        click.echo(f"These are the newest {limit}; --limit shows more.", err=True)


@deliveries.command("show")
@click.argument("name", metavar="ID", shell_complete=complete.deliveries_in())
@as_json_option
@click.pass_context
def show_delivery(ctx: click.Context, name: str, *, as_json: bool) -> None:
    """Show everything about one delivery.

    \b
    Example:
      simcourier deliveries show 6f1c1a52-6a3c-4f0e-9d4b-0d6f4a3f0f4e
    """
    settings = prepared(ctx)
    from ledger.lookup import find

    (view,) = find(str(_chosen([name])[0]))
    if as_json:
        print_json(view.as_json(settings.site_url))
    else:
        _describe(view, settings)


@deliveries.command("retry")
@_ids("FAILED", "WAITING")
@click.pass_context
def retry_deliveries(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Try deliveries that have FAILED or are WAITING again, at once; they go on where they stopped.

    \b
    Example:
      simcourier deliveries retry 6f1c1a52-6a3c-4f0e-9d4b-0d6f4a3f0f4e
    """
    settings = prepared(ctx)
    from ledger.operators import retry
    from ledger.sweep import wake_up

    delivery_ids = _chosen(names)
    refused = _each(delivery_ids, retry, "will be tried again", "is neither FAILED nor WAITING")
    _wake(settings, delivery_ids, wake_up)
    ctx.exit(1 if refused else 0)


@deliveries.command("cancel")
@_ids("RECEIVED", "WORKING", "WAITING")
@click.pass_context
def cancel_deliveries(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Cancel deliveries that have not ended; nobody is mailed.

    \b
    Example:
      simcourier deliveries cancel 6f1c1a52-6a3c-4f0e-9d4b-0d6f4a3f0f4e
    """
    prepared(ctx)
    from ledger.operators import cancel

    refused = _each(_chosen(names), cancel, "is cancelled", "has ended already or is not known")
    ctx.exit(1 if refused else 0)


@deliveries.command("resend")
@_ids("DELIVERED", "FAILED")
@click.option(
    "--to", "to", multiple=True, metavar="A@B", help="Only to this address, which may be a new one; may be repeated."
)
@click.pass_context
def resend_mails(ctx: click.Context, names: tuple[str, ...], to: tuple[str, ...]) -> None:
    """Send the mails about deliveries that are DELIVERED or FAILED again.

    It goes to everybody whom the event names, or, with --to, to just these addresses. A mail that has not gone out yet
    is sent now and not doubled. The archive is kept as long as the new mail says.

    \b
    Example:
      simcourier deliveries resend 6f1c1a52-6a3c-4f0e-9d4b-0d6f4a3f0f4e --to anna@example.org
    """
    for one in to:
        if not is_recipient(one):
            raise click.UsageError(f"--to: '{printable(one)}' is no email address; A@B is expected.")
        if why := why_not(one_form(one)):
            raise click.UsageError(f"--to: '{printable(one)}' is no email address that can be used: {why}.")
    to = tuple(dict.fromkeys(map(one_form, to)))
    settings = prepared(ctx)
    from ledger.announcements import announcement
    from ledger.operators import resend

    refused = 0
    delivery_ids = _chosen(names)
    for delivery_id in delivery_ids:
        if told := resend(delivery_id, to):
            say(f"{delivery_id}: the mail goes to {', '.join(told)}.")
        else:
            refused += 1
            click.echo(f"Error: {delivery_id} is neither DELIVERED nor FAILED.", err=True)
    _wake(settings, delivery_ids, announcement)
    ctx.exit(1 if refused else 0)


def _chosen(names: Iterable[str]) -> list[UUID]:
    """The one delivery that each of the names stands for."""
    from ledger.lookup import ids_of

    return [_only(name, ids_of(name)) for name in names]


def _only(name: str, found: Sequence[UUID]) -> UUID:
    if not found:
        raise NotFound(f"No delivery is known under '{printable(name)}'; 'simcourier deliveries list' shows their ids.")
    if len(found) > 1:
        ids = ", ".join(map(str, found))
        raise Ambiguous(f"Several deliveries go by '{printable(name)}'; give one of their ids, the newest are {ids}.")
    return found[0]


def _wake(settings: Settings, delivery_ids: Iterable[UUID], message_of: Callable[[UUID], Outgoing | None]) -> None:
    """Have it done at once; else the sweep of a worker finds it in the ledger."""
    from ledger.sweep import stamp

    try:
        with engine_of(settings).publisher() as publisher:
            for delivery_id in delivery_ids:
                message = message_of(delivery_id)
                if message is not None:
                    publisher.publish(message)
                    stamp(delivery_id)
    except BrokerError as error:
        click.echo(f"The broker could not be told ({error}); a worker begins as soon as it is there.", err=True)


def _each(ids: Iterable[UUID], move: Callable[[UUID], bool], done: str, not_done: str) -> int:
    refused = 0
    for one in ids:
        if move(one):
            click.echo(f"{one} {done}.")
        else:
            refused += 1
            click.echo(f"Error: {one} {not_done}.", err=True)
    return refused


def _perhaps(settings: Settings) -> str:
    """Where an event may be that no worker has written down."""
    engine = engine_of(settings)
    try:
        unread = engine.depths()[engine.topology.recorder].ready
    except BrokerError:
        unread = 0
    if unread:
        return (
            f"In the broker wait events that no worker has written down yet ({unread}); start 'simcourier worker', or "
            "'simcourier up'."
        )
    return "'simcourier spool list', on the machine that published it, shows events that have not reached the broker."


def _describe(view: DeliveryView, settings: Settings) -> None:
    trouble = f", {view.trouble}" if view.trouble else ""
    say(f"{view.title or view.simulation_id or view.id}: {view.state}{trouble}")
    say(f"  {view.whereabouts()}")
    rows = {
        "Delivery": str(view.id),
        "Simulation": view.simulation_id,
        "Campaign": view.campaign_id,
        "Ran": view.simulation.where_and_how_long if view.simulation else "",
        "Received": moment(view.received_at),
        "Ended": moment(view.ended_at),
        "Backend": view.backend,
        "Archive": f"{view.archive_name} ({view.archive_size} bytes)" if view.archive_size is not None else "",
        "SHA-256": view.archive_sha256,
        "Link": view.link if view.state != "EXPIRED" else "",
        "Page": f"{settings.site_url}{view.page}" if view.page else "",
        "Kept until": f"{view.keep_until:%Y-%m-%d}" if view.keep_until else "",
        "Failed tries": str(view.failed_tries or ""),
    }
    for label, value in rows.items():
        if value:
            say(f"  {label + ':':<13} {value}")
    for name, value in view.statistics:
        say(f"  {'Result:':<13} {name}: {value}")
    for note in view.notes:
        say(f"  {'Note:':<13} {note}")
    for warning in view.warnings:
        say(f"  {'Left out:':<13} {warning}")
    for notice in view.notices:
        say(f"  {'Mail:':<13} {notice}")
