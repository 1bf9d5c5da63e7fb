"""``simcourier carry-over``: from the embedded default to RabbitMQ and PostgreSQL, with all that is under way."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ledger import make_data_dir, prepare
from messaging import faults
from messaging.cli import engine_of, settings_of
from messaging.engine import BrokerUnavailable, Consumer, Engine
from messaging.logs import configure
from messaging.settings import Settings, WrongSetting
from messaging.sqlite import SqliteEngine
from messaging.sqlite_store import Closed, close_for_good
from simcourier import installation

if TYPE_CHECKING:
    from ledger.carry_over import OldLedger

TOLD_EVERY: Final = 1000
# How often the old broker is looked through again for what was published meanwhile.
ROUNDS: Final = 10


@click.command(short_help="From the embedded default to RabbitMQ and PostgreSQL.")
@click.option(
    "--from",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Data folder of the embedded installation.",
)
@click.option(
    "--old-key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the secret key of the embedded installation [default: secret-key in its data folder].",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be carried over.")
@click.pass_context
def carry_over(ctx: click.Context, folder: Path, old_key_file: Path | None, *, dry_run: bool) -> None:
    """Carry an embedded installation over to RabbitMQ and PostgreSQL: all rows, messages and spooled events.

    Run it with the new settings, after everything of the old installation was stopped. It can be run again after it
    was interrupted. What was carried over is refused by the old installation from then on.

    \b
    Example:
      simcourier --env-file grown.env carry-over --from ~/.local/share/simcourier --dry-run
    """
    settings = settings_of(ctx)
    _require_grown(settings)
    configure("carry-over", level="ERROR")
    make_data_dir(settings.data_dir)
    prepare(settings, "carry-over")
    from ledger.carry_over import OldLedger

    old_broker = SqliteEngine(
        f"sqlite:///{folder.absolute()}/broker.db",
        settings.topology,
        clock=lambda: math.inf,  # no wait of the old broker lasts any longer; the ledger says if it is too early
    )
    with _stopped(folder), OldLedger(folder / "simcourier.db", _old_key(folder, old_key_file)) as ledger:
        _tell_what_is_there(ledger, old_broker, folder)
        if dry_run:
            if not ledger.carried:
                ledger.expect_fresh()
            click.echo("Nothing was carried over.")
            return
        broker = engine_of(settings)
        broker.consumer([broker.topology.dead]).close()  # declares the queues
        broker.depths()  # a broker that is away is told before anything is changed
        ledger.carry(click.echo)
        _move_messages(old_broker, broker)
        left = _send_spooled(folder, broker)
    _tell_what_is_next(folder, settings)
    ctx.exit(1 if left else 0)


def _require_grown(settings: Settings) -> None:
    for embedded, variable, example in (
        (settings.embedded_broker, "SIMCOURIER_BROKER_URL", "amqp://USER:PASSWORD@HOST/VHOST"),
        (settings.embedded_ledger, "SIMCOURIER_DATABASE_URL", "postgresql://USER:PASSWORD@HOST/NAME"),
    ):
        if embedded:
            raise WrongSetting(f"{variable} must say where to carry over to: {example}")


def _old_key(folder: Path, named: Path | None) -> str | None:
    file = named or folder / "secret-key"
    if named is None and not file.exists():
        return None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongSetting(f"The old secret key in {file} cannot be read ({error}).") from error


@contextmanager
def _stopped(folder: Path) -> Iterator[None]:
    """Keep ``up`` from starting on the old folder."""
    from ledger.carry_over import CannotCarryOver

    with ExitStack() as held:
        try:
            held.enter_context(installation.exclusive(folder))
        except installation.InUse as error:
            raise CannotCarryOver(
                f"'simcourier up' runs on {folder}; stop it (Ctrl-C, or SIGTERM), then run this again."
            ) from error
        except OSError as error:
            raise CannotCarryOver(
                f"{folder} may not be written by this user ({error.strerror}); run this as the one who ran 'simcourier "
                "up' there."
            ) from error
        yield


def _tell_what_is_there(ledger: OldLedger, broker: SqliteEngine, folder: Path) -> None:
    from producer.spool import Spool

    click.echo(f"In {folder}:")
    for name, count in ledger.counts().items():
        click.echo(f"  {name + ':':<20} {count}")
    click.echo(f"  {'messages:':<20} {_messages(broker)}")
    click.echo(f"  {'spooled events:':<20} {len(Spool(folder / 'spool').entries())}")


def _messages(broker: SqliteEngine) -> int:
    from ledger.carry_over import CannotCarryOver

    if not broker.path.exists():
        return 0
    try:
        return sum(depth.ready + depth.held + depth.waiting for depth in broker.depths().values())
    except Closed:
        return 0
    except BrokerUnavailable as error:
        raise CannotCarryOver(
            f"The old broker {broker.path} cannot be carried over; SIMCOURIER_BROKER_PREFIX must be that of the old "
            f"installation. ({error})"
        ) from error


def _move_messages(old: SqliteEngine, new: Engine) -> None:
    """Confirmed by the new broker, then removed from the old one: a crash doubles a message, which the ledger sees."""
    from ledger.carry_over import CannotCarryOver

    if not old.path.exists():
        return
    moved = 0
    for _ in range(ROUNDS):
        try:
            with old.consumer(old.topology.queues) as source, new.consumer([new.topology.dead]) as target:
                moved += _move(source, target)
        except Closed:
            return
        if close_for_good(old.path):
            if moved:
                click.echo("1 message was moved." if moved == 1 else f"{moved} messages were moved.")
            faults.point("carry_over.closed")
            return
    raise CannotCarryOver(
        f"Messages keep coming into the old broker {old.path}, or lie in queues of another SIMCOURIER_BROKER_PREFIX; "
        "stop who publishes there, then run this again."
    )


def _move(source: Consumer, target: Consumer) -> int:
    moved = 0
    while (taken := source.take(0)) is not None:
        target.adopt(taken)
        faults.point("carry_over.adopted")
        source.ack(taken)
        faults.point("carry_over.settled")
        moved += 1
        if moved % TOLD_EVERY == 0:
            click.echo(f"messages: {moved}")
    return moved


def _send_spooled(folder: Path, broker: Engine) -> bool:
    """True: some stay there, and why has been told."""
    from producer.flush import flush
    from producer.spool import Spool

    with broker.publisher() as publisher:
        done = flush(Spool(folder / "spool"), publisher.publish)
    if done.sent:
        click.echo(f"Events from the spool that were sent: {len(done.sent)}.")
    for path, reason in done.refused.items():
        click.echo(f"An event stays in the spool as {path}: {reason}", err=True)
    for note in [*done.damaged, *([f"Events stay in the spool: {done.away}"] if done.away else [])]:
        click.echo(note, err=True)
    return bool(done.refused or done.damaged or done.away)


def _tell_what_is_next(folder: Path, settings: Settings) -> None:
    click.echo(f"""Carried over. The old installation is closed; from now on, everywhere:
  settings      those of this command: broker, database, secret key, results roots
  simulators    SIMCOURIER_BROKER_URL; 'simcourier spool flush' where events wait
  local cloud   the mailed links lead to it: serve {folder / "local-cloud"} under its old address, e.g. with
                simcourier local-cloud --folder {folder / "local-cloud"} --key-file {folder / "local-cloud-key"}
  start         simcourier worker, simcourier email-sender, simcourier web""")
    if settings.data_dir.resolve() != folder.resolve() and (folder / "archives").is_dir():
        click.echo(f"Archives in {folder / 'archives'} are packed again where they are needed; delete that folder.")
