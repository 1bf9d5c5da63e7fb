"""Plots as PNG, for mails."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from PIL import Image

from consumer.report import picture
from consumer.report.plots import plots
from consumer.report.svg import Chart
from consumer.statistics.model import Summary
from tests.support import summaries

BAR, DATA, MARK = (0x3B, 0x78, 0xBD), (0x1F, 0x5F, 0xA8), (0xB3, 0x47, 0x0B)


def colours(chart: Chart) -> set[tuple[int, int, int]]:
    """The most frequent ones, roughly: they are chosen anew for each picture."""
    with Image.open(io.BytesIO(picture.png(chart))) as image:
        found = image.convert("RGB").getcolors() or []
    assert len(found) <= 32
    return {(colour[0], colour[1], colour[2]) for _, colour in found if isinstance(colour, tuple)}


def near(colour: tuple[int, int, int], found: set[tuple[int, int, int]]) -> bool:
    return any(max(abs(one - other) for one, other in zip(colour, each, strict=True)) <= 16 for each in found)


@pytest.mark.parametrize("made", [summaries.queueing, summaries.flows, summaries.traffic, summaries.campaign])
def test_every_plot_of_a_report_can_be_drawn(made: Callable[[], Summary]) -> None:
    for plot in plots(made()):
        with Image.open(io.BytesIO(picture.png(plot.chart))) as image:
            assert image.size == (720, 2 * plot.chart.height)


def test_a_picture_has_the_colours_of_the_report_on_paper() -> None:
    drawn = {plot.group: plot.chart for plot in plots(summaries.queueing())}

    histogram = colours(drawn["histograms"])
    assert near(BAR, histogram)
    assert near(MARK, histogram)
    assert near((255, 255, 255), histogram)
    assert near(DATA, colours({plot.group: plot.chart for plot in plots(summaries.campaign())}["replications"]))


def test_the_same_plot_makes_the_same_bytes() -> None:
    chart = plots(summaries.flows())[0].chart

    assert picture.png(chart) == picture.png(chart)


def test_one_of_each_kind_is_chosen_what_several_runs_have_in_common_first() -> None:
    assert [plot.group for plot in picture.chosen(plots(summaries.campaign()), 1)] == ["replications"]
    groups = [plot.group for plot in picture.chosen(plots(summaries.queueing()), 3)]
    assert groups == ["vectors", "histograms", "shares"]
