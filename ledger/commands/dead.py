"""``simcourier dead``."""

from __future__ import annotations

import click

from ledger.commands.common import NotFound, as_json_option, moment, prepared, print_json, print_table


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
    prepared(ctx)
    from ledger.dead_letters import dead_letters

    letters = dead_letters(everything=everything)
    if as_json:
        print_json([letter.as_json() for letter in letters])
        return
    print_table(
        ["NUMBER", "QUEUE", "TIMES", "LAST", "REASON"],
        ([str(one.id), one.queue, str(one.times), moment(one.last_at), one.reason] for one in letters),
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
    prepared(ctx)
    from ledger.dead_letters import dead_letter

    letter = dead_letter(number)
    if letter is None:
        raise NotFound(f"There is no dead letter number {number}.")
    if as_json:
        print_json(letter.as_json())
        return
    click.echo(f"{letter.reason}\nQueue {letter.queue}, {letter.times} times, last {moment(letter.last_at)}")
    for name, value in letter.headers.items():
        click.echo(f"{name}: {value}")
    click.echo("")
    click.echo(letter.body)
