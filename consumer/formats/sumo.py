"""SUMO's trip information, summary and statistics.

Source: SUMO's documentation (Simulation/Output: TripInfo, Summary, StatisticOutput) and its XML schemas.

- Trip information: every number of a trip is an observation over the vehicles, so each attribute is an untimed vector.
  Trips that had not ended (``write-unfinished``) would distort it: they have vectors of their own, and are told of.
- Summary: the state of the network at every step; each attribute is a timed vector.
- Statistics: scalars.

SUMO begins its files with a comment that echoes the configuration, with the paths and so the user's name. Version, date
and a few numbers are taken from it, and nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import BinaryIO, ClassVar

from consumer.formats.columns import Columns
from consumer.formats.contract import Run, Sink
from consumer.formats.xml_elements import read_elements, root_of

TRIPS = "tripinfos"
SUMMARIES = frozenset({"summary", "personSummary"})
STATISTICS = "statistics"
ROOTS = frozenset({TRIPS, STATISTICS, *SUMMARIES})
MOST_VECTORS = 500  # that a file of this kind may have: attributes times elements
_MOST_ODD = 20  # names that warnings give
_GENERATED = re.compile(
    r"generated on (?P<date>[\d-]{10}[T ][\d:]{5,8})\S* by .{0,40}?"
    r"(?:version v?|\bv)?(?P<version>\d+[._]\d+(?:[._]\d+)?\S{0,40})",
    re.IGNORECASE,
)
_OPTION = re.compile(r"<(begin|end|step-length|seed)\s+value=\"([^\"<>]{1,30})\"")
_CLOCK = re.compile(r"(?:(\d{1,6}):)?(\d{1,2}):(\d{1,2}):(\d{1,2}(?:\.\d+)?)")
_VOLUMETRIC_UNTIL = (1, 14)  # since this version fuel is written in mg, before in ml
# What is a name even where it looks like a number.
_NAMES = frozenset({
    "id", "type", "vType", "devices", "vaporized", "vehicle", "edge", "from", "to", "route", "person", "description",
    "departLane", "arrivalLane", "departEdge", "arrivalEdge", "lane", "key", "line", "intended", "actType",
})  # fmt: skip
_UNITS = {
    **dict.fromkeys((
        "depart", "arrival", "departDelay", "duration", "waitingTime", "stopTime", "timeLoss", "meanWaitingTime",
        "meanTravelTime", "departDelayWaiting", "totalTravelTime", "totalDepartDelay", "traveltime", "started",
        "ended", "begin", "end", "clockBegin", "clockEnd", "clockDuration", "traciDuration",
    ), "s"),
    **dict.fromkeys((
        "routeLength", "departPos", "arrivalPos", "departPosLat", "arrivalPosLat", "maxDecel",
    ), "m"),
    **dict.fromkeys(("departSpeed", "arrivalSpeed", "maxSpeed", "meanSpeed", "speed"), "m/s"),
    **dict.fromkeys(("CO_abs", "CO2_abs", "HC_abs", "PMx_abs", "NOx_abs", "fuel_abs"), "mg"),
    "electricity_abs": "Wh",
}  # fmt: skip
# What a trip is judged by, and how SUMO itself calls those who make one.
_HEADLINES = frozenset({"duration", "timeLoss", "waitingTime", "departDelay"})
_MADE_BY = {"tripinfo": ("vehicle", "vehicles"), "personinfo": ("person", "persons")}
_AT_ARRIVAL = frozenset({"arrival", "arrivalSpeed", "arrivalPos", "arrivalPosLat"})
_AT_DEPARTURE = frozenset({"depart", "departSpeed", "departPos", "departPosLat"})
_SUMMARY_UNITS = {"meanWaitingTime": "s", "meanTravelTime": "s", "meanSpeed": "m/s", "duration": "ms"}
_NONE_YET = frozenset({"meanWaitingTime", "meanTravelTime", "meanSpeed", "meanSpeedRelative"})  # -1: of no vehicle


class Sumo:
    """Files of SUMO that hold results of whole trips, steps or runs; the huge ones of every vehicle are not read."""

    name: ClassVar[str] = "SUMO"

    def recognises(self, head: bytes) -> bool:
        """By the root element, and a sign of SUMO where other programs use the name; else by the comment."""
        root, before = root_of(head)
        ours = b"sumo" in head.lower()
        if not root:
            return ours and bool(_GENERATED.search(before))
        return root in ROOTS and (ours or root != STATISTICS) and (ours or root != "summary" or b"<step " in head)

    def read(self, stream: BinaryIO, sink: Sink) -> None:
        """Read the file, whichever of the three it is."""
        document = _Document(sink)
        stopped = read_elements(stream, document, sink.at)
        document.finish()
        if stopped:
            stopped.tell(sink)


class _Document:
    """The header, then the elements of one kind of file."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._run = Run(id="", simulator="SUMO")
        self._told = False
        self._vectors = _Vectors(sink)
        self._trips: _Trips | None = None
        self._root = ""

    def comment(self, text: str) -> None:
        match = _GENERATED.search(text)
        if match is None or "sumo" not in text[:400].lower():
            return
        version = match["version"].replace("_", ".").strip(".,;")
        options = dict(_OPTION.findall(text))
        attributes = {"datetime": match["date"]}
        attributes |= {name: options[name] for name in ("begin", "step-length", "seed") if _is_number(options, name)}
        end = _clock(options["end"]) if "end" in options else math.nan
        known = math.isfinite(end) and end > 0  # -1: until the last vehicle has arrived
        self._run = Run(
            id="",
            simulator=f"SUMO {version}",
            attributes=attributes,
            end=end if known else None,
            end_is_bound=known,
        )
        parts = version.split(".")
        numbers = tuple(int(part) for part in parts[:2] if part.isdigit())
        if len(numbers) == 2 and numbers < _VOLUMETRIC_UNTIL:
            self._vectors.units = {**self._vectors.units, "fuel_abs": "ml"}

    def start(self, path: tuple[str, ...], attributes: Mapping[str, str], line: int) -> None:
        if len(path) == 1:
            self._begin(path[0], line)
        elif self._root == TRIPS and self._trips:
            self._trips.take(path, attributes, line)
        elif self._root in SUMMARIES and path[1:] == ("step",):
            self._step(attributes, line)
        elif self._root == STATISTICS:
            told = path[1:] == ("vehicleTripStatistics",)
            for name, value in self._vectors.numbers(attributes, line):
                unit = self._vectors.units.get(name, "")
                first = told and name in _HEADLINES | {"count"}
                named = {"unit": unit, "headline": "yes" if first else ""}
                self._sink.scalar(".".join(path[1:]), name, value, {key: text for key, text in named.items() if text})
        elif self._root in ROOTS:
            self._sink.warning(f"The element {path[-1][:60]} is not known: not read.", line)

    def end(self, path: tuple[str, ...]) -> None:
        """Nothing to do: all values are attributes."""

    def finish(self) -> None:
        self._vectors.flush()
        if self._trips:
            self._trips.finish()

    def _begin(self, root: str, line: int) -> None:
        self._root = root
        self._sink.run(self._run)
        if root == TRIPS:
            self._trips = _Trips(self._sink, self._vectors)
        elif root in SUMMARIES:
            self._vectors.units = _SUMMARY_UNITS
        elif root not in ROOTS:
            self._sink.warning(f"SUMO's {root[:60]} files are not read.", line)

    def _step(self, attributes: Mapping[str, str], line: int) -> None:
        time = _clock(attributes.get("time", ""))
        if not math.isfinite(time):
            self._sink.warning("A step has no time: not read.", line)
            return
        for name, value in self._vectors.numbers(attributes, line):
            if name != "time":
                none = name in _NONE_YET and value < 0
                self._vectors.add(self._root, name, math.nan if none else value, line, time)


class _Trips:
    """Trips of vehicles, persons and containers."""

    def __init__(self, sink: Sink, vectors: _Vectors) -> None:
        self._sink = sink
        self._vectors = vectors
        self._state = ""  # of the trip whose children may still come
        self._counts: dict[str, dict[str, int]] = {}

    def take(self, path: tuple[str, ...], attributes: Mapping[str, str], line: int) -> None:
        if len(path) == 2:
            self._state = self._begin(path[1], attributes)
        if path[-1] == "param":  # a device's own result: its name is a value
            attributes = {attributes.get("key", "?")[:100]: attributes.get("value", "")}
        module = ".".join((path[1] + self._state, *path[2:])).removesuffix(".param")
        for name, value in self._vectors.numbers(attributes, line):
            never = value < 0 and (
                (name in _AT_ARRIVAL and attributes.get("arrival", "").startswith("-"))
                or (name in _AT_DEPARTURE and attributes.get("depart", "").startswith("-"))
            )
            if not never:  # what has not happened is no missing value
                self._vectors.add(module, name, value, line)

    def finish(self) -> None:
        """How many trips there were, and how they ended."""
        for element, counts in self._counts.items():
            total = sum(counts.values())
            self._sink.scalar(element, "count", total, {"title": "in the file"})
            for state, number in counts.items():
                first = element == "tripinfo" and state == "arrived"
                self._sink.scalar(element, state, number, {"headline": "yes"} if first else {})
            late = counts.get("unfinished", 0) + counts.get("undeparted", 0)
            if late:
                self._sink.warning(_not_arrived(element, late, total, counts["arrived"]))

    def _begin(self, element: str, attributes: Mapping[str, str]) -> str:
        counts = self._counts.setdefault(element, {"arrived": 0})
        state = ""
        if attributes.get("depart", "").startswith("-"):
            state = "undeparted"
        elif attributes.get("arrival", "").startswith("-"):
            state = "unfinished"
        elif attributes.get("vaporized"):
            counts["vaporized"] = counts.get("vaporized", 0) + 1
            return ""
        counts[state or "arrived"] = counts.get(state or "arrived", 0) + 1
        return f" {state}" if state else ""


class _Vectors:
    """Vectors by module and name, declared at their first value."""

    def __init__(self, sink: Sink) -> None:
        self.units: Mapping[str, str] = _UNITS
        self._sink = sink
        self._columns = Columns(sink)
        self._slots: dict[tuple[str, str], int] = {}
        self._odd: set[str] = set()  # attributes that were no numbers

    def numbers(self, attributes: Mapping[str, str], line: int) -> list[tuple[str, float]]:
        """The attributes that are numbers; what should be one and is none is told."""
        found = []
        for name, text in attributes.items():
            if name in _NAMES or not text:
                continue
            value = _clock(text)
            if math.isnan(value) and text.lower() not in {"nan", "-nan"}:
                self._no_number(name, line)
            else:
                found.append((name, value))
        return found

    def add(self, module: str, name: str, value: float, line: int, time: float | None = None) -> None:
        """A value, with its time where it has one."""
        slot = self._slots.get((module, name))
        if slot is None:
            if len(self._slots) >= MOST_VECTORS:
                self._sink.warning("The file has too many different attributes: not all are read.", line)
                return
            slot = self._slots[module, name] = self._declare(module, name, timed=time is not None)
        if time is None:
            self._columns.observe(slot, value)
        else:
            self._columns.add(slot, time, value)

    def flush(self) -> None:
        self._columns.flush()

    def _no_number(self, name: str, line: int) -> None:
        if name in self._odd or len(self._odd) < _MOST_ODD:
            self._odd.add(name)
            self._sink.warning(f"The attribute {name[:60]} is no number here: not summarised.", line)
        else:
            self._sink.warning("Other attributes are no numbers either: not summarised.", line)

    def _declare(self, module: str, name: str, *, timed: bool) -> int:
        attributes = {"unit": self.units[name]} if name in self.units else {}
        if timed and name != "duration":
            attributes["interpolationmode"] = "sample-hold"
        if module == "tripinfo" and name in _HEADLINES:
            attributes["headline"] = "yes"
        return self._sink.vector(module, name, attributes, timed=timed)


def _not_arrived(element: str, late: int, total: int, arrived: int) -> str:
    one, several = _MADE_BY.get(element, ("trip", "trips"))
    what = f"{late} of {total} {one if total == 1 else several} had not arrived"
    return f"{what}: the numbers are of those that had." if arrived else f"{what} when the simulation ended."


def _clock(text: str) -> float:
    """A number, or a time as ``days:hours:minutes:seconds`` (``human-readable-time``); NaN: neither."""
    try:
        return float(text) if "_" not in text else math.nan  # which Python's own numbers may hold
    except ValueError:
        match = _CLOCK.fullmatch(text)
    if match is None:
        return math.nan
    days, hours, minutes, seconds = match.groups()
    return ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)


def _is_number(options: Mapping[str, str], name: str) -> bool:
    return name in options and math.isfinite(_clock(options[name]))
