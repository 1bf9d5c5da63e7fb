"""``simcourier web`` and ``simcourier manage``."""

from __future__ import annotations

import click

from ledger import site
from ledger.commands.common import prepared
from messaging.cli import interruptible, settings_of
from messaging.logs import configure


@click.command(short_help="The site: Django admin and JSON API.")
@click.option("--host", help="Address to listen on [default: SIMCOURIER_WEB_HOST].")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on [default: SIMCOURIER_WEB_PORT].")
@click.option("--threads", type=click.IntRange(1, 64), default=4, show_default=True, help="Requests at a time.")
@click.pass_context
def web(ctx: click.Context, *, host: str | None, port: int | None, threads: int) -> None:
    """Serve the site: deliveries' pages, the Django admin and the JSON API, until SIGTERM or Ctrl-C.

    \b
    Example:
      simcourier web --host 127.0.0.1 --port 8974
    """
    settings = prepared(ctx)
    configure("web")
    from ledger.server import serve

    serve(host or settings.web_host, port or settings.web_port, threads)


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
    interruptible()  # Django's own commands that ask questions
    site.make_data_dir(settings.data_dir)
    site.manage(settings, arguments)
