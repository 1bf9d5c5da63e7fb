"""``simcourier up``: everything on this machine, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from urllib.parse import urlsplit

import click

from ledger import make_data_dir, prepare
from messaging.cli import engine_of, settings_of
from messaging.settings import Settings, require_roots
from producer.publisher import Producer
from simcourier import installation
from simcourier.roles import Roles
from simcourier.typed import program

STOP_SECONDS = 10.0


@click.command(short_help="Run everything on this machine until Ctrl-C.")
@click.pass_context
def up(ctx: click.Context) -> None:
    """Run every role on this machine: worker, email sender, local cloud and site, until Ctrl-C or SIGTERM.

    Makes a definition 'local' for the local cloud, and an account for the site, on first start.

    \b
    Example:
      simcourier up
    """
    settings = settings_of(ctx)
    require_roots(settings)
    installation.require_public_urls(settings)
    make_data_dir(settings.data_dir)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    site = (settings.web_host, settings.web_port, "SIMCOURIER_WEB_HOST and _PORT")
    with installation.exclusive(settings.data_dir):
        installation.ensure_apart(settings)
        with installation.reserved(*site):
            engine_of(settings).reach()
            prepare(settings, "up")
            settings = installation.with_site(installation.with_port(settings))
            cloud = (settings.local_cloud_host, settings.local_cloud_port, "SIMCOURIER_LOCAL_CLOUD_HOST and _PORT")
            with installation.reserved(*cloud):
                _run(settings, stop)
        click.echo("Stopped.")


def _run(settings: Settings, stop: threading.Event) -> None:
    click.echo(f"Starting all roles on the data folder {settings.data_dir}; it takes some seconds.")
    account = _first_start(settings)
    environ = installation.environment(settings, os.environ)
    with Roles(environ, settings.data_dir / "logs", click.echo, settings.grace_seconds + STOP_SECONDS) as roles:
        if _start(roles, settings, stop):
            _tell(settings, account)
            _send_spooled(settings)
            roles.tend(stop)
        click.echo("Stopping: work in hand is finished or given back.")


def _first_start(settings: Settings) -> str:
    """The definition and the account, where they are missing; returns how to sign in, in words."""
    from ledger.accounts import first_account

    installation.define_local(settings, installation.upload_key(settings.data_dir))
    return first_account(settings.data_dir / "admin-password")


def _start(roles: Roles, settings: Settings, stop: threading.Event) -> bool:
    """Start all roles at once and wait for them; False: a stop was asked for meanwhile."""
    started = [
        installation.local_cloud(settings),
        installation.worker(settings),
        installation.email_sender(),
        installation.web(settings),
    ]
    for role in started:
        roles.launch(role)
    return all(roles.wait_ready(role, stop) for role in started)


def _tell(settings: Settings, account: str) -> None:
    broker = engine_of(settings).description
    cloud = settings.local_cloud_public_url or f"http://{settings.local_cloud_host}:{settings.local_cloud_port}"
    click.echo(f"""SimCourier is up.
  site          {settings.site_url}   (account: {account})
  local cloud   {cloud}   ({installation.use_of_cloud(settings)})
  worker        results, recorder and sweep
  email sender  {_mail_place(settings)}
  broker        {broker}
  ledger        {"SQLite" if settings.embedded_ledger else "PostgreSQL"}
  data folder   {settings.data_dir}   (logs in {settings.data_dir / "logs"})
Publish with:   {program()} publish FOLDER --to you@example.org --backend local
Stop with:      Ctrl-C""")


def _mail_place(settings: Settings) -> str:
    parts = urlsplit(settings.email_url.get_secret_value())
    return f"mails become files in {parts.path}" if parts.scheme == "file" else f"mails go through {parts.hostname}"


def _send_spooled(settings: Settings) -> None:
    """Events that were published while nothing was running here."""
    with Producer(settings) as producer:
        done = producer.flush()
    if done.sent:
        click.echo(f"Events from the spool that were sent: {len(done.sent)}.")
    for path, reason in done.refused.items():
        click.echo(f"An event stays in the spool as {path}: {reason}", err=True)
