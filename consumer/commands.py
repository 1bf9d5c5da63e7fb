"""``simcourier worker`` and ``simcourier email-sender``."""

from __future__ import annotations

from typing import Any

import click

from ledger import make_data_dir, prepare
from messaging.cli import engine_of, settings_of
from messaging.logs import configure
from messaging.settings import require_roots


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

    Start as many as you like, on as many machines as you like (with RabbitMQ and PostgreSQL).

    \b
    Example:
      simcourier worker --concurrency 2
    """
    settings = settings_of(ctx)
    require_roots(settings)
    changes: dict[str, Any] = {"concurrency": concurrency} if concurrency else {}
    settings = settings.model_copy(update=changes)
    configure("worker")
    make_data_dir(settings.data_dir)
    prepare(settings)
    from consumer.programs import run_worker

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
    prepare(settings)
    from consumer.programs import run_email_sender

    run_email_sender(settings, engine_of(settings))
