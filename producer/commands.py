"""``simcourier publish`` and ``simcourier spool``."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import click
import structlog

from messaging.cli import Group, engine_of, settings_of
from messaging.engine import Engine
from messaging.errors import UserError
from messaging.messages import Outcome, SimulationCompleted
from messaging.screen import ScreenLine
from messaging.terminal import say
from producer.options import event_options, publish_arguments, speaking_of_options
from producer.publisher import Producer, Published
from producer.runs.record import Interrupted, Runs
from producer.spool import Damaged, Entry, Spool, SpoolError
from producer.wait import wait_for_link

COLUMNS = ("state", "spooled", "event_id", "title", "simulation", "file")


class NotSent(UserError):
    """The event or some of the spool did not go out, and somebody has to mend something."""


@click.command(short_help="Tell that a simulation has ended and where its results lie.")
@click.argument("results", metavar="DIR")
@event_options
@click.option(
    "--outcome",
    type=click.Choice([str(one) for one in Outcome]),
    default=str(Outcome.SUCCEEDED),
    show_default=True,
    help="How the simulation itself has ended.",
)
@click.option("--exit-code", type=int, help="The simulator's exit code.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--wait", "wait", is_flag=True, help="Wait until the link is there, and print it.")
@click.pass_context
def publish(
    ctx: click.Context,
    /,
    *,
    results: str,
    outcome: str,
    exit_code: int | None,
    as_json: bool,
    wait: bool,
    **options: Any,
) -> None:
    """Tell that a simulation has ended and that its results lie in DIR, a folder that the workers can read, too.

    DIR may also be the address of a folder on a service that the workers may read, such as s3://bucket/study/run-7.

    The event is kept on this machine until the broker has it. Exit code 0: the broker has it, or is away and gets it
    later; 1: it was refused, or with --wait there is no link.

    \b
    Example:
      simcourier publish results/ --to anna@example.org --backend local --title "rho = 0.8" --wait
    """
    settings = settings_of(ctx)
    with producer_of(ctx) as producer:
        try:
            with speaking_of_options():
                published = producer.publish(
                    results, outcome=outcome, exit_code=exit_code, **publish_arguments(options)
                )
        except SpoolError as error:
            if as_json:
                none = {"event_id": None, "state": "not kept", "reason": str(error), "refused": False, "file": None}
                click.echo(json.dumps({**none, "notes": []}, indent=2))
            raise
        engine = producer.engine
    answer: dict[str, Any] = {
        "event_id": str(published.event_id),
        "state": published.state,
        "reason": published.reason,
        "refused": published.refused,
        "file": str(published.file) if published.file else None,
        "notes": list(published.notes),
    }
    if not as_json:
        _tell(published, engine)
    problem = f"{_stays(published)}: {published.reason}" if published.refused else ""
    if wait and published.state == "sent":
        line = ScreenLine(sys.stderr)

        def report(text: str) -> None:
            line.clear()
            say(text, err=as_json)

        try:
            end = wait_for_link(settings.site_url, published.event_id, report, digest=published.digest, show=line.show)
        finally:
            line.clear()
        answer["delivery"] = end
        problem = end["problem"]
        if end["link"] and not as_json:
            say(end["link"])
    elif wait and not problem:
        problem = "There is no link to wait for before the broker has the event."
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    if problem:
        raise NotSent(problem)


@click.group(cls=Group, short_help="Events that wait on this machine for the broker.")
def spool() -> None:
    """Events that wait on this machine until the broker has them.

    \b
    Example:
      simcourier spool flush
    """


@spool.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.pass_context
def list_(ctx: click.Context, *, as_json: bool) -> None:
    """List the events that wait, oldest first, interrupted runs, and files that were set aside as damaged.

    \b
    Example:
      simcourier spool list --json
    """
    folder = settings_of(ctx).data_dir
    box = Spool(folder / "spool")
    rows = [_row(box, entry) for entry in box.entries()]
    rows += [_interrupted_row(one) for one in Runs(folder / "runs").interrupted()]
    rows += [{"state": "damaged", "file": str(path)} for path in box.damaged()]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif not rows:
        click.echo("The spool is empty.")
    else:
        for row in rows:
            say("  ".join(str(row[key]) for key in COLUMNS if key in row))


@spool.command("flush")
@click.pass_context
def flush_(ctx: click.Context) -> None:
    """Send everything that waits, oldest first, and tell of runs that were interrupted.

    Exit code 0: all is sent, or the broker is away; 1: something was refused or is damaged.

    \b
    Example:
      simcourier spool flush
    """
    with producer_of(ctx) as producer:
        done = producer.flush()
        left = len(producer.spool.entries())
        engine = producer.engine
    for sentence in done.interrupted:
        say(sentence)
    if done.busy:
        click.echo("Another process of this machine is sending the spool at the moment; nothing was done here.")
    elif done.away:
        say(f"The broker is away: {done.away}")
        click.echo(f"{_events(left)} in the spool; the next publish or `simcourier spool flush` sends them in order.")
    elif done.sent:
        click.echo(f"{len(done.sent)} sent to {engine.description}.")
    elif not (left or done.damaged):
        click.echo("The spool is empty.")
    problems = [f"{path}: {reason}" for path, reason in done.refused.items()] + done.damaged
    if problems:
        raise NotSent("\n".join(["Not everything could be sent.", *problems]))


def producer_of(ctx: click.Context) -> Producer:
    """The producer that the settings name; its logs are quiet."""
    _keep_logs_quiet()
    settings = settings_of(ctx)
    return Producer(settings, engine=engine_of(settings))


def _keep_logs_quiet() -> None:
    """A broker that is away is told in a sentence here; the logs of the engine and of pika would only repeat it."""
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _tell(published: Published, engine: Engine) -> None:
    click.echo(f"Event {published.event_id}")
    if published.state == "sent":
        click.echo(f"Accepted by the broker: {engine.description}.")
    elif not published.refused:
        say(published.reason)
        click.echo(
            f"The event stays in the spool at {published.file}; the next publish or `simcourier spool flush` sends it."
        )
    for note in published.notes:
        say(note, err=True)


def _stays(published: Published) -> str:
    return f"Event {published.event_id} was not accepted and stays in the spool at {published.file}"


def _events(number: int) -> str:
    return "1 event stays" if number == 1 else f"{number} events stay"


def _row(box: Spool, entry: Entry) -> dict[str, Any]:
    row: dict[str, Any] = {
        "state": "spooled",
        "spooled": entry.spooled.isoformat(timespec="seconds"),
        "event_id": str(entry.event_id),
        "file": str(entry.path),
    }
    try:
        spooled = box.read(entry)
    except (Damaged, SpoolError) as error:
        return row | {"state": "unreadable", "title": str(error)}
    if spooled is None:
        return row | {"state": "sent", "title": ""}
    return row | _about(spooled[0])


def _interrupted_row(one: Interrupted) -> dict[str, Any]:
    row = {"state": "interrupted", "event_id": str(one.event.id), "simulation": one.state, "file": str(one.folder)}
    return row | _about(one.event)


def _about(event: SimulationCompleted) -> dict[str, Any]:
    data = event.data
    return {
        "title": data.title or data.simulation_id,
        "simulation_id": data.simulation_id,
        "results": data.results.location,
        "backend": data.backend,
        "recipients": list(data.recipients),
    }
