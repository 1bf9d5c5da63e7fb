"""``simcourier pack``: needs no broker, no ledger, and none of their libraries."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from backends.errors import TransientError
from consumer.collect import look
from consumer.errors import Undeliverable
from consumer.packing.archive import ArchiveWriter, Written
from consumer.packing.deflate import COMPRESSIONS, Compression
from consumer.packing.manifest import add_manifest
from consumer.packing.meter import Meter
from messaging.amounts import amount
from messaging.cli import interrupted_when_asked, interruptible, settings_of
from messaging.errors import UserError
from messaging.terminal import printable

if TYPE_CHECKING:
    from consumer.snapshot import Snapshot

VARIABLE = "SIMCOURIER_COMPRESSION"


class NotPacked(UserError):
    """The archive was not made; the text says why."""


@click.command(short_help="Pack a results folder into a zip, on all cores.")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    "target",
    metavar="FILE",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The archive; it appears when it is complete.",
)
@click.option(
    "--compression",
    type=click.Choice(COMPRESSIONS),
    help="small: a few percent smaller, several times slower [default: the setting SIMCOURIER_COMPRESSION, else fast].",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    help="Threads that pack [default: one for each core, at most 6].",
)
@click.option(
    "--include", multiple=True, metavar="PATTERN", help="Pack only files that match, such as '*.sca'; may be repeated."
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out files that match; may be repeated.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def pack(
    ctx: click.Context,
    folder: Path,
    target: Path,
    compression: Compression | None,
    threads: int | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    *,
    force: bool,
    as_json: bool,
) -> None:
    """Pack the results in DIR, as a worker does: on all cores, with their digests in MANIFEST.sha256.

    \b
    Example:
      simcourier pack results/ -o results.zip
    """
    compression = compression or _setting(ctx)
    interruptible()
    if target.exists() and not target.is_file():  # a device would be replaced as well
        raise NotPacked(f"{printable(str(target))} is no file.")
    if target.exists() and not force:
        raise NotPacked(f"{printable(str(target))} exists; --force replaces it.")
    with _sentences(target):
        snapshot = look(folder.resolve(), include, exclude, besides=_identity(target))
        written = _write(snapshot, target, compression, threads or 0)
    _tell(snapshot, target, written, as_json=as_json)


def _setting(ctx: click.Context) -> Compression:
    """All settings are read only where the variable alone does not tell: that takes longer than a small folder."""
    value = os.environ.get(VARIABLE) or "fast"
    if value in COMPRESSIONS and f"{VARIABLE}_FILE" not in os.environ and not ctx.find_root().params.get("env_file"):
        return value
    return settings_of(ctx).compression


def _identity(target: Path) -> tuple[int, int] | None:
    """Device and inode of the file that is to be replaced."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _write(snapshot: Snapshot, target: Path, compression: Compression, threads: int) -> Written:
    meter = Meter(sys.stderr)
    try:
        with (
            _appearing(target) as sink,
            interrupted_when_asked() as ensure,
            ArchiveWriter(sink, compression, threads, ensure, meter) as archive,
        ):
            archive.expect(snapshot.files.size)
            for file in snapshot.files:
                archive.add_file(file)
            add_manifest(archive)
            return archive.close()
    finally:
        meter.clear()


@contextmanager
def _appearing(target: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when all went well, and else is gone."""
    part = target.with_name(f".simcourier-{os.urandom(6).hex()}.part")
    try:
        with part.open("xb") as sink:
            yield sink
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def _sentences(target: Path) -> Iterator[None]:
    """What may go wrong, in one sentence."""
    try:
        yield
    except Undeliverable as error:
        raise NotPacked(printable(str(error))) from error
    except TransientError as error:
        raise NotPacked(f"{printable(error.reason)} Pack again when nothing writes to it any more.") from error
    except OSError as error:
        where = error.filename if error.filename and not str(error.filename).endswith(".part") else target
        raise NotPacked(f"{printable(str(where))}: {error.strerror or error}.") from error


def _tell(snapshot: Snapshot, target: Path, written: Written, *, as_json: bool) -> None:
    if as_json:
        told: dict[str, Any] = {
            "file": str(target),
            "size": written.size,
            "sha256": written.sha256,
            "files": len(snapshot.files),
            "bytes": snapshot.files.size,
            "left_out": snapshot.left_out,
        }
        click.echo(json.dumps(told, indent=2))
        return
    files = len(snapshot.files)
    click.echo(f"{printable(str(target))}: {amount(written.size)} ({written.size} bytes)")
    click.echo(f"SHA-256 {written.sha256}")
    click.echo(f"{files} file{'s' if files != 1 else ''} of {amount(snapshot.files.size)}")
    _tell_left_out(snapshot.left_out)


def _tell_left_out(left_out: Sequence[str]) -> None:
    if left_out:
        click.echo("Left out:")
    for sentence in left_out:
        click.echo(f"  {printable(sentence)}")
