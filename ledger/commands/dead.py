"""``simcourier dead``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from ledger.commands import complete
from ledger.commands.common import NotFound, as_json_option, moment, prepared, print_json, print_table
from messaging.cli import Group, engine_of
from messaging.digits import count
from messaging.engine import DEATH_HEADER, QUEUE_HEADER, REASON_HEADER, BrokerError, BrokerUnavailable
from messaging.errors import UserError
from messaging.terminal import say

if TYPE_CHECKING:
    from ledger.dead_letters import DeadLetterView

NOTHING = "No dead letters."


class NotAsked(UserError):
    """Whoever was asked did not say yes."""


@click.group(cls=Group, short_help="Messages that were set aside.")
def dead() -> None:
    """Messages that no consumer could make sense of.

    \b
    Example:
      simcourier dead list
      simcourier dead replay 3
    """


def filters(command: Callable[..., None]) -> Callable[..., None]:
    """``--queue`` and ``--reason``."""
    command = click.option("--reason", default="", help="Only those in whose reason this text occurs.")(command)
    return click.option("--queue", default="", help="Only those from a queue in whose name this text occurs.")(command)


@dead.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that were replayed or discarded.")
@filters
@click.option("--limit", type=click.IntRange(1, 10000), default=100, show_default=True, help="How many at most.")
@as_json_option
@click.pass_context
def list_dead(ctx: click.Context, *, everything: bool, queue: str, reason: str, limit: int, as_json: bool) -> None:
    """List dead letters, the newest first.

    \b
    Example:
      simcourier dead list --queue results --json
    """
    prepared(ctx)
    from ledger.dead_letters import dead_letters

    letters = dead_letters(everything=everything, queue=queue, reason=reason, limit=limit)
    if as_json:
        print_json([letter.as_json() for letter in letters])
        return
    print_table(
        ["NUMBER", "QUEUE", "TIMES", "LAST", *(["STATE"] if everything else []), "REASON"],
        (
            [
                str(one.id),
                one.queue,
                str(one.times),
                moment(one.last_at),
                *([one.closed_as or "open"] if everything else []),
                one.reason,
            ]
            for one in letters
        ),
        NOTHING,
    )
    if len(letters) == limit:
        click.echo(f"These are the newest {limit}; --limit shows more.", err=True)


@dead.command("show")
@click.argument("number", type=int, shell_complete=complete.dead_letters)
@click.option("--raw", is_flag=True, help="Write the body alone, byte for byte.")
@as_json_option
@click.pass_context
def show_dead(ctx: click.Context, number: int, *, raw: bool, as_json: bool) -> None:
    """Show a dead letter with its reason, its headers and its body.

    \b
    Example:
      simcourier dead show 1
      simcourier dead show 1 --raw > letter.json
    """
    if raw and as_json:
        raise click.UsageError("--raw writes the body as it is, --json everything as JSON; give one of them.")
    prepared(ctx)
    from ledger.dead_letters import dead_letter

    letter = dead_letter(number)
    if letter is None:
        raise NotFound(f"There is no dead letter number {number}.")
    if raw:
        click.echo(letter.body, nl=False)
    elif as_json:
        print_json(letter.as_json())
    else:
        _describe(letter)


@dead.command("replay")
@click.argument("numbers", metavar="[NUMBER]...", type=int, nargs=-1, shell_complete=complete.dead_letters)
@click.option("--all", "everything", is_flag=True, help="All that are open.")
@filters
@click.pass_context
def replay_dead(ctx: click.Context, numbers: tuple[int, ...], *, everything: bool, queue: str, reason: str) -> None:
    """Send dead letters back to where they belong, byte for byte, after their cause was mended.

    One that is still not accepted comes back under a new number. Replaying twice does no harm: an event is delivered
    once. Exit code 0: they are with the broker, or the broker is away and a worker sends them later; 1: at least one
    is not.

    \b
    Example:
      simcourier dead replay 3 4
      simcourier dead replay --reason "not known here"
    """
    settings = prepared(ctx)
    from ledger.replay import replay, replayed

    chosen = _chosen(numbers, everything=everything, queue=queue, reason=reason)
    refused, sent, away = 0, 0, ""
    with engine_of(settings).publisher() as publisher:
        for number in chosen:
            try:
                letter = replay(number, settings.topology)
                if not away:
                    publisher.publish(letter.message)
            except BrokerUnavailable as error:
                away = str(error)
            except (UserError, BrokerError) as error:
                refused += 1
                click.echo(f"Error: {number}: {error}", err=True)
                continue
            if away:
                click.echo(f"{number}: a worker replays it as soon as the broker is there.")
                continue
            replayed(number)
            sent += 1
            doubt = f" It will come back, unless the workers are newer than this command: {letter.doubt}"
            say(f"{number}: replayed.{doubt if letter.doubt else ''}", keep="")
    if away:
        click.echo(f"The broker is away: {away}", err=True)
    if sent:
        click.echo("What is still not accepted comes back under a new number; see 'simcourier dead list'.", err=True)
    ctx.exit(1 if refused else 0)


@dead.command("discard")
@click.argument("numbers", metavar="[NUMBER]...", type=int, nargs=-1, shell_complete=complete.dead_letters)
@click.option("--all", "everything", is_flag=True, help="All that are open.")
@filters
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def discard_dead(
    ctx: click.Context, numbers: tuple[int, ...], *, everything: bool, queue: str, reason: str, yes: bool
) -> None:
    """Close dead letters that nobody needs.

    They stay in 'dead list --all' until SIMCOURIER_KEEP_RECIPIENTS_DAYS have passed, and can be replayed until then.

    \b
    Example:
      simcourier dead discard 3
      simcourier dead discard --reason "no JSON" --yes
    """
    prepared(ctx)
    from ledger.dead_letters import discard

    chosen = _chosen(numbers, everything=everything, queue=queue, reason=reason)
    if chosen and not (numbers or yes):
        if not sys.stdin.isatty():
            raise click.UsageError(f"{count(len(chosen), 'dead letter')} would be discarded; say --yes to do that.")
        if not click.confirm(f"Discard {count(len(chosen), 'dead letter')}?"):
            raise NotAsked("Nothing was discarded.")
    refused = 0
    for number in chosen:
        if discard(number):
            click.echo(f"{number}: discarded.")
        else:
            refused += 1
            click.echo(f"Error: {number}: no dead letter of this number is open.", err=True)
    ctx.exit(1 if refused else 0)


def _chosen(numbers: Sequence[int], *, everything: bool, queue: str, reason: str) -> list[int]:
    """Numbers of those that are meant, the oldest first where they are not named."""
    from ledger.dead_letters import open_numbers

    if bool(numbers) == bool(everything or queue or reason):
        raise click.UsageError("Say which, in one way: by their numbers, by --all, or by --queue and --reason.")
    if numbers:
        return list(dict.fromkeys(numbers))
    found = open_numbers(queue=queue, reason=reason)
    if not found:
        click.echo("No open dead letter is like that." if queue or reason else NOTHING)
    return found


def _describe(letter: DeadLetterView) -> None:
    more = "once more" if letter.times == 2 else f"{letter.times - 1} times more"  # noqa: PLR2004
    rows: list[tuple[str, Any]] = [
        ("State", letter.closed_as or "open"),
        ("Queue", letter.queue),
        ("Publisher", letter.publisher),
        ("Arrived", moment(letter.first_at)),
        ("Again", f"{more}, last {moment(letter.last_at)}" if letter.times > 1 else ""),
        *(("Broker", death) for death in letter.deaths),
        ("Bytes", len(letter.body)),
    ]
    say(letter.reason, keep="")
    for label, value in rows:
        if value:
            say(f"  {label + ':':<11} {value}", keep="")
    for name, value in letter.headers.items():
        if name in {DEATH_HEADER, QUEUE_HEADER, REASON_HEADER}:  # told above
            continue
        say(f"  {name}: {value}", keep="")
    click.echo("")
    say(letter.body.decode("utf-8", "backslashreplace"), keep="\n\t")
