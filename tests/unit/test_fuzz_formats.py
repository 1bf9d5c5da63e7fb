"""Result files cut and changed anywhere: some hundreds here, a hundred thousand with ``--full``."""

from __future__ import annotations

import pytest

from benchmarks.fuzz_formats import GROWTH_GOAL, MEMORY_GOAL, Report, one, run


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
