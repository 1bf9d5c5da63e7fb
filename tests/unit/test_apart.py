"""Results that are read in a process of their own: what comes of it, and of a process that does not end well."""

from __future__ import annotations

import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import structlog

from backends.errors import TransientError
from consumer import apart
from consumer.analyse import Findings, analyse
from consumer.apart import ReadingFailed, analyse_apart
from consumer.collect import look
from consumer.errors import Interrupted
from consumer.making import NO_SUMMARY, Made, Making
from consumer.packing.growing import GrowingArchive
from consumer.python import environment
from tests.support.scratch import wait_until

VECTORS = "version 2\nrun r\nattr configname C\nvector 0 net.queue length ETV\n"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    samples = "".join(f"0\t{event}\t{event / 8}\t{event % 7}\n" for event in range(5000))
    (folder / "a.vec").write_text(VECTORS + samples)
    (folder / "b.sca").write_text("version 3\nrun r\nscalar net x nan\n")
    (folder / "none.txt").symlink_to("/etc/hostname")
    return folder


def readers(parent: psutil.Process | None = None) -> list[psutil.Process]:
    """The processes that read results for this one."""
    found = []
    for child in (parent or psutil.Process()).children():
        with suppress(psutil.NoSuchProcess):  # it has just ended
            if apart.MODULE in child.cmdline():
                found.append(child)
    return found


@pytest.fixture(autouse=True)
def _no_process_stays() -> Iterator[None]:
    yield
    assert not readers()


def made(results: Path, folder: Path) -> Made:
    folder.mkdir()
    growing = GrowingArchive(folder / "1.part", name="x.zip", key="k")
    with Making(look(results), folder, growing, ensure=lambda: None) as making:
        return making.result()


def test_the_archive_is_the_same(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = made(results, tmp_path / "1")
    monkeypatch.setattr(apart, "FROM_BYTES", 1)
    outside = made(results, tmp_path / "2")

    assert outside.packed.sha256 == inside.packed.sha256
    assert outside.key is not None
    assert replace(outside, packed=inside.packed) == inside


def test_it_tells_how_far_it_is_and_all_that_is_found(results: Path, tmp_path: Path) -> None:
    told: list[int] = []

    outside = analyse_apart(look(results), tmp_path / "outside", progress=told.append)
    inside = analyse(look(results), tmp_path / "inside")

    assert outside == Findings(inside.key, inside.plots, inside.files)
    assert any("none.txt" in warning for warning in outside.key.warnings)
    assert told[-1] == sum((results / name).stat().st_size for name in ("a.vec", "b.sca"))
    for name in outside.files:
        assert (tmp_path / "outside" / name).read_bytes() == (tmp_path / "inside" / name).read_bytes()


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_what_a_service_manager_tells_all_processes_does_not_end_it(
    results: Path, tmp_path: Path, told: signal.Signals
) -> None:
    def progress(_read: int) -> None:
        for reader in readers():
            with suppress(psutil.NoSuchProcess):
                reader.send_signal(told)

    assert analyse_apart(look(results), tmp_path / "summary", progress=progress).files


KILLED_AT_FIRST = """
import os, sys
from pathlib import Path
from consumer.apart_main import main
mark = Path(__file__).with_name("killed before")
if mark.exists():
    sys.exit(main())
mark.touch()
os.kill(os.getpid(), 9)
"""


def test_a_process_that_is_killed_is_started_once_more(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "killed_at_first.py").write_text(KILLED_AT_FIRST)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(apart, "MODULE", "killed_at_first")

    outside = analyse_apart(look(results), tmp_path / "outside", progress=lambda _read: None)

    assert (tmp_path / "killed before").exists()
    assert outside.files == analyse(look(results), tmp_path / "inside").files


def test_a_process_that_is_killed_again_costs_the_summary_and_not_the_results(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "short_of_memory.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(apart, "MODULE", "short_of_memory")
    monkeypatch.setattr(apart, "FROM_BYTES", 1)

    named = structlog.contextvars.bound_contextvars(delivery_id="17")
    with named, structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        done = made(results, tmp_path / "work")
    with pytest.raises(ReadingFailed, match=r"^The process that reads the results was ended by SIGKILL\.$"):
        analyse_apart(look(results), tmp_path / "summary", progress=lambda _read: None)

    with zipfile.ZipFile(done.packed.path) as archive:
        assert archive.namelist() == ["a.vec", "b.sca", "MANIFEST.sha256"]
    assert done.key is None
    assert NO_SUMMARY in done.notes
    told = ["results.read_again", "summary.bug"]
    assert [(line["event"], line["delivery_id"]) for line in lines] == [(event, "17") for event in told]


def test_a_bug_there_is_told_here(results: Path, tmp_path: Path) -> None:
    snapshot = replace(look(results), left_out=(7,))  # type: ignore[arg-type]  # which no sentence is

    with pytest.raises(ReadingFailed, match=r"Traceback[\s\S]*consumer.report[\s\S]*TypeError"):
        analyse_apart(snapshot, tmp_path / "summary", progress=lambda _read: None)


def test_a_file_that_changed_is_noticed(results: Path, tmp_path: Path) -> None:
    snapshot = look(results)
    (results / "b.sca").unlink()

    with pytest.raises(TransientError, match=r"The file b\.sca vanished while it was read\.") as raised:
        analyse_apart(snapshot, tmp_path / "summary", progress=lambda _read: None)

    assert raised.value.retry_after is not None


def test_it_ends_when_the_work_is_to_stop(results: Path, tmp_path: Path) -> None:
    def progress(_read: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        analyse_apart(look(results), tmp_path / "summary", progress=progress)


def test_it_ends_with_the_worker(results: Path, tmp_path: Path) -> None:
    program = f"""
import time
from pathlib import Path
from consumer.apart import analyse_apart
from consumer.collect import look
analyse_apart(look(Path({str(results)!r})), Path("summary"), progress=lambda _read: time.sleep(60))
"""
    worker = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=environment())
    seen: list[psutil.Process] = []

    def begun() -> bool:
        seen[:] = readers(psutil.Process(worker.pid))
        return bool(seen)

    try:
        wait_until(begun, "it has begun")
    finally:
        worker.kill()
        worker.wait()

    (reader,) = seen

    def ended() -> bool:
        with suppress(psutil.NoSuchProcess):
            return reader.status() == psutil.STATUS_ZOMBIE
        return True

    wait_until(ended, "it has ended")
