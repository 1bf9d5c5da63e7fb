"""``simcourier doctor``."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import click

from messaging.cli import settings_of
from messaging.settings import Settings, WrongSetting
from messaging.terminal import say
from simcourier.doctor.broker import broker
from simcourier.doctor.findings import Check, Finding, Mark, examine
from simcourier.doctor.machine import data_folder, results_roots, spool

if TYPE_CHECKING:
    from ledger.api import Definition

# What a simulator's host lacks.
WORKERS = ("django", "requests", "jinja2")


@click.command(short_help="What is missing, and what to do.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, *, as_json: bool) -> None:
    """Look at settings, data folder, results roots, key, database, broker, mail and storage backends.

    A line for each: ok, note, warning or trouble, and what to do. Nothing is made, changed or sent. The exit code is 1
    if there is trouble.

    \b
    Example:
      simcourier doctor
    """
    try:
        found = _look(settings_of(ctx))
    except WrongSetting as error:
        found = [Finding("settings", Mark.TROUBLE, str(error))]
    if as_json:
        say(json.dumps([asdict(one) for one in found], indent=2))
    else:
        _tell(found)
    if any(one.mark == Mark.TROUBLE for one in found):
        ctx.exit(1)


def _look(settings: Settings) -> list[Finding]:
    found = [Finding("settings", Mark.OK, "They can be read.")]
    found += examine([Check("data folder", partial(data_folder, settings)), Check("spool", partial(spool, settings))])
    everything = [Check("broker", partial(broker, settings))]
    if any(importlib.util.find_spec(package) is None for package in WORKERS):
        note = "Python packages of the worker are not installed: looked at as a simulator's host."
        return [*found, Finding("packages", Mark.NOTE, note), *examine(everything)]
    from simcourier.doctor.database import database, start
    from simcourier.doctor.mail import mail

    found += examine([Check("results roots", partial(results_roots, settings))])
    key = examine([Check("secret key", partial(start, settings))])
    found += key
    definitions: list[Definition] = []
    if all(one.mark == Mark.OK for one in key):
        everything.insert(0, Check("database", partial(database, settings, definitions)))
    found += examine([*everything, Check("mail", partial(mail, settings))])
    if definitions:
        from simcourier.doctor.storage import checks

        found += examine(checks(definitions, settings.site))
    return found


def _tell(found: list[Finding]) -> None:
    width = max(len(one.check) for one in found)
    for one in found:
        say(f"{one.mark:<8} {one.check:<{width}}  {one.text}{' ' if one.next else ''}{one.next}")
    troubles = sum(one.mark == Mark.TROUBLE for one in found)
    warnings = sum(one.mark == Mark.WARNING for one in found)
    click.echo(
        f"Trouble: {troubles}, warnings: {warnings}." if troubles or warnings else "Nothing is missing.", err=True
    )
