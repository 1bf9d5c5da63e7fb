"""Folders that somebody still writes to: while results are packed, and before."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.errors import TransientError
from consumer.collect import look
from consumer.errors import NotNow
from consumer.snapshot import ensure_settled

NOW = 1_800_000_000.0


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.sca").write_text("a")
    (folder / "sub" / "b.vec").write_text("b")
    for file in (folder / "a.sca", folder / "sub" / "b.vec"):
        os.utime(file, (NOW - 100, NOW - 100))
    return folder


def test_a_folder_in_which_nothing_happened_is_found_as_it_was(results: Path) -> None:
    (results / "pipe").symlink_to("/nowhere")

    look(results).ensure_unchanged()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: (folder / "sub" / "c.vec").write_text("c"), "The file sub/c.vec came"),
        (lambda folder: (folder / "a").write_text("a"), "The file a came"),
        (lambda folder: (folder / "a.sca").unlink(), "The file a.sca vanished"),
        (lambda folder: (folder / "a.sca").rename(folder / "z.sca"), "came|vanished"),
        (lambda folder: (folder / "a.sca").write_text("aa"), "The file a.sca changed"),
        (lambda folder: os.utime(folder / "a.sca", (NOW, NOW)), "The file a.sca changed"),
        (lambda folder: (folder / "link").symlink_to("/etc/passwd"), "What is left out changed"),
    ],
)
def test_what_came_went_or_changed_while_results_were_packed_is_told(
    results: Path, change: Callable[[Path], object], told: str
) -> None:
    snapshot = look(results)

    change(results)

    with pytest.raises(TransientError, match=rf"({told}).* while the results were packed\.$"):
        snapshot.ensure_unchanged()


def test_what_the_patterns_leave_out_may_come_and_go(results: Path) -> None:
    snapshot = look(results, exclude=("*.log",))

    (results / "run.log").write_text("still running")

    snapshot.ensure_unchanged()


def test_results_that_were_written_a_moment_ago_are_waited_for(results: Path) -> None:
    os.utime(results / "sub" / "b.vec", (NOW - 2, NOW - 2))

    with pytest.raises(NotNow, match=r"^The results are still being written: sub/b.vec changed 2 s ago\.$") as raised:
        ensure_settled(look(results), 10, NOW)

    assert raised.value.seconds == 8


@pytest.mark.parametrize(("age", "seconds"), [(2, 0), (10, 10), (-3600, 10)])
def test_old_results_and_those_of_a_wrong_clock_are_not_waited_for(results: Path, age: float, seconds: float) -> None:
    os.utime(results / "a.sca", (NOW - age, NOW - age))

    ensure_settled(look(results), seconds, NOW)
