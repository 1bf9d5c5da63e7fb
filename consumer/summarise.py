"""``simcourier summarise``: the summary of a folder, here and now, without any broker."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from messaging.cli import interrupted_when_asked, interruptible
from messaging.errors import UserError
from messaging.terminal import say, say_json

if TYPE_CHECKING:  # what reads results takes half a second to load
    from consumer.analyse import Analysis
    from consumer.snapshot import Snapshot


class Refused(UserError):
    """The folder cannot be summarised as asked for."""


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder to make [default: NAME-summary]."
)
@click.option("--precision", type=click.FloatRange(0, min_open=True), help="Seconds between points of vectors/*.csv.")
@click.option("--skip", type=click.FloatRange(0), default=0.0, help="Leave out the vectors' first seconds.")
@click.option(
    "--include", multiple=True, metavar="PATTERN", help="Only files that match, such as '*.sca'; may be repeated."
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="No files that match; may be repeated.")
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
    from consumer.collect import look
    from consumer.errors import Undeliverable

    interruptible()
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
    with _sentences(output):
        made = _make(snapshot, output, precision=precision, skip=skip)
    if as_json:
        say_json((output / "summary.json").read_text("utf-8"))
        return
    for line in made.key.statistics:
        say(f"{line.label}: {line.value}")
    for warning in made.key.warnings:
        say(f"Note: {warning}")
    click.echo(f"The report is {output / 'report.html'}.")


def _make(snapshot: Snapshot, output: Path, *, precision: float | None, skip: float) -> Analysis:
    """The summary, in a folder that appears when it is complete."""
    from consumer.analyse import analyse
    from consumer.packing.meter import Meter

    part = output.with_name(f".{output.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    size = snapshot.files.size
    meter = Meter(sys.stderr, verb="to read", after="the summary is being made")
    try:
        with interrupted_when_asked() as ensure:

            def progress(done: int) -> None:
                ensure()
                meter(done, size)

            made = analyse(snapshot, part, precision=precision, skip=skip, progress=progress)
        if output.exists():
            shutil.rmtree(output)
        part.rename(output)
    finally:
        meter.clear()
        shutil.rmtree(part, ignore_errors=True)
    return made


@contextmanager
def _sentences(output: Path) -> Iterator[None]:
    """What may go wrong, in one sentence."""
    from backends.errors import TransientError

    try:
        yield
    except TransientError as error:
        raise Refused(f"{error.reason} Summarise again when nothing writes to the results any more.") from error
    except OSError as error:
        raise Refused(f"{error.filename or output}: {error.strerror or error}.") from error
