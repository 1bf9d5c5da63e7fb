"""Makes a delivery's archive: packs the results on threads of their own, while another reads them for the summary.

The order in the archive is fixed, so that its bytes depend on the results alone: raw files by name, then ``summary/``,
then the manifest.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import structlog

from backends.errors import Superseded, TransientError
from consumer.analyse import Findings, analyse
from consumer.apart import analyse_apart, worth_it
from consumer.errors import Interrupted, NotNow
from consumer.package import Packed
from consumer.packing import space
from consumer.packing.archive import ArchiveWriter
from consumer.packing.deflate import Compression
from consumer.packing.growing import GrowingArchive
from consumer.packing.manifest import add_manifest, free_name
from consumer.packing.names import alike
from consumer.report.key import Key
from consumer.report.picture import chosen, png
from consumer.report.plain import shown
from consumer.snapshot import Snapshot
from messaging import faults
from messaging.amounts import amount

log = structlog.get_logger()

SUMMARY = "summary"
MOST_PICTURES = 3
NO_ROOM_SECONDS = 60.0
NO_SUMMARY = "The summary could not be made; the operator finds the reason in the worker's log."


@dataclass(frozen=True, slots=True)
class Made:
    """A finished archive, and what is said about the results; no ``key``: there is no summary.

    Args:
        summary: name of the folder that holds it.
        pictures: plots for the mail and the delivery's page; they are not in the archive.
    """

    packed: Packed
    key: Key | None
    notes: tuple[str, ...]
    summary: str = ""
    pictures: tuple[Mapping[str, Any], ...] = ()


class Making:
    """An archive that is being made. Leaving its ``with`` block ends the work.

    Args:
        snapshot: what goes into it.
        folder: where the archive and, for a while, the summary's files are made.
        growing: takes the bytes; readers may follow.
        compression: see `consumer.packing.deflate`.
        summarised: whether a summary is made.
        ensure: called often; raises when the work is to stop.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        folder: Path,
        growing: GrowingArchive,
        *,
        compression: Compression = "fast",
        summarised: bool = True,
        ensure: Callable[[], None],
    ) -> None:
        self._snapshot = snapshot
        self._folder = folder
        self._growing = growing
        self._compression: Compression = compression
        self._summarised = summarised
        self._outside = ensure
        self._stopped = False
        self._archive: ArchiveWriter | None = None
        self._packed_bytes = 0
        self._read_bytes = 0 if summarised else snapshot.files.size
        self._threads = ThreadPoolExecutor(2, "making")
        self._future: Future[Made] = self._threads.submit(copy_context().run, self._make)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._threads.shutdown(cancel_futures=True)

    @property
    def progress(self) -> tuple[int, int]:
        """How many of the results' bytes are both packed and read for the summary, and how many there are."""
        return min(self._packed_bytes, self._read_bytes), self._snapshot.files.size

    def wait(self, seconds: float) -> bool:
        """Wait so long at most; whether `result` returns at once."""
        return bool(wait([self._future], seconds).done)

    def prefix_sha256(self, size: int) -> str:
        """Digest of the first ``size`` bytes of the archive, which have been read from it."""
        assert self._archive is not None
        with self._growing.path.open("rb") as reader:
            return self._archive.prefix_sha256(reader, size)

    def result(self) -> Made:
        """What was made; waits for it.

        Raises:
            TransientError: a file came, changed, grew, shrank or vanished since the snapshot.
            OSError: reading or writing failed.
        """
        return self._future.result()

    def _ensure(self) -> None:
        if self._stopped:
            raise Interrupted
        self._outside()

    def _make(self) -> Made:
        try:
            with self._summary_folder() as folder:
                analysis = self._beside(folder) if self._summarised else None
                return self._pack(folder, analysis)
        except BaseException as error:
            self._growing.fail(error)
            raise

    def _beside(self, folder: Path) -> Future[Findings | None]:
        return self._threads.submit(copy_context().run, self._analyse, folder)  # its log lines name the delivery

    def _pack(self, folder: Path, analysis: Future[Findings | None] | None) -> Made:
        files = self._snapshot.files
        with ArchiveWriter(self._growing, self._compression, ensure=self._ensure, progress=self._tell) as archive:
            self._archive = archive
            for file in files:
                archive.add_file(file)
            archive.flush()  # whoever sends goes on while the summary is made
            found = analysis.result() if analysis else None
            self._snapshot.ensure_unchanged()  # before the archive is whole: what is sent meanwhile can still be undone
            if found:
                base = free_name(SUMMARY, (file.name.partition("/")[0] for file in files))
                for name in found.files:
                    archive.add_path(f"{base}/{name}", folder / name, archive.newest_ns)
            add_manifest(archive)
            written = archive.close()
        path = self._folder / f"{written.sha256}.zip"
        self._growing.finish(written.sha256, path)
        packed = Packed(path, self._growing.name, written.size, written.sha256)
        clashes = alike(file.name for file in files)
        if found:
            known = set(self._snapshot.left_out)  # which are told apart
            notes = (*(note for note in found.key.warnings if note not in known), *clashes)
            return Made(packed, found.key, notes, base, _pictures(found))
        return Made(packed, None, (NO_SUMMARY, *clashes))

    def _tell(self, done: int, total: int) -> None:
        del total
        self._packed_bytes = done
        faults.point("delivery.packing")

    def _tell_read(self, done: int) -> None:
        self._ensure()
        self._read_bytes = done
        faults.point("delivery.reading")

    def _analyse(self, folder: Path) -> Findings | None:
        try:
            read = analyse_apart if worth_it(self._snapshot) else analyse
            return read(self._snapshot, folder, progress=self._tell_read)
        except (TransientError, OSError, Interrupted, Superseded):
            raise
        except Exception:
            if self._stopped:
                raise
            log.exception("summary.bug")  # the results are worth more than what we say about them
            return None

    @contextmanager
    def _summary_folder(self) -> Iterator[Path]:
        folder = self._folder / f"summary-{os.urandom(6).hex()}"
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _pictures(found: Findings) -> tuple[Mapping[str, Any], ...]:
    try:
        return tuple(
            {
                "title": shown(one.full_title),
                "note": shown(one.note),
                "alt": one.chart.description,
                "png": png(one.chart),
            }
            for one in chosen(found.plots, MOST_PICTURES)
        )
    except Exception:  # the mail is worth more than its plot
        log.exception("picture.bug")
        return ()


def ensure_room(snapshot: Snapshot, folder: Path) -> None:
    """Ask for the room that the archive may need, before the first byte is written.

    Raises:
        NotNow: there is less.
    """
    needed, free = space.of_archive(snapshot.files), space.free_bytes(folder)
    if needed > free:
        raise NotNow(
            f"The worker's disk has {amount(free)} left, and the archive may need {amount(needed)}.", NO_ROOM_SECONDS
        )
