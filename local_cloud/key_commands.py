"""``local-cloud keys``: add, list and revoke upload keys; a running server notices."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from local_cloud import keys as store
from local_cloud import options
from local_cloud.sizes import readable

FOLDER = click.option(
    "--folder",
    envvar="SIMCOURIER_LOCAL_CLOUD_FOLDER",
    type=click.Path(path_type=Path),
    help="The server's folder; may also stand before 'keys'.",
)


@click.group()
def keys() -> None:
    """Upload keys: who may upload, and how much.

    \b
    Example:
      local-cloud keys add bremen --quota 2TiB --folder /srv/results
    """


@keys.command()
@click.argument("name", metavar="NAME", type=options.key_name)
@click.option("--max-file", metavar="SIZE", type=options.size, help="Largest file [default: as the server allows].")
@click.option(
    "--quota",
    metavar="SIZE",
    type=options.size,
    help="Room for all its files together [default: as the server allows].",
)
@click.option(
    "--rate",
    metavar="SIZE/s",
    type=options.rate,
    help="Speed of all its uploads together, e.g. 20MB/s [default: no limit].",
)
@FOLDER
@click.pass_context
def add(
    ctx: click.Context, *, name: str, max_file: int | None, quota: int | None, rate: int | None, folder: Path | None
) -> None:
    """Make a key called NAME and print it, once: only its digest is kept.

    Each key sees, links and deletes only what was stored with it.

    \b
    Example:
      local-cloud keys add bremen --max-file 50GiB --quota 2TiB --rate 100MB/s --folder /srv/results
    """
    with _Told():
        key = store.add(_folder(ctx, folder), name, max_file=max_file, quota=quota, rate=rate)
    if key is None:
        raise click.ClickException(f"There is a key {name} already; choose another name, or revoke that one first.")
    click.echo(key)
    click.echo(f"This is the key {name}. Keep it: it is not shown again.", err=True)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@FOLDER
@click.pass_context
def list_(ctx: click.Context, *, as_json: bool, folder: Path | None) -> None:
    """Show the keys' names and limits. The one of --key-file is not among them.

    \b
    Example:
      local-cloud keys list --json --folder /srv/results
    """
    with _Told():
        known = store.read(_folder(ctx, folder))
    if as_json:
        facts = [{name: value for name, value in asdict(key).items() if name != "sha256"} for key in known]
        click.echo(json.dumps(facts, indent=2))
        return
    rows = [("NAME", "ADDED", "LARGEST FILE", "QUOTA", "RATE"), *map(_row, known)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if known else []:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    if not known:
        click.echo("There is no key; 'local-cloud keys add NAME' makes one.", err=True)


@keys.command()
@click.argument("name", metavar="NAME", type=options.key_name)
@FOLDER
@click.pass_context
def revoke(ctx: click.Context, *, name: str, folder: Path | None) -> None:
    """Make the key NAME invalid, at once. Its files and their links stay; a new key of this name owns them.

    \b
    Example:
      local-cloud keys revoke bremen --folder /srv/results
    """
    with _Told():
        left = store.revoke(_folder(ctx, folder), name)
    if left is None:
        raise click.ClickException(f"There is no key {name}; 'local-cloud keys list' shows them.")
    click.echo(f"The key {name} is not valid any more.", err=True)
    if not left:
        click.echo(
            "No key is left: unless the server has a --key-file, uploads from its own machine need none now.", err=True
        )


class _Told:
    """Makes sentences of what can go wrong with the file."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, store.Unreadable):
            raise click.ClickException(str(error)) from error
        if isinstance(error, OSError):
            raise click.ClickException(f"The keys cannot be changed: {error.strerror}: {error.filename}.") from error


def _folder(ctx: click.Context, folder: Path | None) -> Path:
    above = ctx.parent.parent if ctx.parent is not None else None
    folder = folder or (above.params.get("folder") if above is not None else None)
    if folder is None:
        raise click.UsageError("Name the server's folder: --folder, or SIMCOURIER_LOCAL_CLOUD_FOLDER.")
    return folder


def _row(key: store.Key) -> tuple[str, str, str, str, str]:
    largest, quota = ("-" if size is None else readable(size) for size in (key.max_file, key.quota))
    return key.name, key.added, largest, quota, "-" if key.rate is None else f"{readable(key.rate)}/s"
