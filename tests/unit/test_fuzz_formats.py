"""Result files cut and changed anywhere: some hundreds here, a hundred thousand with ``--full``."""

from __future__ import annotations

import pytest

from benchmarks.fuzz_formats import GROWTH_GOAL, MEMORY_GOAL, Report, guided, one, run


def test_files_cut_and_changed_anywhere_are_read_without_a_fault() -> None:
    report = Report()
    for number in range(240):
        one(20_260_102, number, report)

    assert report.faults == []
    assert report.formats["OMNeT++ text"] > 60
    assert report.formats["ns-3 FlowMonitor"] > 2
    assert report.warnings > 200


@pytest.mark.full
def test_a_hundred_thousand_of_them_neither_fail_nor_grow() -> None:
    report = run(100_000, seed=3, jobs=2)

    assert report.faults == []
    assert report.inputs == 100_000
    assert report.peak < MEMORY_GOAL
    assert report.growth < GROWTH_GOAL


@pytest.mark.parametrize("inputs", [300, pytest.param(20_000, marks=pytest.mark.full)])
def test_what_is_made_of_inputs_that_reached_something_new_is_read_without_a_fault(inputs: int) -> None:
    found = guided(inputs, seed=1)

    assert not found.findings, str(found)
    assert {"CSV", "OMNeT++-SQLite", "OMNeT++-index", "OMNeT++-text", "SUMO", "ns-3-FlowMonitor"} <= set(found.answers)
