"""``simcourier run``."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import click

from messaging import faults
from messaging.cli import settings_of
from messaging.errors import UserError
from messaging.messages import Outcome, SimulationCompleted
from producer.commands import producer_of
from producer.event import completed_event
from producer.options import event_options, pairs, publish_arguments, scalar, speaking_of_options
from producer.publisher import Producer
from producer.runs.alive import Process
from producer.runs.child import CannotStart, Child, Signals, die_by
from producer.runs.facts import facts
from producer.runs.record import Record
from producer.runs.streams import Streams
from producer.runs.tail import readable
from producer.runs.telling import Telling

# What the simulation has written last may wait for a slow reader; the event does not wait longer than this for it.
LAST_WORDS_SECONDS = 5.0


class Hurry(BaseException):
    """Somebody wants us to end now."""


class WrongUse(UserError):
    """Nothing was started."""

    exit_code = 2


@click.command(
    short_help="Run a simulation, and tell how it has ended.",
    context_settings={"allow_interspersed_args": False},
)
@click.option(
    "--results",
    metavar="DIR",
    help="Folder of the results, or its address on a service (s3://bucket/run-7); may be made by COMMAND.  "
    "[default: this folder]",
)
@event_options
@click.option("--configuration", metavar="K=V", multiple=True, help="A fact of this run; may be repeated.")
@click.argument("command", metavar="-- COMMAND ...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def run(
    ctx: click.Context,
    /,
    *,
    results: str | None,
    configuration: tuple[str, ...],
    command: tuple[str, ...],
    **options: Any,
) -> None:
    """Run COMMAND, and tell how it has ended and that its results lie in DIR.

    COMMAND has our standard streams and gets our signals, and its exit code is ours. When it has ended, well or not, an
    event is published, with the end of its log; trouble with that is told on standard error and changes nothing else.
    If this process is killed, the next `simcourier run`, `publish` or `spool flush` on this machine tells of the run.

    Exit code: that of COMMAND; before the start: 2 for wrong use, 127 if COMMAND was not found, 126 if it cannot be
    executed.

    \b
    Example:
      simcourier run --to anna@example.org --backend local --results results -- ./simulate --rho=0.8
    """
    for number in range(3):
        _fill(number)
    try:
        settings_of(ctx)
        producer = producer_of(ctx)
    except UserError as error:
        raise WrongUse(str(error)) from error
    event = _event(producer, results or _this_folder(), command, configuration, options)
    telling = Telling(producer, event)
    with speaking_of_options():
        telling.begin()
    _end_like(_watch(telling, command), ctx)


def _event(
    producer: Producer, results: str, command: tuple[str, ...], configuration: tuple[str, ...], options: dict[str, Any]
) -> SimulationCompleted:
    known = facts(command)
    arguments = publish_arguments(options)
    arguments["simulator"] = arguments["simulator"] or known.simulator
    given = {name: scalar(value) for name, value in pairs("--configuration", configuration).items()}
    now = datetime.now(UTC)
    with speaking_of_options({"results": "--results"}):
        return completed_event(
            results,
            now=now,
            started=now,
            max_bytes=producer.engine.topology.max_bytes,
            configuration=known.configuration | given,
            look=False,
            **arguments,
        )


def _watch(telling: Telling, command: tuple[str, ...]) -> int:
    """Run the simulation; its exit code, or the negative number of its signal."""
    signals = Signals()
    streams = Streams(lambda number: telling.file(f"tail-{number}"))
    try:
        child = Child(command, streams.targets, signals)
        with telling.unharmed():
            telling.started(Record(process=Process.of(child.pid), sources=streams.sources))
        faults.point("run.recorded")
        streams.handed_over()
        child.go()
    except CannotStart:
        telling.forget()
        raise
    status = child.wait(streams.resize)
    faults.point("run.ended")
    try:
        with telling.unharmed():
            _tell(telling, streams, signals, status)
    except Hurry:
        pass
    return status


def _tell(telling: Telling, streams: Streams, signals: Signals, status: int) -> None:
    finished = datetime.now(UTC)
    streams.ended()
    streams.wait(LAST_WORDS_SECONDS)
    note = f"simcourier: the simulation was ended by signal {-status} ({_name(-status)})." if status < 0 else ""
    telling.ended(
        outcome=Outcome.ABORTED if status < 0 else Outcome.FAILED if status else Outcome.SUCCEEDED,
        exit_code=_as_shells_say(status),
        at=finished,
        log_tail=readable(streams.tails(), note),
    )
    signals.let_through(_hurry)
    telling.send()
    streams.wait(None)


def _end_like(status: int, ctx: click.Context) -> NoReturn:
    if status < 0:
        die_by(-status)
    ctx.exit(status)


def _as_shells_say(status: int) -> int:
    return 128 - status if status < 0 else status


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "a real-time signal"


def _hurry() -> NoReturn:
    raise Hurry


def _this_folder() -> str:
    """The default is comfortable, and wrong where it would mean all that somebody has."""
    here = Path.cwd()
    if here in {Path.home(), Path("/")}:
        raise click.UsageError(f"--results: name the folder of the results; all of {here} cannot be meant.")
    return str(here)


def _fill(number: int) -> None:
    """Where a standard stream is closed, keep its number from being given to something else; for us only."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)
