"""The few numbers and warnings that a mail tells."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from consumer.formats.contract import Run
from consumer.report.key import KeyStatistic, pick
from consumer.report.telling import vectors_to_draw, weight
from consumer.statistics.model import Aggregate, FileRead, Replicated, ScalarRow, Summary, VectorRow, Warned
from messaging.messages import Statistic
from tests.support import summaries

ALL = (summaries.queueing, summaries.flows, summaries.traffic, summaries.campaign, lambda: summaries.EMPTY)


def scalar(name: str, value: float, unit: str = "", run: int = 0) -> ScalarRow:
    return ScalarRow(run, "net", name, value, unit)


def of(*rows: ScalarRow, runs: int = 1) -> Summary:
    made = tuple(Run(str(number), "sim") for number in range(runs))
    return replace(summaries.EMPTY, runs=made, scalars=rows, scalars_found=len(rows))


@pytest.mark.parametrize("made", ALL)
@pytest.mark.parametrize("text", ["", "<b>\n\u202e\x00\udcff", "x" * 10_000])
def test_there_are_at_most_eight_lines_and_five_warnings_that_a_message_can_carry(
    made: Callable[[], Summary], text: str
) -> None:
    key = pick(summaries.altered(made(), text=lambda before: before + text))

    assert len(key.statistics) <= 8
    assert len(key.warnings) <= 5
    for line in key.statistics:
        Statistic(name=line.label, value=line.value)
    assert all("\n" not in warning and len(warning) <= 300 for warning in key.warnings)


def test_numbers_have_units_that_people_use() -> None:
    key = pick(of(scalar("endToEndDelay:mean", 0.02372, "s"), scalar("throughput", 15_062.4, "bit/s")))

    assert key.statistics == (
        KeyStatistic("endToEndDelay:mean, net", "23.72 ms", 0.02372, "s"),
        KeyStatistic("throughput, net", "15.06 kbit/s", 15_062.4, "bit/s"),
    )


def test_what_tells_most_comes_first_and_one_quantity_only_once() -> None:
    rows = [scalar(f"seed{letter}", 1.0) for letter in "abcdefghij"]
    rows += [scalar("delay:max", 3.0), scalar("delay:mean", 1.0), scalar("sentPk:count", 9.0)]

    labels = [line.label for line in pick(of(*rows)).statistics]

    assert labels[:2] == ["delay:mean, net", "sentPk:count, net"]
    assert "delay:max, net" not in labels


def test_what_has_no_value_is_no_key_number() -> None:
    assert pick(of(scalar("delay:mean", math.nan), scalar("loss", math.inf))).statistics == ()


def test_like_modules_are_told_as_their_mean() -> None:
    row = Aggregate(0, "host[*]", "delay", "vector mean", 12, 1, 0.5, 0.1, 0.9, 6.0, 0.9, "s")
    key = pick(replace(of(scalar("delay", 0.1, "s")), aggregates=(row,)))

    assert key.statistics == (KeyStatistic("delay, host[*], vector mean, mean of 12", "500 ms", 0.5, "s"),)


def test_what_its_format_calls_a_headline_goes_before_every_mean_of_modules() -> None:
    total = ScalarRow(0, "data flows", "rxPackets", 4711.0, "pk", headline=True)
    made = replace(summaries.flows(), scalars=(*summaries.flows().scalars, total))

    first = pick(made).statistics[0]
    assert (first.label, first.value) == ("rxPackets, data flows", "4711 pk")


def observed(module: str, name: str, mean: float, *, headline: bool = False) -> VectorRow:
    row = next(row for row in summaries.traffic().vectors if row.name == "timeLoss")
    return replace(row, module=module, name=name, mean=mean, headline=headline)


def test_trips_that_had_not_ended_give_way_to_those_that_had() -> None:
    names = ("timeLoss", "duration", "speedFactor", "routeLength", "foo")
    rows = [observed(module, name, 7.0) for module in ("tripinfo unfinished", "tripinfo") for name in names]

    labels = [line.label for line in pick(replace(summaries.EMPTY, vectors=tuple(rows))).statistics]
    assert len(labels) == 4, "how fast a driver likes to be is no result"
    assert all(label.endswith(", tripinfo, mean") for label in labels)

    [line] = pick(replace(summaries.EMPTY, vectors=(rows[0],))).statistics
    assert line.label == "timeLoss, tripinfo unfinished, mean", "where there are no others"


def test_a_vector_can_be_a_headline() -> None:
    rows = (observed("net", "endToEndDelay", 1.0), observed("tripinfo", "duration", 33.6, headline=True))

    assert pick(replace(summaries.EMPTY, vectors=rows)).statistics[0].label == "duration, tripinfo, mean"


def test_what_only_counts_is_told_by_its_end() -> None:
    row = next(row for row in summaries.traffic().vectors if row.name == "meanSpeed")
    rows = tuple(replace(row, module="summary", name=name, unit="", last_value=449.0) for name in ("arrived", "ended"))

    lines = {line.label: line.value for line in pick(replace(summaries.EMPTY, vectors=rows)).statistics}
    assert lines == {"arrived, summary, at the end": "449", "ended, summary, at the end": "449"}


def test_a_parameter_is_no_key_number() -> None:
    row = replace(observed("table", "TransmissionPower", 7.5), minimum=7.5, maximum=7.5)
    made = replace(of(scalar("foo", 1.0)), vectors=(row, replace(row, name="loadFactor"), observed("table", "x", 1.0)))

    assert [line.label for line in pick(made).statistics] == ["x, table, mean", "foo, net", "loadFactor, table, mean"]


def test_numbers_without_a_value_are_named() -> None:
    def said(missing: int, *names: tuple[str, int]) -> str:
        return pick(replace(of(scalar("foo", 1.0)), missing_values=missing, missing_names=names)).warnings[0]

    assert said(305, ("meanTravelTime", 297), ("meanSpeed", 8)) == (
        "305 numbers have no value and are left out: meanTravelTime (297), meanSpeed (8)."
    )
    assert said(5, ("jitter:mean", 5)) == "5 numbers have no value and are left out: jitter:mean."
    assert said(9, ("a", 3), ("b", 2), ("c", 1), ("d", 1), ("e", 1), ("f", 1)) == (
        "9 numbers have no value and are left out: a (3), b (2), c, d and others."
    )


def test_replications_are_told_with_their_interval() -> None:
    row = Replicated("Aloha", {}, "server", "utilization", 2, 0, 0.089658, 0.00117, 0.010511, 0.08883, 0.09048)
    key = pick(replace(of(runs=2), replications=(row,)))

    assert key.statistics == (KeyStatistic("utilization, server, 95 % interval of 2 runs", "0.08966 ± 0.011"),)


def test_several_configurations_are_told_from_the_lowest_to_the_highest() -> None:
    labels = {line.label: line.value for line in pick(summaries.campaign()).statistics}

    assert labels["channelUtilization:last, Aloha.server, means of 4 configurations"] == "0.1339 to 0.1816"
    ranges = pick(of(scalar("loss", 0.1), scalar("loss", 0.3, run=1), runs=2)).statistics
    assert ranges == (KeyStatistic("loss, net, 2 runs", "0.1 to 0.3"),)


def test_what_only_one_of_several_files_has_is_told_as_well() -> None:
    key = pick(of(scalar("loss", 0.1), scalar("delay", 0.5, "s", run=1), runs=2))

    assert key.statistics == (
        KeyStatistic("delay, net", "500 ms", 0.5, "s"),
        KeyStatistic("loss, net", "0.1", 0.1),
    )


def test_no_more_than_two_lines_are_about_one_thing_while_there_are_others() -> None:
    rows = [scalar(f"packetDrop{reason}:count", 5.0) for reason in ("Queue", "Collision", "Route", "Ttl")]
    key = pick(of(*rows, scalar("foo", 1.0), scalar("hops", 2.0)))

    names = [line.label.removesuffix(", net") for line in key.statistics]
    assert [name for name in names[:4] if "Drop" in name] == names[:2]
    assert set(names[2:4]) == {"hops", "foo"}
    assert len(names) == 6


def test_states_are_told_by_what_lasted_longest() -> None:
    row = next(row for row in summaries.queueing().vectors if row.shares)
    key = pick(replace(summaries.EMPTY, vectors=(row,)))

    assert key.statistics == (
        KeyStatistic("state:vector, TandemQueue.fifo[1], share of the time", "IDLE 50.0\u202f%, BUSY 40.0\u202f%"),
    )


def test_a_quantity_that_was_0_gives_way_to_one_that_happened() -> None:
    key = pick(of(scalar("queueingTime:mean", 0.0, "s"), scalar("hops:mean", 2.5)))

    assert [line.label for line in key.statistics] == ["hops:mean, net", "queueingTime:mean, net"]


@pytest.mark.parametrize(
    ("run", "value"),
    [(Run("a", "s", end=3600.0), "3600 s"), (Run("a", "s", end=200.0, end_is_bound=True), "at most 200 s")],
)
def test_the_simulated_time_says_whether_it_is_only_a_limit(run: Run, value: str) -> None:
    assert pick(replace(summaries.EMPTY, runs=(run,))).statistics == (KeyStatistic("Simulated time", value),)


def test_cut_off_files_nan_and_empty_vectors_are_warned_of_first() -> None:
    made = summaries.queueing()
    many = tuple(Warned("b.sca", number, f"Line {number} was skipped.") for number in range(1, 40))

    warnings = pick(replace(made, warnings=many, warnings_found=1000)).warnings

    assert warnings[0].startswith("1 file ends in the middle: TandemQueueExperiment-serviceTimeMean=1.5s-#0.vec.")
    assert warnings[1:] == (
        "1 number has no value and is left out.",
        "1 vector was declared and never got a value.",
        "Line 1 was skipped. (b.sca, line 1)",
        "And 999 more warnings: see the report.",
    )


def test_a_warning_that_comes_often_is_said_once() -> None:
    warned = tuple(Warned("a.vec", number, "No number.") for number in (3, 9, 12))

    assert pick(replace(summaries.EMPTY, warnings=warned, warnings_found=3)).warnings == (
        "No number. (3 times, first in a.vec, line 3)",
    )


def test_results_without_a_number_are_warned_of() -> None:
    empty = replace(summaries.EMPTY, files=(FileRead("notes.txt", 12, ""),))

    assert pick(empty).warnings == ("No numbers were found in these files.",)


def test_a_run_without_anything_to_say_has_no_warning() -> None:
    assert pick(summaries.traffic()).warnings == ()


def test_the_vectors_that_are_drawn_vary_and_are_spread_over_quantities() -> None:
    made = summaries.queueing()
    waits = made.vectors[1]
    many = tuple(replace(waits, module=f"host[{number}]") for number in range(50))
    constant = replace(waits, name="throughput", minimum=1.0, maximum=1.0)

    drawn = vectors_to_draw((*many, constant, *made.vectors), 12)

    assert len(drawn) <= 12
    assert {row.name for row in drawn} == {"queueingTime:vector", "qlen:vector", "lifeTime:vector"}
    assert [row.module for row in drawn if row.name == "qlen:vector"] == [
        "TandemQueue.fifo[1]",
        "TandemQueue.fifo[2]",
        "TandemQueue.fifo[3]",
    ]


def test_a_recorded_expression_promises_less_than_any_plain_quantity() -> None:
    assert weight("serverChannelState:vector(sum(mean+1))") < weight("sent:count")
    assert weight("queueLength:vector(removeRepeats)") == weight("queueLength:vector")


def test_a_measured_quantity_weighs_more_than_a_parameter() -> None:
    assert weight("endToEndDelay:mean") > weight("packetSent:count") > weight("foo") > weight("portNumber")


def test_no_loss_is_told_where_a_count_of_nothing_and_the_time_of_a_packet_come_last() -> None:
    rows = [scalar(name, 5.0) for name in ("speed", "jitter", "hops", "power", "sinr", "queue", "collisions")]
    rows += [scalar("timeLastTxPacket", 4.1, "s"), scalar("lostPackets", 0.0), scalar("lossRatio", 0.0)]

    labels = [line.label for line in pick(of(*rows)).statistics]

    assert labels[0] == "lossRatio, net"
    assert not {"lostPackets, net", "timeLastTxPacket, net"} & set(labels)
