"""``simcourier demo``: one real sample run, from event to mail, on the embedded default."""

from __future__ import annotations

import email
import email.policy
import hashlib
import io
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ledger import make_data_dir, prepare
from messaging.cli import interruptible
from messaging.errors import UserError
from messaging.settings import Settings, load
from simcourier import installation
from simcourier.roles import Roles
from simcourier.typed import program

if TYPE_CHECKING:
    from ledger.api import DeliveryView

RECIPIENT = "researcher@example.org"
PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.02
MADE = ("summary/", "MANIFEST.sha256")  # what stands in the archive besides the results


class DemoFailed(UserError):
    """A step did not happen; the text says which."""


@click.command(short_help="One sample run, from event to mail, on this machine.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Keep the data in this new folder.")
def demo(keep: Path | None) -> None:
    """Run a sample simulation and follow its results to the mail with the link, on the embedded default.

    Nothing is left behind unless --keep is given; settings of the environment are not used.

    \b
    Example:
      simcourier demo
    """
    interruptible()
    if keep is not None:
        if keep.is_dir() and any(keep.iterdir()):
            raise click.UsageError(f"{keep} is not empty; name a new folder, in which the demo's data is kept.")
        _run(keep.absolute())
        return
    with tempfile.TemporaryDirectory(prefix="simcourier-demo-") as folder:
        _run(Path(folder))


def _run(folder: Path) -> None:
    show = Show()
    settings = _settings(folder)
    results = folder / "results"
    with show.step("Starting worker, email sender and local cloud"):
        make_data_dir(settings.data_dir)
        prepare(settings, "demo")
        key = installation.upload_key(settings.data_dir)
        installation.define_local(settings, key)
    environ = installation.environment(settings, os.environ)
    with installation.exclusive(settings.data_dir), Roles(environ, folder / "logs", show.line, 15.0) as roles:
        started = [installation.local_cloud(settings), installation.worker(settings), installation.email_sender()]
        for role in started:
            roles.launch(role)
        with show.step("Simulating an M/M/1 queue (20,000 customers)"):
            _simulate(results)
        with show.step("Waiting for the roles to be ready"):
            for role in started:
                roles.wait_ready(role, threading.Event())
        with show.step("Publishing simulation.completed"):
            event_id = _publish(settings, results)
        view = _follow(show, event_id)
        with show.step("Fetching the link and comparing the SHA-256"):
            archive = _fetch(view)
        with show.step("Comparing the archive with the results, byte for byte"):
            names = _compare(archive, results)
        with show.step("Reading the mail"):
            mail = _mail(settings, view)
        with show.step("Stopping all roles"):
            roles.stop()
            _ensure_gone(roles)
    show.section(f"Archive {view.archive_name} ({view.archive_size} bytes)", "\n".join(names))
    show.section("Mail", mail)
    show.section("Link (fetched above; its server has stopped with the demo)", view.link)
    show.line(f"That was the whole way. Next: '{program()} up' runs it for your own simulations.")


class Show:
    """Shows steps as they happen; on a terminal a step is there already while it lasts."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """A step; its line with the time appears when it has happened."""
        if not sys.stdout.isatty():
            yield
        else:
            click.echo(f"{'...':>8}  {text}", nl=False)
            try:
                yield
            finally:
                click.echo(f"\r{' ' * (len(text) + 10)}\r", nl=False)
        self.line(text)

    def line(self, text: str) -> None:
        """A line with the seconds since the start."""
        click.echo(f"{time.monotonic() - self._start:6.1f} s  {text}")

    def section(self, title: str, text: str) -> None:
        """Text under a title."""
        click.secho(f"\n--- {title}", bold=True)
        click.echo(text)


def _settings(folder: Path) -> Settings:
    """The embedded default, with free ports, and times fit for one short run."""
    return load(
        {
            "SIMCOURIER_DATA_DIR": str(folder),
            "SIMCOURIER_EMAIL_FROM": "SimCourier <simcourier@example.org>",
            "SIMCOURIER_LOCAL_CLOUD_PORT": str(installation.free_port()),
            "SIMCOURIER_GRACE_SECONDS": "5",
        }
    )


def _simulate(results: Path) -> None:
    command = [sys.executable, "-m", "producer.mm1", "--arrival-rate", "0.8", "--service-rate", "1.0"]
    command += ["--customers", "20000", "--seed", "1", "--output", str(results)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise DemoFailed(f"The simulator failed: {done.stderr.strip()[-500:]}")


def _publish(settings: Settings, results: Path) -> str:
    from producer import publish

    published = publish(
        results,
        to=RECIPIENT,
        backend="local",
        settings=settings,
        title="M/M/1, utilisation 0.8",
        simulation_id="demo-mm1",
        simulator="SimCourier's M/M/1 example",
    )
    if published.state != "sent":
        raise DemoFailed(f"The event was not accepted: {published.reason}")
    return str(published.event_id)


def _follow(show: Show, event_id: str) -> DeliveryView:
    """Show each move of the delivery as the ledger tells it, until its mails are sent."""
    from ledger.api import find

    deadline = time.monotonic() + PATIENCE_SECONDS
    last = ""
    while time.monotonic() < deadline:
        found = find(event_id)
        if found:
            view = found[0]
            told = f"Delivery: {view.state}{f', {view.stage}' if view.state == 'WORKING' else ''}"
            if told != last:
                show.line(told)
                last = told
            if view.state == "DELIVERED" and all(notice.state == "SENT" for notice in view.notices):
                show.line(f"Mail sent to {', '.join(notice.recipient for notice in view.notices)}")
                return view
            if view.ended and view.state != "DELIVERED":
                raise DemoFailed(f"The delivery ended as {view.state}: {view.reason}")
        time.sleep(LOOK_SECONDS)
    raise DemoFailed(f"The delivery did not end within {PATIENCE_SECONDS:.0f} s ({last or 'it was never recorded'}).")


def _fetch(view: DeliveryView) -> bytes:
    with urllib.request.urlopen(view.link, timeout=30) as answer:  # noqa: S310 - the link that is being shown
        body: bytes = answer.read()
    if hashlib.sha256(body).hexdigest() != view.archive_sha256:
        raise DemoFailed("The file behind the link is not the archive: its SHA-256 differs.")
    return body


def _compare(archive: bytes, results: Path) -> list[str]:
    sources = {str(path.relative_to(results)): path for path in results.rglob("*") if path.is_file()}
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        if sorted(name for name in opened.namelist() if not name.startswith(MADE)) != sorted(sources):
            raise DemoFailed("The archive does not hold exactly the results' files.")
        for name, path in sources.items():
            if opened.read(name) != path.read_bytes():
                raise DemoFailed(f"The file {name} differs in the archive.")
        return [f"{entry.file_size:>12}  {entry.filename}" for entry in opened.infolist()]


def _mail(settings: Settings, view: DeliveryView) -> str:
    files = list((settings.data_dir / "mail").glob("*.eml"))
    if len(files) != 1:
        raise DemoFailed(f"One mail was expected, {len(files)} are there.")
    mail = email.message_from_bytes(files[0].read_bytes(), policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    body = mail.get_body(("plain",))
    text = body.get_content() if body is not None else ""
    if not re.search(rf"(?<!\S){re.escape(view.link)}(?!\S)", text):
        raise DemoFailed("The mail does not carry the link.")
    head = "\n".join(f"{name}: {mail[name]}" for name in ("From", "To", "Subject", "Date"))
    return f"{head}\n\n{text.strip()}"


def _ensure_gone(roles: Roles) -> None:
    left = [role.name for role in roles.roles if role.process is not None and role.process.poll() is None]
    if left:
        raise DemoFailed(f"Still running: {', '.join(left)}.")
