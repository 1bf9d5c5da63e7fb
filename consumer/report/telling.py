"""Which quantities say most about a run: chosen by name, by what is known of them, and by how much they vary.

A word list is a guess, and is only ever used for what comes first; everything is in the tables and files.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Protocol, TypeVar

from consumer.statistics.model import Aggregate, StatisticRow, VectorRow

T = TypeVar("T")
Row = TypeVar("Row", StatisticRow, VectorRow)

# What no run is for, as our formats name it: what a network sends for itself, trips that had no end.
_ASIDE = re.compile(r"(signallingFlow|returnFlow|probe)\[|(signalling|return) flows|[a-z]+info (unfinished|undeparted)")
# SUMO counts these from the beginning; OMNeT++ records counts and sums as vectors under such names.
_COUNTED = frozenset({"loaded", "inserted", "ended", "arrived", "collisions", "teleports", "discarded"})
_STEPS = frozenset({"summary", "personSummary"})
_COUNTING = re.compile(r":vector\((count|sum)\)$")
_COMPUTING = "duration"  # of a step: milliseconds that it took

# What people plot in papers about networks, queues and traffic, as simulators spell it.
_WORDS = {
    10: "delay latency throughput goodput rtt",
    9: "loss lost losses drop drops dropped ratio pdr utilization utilisation lifetime timeloss fairness",
    8: "queue qlen queueing queuing waiting wait response sojourn backlog length speed",
    7: "jitter collision collisions duration travel energy power aoi handover halting running",
    6: "sinr snr rssi ber per cwnd interval load busy efficiency success rate teleports",
    5: "received rcvd delivered hops hop sent state active rx tx",
    -4: "seed id index number port capacity configured version address row timestamp threshold timeout boot"
    " limit creation",
}
_WEIGHTS: dict[str, float] = {word: weight for weight, words in _WORDS.items() for word in words.split()}
# Names of which the words would promise too much or too little.
_NAMES = {
    9: "arrived",
    8.5: "duration timeloss",
    7: "departdelay",
    6: "meanspeedrelative",
    0: "depart departspeed departpos arrival arrivalspeed arrivalpos speedfactor",
    -4: "timefirsttxpacket timefirstrxpacket timelasttxpacket timelastrxpacket transmissionpower transmitpower txpower",
}
_WHOLE = {name: weight for weight, names in _NAMES.items() for name in names.split()}
_USUAL = 3  # a name without a word of the list
# What was recorded of a quantity, after the colon: the mean says more than the sum.
_RECORDINGS = {"mean": 2, "avg": 2, "timeavg": 2.5, "last": 1, "max": 0, "min": -2, "sum": -1, "count": -1}
_EXPRESSION = re.compile(r"[(+*/-]")  # within brackets: ``vector(sum(mean+1))`` is nobody's quantity
_MADE_UP = -6
_HEADLINE = 5  # by how much more the course of what a format calls one says
_COUNTED_LESS = 8  # by how much less the course of a counter says: all of them rise
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_MEAN = re.compile(r"(?<=[a-z0-9])(Mean|Avg|Average)$")
_LONGEST = 200  # characters of a name that are looked at


def stem(name: str) -> str:
    """The quantity of a name: ``queueLength:timeavg`` and ``queueLength:max``, ``delayMean`` and ``delay``."""
    quantity = _MEAN.sub("", name[:_LONGEST].partition(":")[0].strip())
    return quantity.lower() or name[:_LONGEST]


def weight(name: str) -> float:
    """How much a name promises; 10 is much."""
    recording, _, derived = name[:_LONGEST].partition(":")[2].partition("(")
    made_up = _MADE_UP if _EXPRESSION.search(derived) else 0
    return _promise(name)[0] + _RECORDINGS.get(recording.strip().lower(), 0) + made_up


def topic(name: str) -> str:
    """What a name is about: ``packetDropQueue`` and ``dropped`` are one, ``lossRatio`` and ``lost`` another."""
    return _promise(name)[1][:3]


def _promise(name: str) -> tuple[float, str]:
    """Weight of a name and the word that has it."""
    quantity = name[:_LONGEST].partition(":")[0]
    if quantity.lower() in _WHOLE:
        return _WHOLE[quantity.lower()], quantity.lower()
    words = [word.lower() for word in _WORD.findall(quantity)] + [quantity.lower()]
    known = sorted((_WEIGHTS[word], word) for word in words if word in _WEIGHTS)
    if not known:
        return _USUAL, quantity.lower()
    return known[0] if known[0][0] < 0 else known[-1]


def spread(items: Iterable[T], key: Callable[[T], str], most: int, of_each: int) -> list[T]:
    """At most ``most`` items, each quantity's first ones before any second ones; like ones stand together.

    Args:
        items: the best first.
        key: names an item's quantity.
        most: how many in all.
        of_each: how many of one quantity.
    """
    placed: list[tuple[int, int, T]] = []
    seen: Counter[str] = Counter()
    for place, item in enumerate(items):
        if seen[key(item)] < of_each:
            placed.append((seen[key(item)], place, item))
        seen[key(item)] += 1
    chosen = [item for _, _, item in sorted(placed, key=lambda entry: entry[:2])[:most]]
    order = {quantity: number for number, quantity in enumerate(dict.fromkeys(key(item) for item in chosen))}
    return sorted(chosen, key=lambda item: order[key(item)])


class Named(Protocol):
    """A row that says what it is about."""

    @property
    def name(self) -> str: ...
    @property
    def module(self) -> str: ...


Line = TypeVar("Line", bound=Named)


def aside(row: Named) -> bool:
    """Whether it says little of what the run was for, however it is called."""
    return bool(_ASIDE.match(row.module)) or (row.module in _STEPS and row.name == _COMPUTING)


def counts_up(row: Named) -> bool:
    """Whether a vector counts from the beginning, so that its last value is the number, and no mean of them is."""
    return (row.module in _STEPS and row.name in _COUNTED) or bool(_COUNTING.search(row.name[-_LONGEST:]))


def most_telling(rows: Sequence[Line], empty: Callable[[Line], bool] = lambda _: False) -> list[Line]:
    """All rows, those that promise most first; asides and then ``empty`` ones last, and like quantities together."""
    weights: dict[str, float] = {}
    for row in rows:
        weights.setdefault(row.name, -weight(row.name))
    return sorted(rows, key=lambda row: (empty(row), aside(row), weights[row.name], stem(row.name)))


def vectors_to_draw(rows: Sequence[VectorRow], most: int) -> list[VectorRow]:
    """The vectors whose course over time says most; never constant or enumerated ones."""
    able = [row for row in rows if row.trace is not None and not row.enumeration and row.count > 1 and _varies(row)]
    able = [row for row in able if weight(row.name) > 0]
    able.sort(key=lambda row: (-_vector_weight(row), row.name, row.module, row.run))
    return _in_order(spread(able, lambda row: stem(row.name), most, of_each=4))


def natural(text: str) -> tuple[tuple[int, str], ...]:
    """A key by which ``host[2]`` comes before ``host[10]``."""
    parts = re.split(r"([0-9]{1,18})", text)
    return tuple((int(part), "") if place % 2 else (-1, part) for place, part in enumerate(parts))


def statistics_to_draw(rows: Sequence[StatisticRow], most: int) -> list[StatisticRow]:
    """The histograms that say most: those with values in more than one bin."""
    able = [row for row in rows if sum(1 for _, value in inner_bins(row) if value > 0) > 1]
    able.sort(key=lambda row: (-weight(row.name) - _count_weight(row.count), row.name, row.module, row.run))
    return _in_order(spread(able, lambda row: stem(row.name), most, of_each=2))


def observations_to_draw(rows: Sequence[VectorRow], most: int) -> list[VectorRow]:
    """Vectors without a time whose values lie in more than one bin."""
    able = [row for row in rows if not row.timed and sum(1 for _, value in inner_bins(row) if value > 0) > 1]
    able = [row for row in able if weight(row.name) > 0]
    able.sort(key=lambda row: (-_vector_weight(row), row.name, row.module, row.run))
    return _in_order(spread(able, lambda row: stem(row.name), most, of_each=2))


def aggregates_to_draw(rows: Sequence[Aggregate], least: int, most: int) -> list[Aggregate]:
    """Quantities that differ over ``least`` or more like modules."""
    able = [row for row in rows if row.number >= least and row.kind == "scalar" and row.minimum < row.maximum]
    able = [row for row in able if weight(row.name) > 0]
    able.sort(key=lambda row: (-weight(row.name), row.name, row.module, row.run))
    return spread(able, lambda row: stem(row.name), most, of_each=1)


def inner_bins(row: StatisticRow | VectorRow) -> list[tuple[tuple[float, float], float]]:
    """((lower, upper), count or weight) of the bins between underflow and overflow."""
    return [
        ((low, high), value)
        for (low, value), (high, _) in pairwise(row.bins)
        if math.isfinite(low) and math.isfinite(high) and high > low and math.isfinite(value)
    ]


def _in_order(rows: list[Row]) -> list[Row]:
    """Quantities stay where they are; like modules follow each other as people count."""
    order = {quantity: number for number, quantity in enumerate(dict.fromkeys(stem(row.name) for row in rows))}
    return sorted(rows, key=lambda row: (order[stem(row.name)], row.name, row.run, natural(row.module)))


def _vector_weight(row: VectorRow) -> float:
    known = (_HEADLINE if row.headline else 0) - (_COUNTED_LESS if counts_up(row) else 0)
    return weight(row.name) + _count_weight(row.count) + (1 if row.time_weighted_mean is not None else 0) + known


def _count_weight(count: float) -> float:
    """From 0 for one sample to 2 for 10,000 and more."""
    return min(math.log10(count), 4) / 2 if count > 1 else 0.0


def _varies(row: VectorRow) -> bool:
    return math.isfinite(row.minimum) and math.isfinite(row.maximum) and row.minimum < row.maximum
