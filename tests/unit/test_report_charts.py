"""Drawings and numbers: what stands where, and in which digits."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from consumer.report import bars, charts
from consumer.report.axes import scale
from consumer.report.plots import plots
from consumer.report.svg import BOTTOM, LEFT, RIGHT, TOP, Chart
from consumer.statistics.model import ScalarRow, Trace
from messaging.amounts import file_size
from messaging.digits import amount, share, with_unit
from tests.support import summaries

NAN = math.nan


def trace(values: list[float], span: float = 1.0, start: float = 0.0) -> Trace:
    made = np.array(values)
    return Trace(start, span, made, made, made)


def paths(chart: Chart, kind: str) -> list[str]:
    return re.findall(f'<path class="{kind}" d="([^"]*)"/>', chart.body)


def texts(chart: Chart, kind: str = "") -> list[str]:
    return re.findall(f'<text class="[^"]*{kind}[^"]*"[^>]*>([^<]*)</text>', chart.body)


def bounds(chart: Chart, kind: str) -> list[tuple[float, float, float, float]]:
    found = re.findall(f'<rect class="{kind}" x="([^"]*)" y="([^"]*)" width="([^"]*)" height="([^"]*)"/>', chart.body)
    return [(float(x), float(y), float(width), float(height)) for x, y, width, height in found]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (5.0, "5"), (1234.0, "1234"), (12345.0, "12\u202f345"), (1.7392327, "1.739"),
        (-1.5, "\u22121.5"), (0.00123456, "0.001235"), (0.000123456, "1.235\u00d710⁻⁴"),
        (999999.5, "1\u202f000\u202f000"),
        (1e15, "1\u00d710¹⁵"), (NAN, "no value"), (math.inf, "∞"), (-math.inf, "\u2212∞"), (0.99999, "1"),
    ],
)  # fmt: skip
def test_numbers_have_four_digits_that_count_and_whole_ones_are_whole(value: float, text: str) -> None:
    assert amount(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0237, "s", "23.7 ms"), (6300.0, "s", "6300 s"), (0.0, "s", "0 s"), (2.5e9, "bps", "2.5 Gbps"),
        (12.5, "m", "12.5 m"), (3.0, "", "3"), (99.5, "%", "99.5%"), (NAN, "s", "no value"),
        (-0.002, "s", "\u22122 ms"),
    ],
)  # fmt: skip
def test_units_get_the_prefixes_that_people_use(value: float, unit: str, text: str) -> None:
    assert with_unit(value, unit) == text


def test_shares_and_sizes_are_readable() -> None:
    assert [share(value) for value in (0.0, 0.0001, 0.5, 1.0, NAN)] == [
        "0.0\u202f%", "0.01\u202f%", "50.0\u202f%", "100.0\u202f%", "no value",
    ]  # fmt: skip
    assert [file_size(value) for value in (0, 1023, 1024, 3 * 2**30)] == ["0 bytes", "1023 bytes", "1.0 KiB", "3.0 GiB"]


@pytest.mark.parametrize(
    ("low", "high"), [(0, 17), (0.1, 0.13), (-5, 5), (1e-9, 3e-9), (-1e12, 7), (3, 3), (0, 0), (1e6, 1e6 + 1e-6)]
)
def test_axes_have_a_few_round_ticks_and_hold_every_value(low: float, high: float) -> None:
    made = scale([low, high, NAN, math.inf], 0.0, 100.0)

    ticks = made.ticks(5)
    assert 2 <= len(ticks) <= 7
    assert len({text for _, text in ticks}) == len(ticks)
    assert all(-1e-6 <= place <= 100 + 1e-6 for place, _ in ticks)
    assert -1e-6 <= made.at(low) <= made.at(high) <= 100 + 1e-6


def test_an_axis_is_read_in_the_prefix_of_its_unit() -> None:
    assert scale([0.001, 0.023], 0, 1, "s").unit == "ms"
    assert scale([0, 2.5e6], 0, 1, "pk").unit == "\u00d710⁶ pk"


def test_steps_hold_their_value_and_stop_where_there_is_none() -> None:
    chart = charts.course(trace([0.0, 10.0, NAN, 5.0]), style="steps")

    (line,) = paths(chart, "line")
    quarter = (RIGHT - LEFT) / 4
    assert line == f"M46 {BOTTOM}H{LEFT + quarter:g}V{TOP}H{LEFT + 2 * quarter:g}M{LEFT + 3 * quarter:g} 91H{RIGHT}"


@pytest.mark.parametrize(("rest", "drawn"), [(5.0, f"V91H{RIGHT}"), (NAN, "")])
def test_the_last_value_holds_until_the_end_of_the_run_as_in_the_mean(rest: float, drawn: str) -> None:
    chart = charts.course(trace([0.0, 10.0]), style="steps", until=4.0, rest=rest)

    (line,) = paths(chart, "line")
    quarter = (RIGHT - LEFT) / 4
    assert line == f"M46 {BOTTOM}H{LEFT + quarter:g}V{TOP}H{LEFT + 2 * quarter:g}{drawn}"


def test_dots_are_samples_and_not_the_edges_of_the_band() -> None:
    held = np.array([0.0, 7.0, 7.0])
    chart = charts.course(
        Trace(0.0, 1.0, held, np.array([2.0, NAN, 1.0]), np.array([10.0, NAN, 1.0])), style="dots", span=(0.0, 10.0)
    )

    (dots,) = paths(chart, "dots")
    assert [float(place) for place in re.findall(r"M\S+ (\S+)h0", dots)] == pytest.approx([62.6, 147.8], abs=0.1)
    assert len(paths(chart, "band")) == 1


def test_a_long_course_keeps_its_peak() -> None:
    values = np.zeros(100_000)
    values[77_777] = 9.0
    chart = charts.course(Trace(0.0, 0.01, values, values, values), style="steps")

    (band,) = paths(chart, "band")
    assert f" {TOP + (10 - 9) * (BOTTOM - TOP) / 10:g}H" in band
    assert len(chart.body) < 30_000


def test_the_warm_up_is_shaded_before_the_first_sample() -> None:
    chart = charts.course(trace([1.0, 2.0], span=50.0, start=100.0), style="steps", warmup=100.0)

    assert bounds(chart, "warm-up") == [(LEFT, TOP, (RIGHT - LEFT) / 2, BOTTOM - TOP)]
    assert texts(chart, "tick middle")[0] == "0"


def test_like_plots_share_their_scale() -> None:
    drawn = [plot for plot in plots(summaries.queueing()) if plot.title == "qlen:vector"]

    assert len(drawn) == 3
    assert {tuple(texts(plot.chart, "tick end")) for plot in drawn} == {("0", "10", "20", "30")}


def test_observations_without_a_time_are_drawn_as_a_histogram() -> None:
    drawn = {plot.title: plot for plot in plots(summaries.traffic())}

    assert len(drawn) == len(plots(summaries.traffic()))
    assert drawn["timeLoss"].group == "observations"
    assert texts(drawn["timeLoss"].chart, "unit")[0] == "% of values"
    assert drawn["meanSpeed"].group == "vectors"


def test_one_that_would_be_flat_on_the_scale_of_its_like_has_its_own() -> None:
    made = summaries.queueing()
    waits = next(row for row in made.vectors if row.name == "queueingTime:vector")
    assert waits.trace is not None
    low = replace(waits.trace, held=waits.trace.held / 1000, low=waits.trace.low / 1000, high=waits.trace.high / 1000)
    small = replace(waits, module="b", minimum=waits.minimum / 1000, maximum=waits.maximum / 1000, trace=low)

    drawn = plots(replace(made, vectors=(waits, small)))

    assert [texts(plot.chart, "unit")[0] for plot in drawn if plot.group == "vectors"] == ["s", "ms"]


def test_a_bin_too_thin_to_be_seen_is_drawn_thicker() -> None:
    chart = charts.histogram([((0.011, 0.012), 19.0), ((0.012, 25.0), 0.0), ((25.0, 25.001), 1.0)], unit="s")

    assert [width for _, _, width, _ in bounds(chart, "bar")] == [3, 3]
    assert all(left > LEFT and left + width <= RIGHT for left, _, width, _ in bounds(chart, "bar")), "beside the axis"
    assert "% of values" in texts(chart, "unit")


def test_a_long_tail_of_few_values_is_cut_off_and_told() -> None:
    tail = [((float(place), place + 1.0), 1.0) for place in range(10, 400, 100)]
    filled = [((float(place), place + 1.0), 100.0) for place in range(10)]
    chart = charts.histogram([*filled, *tail], unit="m")

    assert len(bounds(chart, "bar")) == 10
    assert bounds(chart, "bar")[0][2] > 25, "one tenth of the axis each"
    assert "0.4\u202f% beyond, up to 311 m" in texts(chart, "unit")
    assert "0.4\u202f% beyond" in chart.description


def test_a_tail_that_is_more_than_one_in_a_hundred_stays() -> None:
    chart = charts.histogram([((0.0, 1.0), 98.0), ((1.0, 300.0), 0.0), ((300.0, 301.0), 2.0)])

    assert len(bounds(chart, "bar")) == 2
    assert not any("beyond" in text for text in texts(chart))


def test_one_wall_of_a_bar_is_no_histogram() -> None:
    chart = charts.histogram([((0.0, 1.0), 999.0), ((1.0, 300.0), 0.0), ((300.0, 301.0), 1.0)])

    assert [width for _, _, width, _ in bounds(chart, "bar")] == [3, 3]


def test_a_tail_below_is_cut_off_as_well() -> None:
    filled = [((float(place), place + 1.0), 100.0) for place in range(1000, 1010)]
    chart = charts.histogram([((0.0, 1.0), 1.0), ((1.0, 1000.0), 0.0), *filled], unit="m")

    assert "0.1\u202f% beyond, down to 0 m" in texts(chart, "unit")


def test_what_marks_mean_stands_above_the_plot_where_no_line_crosses_it() -> None:
    marks = [charts.Line(value, f"{name} {value} furlongs per fortnight") for value, name in ((5.0, "a"), (5.1, "b"))]
    filled = [((float(place), place + 1.0), 1.0) for place in range(10)]
    for chart in (charts.histogram(filled, marks=marks), charts.cumulative([1.0, 5.0, 9.0], marks=marks)):
        [legend] = texts(chart, "note")
        [place] = re.findall(r'<text class="note[^"]*" x="344" y="([^"]*)">', chart.body)
        assert float(place) < TOP - 3 - 2, "below it begin the lines"
        assert [len(paths(chart, kind)) for kind in ("mark", "mark fine")] == [1, 1]
        assert legend.startswith("- - a 5.0 ")
        assert "\u00b7\u00b7\u00b7 b 5.1 " in legend
        assert len(legend) <= 45, "beside the unit"


def test_what_marks_mean_is_whole_where_there_is_room() -> None:
    marks = [charts.Line(5.0, "median \u2248 4.46\u00d710\u207b\u2077"), charts.Line(6.0, "95 % \u2248 8.53 s")]
    chart = charts.histogram([((float(place), place + 1.0), 1.0) for place in range(10)], marks=marks)

    assert texts(chart, "note") == [f"- - {marks[0].label}\u2003\u00b7\u00b7\u00b7 {marks[1].label}"]


def test_a_bin_of_one_integer_stands_around_it() -> None:
    made = summaries.queueing().statistics[0]
    bins = ((2.0, 474.0), (3.0, 39.0), (4.0, 1.0), (5.0, 0.0))
    row = replace(made, minimum=2.0, maximum=4.0, percentiles={50: 2.0, 95: 3.0}, bins=bins)

    [drawn] = plots(replace(summaries.EMPTY, statistics=(row,)))

    [median] = paths(drawn.chart, "mark")
    left, _, width, _ = bounds(drawn.chart, "bar")[0]
    assert float(re.findall(r"M(\S+) ", median)[0]) == pytest.approx(left + width / 2, abs=1)


def test_what_only_counts_has_no_mean_and_comes_after_what_varies() -> None:
    made = summaries.traffic()
    speed = next(row for row in made.vectors if row.name == "meanSpeed")
    arrived = replace(speed, module="summary", name="arrived", unit="", last_value=449.0)
    computing = replace(speed, module="summary", name="duration", unit="ms")

    drawn = plots(replace(summaries.EMPTY, vectors=(arrived, computing, speed)))

    assert [plot.title for plot in drawn] == ["meanSpeed", "arrived"], "and no time that a step took to compute"
    assert [len(paths(plot.chart, "mark")) for plot in drawn] == [1, 0]
    assert drawn[1].note.endswith("449 at the end")


def test_a_headline_is_drawn_first() -> None:
    row = next(row for row in summaries.traffic().vectors if row.name == "timeLoss")
    rows = (replace(row, name="endToEndDelay"), replace(row, name="duration", headline=True))

    assert [plot.title for plot in plots(replace(summaries.EMPTY, vectors=rows))] == ["duration", "endToEndDelay"]


def test_signalling_and_probes_are_drawn_only_where_there_is_nothing_else() -> None:
    names = [f"signallingFlow[{number}] 10.1.1.{number}:654 > 10.1.1.9:654 UDP" for number in (1, 2)]
    scalars = tuple(ScalarRow(0, name, "delay:mean", float(place), "s") for place, name in enumerate(names))
    over = summaries.aggregate("signallingFlow[*]", "delay:mean", [0.0, 1.0], "s")
    alone = replace(summaries.EMPTY, scalars=scalars, aggregates=(over,))
    data = replace(summaries.queueing().statistics[0], module="dataFlow[3] 10.1.1.1:9 > 10.1.1.2:9 UDP")

    assert [plot.subtitle for plot in plots(alone)] == ["signallingFlow[*]"]
    assert [plot.subtitle for plot in plots(replace(alone, statistics=(data,)))] == [data.module]


def test_what_is_drawn_of_ten_thousand_vectors_is_a_page_of_them() -> None:
    made = summaries.queueing()
    many = tuple(replace(row, module=f"{row.module}.x[{number}]") for number in range(1000) for row in made.vectors)
    other = tuple(replace(row, name=f"x{number} {row.name}") for number in range(9) for row in made.statistics)

    drawn = plots(replace(made, vectors=many, statistics=other))

    groups = [plot.group for plot in drawn]
    assert {name: groups.count(name) for name in groups} == {"vectors": 12, "each": 3, "histograms": 6, "shares": 1}
    assert len({plot.file for plot in drawn}) == len(drawn)


def test_bars_of_a_histogram_are_as_high_as_their_share() -> None:
    chart = charts.histogram([((0.0, 1.0), 0.0), ((1.0, 2.0), 30.0), ((2.0, 3.0), 10.0), ((3.0, 4.0), 0.0)], unit="s")

    heights = [height for _, _, _, height in bounds(chart, "bar")]
    assert heights[0] == pytest.approx(3 * heights[1], abs=0.3)
    assert texts(chart, "tick end") == ["0", "20", "40", "60", "80"]


def test_bins_of_unequal_width_show_density() -> None:
    chart = charts.histogram([((0.0, 1.0), 10.0), ((1.0, 11.0), 10.0)])

    first, second = (height for _, _, _, height in bounds(chart, "bar"))
    assert first == pytest.approx(10 * second, rel=0.02)
    assert "density" in texts(chart, "unit")


def test_thousands_of_bins_become_bars_that_can_be_seen() -> None:
    chart = charts.histogram([((float(place), place + 1.0), 1.0) for place in range(5000)])

    assert len(bounds(chart, "bar")) <= charts.MOST_BARS


def test_stacked_shares_fill_the_row_and_keep_one_colour_each() -> None:
    rows = [bars.Shares(f"host[{n}]", {f"S{each}": 0.1 for each in range(10)}) for n in range(2)]
    chart = bars.stacked(rows)

    widths = [width for kind in [*(f"c{n}" for n in range(8)), "other"] for _, _, width, _ in bounds(chart, kind)]
    drawn = [width for width in widths if width != 10]
    assert sum(drawn) == pytest.approx(2 * (RIGHT - 8), abs=1)


def test_an_interval_reaches_as_far_as_its_half_width_and_one_run_has_none() -> None:
    rows = [bars.Estimate("a", 5.0, 2.0, 2.0, 8.0), bars.Estimate("b", 6.0, None, 6.0, 6.0)]
    chart = bars.intervals(rows, "s")

    ((left, _, width, _),) = bounds(chart, "interval")
    (start, end) = (float(place) for place in re.findall(r"[ML](\S+) ", paths(chart, "whisker")[0]))
    assert (end - start) / width == pytest.approx(6 / 4, rel=0.01)
    assert left > start
    assert "plus or minus 2" in chart.description


def test_a_sweep_puts_points_where_the_variable_is() -> None:
    points = [(value, bars.Estimate("", value, 0.1, 0, 0)) for value in (4.0, 1.0, 2.0)]
    chart = charts.sweep(points, variable="load", unit="")

    (line,) = paths(chart, "line")
    places = [float(place) for place in re.findall(r"[ML](\S+) ", line)]
    assert places == sorted(places)
    assert places[2] - places[1] == pytest.approx(2 * (places[1] - places[0]), abs=0.2)


def test_a_few_like_modules_are_drawn_one_by_one_on_one_scale() -> None:
    names = ("dataFlow[1] 10.1.1.1:9 > 10.1.1.2:9 UDP", "dataFlow[2] 10.1.1.3:9 > 10.1.1.2:9 UDP")
    scalars = tuple(
        ScalarRow(0, name, "delay:mean", value, "s") for name, value in zip(names, (0.02, 0.01), strict=True)
    )
    over = summaries.aggregate("dataFlow[*]", "delay:mean", [0.02, 0.01], "s")

    [drawn] = plots(replace(summaries.EMPTY, scalars=scalars, aggregates=(over,)))

    assert (drawn.group, drawn.title, drawn.subtitle) == ("each", "delay:mean", "dataFlow[*]")
    assert texts(drawn.chart, "label") == ["1: 10.1.1.1:9 &gt; 10.1.1.2:9 UDP", "2: 10.1.1.3:9 &gt; 10.1.1.2:9 UDP"]
    assert texts(drawn.chart, "value end") == ["20 ms", "10 ms"]
    first, second = (width for _, _, width, _ in bounds(drawn.chart, "bar"))
    assert first == pytest.approx(2 * second, abs=0.1)


def test_a_cumulative_course_ends_at_all_of_them() -> None:
    chart = charts.cumulative([1.0, 2.0, 3.0, 4.0], unit="s")

    (line,) = paths(chart, "line")
    assert [float(place) for place in re.findall(r"V([0-9.]+)", line)] == pytest.approx([126.5, 91, 55.5, 20])
