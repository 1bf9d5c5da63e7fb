"""Signs of life: who lives, who is silent, and who only left a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from consumer import pulse
from consumer.pulse import Pulse, silences

HOLDER = """
import sys, time
from pathlib import Path
from consumer.pulse import Pulse
one = Pulse(Path(sys.argv[1]), "worker")
one.part("results")()
print("beats", flush=True)
time.sleep(60)
"""


def test_a_process_is_not_heard_before_each_of_its_parts_was(tmp_path: Path) -> None:
    with Pulse(tmp_path / "health", "worker") as one:
        results, recorder = one.part("results"), one.part("recorder")
        assert silences(tmp_path / "health", "worker") == {os.getpid(): None}
        results()
        assert silences(tmp_path / "health", "worker") == {os.getpid(): None}
        recorder()
        (silence,) = silences(tmp_path / "health", "worker").values()
        assert silence is not None
        assert silence < 60
        assert silences(tmp_path / "health", "email-sender") == {}

    assert silences(tmp_path / "health", "worker") == {}


def test_the_most_silent_part_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("consumer.pulse.time.time", lambda: now)
    with Pulse(tmp_path, "worker") as one:
        results, recorder = one.part("results"), one.part("recorder")
        results()
        recorder()
        now += 90
        recorder()

        assert silences(tmp_path, "worker") == {os.getpid(): 90.0}


def test_a_process_that_was_killed_is_not_counted_and_its_file_is_forgotten_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert list(silences(tmp_path, "worker")) == [process.pid]
        process.kill()
    assert silences(tmp_path, "worker") == {}
    (left,) = tmp_path.iterdir()

    Pulse(tmp_path, "email-sender").close()
    assert left.exists()
    monkeypatch.setattr(pulse, "FORGET_SECONDS", -1)
    Pulse(tmp_path, "email-sender").close()
    assert not left.exists()


def test_a_part_that_goes_on_after_the_end_does_no_harm(tmp_path: Path) -> None:
    one = Pulse(tmp_path, "worker")
    results = one.part("results")
    one.close()

    results()

    assert list(tmp_path.iterdir()) == []
