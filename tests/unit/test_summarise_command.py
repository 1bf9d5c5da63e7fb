"""``simcourier summarise`` on the command line: progress, and what goes wrong in one sentence."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from consumer import collect
from consumer.snapshot import Snapshot
from simcourier.cli import main
from tests.support.commands import environ

DATA = Path(__file__).parent.parent / "data" / "highway-ramp"


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    for name in ("a.sca", "b.sca"):
        (folder / name).write_text("version 3\nrun r\nscalar net.queue length:mean 1.25\n")
    return folder


def refused(*arguments: str | Path) -> str:
    done = CliRunner().invoke(main, ["summarise", *map(str, arguments)], prog_name="simcourier")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_terminal_shows_how_far_it_is(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("consumer.packing.meter.AFTER_SECONDS", 0)
    monkeypatch.setattr("consumer.packing.meter.EVERY_SECONDS", 0)

    main(["summarise", str(results), "-o", str(tmp_path / "summary")], standalone_mode=False)

    size = (results / "a.sca").stat().st_size
    lines = screen.getvalue().split("\r\x1b[K")
    assert any(
        line.startswith(f"{size} bytes of {2 * size} bytes, ") and line.endswith(" left to read") for line in lines
    )
    assert lines[-2] == f"all {2 * size} bytes read, the summary is being made"
    assert lines[-1] == ""


def test_results_that_change_meanwhile_are_told(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = collect.look

    def then_vanishing(*arguments: object) -> Snapshot:
        snapshot = look(*arguments)  # type: ignore[arg-type]
        (results / "b.sca").unlink()
        return snapshot

    monkeypatch.setattr(collect, "look", then_vanishing)

    told = refused(results, "-o", tmp_path / "summary")

    assert told.startswith("Error: The file b.sca vanished while it was read. Summarise again when")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_folder_that_cannot_be_made_is_told(results: Path) -> None:
    assert refused(results, "-o", "/proc/summary") == "Error: /proc/.summary.part: No such file or directory.\n"


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "1\u202f234\u202f567"), ("latin-1", "1 234 567"), ("ascii", "1 234 567")]
)
def test_large_numbers_are_printed_as_people_write_them(encoding: str, shown: str, tmp_path: Path) -> None:
    """A narrow space between digits is nothing to be escaped; where it cannot be written, it is a space."""
    results = tmp_path / "results"
    results.mkdir()
    (results / "a.sca").write_text("version 3\nrun r\nscalar net.queue length:mean 1234567\n")

    done = subprocess.run(
        [sys.executable, "-m", "simcourier", "summarise", str(results), "-o", str(tmp_path / "summary")],
        env=environ() | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}, capture_output=True, timeout=120, check=True,
    )  # fmt: skip

    assert f": {shown}\n" in done.stdout.decode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_json_stays_json_whatever_the_terminal_can_write(encoding: str, tmp_path: Path) -> None:
    name = "Zürich 中 💾 \x7f\x85\u202e"
    results = tmp_path / "results"
    results.mkdir()
    (results / "a.sca").write_text(f'version 3\nrun r\nscalar net "{name}" 1\n', encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "simcourier", "summarise", str(results), "-o", str(tmp_path / "summary"), "--json"],
        env=environ() | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}, capture_output=True, timeout=120, check=True,
    )  # fmt: skip

    told = done.stdout.decode(encoding)
    assert json.loads(told) == json.loads((tmp_path / "summary" / "summary.json").read_bytes())
    assert name in [scalar["name"] for scalar in json.loads(told)["scalars"]]
    assert not any(one in told for one in "\x7f\x85\u202e")
    assert ("Zürich 中 💾" in told) == (encoding == "utf-8")


def test_vehicles_still_under_way_are_counted_and_the_numbers_are_of_those_that_arrived(tmp_path: Path) -> None:
    late = "".join(
        f'<tripinfo id="late{n}" depart="1500.00" departDelay="0.10" arrival="-1.00" arrivalPos="-1.00" '
        'arrivalSpeed="-1.00" duration="98.00" routeLength="300.00" waitingTime="40.00" timeLoss="88.00" '
        'speedFactor="1.06" vaporized=""/>\n'
        for n in range(5)
    )
    (tmp_path / "trips").mkdir()
    trips = (DATA / "trip_info.xml").read_text("utf-8").replace("</tripinfos>", f"{late}</tripinfos>")
    (tmp_path / "trips" / "trip_info.xml").write_text(trips, "utf-8")

    arguments = ["summarise", str(tmp_path / "trips"), "-o", str(tmp_path / "summary")]
    told = CliRunner().invoke(main, arguments).stdout

    assert "\narrived, tripinfo: 449\nduration, tripinfo, mean: 33.61 s\ntimeLoss, tripinfo, mean: 7.273 s\n" in told
    assert "Note: 5 of 454 vehicles had not arrived: the numbers are of those that had. (trip_info.xml)\n" in told
    assert "unfinished" not in told
