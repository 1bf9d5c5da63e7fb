"""SUMO: trips, summaries and statistics."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.formats.registry import recognise
from consumer.formats.sumo import Sumo
from tests.support.formats import Remembered, read

DATA = Path(__file__).parent.parent / "data" / "highway-ramp"
HEADER = b"""<?xml version="1.0" encoding="UTF-8"?>
<!-- generated on 2024-02-28T16:11:11 by Eclipse SUMO sumo Version 1.19.0
<sumoConfiguration>
    <input><net-file value="/home/anna/secret/town.net.xml"/></input>
    <time><begin value="0"/><end value="3600"/><step-length value="0.5"/></time>
    <random_number><seed value="42"/></random_number>
</sumoConfiguration>
-->
"""
TRIPS = (
    HEADER
    + b"""<tripinfos>
    <tripinfo id="1" depart="0.00" departLane="1" departPos="5.10" departSpeed="0.00" departDelay="0.00" \
arrival="30.50" arrivalLane="2" arrivalPos="192.95" arrivalSpeed="36.03" duration="30.50" routeLength="817.34" \
waitingTime="1.00" timeLoss="7.84" rerouteNo="0" devices="a b" vType="7" speedFactor="1.06" vaporized="">
        <emissions CO2_abs="1000.5" fuel_abs="300" electricity_abs="0"/>
        <param key="device.range" value="12.5"/>
    </tripinfo>
    <tripinfo id="2" depart="1:00.00" departDelay="4.00" arrival="90.00" duration="30.00" waitingTime="0:00:03" \
vaporized="teleport"/>
    <tripinfo id="3" depart="50.00" departDelay="2.00" arrival="-1.00" arrivalLane="" arrivalPos="-1.00" \
arrivalSpeed="-1.00" duration="3550.00" waitingTime="100.00" vaporized="end"/>
    <tripinfo id="4" depart="-1.00" departDelay="3000.00" arrival="-1.00" duration="-1" waitingTime="0"/>
    <personinfo id="p (\xe8\xa1\x8c#:1)" depart="0.00" type="DEFAULT_PEDTYPE">
        <walk depart="0.00" arrival="10.00" duration="10.00" routeLength="12.00" timeLoss="0.50"/>
        <ride waitingTime="5.00" vehicle="1" depart="15.00" arrival="30.00" duration="15.00" routeLength="200.00"/>
    </personinfo>
</tripinfos>
"""
).replace(b'"1:00.00"', b'"0:01:00.00"')
SUMMARY = (
    HEADER
    + b"""<summary>
    <step time="0.00" loaded="2" inserted="0" running="0" waiting="2" ended="0" halting="0" meanWaitingTime="-1.00" \
meanTravelTime="-1.00" meanSpeed="-1.00" meanSpeedRelative="-1.00" duration="3"/>
    <step time="0.50" loaded="2" inserted="1" running="1" waiting="1" ended="0" halting="0" meanWaitingTime="0.50" \
meanTravelTime="-1.00" meanSpeed="2.50" meanSpeedRelative="0.10" duration="1"/>
    <step time="1.00" loaded="2" inserted="2" running="1" waiting="0" ended="1" halting="1" meanWaitingTime="0.75" \
meanTravelTime="0.50" meanSpeed="0.00" meanSpeedRelative="0.00" duration="0"/>
</summary>
"""
)
STATISTICS = (
    HEADER
    + b"""<statistics>
    <performance clockBegin="1709.1" clockDuration="2.5" realTimeFactor="1440.0" vehicleUpdatesPerSecond="1e5"/>
    <vehicles loaded="100" inserted="98" running="3" waiting="2"/>
    <teleports total="1" jam="1" yield="0" wrongLane="0"/>
    <vehicleTripStatistics count="95" routeLength="812.5" speed="12.1" duration="67.2" timeLoss="4.5"/>
</statistics>
"""
)


def column(told: Remembered, module: str, name: str) -> list[float]:
    return [value for _, value in told.of(module, name)]


def vector(told: Remembered, module: str, name: str) -> dict[str, str]:
    return next(attributes for where, which, attributes in told.vectors if (where, which) == (module, name))


def counts(told: Remembered, module: str) -> dict[str, float]:
    return {name: value for where, name, value, _ in told.scalars if where == module}


def test_every_number_of_a_trip_is_an_observation_over_the_vehicles() -> None:
    told = read(Sumo(), TRIPS)

    assert told.cut_off == []
    assert not any(told.timed)
    assert column(told, "tripinfo", "duration") == [30.5, 30.0]
    assert column(told, "tripinfo", "timeLoss") == [7.84]
    assert vector(told, "tripinfo", "duration") == {"unit": "s", "headline": "yes"}
    assert vector(told, "tripinfo", "routeLength") == {"unit": "m"}
    assert vector(told, "tripinfo", "departSpeed") == {"unit": "m/s"}


def test_times_may_be_written_for_people() -> None:
    told = read(Sumo(), TRIPS)

    assert column(told, "tripinfo", "depart") == [0, 60]
    assert column(told, "tripinfo", "waitingTime") == [1, 3]


def test_names_are_no_numbers_even_if_they_look_so() -> None:
    names = {name for _, name, _ in read(Sumo(), TRIPS).vectors}

    assert not names & {"id", "departLane", "arrivalLane", "vType", "vehicle"}


def test_vehicles_that_did_not_arrive_do_not_distort_those_that_did() -> None:
    told = read(Sumo(), TRIPS)

    assert column(told, "tripinfo unfinished", "duration") == [3550]
    names = {(where, name) for where, name, _ in told.vectors}
    assert ("tripinfo unfinished", "arrival") not in names, "what has not happened has no value, not even a missing one"
    assert ("tripinfo undeparted", "depart") not in names
    assert counts(told, "tripinfo") == {"count": 4, "arrived": 1, "vaporized": 1, "unfinished": 1, "undeparted": 1}
    assert told.warnings == [("2 of 4 vehicles had not arrived: the numbers are of those that had.", None)]


def test_what_vehicles_are_judged_by_is_a_headline_of_those_that_arrived_alone() -> None:
    told = read(Sumo(), TRIPS)

    first = {(where, name) for where, name, attributes in told.vectors if attributes.get("headline")}
    assert first == {("tripinfo", name) for name in ("duration", "timeLoss", "waitingTime", "departDelay")}
    assert [(where, name) for where, name, _, rest in told.scalars if rest.get("headline")] == [("tripinfo", "arrived")]


def test_a_run_in_which_nobody_arrived_says_so() -> None:
    [trip] = re.findall(rb'    <tripinfo id="3".*?/>\n', TRIPS)
    told = read(Sumo(), HEADER + b"<tripinfos>\n" + trip + b"</tripinfos>\n")

    assert told.warnings == [("1 of 1 vehicle had not arrived when the simulation ended.", None)]
    assert counts(told, "tripinfo") == {"count": 1, "arrived": 0, "unfinished": 1}


def test_emissions_devices_and_persons_are_read() -> None:
    told = read(Sumo(), TRIPS)

    assert column(told, "tripinfo.emissions", "CO2_abs") == [1000.5]
    assert vector(told, "tripinfo.emissions", "fuel_abs") == {"unit": "mg"}
    assert vector(told, "tripinfo.emissions", "electricity_abs") == {"unit": "Wh"}
    assert column(told, "tripinfo", "device.range") == [12.5]
    assert column(told, "personinfo.walk", "duration") == [10]
    assert column(told, "personinfo.ride", "waitingTime") == [5]
    assert counts(told, "personinfo") == {"count": 1, "arrived": 1}


def test_fuel_of_versions_before_1_14_is_a_volume() -> None:
    told = read(Sumo(), TRIPS.replace(b"Version 1.19.0", b"Version 1.13.0"))

    assert vector(told, "tripinfo.emissions", "fuel_abs") == {"unit": "ml"}


def test_a_summary_is_vectors_over_the_time() -> None:
    told = read(Sumo(), SUMMARY)

    assert (told.warnings, told.cut_off) == ([], [])
    assert all(told.timed)
    assert told.of("summary", "running") == [(0, 0), (0.5, 1), (1, 1)]
    assert vector(told, "summary", "running") == {"interpolationmode": "sample-hold"}
    assert vector(told, "summary", "meanSpeed")["unit"] == "m/s"
    assert vector(told, "summary", "duration") == {"unit": "ms"}, "computing time, which holds for no step after it"


def test_a_mean_of_no_vehicle_is_no_value() -> None:
    told = read(Sumo(), SUMMARY)

    for name in ("meanTravelTime", "meanSpeed", "meanWaitingTime", "meanSpeedRelative"):
        assert math.isnan(column(told, "summary", name)[0]), name
    assert column(told, "summary", "meanSpeed")[1:] == [2.5, 0.0]


def test_statistics_are_scalars() -> None:
    told = read(Sumo(), STATISTICS)

    assert told.vectors == []
    assert counts(told, "teleports") == {"total": 1, "jam": 1, "yield": 0, "wrongLane": 0}
    assert ("vehicleTripStatistics", "duration", 67.2, {"unit": "s", "headline": "yes"}) in told.scalars
    assert ("vehicleTripStatistics", "routeLength", 812.5, {"unit": "m"}) in told.scalars


def test_of_the_leading_comment_only_version_date_and_numbers_are_told() -> None:
    told = read(Sumo(), TRIPS)

    [run] = told.runs
    assert run.simulator == "SUMO 1.19.0"
    assert run.attributes == {"datetime": "2024-02-28T16:11:11", "begin": "0", "step-length": "0.5", "seed": "42"}
    assert (run.end, run.end_is_bound) == (3600, True)
    assert "anna" not in repr(told)


@pytest.mark.parametrize("version", ["Version v1_19_0+1077-5e605c89a6b", "Version 0.32.0"])
def test_other_spellings_of_the_version_are_understood(version: str) -> None:
    told = read(Sumo(), SUMMARY.replace(b"Version 1.19.0", version.encode()))

    assert re.fullmatch(r"SUMO (1\.19\.0\+1077-5e605c89a6b|0\.32\.0)", told.runs[0].simulator)


def test_a_killed_run_keeps_what_was_written() -> None:
    told = read(Sumo(), SUMMARY[: SUMMARY.rindex(b"meanTravelTime")])

    assert told.of("summary", "running") == [(0, 0), (0.5, 1)]
    [(text, line)] = told.cut_off
    assert "ends in the middle" in text
    assert line == 12


def test_what_is_no_number_is_told_by_name_and_line() -> None:
    told = read(Sumo(), TRIPS.replace(b'timeLoss="7.84"', b'timeLoss="much"'))

    assert told.warnings[0] == ("The attribute timeLoss is no number here: not summarised.", 10)


def test_the_root_decides_and_not_the_name() -> None:
    for data in (TRIPS, SUMMARY, STATISTICS):
        assert Sumo().recognises(data)
    for other in (b"<routes/>", HEADER + b"<fcd-export>", b"<statistics><a/></statistics>", b"<summary>text</summary>"):
        assert not Sumo().recognises(other), other


def test_a_root_behind_a_long_configuration_is_found_when_the_file_is_read() -> None:
    long = HEADER.replace(b"</sumoConfiguration>", b"<x/>" * 20_000 + b"</sumoConfiguration>")
    trips, positions = TRIPS.replace(HEADER, long), long + b"<fcd-export><timestep/></fcd-export>"

    assert Sumo().recognises(trips[:65_536])
    assert column(read(Sumo(), trips), "tripinfo", "duration") == [30.5, 30.0]
    assert read(Sumo(), positions).warnings == [("SUMO's fcd-export files are not read.", 9)]


def test_a_real_runs_trips_are_those_that_a_plain_search_finds() -> None:
    data = (DATA / "trip_info.xml").read_bytes()
    told = read(Sumo(), data)

    for name in ("duration", "timeLoss", "arrivalSpeed", "waitingCount"):
        assert column(told, "tripinfo", name) == [
            float(text) for text in re.findall(rf' {name}="([^"]*)"'.encode(), data)
        ]
    assert len(column(told, "tripinfo", "duration")) == 449
    assert (told.warnings, told.cut_off) == ([], [])
    assert told.runs[0].simulator == "SUMO 1.23.1"
    assert told.runs[0].end == 1600


def test_a_real_runs_summary_is_that_which_a_plain_search_finds() -> None:
    data = (DATA / "summary.xml").read_bytes()
    form = recognise(data[:65_536])
    assert form
    told = read(form, data)

    times = [float(text) for text in re.findall(rb'<step time="([^"]*)"', data)]
    waiting = [float(text) for text in re.findall(rb' waiting="([^"]*)"', data)]
    assert told.of("summary", "waiting") == list(zip(times, waiting, strict=True))
    travel = [float(text) for text in re.findall(rb' meanTravelTime="([^"]*)"', data)]
    assert sum(map(math.isnan, column(told, "summary", "meanTravelTime"))) == sum(value < 0 for value in travel) > 0


@settings(max_examples=200, deadline=None)
@given(
    data=st.sampled_from([TRIPS, SUMMARY, STATISTICS]),
    cut=st.integers(0, 3000),
    place=st.integers(0, 3000),
    byte=st.integers(0, 255),
)
def test_whatever_has_happened_to_a_file_is_only_worth_a_warning(data: bytes, cut: int, place: int, byte: int) -> None:
    damaged = bytearray(data)
    damaged[place % len(data)] = byte

    Sumo().recognises(bytes(damaged[: len(data) - cut % len(data)]))
    told = read(Sumo(), bytes(damaged[: len(data) - cut % len(data)]))

    assert len(told.vectors) < 100
