"""Short fuzz runs, which begin with the corpus of what was found before; the long ones with --full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fuzz_definitions import fuzz_definitions
from benchmarks.fuzz_messages import fuzz_messages
from messaging.settings import Settings
from tests.support.guided import ROOT, fuzz


@pytest.mark.parametrize(("inputs", "whole_ways"), [(200, 3), pytest.param(100_000, 20, marks=pytest.mark.full)])
def test_whatever_a_message_is_it_is_set_aside_or_understood(
    sqlite_ledger: Settings, tmp_path: Path, inputs: int, whole_ways: int
) -> None:
    run = fuzz_messages(sqlite_ledger, tmp_path, inputs, seed=1, whole_ways=whole_ways)

    assert not run.findings, str(run)
    assert {"refused", "recorded", "handled", "understood"} >= set(run.answers) >= {"refused", "handled", "understood"}


@pytest.mark.full
@pytest.mark.postgresql
def test_what_is_set_aside_can_be_filed_by_postgresql_too(ledger_settings: Settings, tmp_path: Path) -> None:
    run = fuzz_messages(ledger_settings, tmp_path, 3_000, seed=2)

    assert not run.findings, str(run)


@pytest.mark.parametrize("inputs", [60, pytest.param(5_000, marks=pytest.mark.full)])
def test_whatever_a_definition_is_it_is_refused_in_a_sentence_or_can_be_used(
    sqlite_ledger: Settings, inputs: int
) -> None:
    del sqlite_ledger
    run = fuzz_definitions(inputs, seed=1)

    assert not run.findings, str(run)
    assert set(run.answers) == {"added", "refused", "unreadable"}


@pytest.mark.parametrize(
    ("requests", "archives"), [(40, 2), pytest.param(20_000, 300, marks=pytest.mark.full)], ids=["short", "long"]
)
def test_odd_requests_and_damaged_archives_leave_the_local_cloud_whole(requests: int, archives: int) -> None:
    words = ["benchmarks/fuzz_local_cloud.py", f"--requests={requests}", f"--archives={archives}"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n0 faults" in done.stdout


def test_the_loop_goes_on_from_what_reached_something_new_and_tells_what_was_raised() -> None:
    """Three letters, of which the next counts only behind the last: blind guesses would take some 60 million."""

    def target(body: bytes) -> str:
        depth = next((at for at, letter in enumerate(b"bug") if body[at : at + 1] != bytes([letter])), 3)
        if depth == len(b"bug"):
            raise ZeroDivisionError("found")
        return f"depth {depth}"

    def change(body: bytes, chance: object) -> bytes:
        del chance
        change.tries += 1  # type: ignore[attr-defined]
        at, letter = divmod(change.tries, 256)  # type: ignore[attr-defined]
        return body[: at % 3] + bytes([letter]) + body[at % 3 + 1 :]

    change.tries = 0  # type: ignore[attr-defined]
    run = fuzz(target, [b"..."], change, count=20_000, seed=1)

    assert list(run.findings.values()) == [b"bug"]
    assert [what for what in run.findings if what.startswith("ZeroDivisionError at target: found")]
