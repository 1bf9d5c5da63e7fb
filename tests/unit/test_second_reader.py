"""Real files: every number of their summary against a second reader that shares nothing with the first."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.formats.contract import HEAD
from consumer.formats.registry import recognise
from consumer.statistics.collector import Collector
from consumer.statistics.model import PERCENTILES, ScalarRow, StatisticRow, VectorRow
from tests.support.second_reader import Found, Series, omnetpp, sumo_summary, sumo_trips

DATA = Path(__file__).parent.parent / "data"
EXACTLY = 1e-9


class Everything:
    """Keeps all rows."""

    def __init__(self) -> None:
        self.scalars: list[ScalarRow] = []

    def scalar(self, row: ScalarRow) -> None:
        self.scalars.append(row)

    def statistic(self, row: StatisticRow) -> None:
        raise AssertionError(row)


def summarised(file: Path) -> tuple[list[ScalarRow], list[VectorRow]]:
    rows = Everything()
    with Collector(rows, at=lambda _name, _offset: None) as found, file.open("rb") as stream:
        form = recognise(stream.read(HEAD))
        assert form
        stream.seek(0)
        found.begin_file(file.name, file.stat().st_size, form.name)
        form.read(stream, found)
        found.end_file()
        assert found.summary().warnings == ()
        return rows.scalars, list(found.vector_rows())


@pytest.mark.parametrize(
    ("name", "reader", "vectors", "scalars"),
    [
        ("tokenring/TokenRing1-0.vec", omnetpp, 20, 0),
        ("veins-cv2x/Default-#0.vec", omnetpp, 355, 0),
        ("veins-cv2x/Default-#0.sca", omnetpp, 0, 1782),
        ("highway-ramp/trip_info.xml", sumo_trips, 15, 0),
        ("highway-ramp/summary.xml", sumo_summary, 15, 0),
    ],
)
def test_every_number_is_the_one_that_a_second_reader_computes(
    name: str, reader: Callable[[Path], Found], vectors: int, scalars: int
) -> None:
    expected = reader(DATA / name)

    told, rows = summarised(DATA / name)

    assert (len(rows), len([row for row in told if reader is omnetpp])) == (vectors, scalars)
    for row in rows:
        compare(row, expected.vectors[row.module, row.name], expected)
    if reader is omnetpp:
        assert {(row.module, row.name): row.value for row in told} == pytest.approx(expected.scalars, nan_ok=True)


def compare(row: VectorRow, series: Series, found: Found) -> None:
    assert (row.count, row.missing, row.timed) == (len(series.values), series.missing, series.timed)
    if not series.values:
        return
    assert row.mean == pytest.approx(series.mean(), rel=EXACTLY, abs=EXACTLY)
    assert row.stddev == pytest.approx(series.stddev(), rel=EXACTLY, abs=EXACTLY, nan_ok=True)
    assert (row.minimum, row.maximum) == (float(min(series.values)), float(max(series.values)))
    assert row.last_value == float(series.values[-1])
    exact = [series.percentile(percent) for percent in PERCENTILES]
    assert [row.percentiles[percent] for percent in PERCENTILES] == pytest.approx(exact, rel=EXACTLY, abs=EXACTLY)
    if series.timed and not series.missing:
        assert (row.first_time, row.last_time) == (float(series.times[0]), float(series.times[-1]))
    else:
        assert math.isnan(row.first_time) != series.timed
    if series.holds and not series.missing:
        assert row.time_weighted_mean == pytest.approx(series.mean_over_time(found.end()), rel=EXACTLY)
