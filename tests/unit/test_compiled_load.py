"""The machine code of the loops is made once and kept; whatever becomes of that, nothing else stays on the disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from consumer.compiled import load
from consumer.python import environment
from tests.support.scratch import wait_until

LOAD = "import consumer.compiled.load as load; load.loops()"


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """An empty cache and an empty folder for temporary files."""
    for name in ("cache", "tmp"):
        (tmp_path / name).mkdir()
    return {**environment(), "XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path / "tmp")}


def test_the_code_is_kept_and_nothing_else(surroundings: dict[str, str], tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", LOAD], check=True, env=surroundings)

    (kept,) = (path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert kept.name.startswith("loops-")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_who_is_killed_while_the_loops_are_made_leaves_nothing_behind(
    surroundings: dict[str, str], tmp_path: Path
) -> None:
    process = psutil.Popen([sys.executable, "-c", LOAD], env=surroundings)
    try:
        wait_until(lambda: bool(process.children()), "the compiler has begun")
        (compiler,) = process.children()
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not compiler.is_running() or compiler.status() == psutil.STATUS_ZOMBIE, "it has ended")

    assert list((tmp_path / "tmp").iterdir()) == []


def test_code_that_cannot_be_kept_leaves_nothing_behind(tmp_path: Path) -> None:
    place = tmp_path / "compiled" / "loops"
    (place / "in the way").mkdir(parents=True)

    load._keep(place, b"code")

    assert [path.name for path in place.parent.iterdir()] == ["loops"]
