"""``simcourier drill``: the rehearsal of faults that an operator runs before trusting an installation."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from messaging.cli import interruptible
from messaging.logs import configure

if TYPE_CHECKING:
    from simcourier.drill.faults import Fault
    from simcourier.drill.services import Services


@click.command(short_help="Rehearse faults: is anything lost, does anything come twice?")
@click.option("--list", "list_", is_flag=True, help="Only name the faults.")
@click.option("--only", metavar="NAME", multiple=True, help="Play this fault, or those that begin so; may be repeated.")
@click.option(
    "--private-nodes", is_flag=True, help="On a RabbitMQ and a PostgreSQL started for it [default: on SQLite]."
)
@click.option("--amqp-url", metavar="URL", help="On this RabbitMQ, with queues of its own that are removed again.")
@click.option("--database-url", metavar="URL", help="On this PostgreSQL, in a database of its own, removed again.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep logs and data in this new folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def drill(
    ctx: click.Context,
    *,
    list_: bool,
    only: tuple[str, ...],
    private_nodes: bool,
    amqp_url: str | None,
    database_url: str | None,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Let everything go wrong that can, one fault after the other, on a private set-up that is thrown away.

    Real workers, email senders, a storage server and a mail server are started; what counts is what arrives: mails at
    the mail server, and the bytes behind their links. Settings of the environment are not used. Exit code 1 if a
    promise broke.

    \b
    Example:
      simcourier drill --only kill:delivery --only upload-cut
    """
    from simcourier.drill.faults import FAULTS

    faults = [fault for fault in FAULTS if not only or fault.name.startswith(only)]
    if not faults:
        raise click.UsageError(f"No fault is called {only[0]}; --list names them.")
    if list_:
        _list(faults, as_json=as_json)
        return
    services = _services(private_nodes, amqp_url, database_url)
    interruptible()
    configure("drill", level="ERROR", stream=sys.stderr)  # what happens is told
    if keep is not None and keep.exists():
        raise click.UsageError(f"{keep} is there already; name a new folder, in which the drill's data is kept.")
    if keep is not None:
        keep.mkdir(parents=True)
        broken = _run(keep.absolute(), services, faults, as_json=as_json)
    else:
        with tempfile.TemporaryDirectory(prefix="simcourier-drill-") as folder:
            broken = _run(Path(folder), services, faults, as_json=as_json)
    ctx.exit(1 if broken else 0)


def _list(faults: list[Fault], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([{"fault": fault.name, "about": fault.about} for fault in faults], indent=2))
        return
    width = max(len(fault.name) for fault in faults)
    for fault in faults:
        click.echo(f"{fault.name:<{width}}  {fault.about}")


def _services(
    private_nodes: bool,
    amqp_url: str | None,
    database_url: str | None,
) -> AbstractContextManager[Services]:
    from simcourier.drill import services

    if bool(amqp_url) != bool(database_url):
        raise click.UsageError("--amqp-url and --database-url belong together.")
    if amqp_url and database_url:
        if private_nodes:
            raise click.UsageError("Either --private-nodes or --amqp-url and --database-url.")
        return services.given(amqp_url, database_url)
    return services.private_nodes() if private_nodes else services.embedded()


def _run(folder: Path, services: AbstractContextManager[Services], faults: list[Fault], *, as_json: bool) -> bool:
    from simcourier.drill.rehearse import KEPT, NOT_PLAYED, rehearse
    from simcourier.drill.stage import Stage
    from simcourier.drill.table import table

    started = time.monotonic()

    def tell(text: str) -> None:
        click.echo(f"{time.monotonic() - started:6.1f} s  {text}", err=True)

    tell("setting up")
    with services as chosen, Stage(folder, chosen) as stage:
        tell(f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'} on {chosen.description}")
        rows = rehearse(stage, faults, tell)
    broken = [row for row in rows if row.verdict not in {KEPT, NOT_PLAYED}]
    if as_json:
        click.echo(json.dumps([row.as_json() for row in rows], indent=2))
    else:
        click.echo(table(rows))
        click.echo(f"\n{len(broken)} of {len(rows)} broke the promise." if broken else "\nThe promise was kept.")
    return bool(broken)
