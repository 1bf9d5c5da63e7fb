"""The numbers of a summary, against simple and slow computations of the same."""

from __future__ import annotations

import io
import math
import random
import statistics
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.formats.contract import Run, Statistic
from consumer.formats.omnetpp_text import OmnetppIndex, OmnetppText
from consumer.report.key import pick
from consumer.report.plots import plots
from consumer.statistics import collector as collector_module
from consumer.statistics import looped as looped_module
from consumer.statistics import quantiles as quantiles_module
from consumer.statistics import vectors as vectors_module
from consumer.statistics.binned import percentiles, statistic_row
from consumer.statistics.collector import Collector
from consumer.statistics.intervals import deviation, half_width, t_quantile
from consumer.statistics.model import PERCENTILES, ScalarRow, StatisticRow, Summary, VectorRow
from consumer.statistics.quantiles import Quantiles
from consumer.statistics.traces import Tracer
from tests.support.formats import time_average


class Everything:
    """Keeps all rows."""

    def __init__(self) -> None:
        self.scalars: list[ScalarRow] = []
        self.statistics: list[StatisticRow] = []

    def scalar(self, row: ScalarRow) -> None:
        self.scalars.append(row)

    def statistic(self, row: StatisticRow) -> None:
        self.statistics.append(row)


def collector(**options: float) -> Collector:
    return Collector(Everything(), at=lambda _name, _offset: None, **options)


def summary_of(*files: str, skip: float = 0.0) -> Summary:
    """The summary of OMNeT++ text files."""
    found = collector(skip=skip)
    for place, text in enumerate(files):
        found.begin_file(f"file{place}", len(text), "OMNeT++ text")
        OmnetppText().read(io.BytesIO(text.encode()), found)
        found.end_file()
    return found.summary()


def vector_of(samples: Sequence[tuple[float, float]], *attributes: str, end: str = "") -> VectorRow:
    """The row of one vector."""
    lines = ["version 3", "run r", "attr configname C", end, "vector 1 m v TV", *attributes]
    summary = summary_of("\n".join([*lines, *(f"1\t{time!r}\t{value!r}" for time, value in samples)]) + "\n")
    return summary.vectors[0]


SERIES = st.lists(
    st.tuples(st.floats(0, 100), st.one_of(st.just(math.nan), st.floats(-1e6, 1e6))), min_size=1, max_size=60
)


@given(SERIES)
@settings(max_examples=150, deadline=None)
def test_a_vectors_numbers_are_those_of_its_samples_without_the_missing_ones(
    samples: list[tuple[float, float]],
) -> None:
    samples = sorted(samples, key=lambda sample: sample[0])
    values = [value for _, value in samples if not math.isnan(value)]

    row = vector_of(samples)

    assert (row.count, row.missing) == (len(values), len(samples) - len(values))
    assert (row.first_time, row.last_time) == (samples[0][0], samples[-1][0])
    if not values:
        assert math.isnan(row.mean)
        assert math.isnan(row.minimum)
        return
    assert row.mean == pytest.approx(statistics.fmean(values), rel=1e-9, abs=1e-6)
    assert (row.minimum, row.maximum) == (min(values), max(values))
    if len(values) > 1:
        assert row.stddev == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-4)
    else:
        assert math.isnan(row.stddev), "one value has no spread"
    assert list(row.percentiles.values()) == pytest.approx(list(np.percentile(values, PERCENTILES)), rel=1e-9, abs=1e-9)
    assert row.rank_error == 0


@given(SERIES)
@settings(max_examples=100, deadline=None)
def test_a_state_is_weighted_by_the_time_that_it_holds_until_the_end_of_the_run(
    samples: list[tuple[float, float]],
) -> None:
    samples = sorted(samples, key=lambda sample: sample[0])
    row = vector_of(samples, "attr interpolationmode sample-hold", end="config sim-time-limit 150s")

    assert row.held_until == 150 or not row.count
    if any(not math.isnan(value) for _, value in samples):
        try:
            expected = time_average(samples, 150)
        except ZeroDivisionError:
            expected = math.nan
        assert row.time_weighted_mean == pytest.approx(expected, rel=1e-9, abs=1e-6, nan_ok=True)


def test_without_an_end_a_state_is_held_until_the_last_sample_of_any_vector() -> None:
    text = "version 2\nrun r\nvector 1 m qlen\nvector 2 m delay\n1 0 4\n1 2 8\n2 10 1\n"

    first = next(row for row in summary_of(text).vectors if row.name == "qlen")

    assert first.held_until == 10
    assert first.time_weighted_mean == (2 * 4 + 8 * 8) / 10


def test_a_run_that_went_on_after_the_limit_is_held_to_its_last_sample() -> None:
    row = vector_of([(0, 1), (300, 3)], "attr interpolationmode sample-hold", end="config sim-time-limit 200s")

    assert row.held_until == 300


def test_a_run_that_was_cut_off_is_held_to_its_last_sample_and_the_complete_one_beside_it_to_its_end() -> None:
    complete, cut = (
        f"version 3\nrun {run}\nconfig sim-time-limit 1000s\nvector 1 m qlen TV\n1\t0\t10\n1\t100\t0\n" for run in "ab"
    )

    rows = summary_of(complete, f"{cut}1\t200").vectors

    assert {row.run: (row.held_until, row.time_weighted_mean) for row in rows} == {0: (1000, 1), 1: (100, 10)}


def test_a_run_whose_index_was_never_closed_is_held_to_its_last_sample() -> None:
    text = "version 3\nrun {}\nconfig sim-time-limit 1000s\nvector 1 m qlen TV\n1\t0\t10\n1\t100\t0\n"
    found = collector()
    for name, form, content in (
        ("x/a.vci", OmnetppIndex(), " " * 64 + "\nversion 3\nrun a\n"),
        ("x/a.vec", OmnetppText(), text.format("a")),
        ("b.vec", OmnetppText(), text.format("b")),
    ):
        found.begin_file(name, len(content), form.name)
        form.read(io.BytesIO(content.encode()), found)
        found.end_file()

    assert [row.held_until for row in sorted(found.summary().vectors, key=lambda row: row.run)] == [100, 1000]


def test_an_enumeration_has_shares_of_time_and_no_mean() -> None:
    row = vector_of(
        [(0, 0), (2, 1), (5, 0)],
        "attr type enum",
        'attr enum "IDLE=0,BUSY=1"',
        "attr interpolationmode sample-hold",
        end="config sim-time-limit 10s",
    )

    assert row.shares == {"IDLE": 0.7, "BUSY": 0.3}
    assert math.isnan(row.mean)
    assert row.time_weighted_mean is None


@pytest.mark.parametrize(
    ("samples", "shares"),
    [
        ([(4, 1)], {"BUSY": 1.0}),  # one sample holds until the end
        ([(10, 0), (10, 1)], {}),  # no time is left
        ([(10, 1)], {}),
        ([(math.nextafter(10, 0), math.nan)], {}),
    ],
)
def test_an_enumeration_that_covers_no_time_has_no_mean_either(
    samples: list[tuple[float, float]], shares: dict[str, float]
) -> None:
    row = vector_of(
        samples,
        'attr enum "IDLE=0,BUSY=1"',
        "attr interpolationmode sample-hold",
        end="config sim-time-limit 10s",
    )

    assert row.enumeration
    assert row.shares == shares
    assert math.isnan(row.mean)
    assert math.isnan(row.stddev)
    assert row.time_weighted_mean is None
    assert row.percentiles == {}


def test_an_enumeration_of_very_many_symbols_loses_no_time() -> None:
    row = vector_of([(float(time), float(time % 3000)) for time in range(6000)], "attr type enum", end="attr x y")

    assert len(row.shares) == 1001
    assert row.shares["(others)"] == pytest.approx(2 / 3, abs=1e-3)
    assert math.fsum(row.shares.values()) == pytest.approx(1)


def test_an_enumeration_without_times_has_no_mean() -> None:
    text = 'version 3\nrun r\nvector 1 m[1] v EV\nattr enum "IDLE=0,BUSY=1"\n1 1 0\n1 2 1\n'
    summary = summary_of(text)

    [row] = summary.vectors
    assert (row.count, row.timed, row.shares, row.bins) == (2, False, {}, ())
    assert math.isnan(row.mean)
    assert not summary.aggregates


def test_a_statistic_of_an_enumeration_has_no_mean_either() -> None:
    text = (
        "version 3\nrun r\nstatistic m[1] state:histogram\nfield count 10\nfield mean 0.3\nfield stddev 0.48\n"
        'field min 0\nfield max 1\nattr enum "IDLE=0,BUSY=1"\nbin 0 7\nbin 1 3\n'
    )
    summary = summary_of(text)

    [row] = summary.statistics
    assert (row.count, row.minimum, row.maximum, row.percentiles) == (10, 0, 1, {})
    assert math.isnan(row.mean)
    assert math.isnan(row.stddev)
    assert not summary.aggregates
    assert pick(summary).statistics == ()
    assert "mean" not in "".join(plot.note for plot in plots(summary))


def test_the_beginning_of_a_run_can_be_left_out() -> None:
    text = "version 3\nrun r\nvector 1 m v\n1 1 100\n1 5 2\n1 6 4\n"

    summary = summary_of(text, skip=5)
    row = summary.vectors[0]

    assert (row.count, row.mean, row.first_time) == (2, 3, 5)
    assert [one.text for one in summary.warnings if "first 5 s" in one.text]


def test_the_samples_of_many_vectors_in_any_order_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_module, "WAITING", 1000)
    chance = random.Random(5)
    series: dict[int, list[tuple[float, float]]] = {vector: [] for vector in range(40)}
    lines = ["version 2", "run r", *(f"vector {vector} m[{vector}] qlen ETV" for vector in series)]
    clock = 0.0
    while len(lines) < 20_000:
        vector = chance.randrange(40)
        for _ in range(chance.choice([1, 1, 50])):
            clock += chance.random()
            value = chance.choice([chance.random(), float(chance.randrange(5)), math.nan])
            series[vector].append((clock, value))
            lines.append(f"{vector}\t1\t{clock!r}\t{value!r}")
    end = clock

    rows = {row.module: row for row in summary_of("\n".join(lines) + "\n").vectors}

    for vector, samples in series.items():
        row = rows[f"m[{vector}]"]
        values = [value for _, value in samples if not math.isnan(value)]
        assert (row.count, row.missing) == (len(values), len(samples) - len(values))
        assert row.mean == pytest.approx(statistics.fmean(values))
        assert row.stddev == pytest.approx(statistics.stdev(values))
        assert row.time_weighted_mean == pytest.approx(time_average(samples, end))
        assert list(row.percentiles.values()) == pytest.approx(list(np.percentile(values, PERCENTILES)))


# The two ways to take samples in


def rows_of(batches: list[list[tuple[int, float, float]]], *, compiled: bool) -> list[str]:
    """All that is known of five vectors, the last but one an enumeration and the last one without times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looped_module, "loaded", lambda: compiled)
        patch.setattr(vectors_module, "WAITING", 1)
        found = collector()
        found.begin_file("f", 0, "x")
        found.run(Run("r", "Own", end=50.0))
        for name in "abc":
            found.vector("m", name, {"interpolationmode": "sample-hold"})
        found.vector("m", "d", {"enum": "A=0,B=1"})
        found.vector("m", "e", {}, timed=False)
        for batch in batches:
            slots, times, values = zip(*batch, strict=True)
            found.samples(np.array(slots, np.int32), np.array(times), np.array(values))
        found.end_file()
        summary = found.summary()
        assert found._vectors._loops.ready(wanted=False) is compiled
        return [shown(row) for row in found.vector_rows()] + [shown(warned) for warned in summary.warnings]


def shown(row: object) -> str:
    with np.printoptions(threshold=10_000, floatmode="unique"):
        return repr(row)


ODD = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e300, -1e-300, 0.1, 50.0])
STEPS = st.one_of(st.floats(0, 2), st.sampled_from([0.0, 0.0, 1.0, 30.0, 1e6, -1.0]))
SAMPLES = st.tuples(st.integers(0, 4), STEPS, st.one_of(st.integers(0, 90).map(float), st.floats(-10, 10), ODD))


@given(st.lists(st.lists(SAMPLES, min_size=1, max_size=80), min_size=1, max_size=6), st.one_of(st.none(), ODD))
@settings(max_examples=60, deadline=None)
def test_the_compiled_way_and_the_plain_one_take_in_the_same(
    batches: list[list[tuple[int, float, float]]], odd_time: float | None
) -> None:
    clock = 0.0
    for batch in batches:
        for place, (slot, step, value) in enumerate(batch):
            clock += step
            batch[place] = slot, clock, value
    if odd_time is not None:
        slot, _, value = batches[-1][-1]
        batches[-1][-1] = slot, odd_time, value

    assert rows_of(batches, compiled=True) == rows_of(batches, compiled=False)


def test_many_values_are_told_apart_likewise_by_both_ways() -> None:
    chance = random.Random(8)
    clock, batches = 0.0, []
    for _ in range(40):
        batch = []
        for _ in range(1000):
            clock += chance.expovariate(100)
            slot = chance.randrange(5)
            value = [chance.randrange(50), chance.randrange(200), chance.random(), chance.randrange(3), chance.random()]
            batch.append((slot, clock, float(value[slot])))
        batches.append(batch)

    told = rows_of(batches, compiled=True)

    assert told == rows_of(batches, compiled=False)


# Percentiles in bounded memory


def test_discrete_values_are_counted_exactly_however_many_there_are() -> None:
    chance = np.random.default_rng(3)
    values = chance.integers(0, 4000, 400_000).astype(np.float64)
    known = Quantiles()

    for part in np.array_split(values, 300):
        known.add(part)
        known.shrink()

    assert known.percentiles(PERCENTILES) == list(np.percentile(values, PERCENTILES))
    assert known.rank_error == 0
    assert known.held < 20_000


@pytest.mark.parametrize("shape", ["random", "rising", "mixed"])
def test_percentiles_of_what_does_not_fit_are_within_the_stated_error(shape: str) -> None:
    chance = np.random.default_rng(1)
    values = chance.exponential(size=600_000)
    if shape == "rising":
        values.sort()
    if shape == "mixed":
        values[::2] = np.floor(values[::2])  # a half of the values are whole numbers
    known = Quantiles()
    for part in np.array_split(values, 400):
        known.add(part)
        if known.held > 60_000:
            known.shrink()

    assert 0 < known.rank_error < 0.01
    ordered = np.sort(values)
    for percent, value in zip(PERCENTILES, known.percentiles(PERCENTILES), strict=True):
        lowest = np.searchsorted(ordered, value, side="left") / len(values)
        highest = np.searchsorted(ordered, value, side="right") / len(values)
        assert lowest - known.rank_error - 1e-5 <= percent / 100 <= highest + known.rank_error + 1e-5
    assert known.held < 80_000


def test_many_distributions_together_stay_within_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_module, "MOST_HELD", 50_000)
    monkeypatch.setattr(vectors_module, "WAITING", 5_000)
    monkeypatch.setattr(quantiles_module, "ALWAYS_EXACT", 500)
    chance = random.Random(2)
    lines = ["version 2", "run r", *(f"vector {vector} m v{vector} TV" for vector in range(20))]
    values = [chance.random() for _ in range(200_000)]
    lines += [f"{place % 20} {place} {value!r}" for place, value in enumerate(values)]

    rows = summary_of("\n".join(lines) + "\n").vectors

    assert all(0 < row.rank_error < 0.05 for row in rows)
    assert rows[0].percentiles[50] == pytest.approx(0.5, abs=0.06)


# What is drawn


def test_a_trace_holds_the_value_before_each_multiple_of_the_precision() -> None:
    tracer = Tracer(10.0, None)

    tracer.add(np.array([3.0, 12.0, 20.0, 41.0]), np.array([1.0, 5.0, 2.0, 7.0]))
    trace = tracer.trace()

    assert trace is not None
    assert (trace.start, trace.span) == (0, 10)
    assert trace.held.tolist()[1:] == [1, 2, 2, 2], "at 10, 20, 30 and 40 s"
    assert math.isnan(trace.held[0]), "nothing is known at 0 s"
    assert trace.high.tolist()[:3] == [1, 5, 2]
    assert math.isnan(trace.high[3])


@given(st.lists(st.integers(0, 1_000_000).map(float), min_size=1, max_size=200), st.integers(1, 20))
@settings(max_examples=100, deadline=None)
def test_a_trace_says_the_same_whatever_the_pieces_in_which_samples_come(times: list[float], pieces: int) -> None:
    times = sorted(times)
    values = [float(place) for place in range(len(times))]
    tracer = Tracer(None, 1e6)
    for some_times, some_values in zip(
        np.array_split(np.array(times), pieces), np.array_split(np.array(values), pieces), strict=True
    ):
        if len(some_times):
            tracer.add(some_times, some_values)
    trace = tracer.trace()

    assert trace is not None
    for place, held in enumerate(trace.held.tolist()):
        before = [value for time, value in zip(times, values, strict=True) if time <= trace.start + place * trace.span]
        assert held == before[-1] if before else math.isnan(held)
    assert np.nanmax(trace.high) == values[-1]
    assert np.nanmin(trace.low) == values[0]


def test_a_trace_widens_its_spans_when_there_are_too_many() -> None:
    tracer = Tracer(0.001, None)
    times = np.arange(0, 100, 0.0005)

    for some in np.array_split(times, 50):
        tracer.add(some, some)
    trace = tracer.trace()

    assert trace is not None
    assert trace.span == pytest.approx(0.1)
    assert len(trace.held) == 1000
    assert trace.held.tolist() == pytest.approx([place * 0.1 for place in range(1000)], abs=6e-4)


@pytest.mark.parametrize("times", [[0.0, math.inf], [math.nan], [1e300], [-1e18, 1e18]])
def test_times_beyond_all_measure_are_not_drawn(times: list[float]) -> None:
    tracer = Tracer(1e-6, None)

    tracer.add(np.array(times), np.zeros(len(times)))

    assert tracer.trace() is None


def test_time_that_runs_backwards_is_told() -> None:
    text = "version 2\nrun r\nvector 1 m v\n1 5 1\n1 4 2\n1 6 3\n"

    summary = summary_of(text)

    assert "Time runs backwards in m v" in summary.warnings[0].text
    assert summary.vectors[0].trace is None


# Statistics and histograms


def test_what_a_statistic_does_not_tell_is_derived_from_its_sums() -> None:
    values = [1.0, 4.0, 4.0, 9.0]
    sums = {"count": 4.0, "sum": sum(values), "sqrsum": sum(value * value for value in values)}

    row = statistic_row(0, Statistic("m", "s", sums))

    assert row.mean == statistics.fmean(values)
    assert row.stddev == pytest.approx(statistics.stdev(values))
    assert math.isnan(row.minimum)


def test_a_weighted_statistic_is_derived_with_its_weights() -> None:
    values, weights = np.array([1.0, 3.0, 5.0]), np.array([2.0, 1.0, 1.0])
    fields = {
        "count": 3.0,
        "weights": weights.sum(),
        "weightedSum": (weights * values).sum(),
        "sqrSumWeights": (weights**2).sum(),
        "weightedSqrSum": (weights * values**2).sum(),
    }

    row = statistic_row(0, Statistic("m", "s", fields))

    assert row.mean == 2.5
    mean = np.average(values, weights=weights)
    reliability = (weights * (values - mean) ** 2).sum() / (weights.sum() - (weights**2).sum() / weights.sum())
    assert row.stddev == pytest.approx(math.sqrt(reliability))


def test_percentiles_from_bins_lie_within_the_bin_that_holds_them() -> None:
    values = np.random.default_rng(9).normal(50, 10, 10_000)
    edges = np.arange(20, 81, 2.0)
    counts = np.histogram(values, edges)[0]
    under, over = float((values < 20).sum()), float((values >= 80).sum())
    bins = [(-math.inf, under), *zip(edges[:-1].tolist(), map(float, counts), strict=True), (80.0, over)]

    found = percentiles(bins, float(values.min()), float(values.max()), PERCENTILES)

    assert found == pytest.approx(list(np.percentile(values, PERCENTILES)), abs=2)
    assert found == sorted(found)


@pytest.mark.parametrize("shift", [0.0, 0.5])
@given(st.lists(st.integers(-3, 6), min_size=1, max_size=60))
def test_percentiles_of_integers_are_those_of_the_values(shift: float, values: list[int]) -> None:
    edges = [place - shift for place in range(-3, 8)]
    bins = [(edge, float(values.count(math.ceil(edge)))) for edge in edges]
    fields = {"count": len(values), "min": float(min(values)), "max": float(max(values)), "sum": float(sum(values))}

    row = statistic_row(0, Statistic("net", "hops", fields, [(-math.inf, 0.0), *bins]))

    ordered = sorted(values)
    ranks = {percent: math.ceil(percent / 100 * len(values) - 1e-9) for percent in PERCENTILES}
    assert row.percentiles == {percent: ordered[rank - 1] for percent, rank in ranks.items()}


def test_percentiles_of_values_that_may_lie_between_integers_are_interpolated() -> None:
    bins = [(0.0, 10.0), (1.0, 10.0), (2.0, 0.0)]
    fields = {"count": 20.0, "min": 0.0, "max": 2.0, "sum": 19.3}

    row = statistic_row(0, Statistic("net", "delay", fields, bins))

    assert row.percentiles[25] == 0.5


def test_bins_that_hold_nothing_have_no_percentiles() -> None:
    assert all(map(math.isnan, percentiles([(-math.inf, 0), (0, 0), (1, 0)], math.nan, math.nan, PERCENTILES)))
    row = statistic_row(0, Statistic("m", "s", {"count": 0.0}, [(0, 0), (0, 0)]))
    assert math.isnan(row.percentiles[50])


# Runs, modules, replications


def test_one_run_in_several_files_is_one_run() -> None:
    summary = summary_of(
        "version 3\nrun r\nattr configname C\nitervar a 1\nscalar m x 4\n",
        "version 3\nrun r\nattr configname C\nconfig sim-time-limit 20s\nvector 1 m v\n1 0 1\n",
        "version 3\nscalar m x 5\n",
    )

    assert [run.id for run in summary.runs] == ["r", ""]
    assert summary.runs[0].end == 20
    assert summary.runs[0].itervars == {"a": "1"}
    assert [row.run for row in summary.scalars] == [0, 1]
    assert summary.runs[1].attributes["file"] == "file2"


def test_like_modules_are_seen_together() -> None:
    summary = summary_of(
        "version 3\nrun r\nscalar net.host[0].mac sent 4\nscalar net.host[1].mac sent 8\n"
        "scalar net.host[2].mac sent nan\nscalar net.server sent 99\n"
    )

    [group] = summary.aggregates
    assert (group.module, group.name, group.kind) == ("net.host[*].mac", "sent", "scalar")
    assert (group.number, group.missing, group.mean, group.total) == (2, 1, 6, 12)
    assert group.jain == pytest.approx(12**2 / (2 * (16 + 64)))


def test_replications_get_an_interval_by_student() -> None:
    runs = [
        f"version 3\nrun r{place}\nattr configname C\nattr seedset {place}\nitervar n 3\nscalar m x {value}\n"
        for place, value in enumerate([0.09048, 0.08883])
    ]

    [replicated] = summary_of(*runs).replications

    assert replicated.number == 2
    assert replicated.mean == pytest.approx(0.089655)
    assert replicated.half_width == pytest.approx(12.706205 * abs(0.09048 - 0.08883) / 2, rel=1e-6)


def test_the_same_run_twice_counts_once_and_a_run_without_value_is_named() -> None:
    head = "attr configname C\nscalar m x"
    summary = summary_of(f"version 3\nrun a\n{head} 1\nrun a\n{head} 1\nrun b\n{head} 3\nrun c\n{head} nan\n")

    [replicated] = summary.replications
    assert (replicated.number, replicated.missing, replicated.mean) == (2, 1, 2)


def test_a_copy_among_the_results_is_told_and_changes_no_sum() -> None:
    one = (
        "version 3\nrun a\nscalar m[0] x 1\nscalar m[1] x 3\nstatistic m[0] s\nfield count 2\nfield mean 5\n"
        "vector 0 m[0] v TV\nvector 1 m[1] v TV\n0\t1\t4\n1\t1\t6\n"
    )

    alone, summary = summary_of(one), summary_of(one, one)

    assert summary.aggregates == alone.aggregates
    assert {(one.kind, one.total) for one in alone.aggregates} == {
        ("scalar", 4.0),
        ("statistic mean", 5.0),
        ("vector mean", 10.0),
    }
    assert alone.warnings == ()
    (told,) = summary.warnings
    assert told.text.startswith(
        "Numbers that files of the same run tell more than once: 5, the first of them in file1 (a copy?)"
    )


def test_replications_with_the_same_seeds_are_warned_about() -> None:
    summary = summary_of(
        "version 3\nrun a\nattr configname C\nattr seedset 4\nscalar m x 1\n"
        "run b\nattr configname C\nattr seedset 4\nscalar m x 1\n"
    )

    assert "same seed set 4" in summary.warnings[0].text


@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=50), st.sampled_from([0.0, 1e6, 1e12]))
def test_the_standard_deviation_over_runs_is_that_of_exact_arithmetic(values: list[float], offset: float) -> None:
    values = [value + offset for value in values]

    assert deviation(values) == pytest.approx(statistics.stdev(values), rel=1e-12, abs=1e-15 * (offset + 1e9))


def test_the_quantile_of_student_is_right_for_few_and_for_many() -> None:
    assert t_quantile(1) == pytest.approx(12.706205, abs=1e-6)
    assert t_quantile(9) == pytest.approx(2.262157, abs=1e-6)
    assert t_quantile(10) == pytest.approx(2.228139, abs=1e-5)
    assert t_quantile(30) == pytest.approx(2.042272, abs=1e-6)
    assert half_width([3.0]) is None
    assert half_width([1.0, math.inf]) is None


def test_the_same_warning_again_and_again_is_counted() -> None:
    summary = summary_of("version 3\nrun r\n" + "nonsense\n" * 50)

    assert [warned.line for warned in summary.warnings] == [3, 4, 5, None]
    assert summary.warnings[-1].text.startswith("47 more times: Not read: unknown kind of line")


def test_empty_vectors_and_missing_values_are_counted() -> None:
    summary = summary_of("version 3\nrun r\nscalar m x nan\nvector 1 m v\nvector 2 m w\n1 0 nan\n1 1 2\n")

    assert (summary.vectors_found, summary.empty_vectors, summary.missing_values) == (2, 1, 2)
    assert summary.missing_names == (("v", 1), ("x", 1))


def test_a_run_that_nobody_described_still_has_a_place() -> None:
    found = collector()
    found.begin_file("f", 0, "x")
    found.run(Run("", "Own"))
    found.scalar("m", "x", 1.0, {})
    found.end_file()

    assert found.summary().runs[0].simulator == "Own"


def test_of_very_many_scalars_the_most_telling_ones_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector_module, "MOST_ROWS", 6)
    lines = [f"scalar net.host[{host}].mac.q{number} idle 0" for host in range(40) for number in range(3)]
    lines += [f"scalar net.host[{host}].mac sent {host + 1}" for host in range(40)]
    lines += ["scalar net.host[0].mac.deep.er delay 3", "scalar net load 5", "scalar net.server x 1", "attr unit s"]
    lines += [f"scalar net.host[{host}].mac lost nan" for host in range(40)] + ["scalar net.host[7].mac lost 2"]

    summary = summary_of("version 3\nrun r\n" + "\n".join(lines) + "\n")

    assert [(row.module, row.name) for row in summary.scalars] == [
        ("net.host[0].mac", "sent"),
        ("net.host[1].mac", "sent"),
        ("net.host[0].mac.deep.er", "delay"),
        ("net", "load"),
        ("net.server", "x"),
        ("net.host[7].mac", "lost"),
    ]
    assert summary.scalars_found == len(lines) - 1


def test_among_equals_a_unit_and_a_module_further_up_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector_module, "MOST_ROWS", 2)
    lines = ["scalar net.a.b u 1", "scalar net.c v 1", "scalar net.d.e.f w 1", "attr unit s"]

    summary = summary_of("version 3\nrun r\n" + "\n".join(lines) + "\n")

    assert [row.name for row in summary.scalars] == ["v", "w"]
