"""The archive of a delivery: results, summary, manifest, in this order, and the same bytes for the same results."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.errors import TransientError
from consumer import making as making_module
from consumer.collect import look
from consumer.errors import Interrupted, NotNow
from consumer.making import NO_SUMMARY, Made, Making, ensure_room
from consumer.packing.growing import GrowingArchive

SCALARS = "version 3\nrun r\nattr configname C\nscalar net.queue length:mean 1.25\nattr unit pk\nscalar net x nan\n"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.sca").write_text(SCALARS)
    (folder / "sub" / "noise.bin").write_bytes(os.urandom(3_000_000))
    return folder


def nothing() -> None:
    pass


def made(results: Path, folder: Path, ensure: Callable[[], None] = nothing, *, summarised: bool = True) -> Made:
    folder.mkdir()
    growing = GrowingArchive(folder / "1.part", name="x.zip", key="k")
    with Making(look(results), folder, growing, summarised=summarised, ensure=ensure) as making:
        return making.result()


def test_results_come_first_then_the_summary_then_the_manifest(results: Path, tmp_path: Path) -> None:
    done = made(results, tmp_path / "work")

    with zipfile.ZipFile(done.packed.path) as archive:
        names = archive.namelist()
        summary = json.loads(archive.read("summary/summary.json"))
    assert names[:2] == ["a.sca", "sub/noise.bin"]
    assert names[-1] == "MANIFEST.sha256"
    assert "summary/report.html" in names
    assert summary["scalars"][0]["value"] == 1.25
    assert done.key is not None
    assert [(one.label, one.value, one.number) for one in done.key.statistics][-1][1:] == ("1.25 pk", 1.25)
    assert any("no value" in note for note in done.notes)
    assert done.packed.sha256 == hashlib.sha256(done.packed.path.read_bytes()).hexdigest()
    assert [path.name for path in (tmp_path / "work").iterdir()] == [f"{done.packed.sha256}.zip"]


def test_the_manifest_is_accepted_by_sha256sum(results: Path, tmp_path: Path) -> None:
    done = made(results, tmp_path / "work")

    with zipfile.ZipFile(done.packed.path) as archive:
        archive.extractall(tmp_path / "out")
    command = ["sha256sum", "--strict", "-c", "MANIFEST.sha256"]
    told = subprocess.run(command, cwd=tmp_path / "out", capture_output=True, text=True, check=False)

    assert told.returncode == 0, told.stderr


def test_the_same_results_make_the_same_archive(results: Path, tmp_path: Path) -> None:
    first, second = made(results, tmp_path / "1"), made(results, tmp_path / "2")

    assert first.packed.sha256 == second.packed.sha256


def test_results_that_bear_the_summary_s_name_are_not_overwritten(results: Path, tmp_path: Path) -> None:
    (results / "Summary").mkdir()
    (results / "Summary" / "report.html").write_text("mine")
    (results / "MANIFEST.sha256").write_text("mine too")

    done = made(results, tmp_path / "work")

    with zipfile.ZipFile(done.packed.path) as archive:
        assert archive.read("Summary/report.html") == b"mine"
        assert archive.read("MANIFEST.sha256") == b"mine too"
        assert "summary-2/report.html" in archive.namelist()
        assert archive.namelist()[-1] == "MANIFEST-2.sha256"


def test_a_bug_of_ours_costs_the_summary_and_not_the_results(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(making_module, "analyse", broken)

    done = made(results, tmp_path / "work")

    with zipfile.ZipFile(done.packed.path) as archive:
        assert archive.namelist() == ["a.sca", "sub/noise.bin", "MANIFEST.sha256"]
    assert (done.key, done.notes) == (None, (NO_SUMMARY,))


def test_after_crashes_nobody_reads_the_files_any_more(results: Path, tmp_path: Path) -> None:
    done = made(results, tmp_path / "work", summarised=False)

    assert (done.key, done.notes) == (None, (NO_SUMMARY,))


def test_a_file_that_changes_meanwhile_fails_the_whole_and_leaves_nothing(results: Path, tmp_path: Path) -> None:
    def change() -> None:
        with (results / "sub" / "noise.bin").open("ab") as stream:
            stream.write(b"more")

    with pytest.raises(TransientError, match="while it was read"):
        made(results, tmp_path / "work", change)

    assert not list((tmp_path / "work").glob("*.zip"))


def test_making_stops_when_it_is_told_to(results: Path, tmp_path: Path) -> None:
    def stop() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        made(results, tmp_path / "work", stop)


def test_too_little_room_is_told_before_anything_is_written(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.packing.space.free_bytes", lambda _folder: 1_000_000)

    with pytest.raises(NotNow, match=r"The worker's disk has 1\.0 MB left, and the archive may need 3\.\d MB\."):
        ensure_room(look(results), tmp_path)
