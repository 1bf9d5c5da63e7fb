"""The archive: complete, the same each time, and never of a file that changed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.errors import TransientError
from consumer.collect import collect
from consumer.errors import Interrupted
from consumer.package import Packed, archive_name
from consumer.packing.archive import ArchiveWriter
from consumer.packing.deflate import COMPRESSIONS, Compression
from consumer.snapshot import Snapshot
from messaging.messages import Results


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.sca").write_bytes(b"scalar " * 1000)
    (folder / "empty").write_bytes(b"")
    (folder / "sub" / "ä = 1, #0.vec").write_bytes(os.urandom(3_000_000))
    for number, file in enumerate(sorted(folder.rglob("*"))):
        os.utime(file, (1_700_000_000 + number, 1_700_000_000 + number))
    return folder


def nothing() -> None:
    pass


def package(
    snapshot: Snapshot, target: Path, name: str, ensure: Callable[[], None], compression: Compression = "fast"
) -> Packed:
    with target.open("xb") as sink, ArchiveWriter(sink, compression, ensure=ensure) as archive:
        for file in snapshot.files:
            archive.add_file(file)
        written = archive.close()
    return Packed(target, name, written.size, written.sha256)


def pack(folder: Path, target: Path, ensure: Callable[[], None] = nothing) -> Packed:
    return package(collect(Results(location=folder.as_uri()), ()), target, "x.zip", ensure)


def test_the_archive_holds_exactly_the_files_byte_for_byte(results: Path, tmp_path: Path) -> None:
    packed = pack(results, tmp_path / "x.zip")

    with zipfile.ZipFile(packed.path) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {"a.sca", "empty", "sub/ä = 1, #0.vec"}
        for name in archive.namelist():
            assert archive.read(name) == (results / name).read_bytes()
    assert packed.size == packed.path.stat().st_size
    assert packed.sha256 == hashlib.sha256(packed.path.read_bytes()).hexdigest()


def test_the_same_files_make_the_same_bytes_whatever_the_time_zone(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    first = pack(results, tmp_path / "1.zip")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        second = pack(results, tmp_path / "2.zip")
    finally:
        monkeypatch.undo()
        time.tzset()

    assert first.sha256 == second.sha256


def test_another_program_reads_it(results: Path, tmp_path: Path) -> None:
    packed = pack(results, tmp_path / "x.zip")

    done = subprocess.run(
        ["python3", "-m", "zipfile", "-t", str(packed.path)], capture_output=True, text=True, check=True
    )

    assert "Done testing" in done.stdout


def test_it_can_be_made_smaller(results: Path, tmp_path: Path) -> None:
    (results / "a.sca").write_bytes(b"".join(b"scalar %d %d\n" % (n, n * 7919 % 10_007) for n in range(50_000)))
    snapshot = collect(Results(location=results.as_uri()), ())

    fast, small = (package(snapshot, tmp_path / one, "x.zip", nothing, one) for one in COMPRESSIONS)

    assert small.size < fast.size


def test_old_and_far_time_stamps_are_bent_into_what_a_zip_knows(results: Path, tmp_path: Path) -> None:
    os.utime(results / "a.sca", (0, 0))
    os.utime(results / "empty", (5_000_000_000, 5_000_000_000))

    with zipfile.ZipFile(pack(results, tmp_path / "x.zip").path) as archive:
        assert archive.getinfo("a.sca").date_time == (1980, 1, 1, 0, 0, 0)
        assert archive.getinfo("empty").date_time == (2107, 12, 31, 23, 59, 58)


def once(action: Callable[[], object]) -> Callable[[], None]:
    """To be called between chunks: acts the first time."""
    left = [action]

    def ensure() -> None:
        if left:
            left.pop()()

    return ensure


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda file: os.truncate(file, 2_000_000), "shorter"),
        (lambda file: file.open("ab").write(b"more"), "longer"),
        (lambda file: file.write_bytes(os.urandom(3_000_000)), "written to"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_file_that_changes_while_it_is_packed_is_noticed(
    results: Path, tmp_path: Path, change: Callable[[Path], object], told: str
) -> None:
    file = results / "sub" / "ä = 1, #0.vec"

    with pytest.raises(TransientError, match=told):
        pack(results, tmp_path / "x.zip", once(lambda: change(file)))


def test_a_file_that_vanished_or_was_replaced_by_a_link_is_noticed(results: Path, tmp_path: Path) -> None:
    snapshot = collect(Results(location=results.as_uri()), ())
    file = results / "a.sca"
    file.unlink()
    with pytest.raises(TransientError, match="vanished"):
        package(snapshot, tmp_path / "1.zip", "x.zip", nothing)

    (tmp_path / "secret").write_text("secret")
    file.symlink_to(tmp_path / "secret")
    with pytest.raises((TransientError, OSError)):
        package(snapshot, tmp_path / "2.zip", "x.zip", nothing)


def test_packing_stops_when_it_is_told_to(results: Path, tmp_path: Path) -> None:
    def stop() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        pack(results, tmp_path / "x.zip", stop)


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("M/M/1, rho = 0.8", "M M 1, rho = 0.8.zip"),
        ("../../etc/passwd", "etc passwd.zip"),
        ("", "run-7.zip"),
        ("  \t ", "run-7.zip"),
        ("Übung №1", "Übung №1.zip"),
        ("x" * 500, "x" * 120 + ".zip"),
        ("..", "results.zip"),
    ],
)
def test_the_archive_is_named_after_the_title(title: str, expected: str) -> None:
    assert archive_name(title.strip(), "run-7") == expected
