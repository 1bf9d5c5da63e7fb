"""``simcourier health``: for health checks of containers and of monitoring."""

from __future__ import annotations

import json
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import click

from messaging.cli import settings_of
from messaging.errors import UserError
from simcourier.installation import EVERY_ADDRESS

ANSWER_SECONDS = 5.0


class Unhealthy(UserError):
    """A role does not do its work; the text says what is known of it."""


@click.command(short_help="Does a role on this machine do its work?")
@click.argument("role", type=click.Choice(["worker", "email-sender", "web", "local-cloud"]))
@click.option(
    "--within", type=click.FloatRange(2), default=60, show_default=True, help="Seconds of silence that are still fine."
)
@click.pass_context
def health(ctx: click.Context, role: str, within: float) -> None:
    """Say whether ROLE does its work on this machine: exit code 0 if it does, 1 with a sentence if not.

    Of worker and email-sender: whether every process serves its broker. Of web and local-cloud: whether they answer,
    and web, whether it reaches the database.

    \b
    Example:
      simcourier health worker --within 60
    """
    settings = settings_of(ctx)
    if role == "web":
        said = _ask(settings.web_host, settings.web_port)
    elif role == "local-cloud":
        secure = bool(os.environ.get("SIMCOURIER_LOCAL_CLOUD_TLS_CERT"))
        said = _ask(settings.local_cloud_host, settings.local_cloud_port, secure=secure)
    else:
        said = _listen(settings.data_dir, role, within)
    click.echo(f"{role}: {said}")


def _listen(data_dir: Path, role: str, within: float) -> str:
    from consumer.pulse import FOLDER, silences

    found = silences(data_dir / FOLDER, role)
    if not found:
        raise Unhealthy(f"No {role} runs on this machine with the data folder {data_dir}.")
    sick = {pid: silence for pid, silence in found.items() if silence is None or silence > within}
    if sick:
        raise Unhealthy(" ".join(_complaint(role, pid, silence) for pid, silence in sorted(sick.items())))
    return ", ".join(f"process {pid} was heard {silence:.0f} s ago" for pid, silence in sorted(found.items()))


def _complaint(role: str, pid: int, silence: float | None) -> str:
    who = f"The {role} (process {pid})"
    if silence is None:
        return f"{who} has not reached its broker yet."
    return f"{who} has been silent for {silence:.0f} s: its broker is away, or it is stuck; its log says which."


def _ask(host: str, port: int, *, secure: bool = False) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}[host] if host in EVERY_ADDRESS else host  # noqa: S104 - compared
    url = f"{'https' if secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/healthz"
    # Its certificate is for the name that people use, which need not be this one.
    context = ssl._create_unverified_context() if secure else None  # noqa: S323, SLF001 - see above
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS, context=context):  # noqa: S310 - http or https
            return f"answers on port {port}"
    except urllib.error.HTTPError as error:
        raise Unhealthy(_error_in(error)) from error
    except OSError as error:
        raise Unhealthy(f"Nothing answers at {url} ({getattr(error, 'reason', None) or error}).") from error


def _error_in(answer: urllib.error.HTTPError) -> str:
    with answer:
        try:
            return str(json.load(answer)["error"])
        except (ValueError, KeyError, TypeError):
            return f"{answer.url} answers {answer.code}."
