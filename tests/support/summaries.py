"""Summaries made by hand that look like what simulators leave, for tests of the report and to look at it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from consumer.formats.contract import Floats, Run
from consumer.statistics.model import (
    PERCENTILES,
    Aggregate,
    FileRead,
    Replicated,
    ScalarRow,
    StatisticRow,
    Summary,
    Trace,
    VectorRow,
    Warned,
)

NAN = math.nan
EMPTY = Summary(runs=(), files=(), scalars=(), statistics=(), vectors=(), aggregates=(), replications=(), warnings=())


def trace(times: Floats, values: Floats, end: float, spans: int = 600) -> Trace:
    """Samples drawn small, as simply as it can be said."""
    start = float(times[0])
    span = (end - start) / spans
    held, low, high = np.full(spans, NAN), np.full(spans, NAN), np.full(spans, NAN)
    for place in range(spans):
        begin = start + place * span
        before = np.searchsorted(times, begin, "right") - 1
        held[place] = values[before] if before >= 0 else NAN
        within = values[(times >= begin) & (times < begin + span)]
        if len(within):
            low[place], high[place] = within.min(), within.max()
    return Trace(start, span, held, low, high)


def vector(
    module: str,
    name: str,
    times: Floats,
    values: Floats,
    *,
    end: float,
    hold: bool = False,
    unit: str = "",
    run: int = 0,
) -> VectorRow:
    """A vector with all its numbers."""
    lasted = np.diff(np.append(times, end))
    return VectorRow(
        run=run,
        module=module,
        name=name,
        count=len(values),
        missing=0,
        mean=float(values.mean()),
        stddev=float(values.std(ddof=1)),
        minimum=float(values.min()),
        maximum=float(values.max()),
        percentiles={percent: float(np.percentile(values, percent)) for percent in PERCENTILES},
        rank_error=0.0 if len(values) < 20_000 else 0.001,
        first_time=float(times[0]),
        last_time=float(times[-1]),
        last_value=float(values[-1]),
        time_weighted_mean=float((values * lasted).sum() / lasted.sum()) if hold else None,
        held_until=end if hold else None,
        trace=trace(times, values, end),
        interpolation="sample-hold" if hold else "none",
        unit=unit,
    )


def histogram(module: str, name: str, values: Floats, edges: Sequence[float], unit: str = "") -> StatisticRow:
    """A statistic with bins over some values."""
    counts, _ = np.histogram(values, bins=np.asarray(edges))
    bins = [(-math.inf, float((values < edges[0]).sum()))]
    bins += [(float(edge), float(number)) for edge, number in zip(edges[:-1], counts, strict=True)]
    bins.append((float(edges[-1]), float((values > edges[-1]).sum())))
    return StatisticRow(
        run=0,
        module=module,
        name=name,
        count=float(len(values)),
        mean=float(values.mean()),
        stddev=float(values.std(ddof=1)),
        minimum=float(values.min()),
        maximum=float(values.max()),
        percentiles={percent: float(np.percentile(values, percent)) for percent in PERCENTILES},
        bins=tuple(bins),
        unit=unit,
    )


def counted(values: Floats) -> tuple[tuple[float, float], ...]:
    """(lower edge, count) in 40 bins; the last edge closes the one before it."""
    counts, edges = np.histogram(values, bins=40)
    return tuple((float(edge), float(number)) for edge, number in zip(edges, [*counts, 0], strict=True))


def queueing() -> Summary:
    """An OMNeT++ queueing run with a warm-up, states, histograms and a vector without samples."""
    random = np.random.default_rng(1)
    end, warmup = 200.0, 20.0
    run = Run(
        id="TandemQueueExperiment-0-20250103-10:26:13-4711",
        simulator="OMNeT++ 6.0",
        attributes={
            "configname": "TandemQueueExperiment",
            "network": "TandemQueue",
            "datetime": "20250103-10:26:13",
            "experiment": "TandemQueueExperiment",
            "measurement": "$serviceTimeMean=1.5s",
            "replication": "#0",
            "repetition": "0",
            "seedset": "0",
            "inifile": "omnetpp.ini",
            "runnumber": "0",
        },
        itervars={"serviceTimeMean": "1.5s"},
        config=(
            ("repeat", "2"),
            ("sim-time-limit", "200s"),
            ("warmup-period", "20s"),
            ("**.serviceTime", "exponential(${serviceTimeMean=1.5s})"),
            ("sim-time-limit", "100h"),
        ),
        warmup=warmup,
        end=end,
        end_is_bound=True,
    )
    vectors, scalars, statistics = [], [], []
    for number in (1, 2, 3):
        module = f"TandemQueue.fifo[{number}]"
        times = warmup + np.sort(random.uniform(0, end - warmup, 900 * number))
        lengths = np.abs(np.cumsum(random.choice([-1.0, 1.0], len(times)))) // 3
        waits = random.exponential(1.2 * number, len(times))
        vectors.append(vector(module, "qlen:vector", times, lengths, end=end, hold=True))
        vectors.append(vector(module, "queueingTime:vector", times, waits, end=end, unit="s"))
        idle = 0.5 / number
        vectors.append(
            replace(
                vector(module, "state:vector", times, np.zeros(len(times)), end=end),
                mean=NAN, stddev=NAN, percentiles={},
                enumeration=True, shares={"IDLE": idle, "BUSY": 0.9 - idle, "REPAIR": 0.1},
            )
        )  # fmt: skip
        scalars.append(ScalarRow(0, module, "qlen:timeavg", float(lengths.mean())))
        scalars.append(ScalarRow(0, module, "qlen:max", float(lengths.max())))
        scalars.append(ScalarRow(0, module, "busy:timeavg", 1 - idle))
        scalars.append(ScalarRow(0, module, "queueingTime:mean", float(waits.mean()), "s"))
        scalars.append(ScalarRow(0, module, "dropped:count", 0.0 if number > 1 else NAN, "pk"))
        statistics.append(histogram(module, "queueingTime:histogram", waits, list(np.linspace(0, 10, 41)), unit="s"))
    delays = random.gamma(3, 1.4, 4000)
    times = warmup + np.sort(random.uniform(0, end - warmup, 4000))
    vectors.append(vector("TandemQueue.sink", "lifeTime:vector", times, delays, end=end, unit="s"))
    vectors.append(
        VectorRow(0, "TandemQueue.gen", "failed:vector", 0, 0, NAN, NAN, NAN, NAN, {}, 0.0, NAN, NAN, NAN, unit="s")
    )
    statistics.append(histogram("TandemQueue.sink", "lifeTime:histogram", delays, list(np.linspace(0, 14, 57)), "s"))
    aggregates = [
        aggregate("TandemQueue.fifo[*]", name, [row.value for row in scalars if row.name == name], unit)
        for name, unit in (("qlen:timeavg", ""), ("qlen:max", ""), ("busy:timeavg", ""), ("queueingTime:mean", "s"))
    ]
    stem = "TandemQueueExperiment-serviceTimeMean=1.5s-#0"
    return Summary(
        runs=(run,),
        files=(
            FileRead(f"{stem}.sca", 35_417, "OMNeT++ text"),
            FileRead(f"{stem}.vec", 1_204_224, "OMNeT++ text", incomplete=True),
            FileRead("omnetpp.ini", 1_201, ""),
        ),
        scalars=tuple(scalars),
        statistics=tuple(statistics),
        vectors=tuple(vectors),
        aggregates=tuple(aggregates),
        replications=(),
        warnings=(
            Warned(f"{stem}.vec", 40_213, "The last line has 2 of 4 columns and was not read."),
            Warned(f"{stem}.sca", 17, "“abc” is no number; the line was skipped."),
        ),
        scalars_found=len(scalars),
        statistics_found=len(statistics),
        vectors_found=len(vectors),
        empty_vectors=1,
        missing_values=1,
        warnings_found=2,
    )


def aggregate(module: str, name: str, values: Sequence[float], unit: str = "", kind: str = "scalar") -> Aggregate:
    """Like modules taken together."""
    total = math.fsum(values)
    squares = math.fsum(value * value for value in values)
    jain = total * total / (len(values) * squares) if squares else NAN
    mean = total / len(values)
    return Aggregate(0, module, name, kind, len(values), 0, mean, min(values), max(values), total, jain, unit)


def flows() -> Summary:
    """What ns-3's FlowMonitor counted: many flows, no time series."""
    random = np.random.default_rng(2)
    scalars, statistics = [], []
    columns: dict[tuple[str, str], list[float]] = {}
    for number in range(1, 41):
        module = f"flow[{number}]"
        sent = int(random.integers(20, 900))
        received = int(sent * random.uniform(0.6, 1))
        values = (
            ("txPackets", float(sent), "pk"),
            ("rxPackets", float(received), "pk"),
            ("lossRatio", 1 - received / sent, ""),
            ("throughput", received * 512 * 8 / 95.0, "bit/s"),
            ("delayMean", float(random.gamma(2, 0.012)), "s"),
            ("jitterMean", float(random.gamma(2, 0.002)), "s"),
        )
        for name, value, unit in values:
            scalars.append(ScalarRow(0, module, name, value, unit))
            columns.setdefault((name, unit), []).append(value)
    for number in (1, 2):
        delays = random.gamma(2, 0.012, 800)
        statistics.append(histogram(f"flow[{number}]", "delay", delays, list(np.arange(0, 0.12, 0.001)), "s"))
    aggregates = [aggregate("flow[*]", name, values, unit) for (name, unit), values in columns.items()]
    return Summary(
        runs=(Run(id="", simulator="ns-3", end=None),),
        files=(FileRead("flowmon.xml", 88_121, "ns-3 FlowMonitor"), FileRead("manet-0-0.pcap", 5_443_121, "")),
        scalars=tuple(scalars),
        statistics=tuple(statistics),
        vectors=(),
        aggregates=tuple(aggregates),
        replications=(),
        warnings=(),
        scalars_found=len(scalars),
        statistics_found=2,
    )


def traffic() -> Summary:
    """A SUMO run: courses of totals, and trips as observations."""
    random = np.random.default_rng(3)
    times = np.arange(0, 3600.0, 1.0)
    rush = 180 * np.exp(-(((times - 1800) / 700) ** 2))
    running = np.floor(rush + random.normal(0, 3, len(times))).clip(0)
    speed = 27 - rush / 12 + random.normal(0, 0.5, len(times))
    halting = np.floor((running - 120).clip(0) * random.uniform(0.5, 1, len(times)))
    loss = random.gamma(1.5, 18, 2400)
    vectors = [
        vector("summary", "running", times, running, end=3600.0, hold=True),
        vector("summary", "halting", times, halting, end=3600.0, hold=True),
        vector("summary", "meanSpeed", times, speed, end=3600.0, hold=True, unit="m/s"),
        vector("summary", "meanWaitingTime", times, halting / 7, end=3600.0, hold=True, unit="s"),
        replace(
            vector("trips", "timeLoss", np.arange(2400.0), loss, end=2400.0, unit="s"), timed=False, bins=counted(loss)
        ),
        replace(
            vector("trips", "duration", np.arange(2400.0), loss + 120, end=2400.0, unit="s"),
            timed=False,
            bins=counted(loss + 120),
        ),
    ]
    scalars = [
        ScalarRow(0, "trips", "arrived", 2387.0),
        ScalarRow(0, "trips", "vaporized", 13.0),
        ScalarRow(0, "summary", "teleports", 4.0),
        ScalarRow(0, "summary", "collisions", 0.0),
    ]
    return Summary(
        runs=(Run(id="", simulator="SUMO 1.20.0", end=3600.0),),
        files=(FileRead("summary.xml", 1_488_211, "SUMO summary"), FileRead("trip_info.xml", 917_004, "SUMO tripinfo")),
        scalars=tuple(scalars),
        statistics=(),
        vectors=tuple(vectors),
        aggregates=(),
        replications=(),
        warnings=(),
        scalars_found=4,
        vectors_found=6,
    )


def campaign() -> Summary:
    """Four loads, five repetitions each."""
    random = np.random.default_rng(4)
    runs, scalars, replications = [], [], []
    for load in ("0.2", "0.4", "0.6", "0.8"):
        means = []
        for repetition in range(5):
            attributes = {"configname": "Aloha", "repetition": str(repetition), "seedset": str(repetition)}
            runs.append(Run(f"Aloha-{load}-{repetition}", "OMNeT++ 6.1", attributes, {"load": load}, (), 0.0, 5400.0))
            value = float(load) * math.exp(-2 * float(load)) + float(random.normal(0, 0.004))
            scalars.append(ScalarRow(len(runs) - 1, "Aloha.server", "channelUtilization:last", value))
            scalars.append(ScalarRow(len(runs) - 1, "Aloha.server", "collidedFrames:last", round(1e5 * value)))
            means.append(value)
        for name, factor in (("channelUtilization:last", 1.0), ("collidedFrames:last", 1e5)):
            values = np.array(means) * factor
            replications.append(
                Replicated(
                    "Aloha", {"load": load}, "Aloha.server", name, 5, 0, float(values.mean()),
                    float(values.std(ddof=1)), float(2.776 * values.std(ddof=1) / math.sqrt(5)),
                    float(values.min()), float(values.max()),
                )
            )  # fmt: skip
    return Summary(
        runs=tuple(runs),
        files=tuple(FileRead(f"Aloha-{number}.sca", 9000 + number, "OMNeT++ text") for number in range(len(runs))),
        scalars=tuple(scalars),
        statistics=(),
        vectors=(),
        aggregates=(),
        replications=tuple(replications),
        warnings=(),
        scalars_found=len(scalars),
    )


def altered(
    value: Any, *, text: Callable[[str], str] | None = None, number: Callable[[float], float] | None = None
) -> Any:
    """The same summary, or a part of one, with every text or every measured number replaced."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return text(value) if text else value
    if isinstance(value, float):
        return number(value) if number else value
    if isinstance(value, np.ndarray):
        return np.array([number(float(each)) for each in value]) if number else value
    if is_dataclass(value) and not isinstance(value, type):
        changes = {
            each.name: altered(getattr(value, each.name), text=text, number=number)
            for each in fields(value)
            if each.name != "span"
        }
        return replace(value, **changes)
    if isinstance(value, Mapping):
        return {
            altered(key, text=text, number=number): altered(each, text=text, number=number)
            for key, each in value.items()
        }
    if isinstance(value, tuple):
        return tuple(altered(each, text=text, number=number) for each in value)
    return value
