"""From a snapshot of results to their summary: every file that a format knows is read once, and the rest is named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from consumer.formats.contract import HEAD
from consumer.formats.registry import recognise, troubles
from consumer.formats.unread import why_not
from consumer.packing.sources import opened
from consumer.snapshot import Snapshot, SourceFile
from consumer.statistics.collector import Collector
from consumer.statistics.model import Summary
from consumer.statistics.spooled import SpooledRows

if TYPE_CHECKING:
    from consumer.report.key import Key
    from consumer.report.plots import Plot

Row = TypeVar("Row")
ROWS_AT_ONCE = 256  # that are written between two calls of ``progress``


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found out.

    Args:
        key: the numbers that a mail tells.
        plots: as they are drawn in the report.
        files: names of the files that were written, with ``/``, within their folder.
    """

    key: Key
    plots: tuple[Plot, ...]
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Analysis(Findings):
    """With ``summary``: all numbers."""

    summary: Summary


def analyse(
    snapshot: Snapshot,
    folder: Path,
    *,
    precision: float | None = None,
    skip: float = 0.0,
    progress: Callable[[int], None] = lambda _read: None,
) -> Analysis:
    """Read the files of a snapshot and write their summary.

    What is written depends on the results alone, so that the same results always make the same archive.

    Args:
        snapshot: which files.
        folder: a new or empty one, for the summary's files.
        precision: seconds between the points of a vector's course; None: chosen for each.
        skip: seconds at the beginning of every run whose samples count for nothing.
        progress: called with the bytes of results that have been read so far, again and again, also while the summary
            is made of them; raises to stop the work.

    Raises:
        TransientError: a file changed since the snapshot.
        OSError: a file cannot be read, or the summary cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = 0  # bytes of the files that are done

    def at(_name: str, offset: int) -> None:
        progress(before + offset)

    def told(rows: Iterable[Row]) -> Iterator[Row]:
        for number, row in enumerate(rows):
            if not number % ROWS_AT_ONCE:
                progress(before)
            yield row

    with (
        ThreadPoolExecutor(1, "report") as beside,
        SpooledRows(folder) as rows,
        Collector(rows, precision=precision, skip=skip, at=at) as collector,
    ):
        report = beside.submit(_load_report)
        for file in snapshot.files:
            _read(file, collector)
            before += file.size
            progress(before)
        for text in (*snapshot.left_out, *troubles()):
            collector.note(text)
        summary = collector.summary()
        progress(before)
        report.result()
        from consumer.report.key import pick
        from consumer.report.plots import plots
        from consumer.report.write import write

        drawn = plots(summary)
        names = write(
            summary,
            folder,
            scalars=told(rows.scalars()),
            statistics=told(rows.statistics()),
            vectors=told(collector.vector_rows()),
            drawn=drawn,
        )
    return Analysis(pick(summary), drawn, tuple(names), summary)


def _load_report() -> None:
    """What writes summaries takes a quarter of a second to load, which may as well pass while the files are read."""
    from consumer.report import page

    import_module("consumer.report.write")
    page.prepare()


def _read(file: SourceFile, collector: Collector) -> None:
    with opened(file) as stream:
        head = stream.read(HEAD)
        form = recognise(head)
        if form:
            collector.begin_file(file.name, file.size, form.name)
            stream.seek(0)
            form.read(stream, collector)
        else:
            unread = why_not(file.name, head, recognise)
            collector.begin_file(file.name, file.size, "", unread.reason)
            if unread.warning:
                collector.warning(unread.warning, unread.line)
        collector.end_file()
