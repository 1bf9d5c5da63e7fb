"""The whole of parsing and statistics, on a queue of which theory knows everything."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from consumer.analyse import Analysis, analyse
from consumer.collect import look
from consumer.statistics.model import Replicated
from producer.mm1.queue import Queue, simulate
from producer.mm1.results import Results

RATE, RUNS, CUSTOMERS = 0.6, 8, 3000
# Student's t for 7 degrees of freedom, two-sided 99.9 %, as a multiple of the 95 % that a summary states.
WIDER = 5.4079 / 2.3646


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    folder = tmp_path_factory.mktemp("mm1")
    (folder / "results").mkdir()
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    for repetition in range(RUNS):
        queue = Queue(RATE, 1.0, CUSTOMERS, None, repetition)
        with Results(folder / "results", queue, repetition, noon, 77 + repetition) as results:
            results.ended(simulate(queue, results, lambda *_: None))
    return analyse(look(folder / "results"), folder / "summary")


def replicated(analysis: Analysis, module: str, name: str) -> Replicated:
    return next(row for row in analysis.summary.replications if (row.module, row.name) == (module, name))


def test_nothing_is_left_unread(analysis: Analysis) -> None:
    assert analysis.summary.warnings == ()
    assert len(analysis.summary.runs) == RUNS


@pytest.mark.parametrize(
    ("module", "name", "theory"),
    [
        ("MM1.queue", "population:timeavg", RATE / (1 - RATE)),
        ("MM1.queue", "queueLength:timeavg", RATE**2 / (1 - RATE)),
        ("MM1.queue", "busy:timeavg", RATE),
        ("MM1.queue", "queueingTime:mean", RATE / (1 - RATE)),
    ],
)
def test_the_interval_over_the_replications_holds_what_theory_says(
    analysis: Analysis, module: str, name: str, theory: float
) -> None:
    row = replicated(analysis, module, name)

    assert row.number == RUNS
    assert row.half_width is not None
    assert row.half_width < 0.2 * row.mean
    assert abs(row.mean - theory) < WIDER * row.half_width


def test_the_mean_over_time_of_a_vector_is_the_one_that_the_simulator_computed(analysis: Analysis) -> None:
    recorded = {row.run: row.value for row in analysis.summary.scalars if row.name == "queueLength:timeavg"}
    computed = {row.run: row.time_weighted_mean for row in analysis.summary.vectors if row.name == "queueLength:vector"}

    assert len(recorded) == RUNS
    for run, value in recorded.items():
        mean = computed[run]
        assert mean is not None
        # The vector is held to its last sample, the recorder to the end, which no result file tells.
        assert mean == pytest.approx(value, rel=0.01)


def test_a_summary_s_files_are_there(analysis: Analysis) -> None:
    assert {"report.html", "summary.json", "run.json", "scalars.csv", "INFO.txt"} <= set(analysis.files)
