"""The demo does not pretend: whatever differs ends it."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from simcourier.demo import DemoFailed, _compare


def zipped(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "a.sca").write_bytes(b"a")
    (tmp_path / "b.vec").write_bytes(hashlib.sha256(b"b").digest())
    return tmp_path


def test_an_archive_with_exactly_the_files_is_listed(results: Path) -> None:
    files = {path.name: path.read_bytes() for path in results.iterdir()}

    assert [line.split()[1] for line in _compare(zipped(files), results)] == list(files)


@pytest.mark.parametrize("change", [{"b.vec": b"other"}, {"c": b"more"}, {"b.vec": None}])
def test_an_archive_that_differs_ends_the_demo(results: Path, change: dict[str, bytes | None]) -> None:
    files = {path.name: path.read_bytes() for path in results.iterdir()}
    changed = {name: content for name, content in (files | change).items() if content is not None}

    with pytest.raises(DemoFailed):
        _compare(zipped(changed), results)
