"""What is shown to be typed next can be typed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from simcourier.typed import program


def called(monkeypatch: pytest.MonkeyPatch, program: Path | str, path: Path) -> None:
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", str(path))


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "bin" / "simcourier"
    file.parent.mkdir()
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def test_a_program_that_the_shell_does_not_find_is_shown_with_its_path(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called(monkeypatch, script, tmp_path)

    assert program() == str(script)


def test_a_program_that_the_shell_finds_is_shown_by_its_name(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called(monkeypatch, script, script.parent)

    assert program() == "simcourier"


def test_what_was_not_started_as_simcourier_is_shown_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called(monkeypatch, "/some/where/__main__.py", tmp_path)

    assert program() == "simcourier"
