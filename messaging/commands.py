"""``simcourier schema``."""

from __future__ import annotations

import json

import click

from messaging.messages import schemas


@click.command(short_help="Print the JSON Schemas of the messages.")
@click.argument("kind", required=False)
def schema(kind: str | None) -> None:
    """Print the JSON Schemas of the messages: of KIND (a CloudEvents type), or of all as one object.

    \b
    Example:
      simcourier schema simcourier.simulation.completed.v1 > completed.schema.json
    """
    known = schemas()
    if kind is not None and kind not in known:
        raise click.UsageError(f"{kind} is not a message; known are {', '.join(known)}.")
    click.echo(json.dumps(known if kind is None else known[kind], indent=2))
