"""``simcourier worker`` and ``simcourier email-sender``."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from ledger import make_data_dir, prepare, prepare_in_time
from messaging.cli import engine_of, interruptible, settings_of
from messaging.logs import configure
from messaging.settings import require_roots
from messaging.terminal import say


@click.command(short_help="Results worker, recorder and sweep.")
@click.option(
    "--concurrency", type=click.IntRange(1, 64), help="Deliveries worked on at a time [default: the setting]."
)
@click.option("--results/--no-results", default=True, help="Collect, pack, store and link.")
@click.option("--recorder/--no-recorder", default=True, help="Write down what arrives, file dead letters.")
@click.option("--sweep/--no-sweep", default=True, help="Wake what is overdue.")
@click.pass_context
def worker(ctx: click.Context, concurrency: int | None, *, results: bool, recorder: bool, sweep: bool) -> None:
    """Collect, pack, store and link the results of simulations, until SIGTERM or Ctrl-C.

    Start as many as you like, on as many machines as you like (with RabbitMQ and PostgreSQL). Each does all of it, but
    for what is left out by --no-results, --no-recorder or --no-sweep.

    \b
    Example:
      simcourier worker --concurrency 2
    """
    if not (results or recorder or sweep):
        raise click.UsageError("Nothing is left to do; leave out one of --no-results, --no-recorder and --no-sweep.")
    settings = settings_of(ctx)
    require_roots(settings)
    changes: dict[str, Any] = {"concurrency": concurrency} if concurrency else {}
    settings = settings.model_copy(update=changes)
    configure("worker")
    make_data_dir(settings.data_dir)
    prepare_in_time(settings, "worker")
    from consumer.worker_program import run_worker

    run_worker(settings, engine_of(settings), results=results, recorder=recorder, sweep=sweep)


@click.command(short_help="Mail the links.")
@click.pass_context
def email_sender(ctx: click.Context) -> None:
    """Mail links and failures to their recipients, until SIGTERM or Ctrl-C.

    \b
    Example:
      SIMCOURIER_EMAIL_URL=smtp+tls://user:password@mail.example.org simcourier email-sender
    """
    settings = settings_of(ctx)
    configure("email-sender")
    make_data_dir(settings.data_dir)
    prepare_in_time(settings, "email-sender")
    from consumer.email_program import run_email_sender

    run_email_sender(settings, engine_of(settings))


@click.command(short_help="Remove archives whose keep days are over.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def expire(ctx: click.Context, *, dry_run: bool, as_json: bool) -> None:
    """Remove archives whose keep days are over, and what deliveries left behind, as a worker does by itself.

    Exit code 1 if something could not be removed; it is tried again later.

    \b
    Example:
      simcourier expire --dry-run
    """
    settings = settings_of(ctx)
    interruptible()  # whoever removes holds a lock
    configure("expire", level="ERROR", stream=sys.stderr)  # what happens is printed
    make_data_dir(settings.data_dir)
    prepare(settings, "expire")
    from consumer.expirer import expire as remove
    from ledger.api import expiry, this_process

    rows: list[dict[str, Any]] = []
    found = (
        ((removal, "") for removal in expiry.due(look_only=True))
        if dry_run
        else remove(this_process(), settings.site, settings.operator_email)
    )
    for removal, problem in found:
        what = "its keep days are over" if removal.expired else "left behind"
        done = "would be removed" if dry_run else f"not removed: {problem}" if problem else "removed"
        rows.append(
            {
                "delivery": str(removal.delivery_id),
                "backend": removal.backend,
                "key": removal.stored.key,
                "expired": removal.expired,
                "problem": problem,
            }
        )
        if not as_json:
            say(f"{removal.backend}  {removal.stored.key} ({what}): {done}")
    if as_json:
        say(json.dumps(rows, indent=2))
    elif not rows:
        click.echo("Nothing is to be removed.")
    ctx.exit(1 if any(row["problem"] for row in rows) else 0)
