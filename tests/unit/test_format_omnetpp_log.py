"""What OMNeT++ prints on the console: the true end of a run, for a run whose results are in other files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.analyse import analyse
from consumer.collect import look
from consumer.formats.omnetpp_log import OmnetppLog
from consumer.formats.registry import recognise
from consumer.report.key import pick
from tests.support.formats import Remembered, read

BANNER = """OMNeT++ Discrete Event Simulation  (C) 1992-2024 Andras Varga, OpenSim Ltd.
Version: 6.1, build: 241008-f7568267cd, edition: Academic Public License -- NOT FOR COMMERCIAL USE
See the license for distribution terms and warranty disclaimer

Setting up Cmdenv...

"""
RUN = """Preparing for running configuration Tandem, run #3...
Assigned runID=Tandem-3-20250723-21:54:09-9555
Setting up network "Tandem"...
Initializing...

Running simulation...
** Event #0   t=0   Elapsed: 1.1e-05s (0m 00s)  0% completed  (0% total)
     Speed:     ev/sec=0   simsec/sec=0   ev/simsec=0
     Messages:  created: 1834   present: 1834   in FES: 76
[INFO]\tTandem.sink: 3 of 5, t=3
** Event #25435   t=150.5   Elapsed: 0.5s (0m 00s)  75% completed  (75% total)
     Speed:     ev/sec=255803   simsec/sec=36205.6   ev/simsec=7.06528
     Messages:  created: 15176   present: 1918   in FES: 6

"""
LIMIT = """<!> No more events, simulation completed -- at t=150.5s, event #25435

Calling finish() at end of Run #3...

End.
"""


def log(text: str) -> Remembered:
    data = text.encode()
    found = recognise(data)
    assert found
    assert found.name == "OMNeT++ log"
    return read(OmnetppLog(), data)


def test_a_log_tells_the_end_the_events_and_the_time_that_a_run_took() -> None:
    told = log(BANNER + RUN + LIMIT)

    [run] = told.runs
    assert (run.id, run.simulator) == ("Tandem-3-20250723-21:54:09-9555", "OMNeT++ 6.1")
    assert (run.end, run.end_is_bound, run.events, run.elapsed) == (150.5, False, 25435, 0.5)
    assert run.attributes == {
        "configname": "Tandem",
        "runnumber": "3",
        "termination": "No more events, simulation completed",
    }
    assert (told.warnings, told.cut_off) == ([], [])


def test_a_log_without_performance_lines_and_with_windows_line_ends_tells_the_same() -> None:
    text = RUN.replace("  75% completed  (75% total)", "   ev/sec=15300.3") + LIMIT

    [run] = log(text.replace("\n", "\r\n")).runs
    assert (run.end, run.events, run.elapsed) == (150.5, 25435, 0.5)


def test_the_runs_of_one_program_are_told_apart() -> None:
    second = (RUN + LIMIT).replace("-9555", "-9556").replace("run #3", "run #4").replace("150.5", "160")
    told = log(BANNER + RUN + LIMIT + second)

    assert [(run.id[-4:], run.attributes["runnumber"], run.end) for run in told.runs] == [
        ("9555", "3", 150.5),
        ("9556", "4", 160),
    ]


def test_the_real_time_is_not_told_where_the_last_report_came_before_the_end() -> None:
    [run] = log(RUN + "<!> Simulation time limit reached -- at t=200s, event #30000\n").runs

    assert (run.end, run.events, run.elapsed) == (200, 30000, None)


@pytest.mark.parametrize(
    ("line", "end", "events"),
    [
        ("<!> Error: Key not found -- in module (Rtr) Net.r (id=5), at t=12.25s, event #99", 12.25, 99),
        ("<!> Error in module (Rtr) Net.r (id=5) at event #99, t=12.25: Key not found", 12.25, 99),
        ("<!> Error: Could not find a file", None, None),
    ],
)
def test_an_error_that_ended_the_simulation_is_told_with_its_line(
    line: str, end: float | None, events: int | None
) -> None:
    told = log(BANNER + RUN + line + "\n\nEnd.\n")

    assert [(run.end, run.events) for run in told.runs] == [(end, events)]
    [(text, number)] = told.warnings
    assert text == f"The simulation ended with an error: {line[4:]}"
    assert number == (BANNER + RUN).count("\n") + 1


def test_a_log_that_stops_before_the_end_is_incomplete() -> None:
    told = log(BANNER + RUN)

    assert [(run.end, run.events) for run in told.runs] == [(None, 25435)]
    assert [text for text, _ in told.cut_off] == ["The log ends before the run does: was the simulation killed?"]


def test_a_log_that_does_not_name_its_run_is_told_to_be_of_no_use() -> None:
    told = log(RUN.replace("Assigned runID=", "assigned ") + LIMIT)

    assert told.runs == []
    assert "it was not used" in told.warnings[0][0]


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_whatever_has_happened_to_a_log_is_only_worth_a_warning(cut: int, place: int, byte: int) -> None:
    data = bytearray((BANNER + RUN + LIMIT).encode()[: cut or None])
    if place < len(data):
        data[place] = byte

    read(OmnetppLog(), bytes(data))


def test_a_summary_knows_from_the_log_when_the_run_ended(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "Tandem.vec").write_text(
        "version 3\nrun Tandem-3-20250723-21:54:09-9555\nattr configname Tandem\nconfig sim-time-limit 100h\n"
        "vector 1 Tandem.fifo qlen:vector TV\nattr interpolationmode sample-hold\n1\t0\t0\n1\t100\t2\n"
    )
    (folder / "a.out").write_text(BANNER + RUN + LIMIT)
    made = analyse(look(folder), tmp_path / "summary")

    [row] = made.summary.vectors
    assert row.time_weighted_mean == pytest.approx(2 * 50.5 / 150.5)
    assert [(line.label, line.value) for line in pick(made.summary).statistics][:1] == [("Simulated time", "150.5 s")]
    [run] = json.loads((tmp_path / "summary" / "run.json").read_text("utf-8"))["runs"]
    assert (run["end"], run["end_is_bound"], run["events"], run["elapsed"]) == (150.5, False, 25435, 0.5)
    assert run["simulator"] == "OMNeT++ 6.1"
    page = (tmp_path / "summary" / "report.html").read_text("utf-8")
    assert "0.5 s, 50\u202f870 events/s" in page
