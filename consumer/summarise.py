"""``simcourier summarise``: the summary of a folder, here and now, without any broker."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from messaging.errors import UserError


class Refused(UserError):
    """The folder cannot be summarised as asked for."""


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder to make [default: NAME-summary]."
)
@click.option("--precision", type=click.FloatRange(0, min_open=True), help="Seconds between points of vectors/*.csv.")
@click.option("--skip", type=click.FloatRange(0), default=0.0, help="Leave out the vectors' first seconds.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Only files that match, such as '*.sca'.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="No files that match.")
@click.option("--force", is_flag=True, help="Replace the output folder if it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json.")
def summarise(
    folder: Path,
    *,
    output: Path | None,
    precision: float | None,
    skip: float,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Parse the results in DIR, compute statistics, and write report.html, summary.json, CSV files and plots.

    \b
    Example:
      simcourier summarise results -o results-summary
    """
    from consumer.analyse import analyse
    from consumer.collect import look
    from consumer.errors import Undeliverable

    folder = folder.resolve()
    output = (output or Path(f"{folder.name}-summary")).resolve()
    if output == folder or folder.is_relative_to(output):
        raise Refused(f"{output} holds the results themselves; name another folder with -o.")
    if output.exists() and any(output.iterdir()) and not force:
        raise Refused(f"{output} is there already; name another folder with -o, or replace it with --force.")
    if output.is_relative_to(folder):
        exclude = (*exclude, f"{output.relative_to(folder).as_posix()}/*")
    try:
        snapshot = look(folder, include, exclude)
    except Undeliverable as error:
        raise Refused(str(error)) from error
    part = output.with_name(f".{output.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        made = analyse(snapshot, part, precision=precision, skip=skip)
        if output.exists():
            shutil.rmtree(output)
        part.rename(output)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    if as_json:
        click.echo((output / "summary.json").read_text("utf-8"), nl=False)
        return
    for line in made.key.statistics:
        click.echo(f"{line.label}: {line.value}")
    for warning in made.key.warnings:
        click.echo(f"Note: {warning}")
    click.echo(f"The report is {output / 'report.html'}.")
