"""OMNeT++'s text files: scalars (.sca), vectors (.vec), and the index of a vector file (.vci).

One grammar for all, from version 3 of the simulator to 6; source: the OMNeT++ manual, appendix "Result File Formats".
Every line stands for itself, so that a damaged one costs no other.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import lru_cache
from typing import BinaryIO, ClassVar

import numpy as np

from consumer.formats.contract import BYTE_ORDER, Floats, Numbers, Run, Sink, Statistic
from consumer.formats.datalines import LARGEST_ID, Block, blocks
from consumer.formats.omnetpp_tokens import first_time, number, words

VERSIONS = {"1": "OMNeT++ 3", "2": "OMNeT++ 4 or 5", "3": "OMNeT++ 6"}
PAGE = 4096  # bytes: an unfinished file ends at a multiple
LONGEST_SHOWN = 60  # characters of a line in a warning
LONGEST_KEPT = 200  # bytes of an attribute that may come again at once
_COLUMNS = re.compile(r"[ETV]{1,3}")
_FIRST_LINES = 8
_TOLD = 3  # damaged samples of a block that are told one by one
_INDEX_HEADER = 64  # bytes of a .vci file's first line
_LARGEST_TABLE = 4_000_000  # vector ids below this are looked up in an array


class OmnetppText:
    """Scalar and vector files."""

    name: ClassVar[str] = "OMNeT++ text"

    def recognises(self, head: bytes) -> bool:
        """By the first line that is neither blank nor a comment."""
        for line in head.decode("utf-8-sig", "replace").splitlines()[:_FIRST_LINES]:
            try:
                found = words(line)
            except ValueError:
                return False
            if found and not found[0].startswith("#"):
                return _begins(found)
        return False

    def read(self, stream: BinaryIO, sink: Sink) -> None:
        """Read the file in blocks of whole lines."""
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        reader = _Reader(sink, size)
        for block in blocks(stream, size):
            reader.take(block)
            sink.at(block.end)
        reader.finish()


class OmnetppIndex:
    """The index beside a vector file: looked at for what it tells about the run's end, and for no number."""

    name: ClassVar[str] = "OMNeT++ index"

    def recognises(self, head: bytes) -> bool:
        """``file SIZE MTIME``, or as many blanks while the run has not ended, before the version."""
        first, _, rest = head.removeprefix(BYTE_ORDER).partition(b"\n")
        if first.strip():
            return bool(re.fullmatch(rb"file \d+ \d+\s*", first))
        return len(first.rstrip(b"\r")) == _INDEX_HEADER and rest.startswith(b"version ")

    def read(self, stream: BinaryIO, sink: Sink) -> None:
        """Tell whether the run ended; the vectors are read from their own file, which alone is complete."""
        if not stream.readline(2 * _INDEX_HEADER).removeprefix(BYTE_ORDER).strip():
            sink.incomplete("The index was never closed: the simulation did not end as it should.")


def _begins(found: list[str]) -> bool:
    kind, count = found[0], len(found)
    if kind == "version":
        return count == 2 and found[1].isdigit()
    if kind == "run":
        return count in {2, 3}
    if kind == "vector":
        return count in {4, 5} and found[1].isdigit()
    if kind == "scalar" and count >= 4:
        try:
            number(found[-1])
        except ValueError:
            return False
        return True
    return False


class _Reader:
    """Where in the file we are, and the item whose attributes may still come."""

    def __init__(self, sink: Sink, size: int) -> None:
        self._sink = sink
        self._size = size
        self._line = 0  # lines before the present block
        self._simulator = "OMNeT++"
        self._run: _Header | None = None
        self._told = False  # whether the sink knows the run
        self._attributes: dict[str, str] = {}
        self._close: Callable[[], None] | None = None  # tells the sink the item before
        self._fields: dict[str, float] = {}
        self._bins: list[tuple[float, float]] = []
        self._vectors = _Vectors()
        self._undeclared = 0
        self._undeclared_first: tuple[int, int] = (0, 0)  # id, line
        self._handlers: dict[str, Callable[[list[str]], None]] = {
            "version": self._version,
            "run": self._begin_run,
            "attr": self._attr,
            "itervar": self._itervar,
            "config": self._config,
            "param": self._config,
            "scalar": self._scalar,
            "par": self._par,
            "statistic": self._statistic,
            "field": self._field,
            "bin": self._bin,
            "vector": self._vector,
            "file": lambda _: None,
        }

    def take(self, block: Block) -> None:
        done = 0
        last = block.others[-1] if block.others else None
        for other in block.others:
            if other.before > done:
                self._samples(block, done, other.before)
                done = other.before
            ends_here = other is last and other.number == block.lines - 1 and self._unfinished(block)
            if ends_here and self._size % PAGE == 0:  # whole or not, who knows
                self._cut_off(self._line + other.number + 1)
            else:
                self._other(other.text, self._line + other.number + 1, cut_off=ends_here)
        stop = len(block.ids)
        if stop > done and self._unfinished(block) and block.line_of(stop - 1) == block.lines - 1:
            self._samples(block, done, stop - 1)
            self._last_sample(block, stop - 1)
        else:
            self._samples(block, done, stop)
        self._line += block.lines

    def finish(self) -> None:
        self._end_item()
        if self._run is not None:
            self._tell_run()
        if self._undeclared:
            identity, line = self._undeclared_first
            self._sink.warning(
                f"{self._undeclared} samples belong to no declared vector (the first to number {identity}): not read.",
                line,
            )

    def _unfinished(self, block: Block) -> bool:
        return block.end == self._size and bytes(block.data[-1:]) != b"\n"

    def _cut_off(self, line: int) -> None:
        self._sink.incomplete("The file ends in the middle of a line; what stands before it was read.", line)

    def _perhaps_cut_off(self, line: int) -> None:
        self._sink.warning("The file ends without a line end: its last value was read, but may lack digits.", line)

    # Data lines

    def _last_sample(self, block: Block, place: int) -> None:
        """The file's last line, which nothing closes: whole or not, who knows."""
        self._end_item()
        slots, widths, _, _ = self._vectors.resolve(block, place, place + 1)
        line = self._line + block.lines
        if self._size % PAGE == 0 or (slots[0] >= 0 and block.widths[place] < widths[0]):
            self._cut_off(line)
            return
        self._samples(block, place, place + 1)
        if slots[0] >= 0:
            self._perhaps_cut_off(line)

    def _samples(self, block: Block, start: int, stop: int) -> None:
        if stop <= start:
            return
        self._end_item()
        self._tell_run()
        slots, widths, times, values = self._vectors.resolve(block, start, stop)
        good = (slots >= 0) & (widths == block.widths[start:stop])
        if not good.all():
            self._report(block, start, slots, good)
            slots, times, values = slots[good], times[good], values[good]
        self._sink.samples(slots, times, values)

    def _report(
        self, block: Block, start: int, slots: Numbers, good: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ) -> None:
        undeclared = np.flatnonzero(slots < 0)
        if len(undeclared):
            if not self._undeclared:
                place = start + int(undeclared[0])
                self._undeclared_first = int(block.ids[place]), self._line + block.line_of(place) + 1
            self._undeclared += len(undeclared)
        damaged = np.flatnonzero(~good & (slots >= 0))
        for place in damaged[:_TOLD].tolist():
            line = self._line + block.line_of(start + place) + 1
            self._sink.warning("A sample has another number of columns than its vector: not read.", line)
        if len(damaged) > _TOLD:
            line = self._line + block.line_of(start + int(damaged[-1])) + 1
            rest = len(damaged) - _TOLD
            self._sink.warning(f"{rest} more samples until here have not as many columns: not read.", line)

    # The other lines

    def _other(self, line: bytes, place: int, *, cut_off: bool) -> None:
        try:
            if place == 1 and line.startswith(BYTE_ORDER + b"#"):
                return
            if line.startswith(b"attr ") and len(line) <= LONGEST_KEPT:
                found = _attribute(line)
            else:
                found = words(line.decode("utf-8-sig" if place == 1 else "utf-8").strip("\r"))
            if found and found[0].isdigit():
                self._odd_sample(found, place)
            elif found:
                self._handle(found)
            if found and cut_off:
                self._perhaps_cut_off(place)
        except UnicodeDecodeError:
            self._sink.warning("The line is not UTF-8: not read.", place)
        except (ValueError, IndexError) as error:
            if cut_off:
                self._cut_off(place)
            else:
                self._sink.warning(f"Not read: {_sentence(error)} in: {_shown(line)}", place)

    def _handle(self, found: list[str]) -> None:
        handler = self._handlers.get(found[0])
        if handler is None:
            raise ValueError("unknown kind of line")
        handler(found)

    def _odd_sample(self, found: list[str], line: int) -> None:
        """A data line whose numbers only `number` understands."""
        if int(found[0]) > LARGEST_ID or not 2 <= len(found) <= 4:
            raise ValueError("no sample")
        values = [number(word) for word in found[1:]]
        padded = [np.array([value]) for value in [*values, 0.0, 0.0, 0.0][:3]]
        one = Block(
            np.array([int(found[0])], np.int32),
            np.array([len(values)], np.int8),
            (padded[0], padded[1], padded[2]),
            [],
            0,
            b"",
            0,
        )
        before, self._line = self._line, line - 1
        self._samples(one, 0, 1)
        self._line = before

    def _version(self, found: list[str]) -> None:
        if found[1] not in VERSIONS:
            raise ValueError(f"version {found[1]} of the format is not known; read as the last known one")
        self._simulator = VERSIONS[found[1]]

    def _begin_run(self, found: list[str]) -> None:
        self._end_item()
        if self._run is not None:
            self._tell_run()
        self._run, self._told = _Header(found[1]), False
        self._vectors = _Vectors()

    def _attr(self, found: list[str]) -> None:
        name, value = found[1], found[2]
        if self._close is None:
            self._header().attributes[name] = value
        else:
            self._attributes[name] = value

    def _itervar(self, found: list[str]) -> None:
        self._header().itervars[found[1]] = found[2]

    def _config(self, found: list[str]) -> None:
        self._header().config.append((found[1], found[2]))

    def _scalar(self, found: list[str]) -> None:
        module, name, value = found[1], " ".join(found[2:-1]), number(found[-1])
        if not name:
            raise ValueError("a scalar without name")
        self._begin_item(lambda: self._sink.scalar(module, name, value, self._attributes))

    def _par(self, found: list[str]) -> None:
        module, name, text = found[1], found[2], found[3]
        self._begin_item(lambda: self._sink.parameter(module, name, text))

    def _statistic(self, found: list[str]) -> None:
        module, name = found[1], found[2]
        self._begin_item(
            lambda: self._sink.statistic(Statistic(module, name, self._fields, tuple(self._bins), self._attributes))
        )

    def _field(self, found: list[str]) -> None:
        self._fields[found[1]] = number(found[2])

    def _bin(self, found: list[str]) -> None:
        self._bins.append((number(found[1]), number(found[2])))

    def _vector(self, found: list[str]) -> None:
        identity, module, name = int(found[1]), found[2], found[3]
        if not 0 <= identity <= LARGEST_ID:
            raise ValueError("a vector's number is out of range")
        columns = found[4] if len(found) > 4 and not found[4][0].isdigit() else "TV"
        if not _COLUMNS.fullmatch(columns) or "V" not in columns:
            raise ValueError(f"columns {columns[:LONGEST_SHOWN]!r}")
        self._begin_item(
            lambda: self._vectors.add(
                identity, self._sink.vector(module, name, self._attributes, timed="T" in columns), columns
            )
        )

    # Items and their attributes

    def _begin_item(self, close: Callable[[], None]) -> None:
        self._end_item()
        self._tell_run()
        self._close = close

    def _end_item(self) -> None:
        if self._close is not None:
            close, self._close = self._close, None
            close()
            self._attributes, self._fields, self._bins = {}, {}, []

    def _header(self) -> _Header:
        self._end_item()
        if self._run is None:
            self._run = _Header("")
        elif self._told:  # a run may be described further down again: the sink takes it as the same run
            self._told = False
        return self._run

    def _tell_run(self) -> None:
        if self._run is None:
            self._run = _Header("")
        if not self._told:
            self._told = True
            self._sink.run(self._run.as_run(self._simulator))


@lru_cache(maxsize=1024)
def _attribute(line: bytes) -> list[str]:
    """The words of a line that most items repeat."""
    return words(line.decode().strip("\r"))


class _Header:
    """What is told about a run before its results."""

    def __init__(self, identity: str) -> None:
        self.id = identity
        self.attributes: dict[str, str] = {}
        self.itervars: dict[str, str] = {}
        self.config: list[tuple[str, str]] = []

    def as_run(self, simulator: str) -> Run:
        return Run(
            id=self.id,
            simulator=simulator,
            attributes=self.attributes,
            itervars=self.itervars,
            config=tuple(self.config),
            warmup=first_time(self.config, "warmup-period"),
            end=first_time(self.config, "sim-time-limit"),
            end_is_bound=True,
        )


class _Vectors:
    """The declared vectors of a run: their numbers in the file, at the sink, and which column holds what."""

    def __init__(self) -> None:
        self._slots: dict[int, int] = {}
        self._layouts: dict[int, str] = {}
        self._used: set[str] = set()
        self._arrays: tuple[Numbers, ...] | None = None

    def add(self, identity: int, slot: int, columns: str) -> None:
        self._slots[identity] = slot
        self._layouts[identity] = columns
        self._used.add(columns)
        self._arrays = None

    def resolve(self, block: Block, start: int, stop: int) -> tuple[Numbers, Numbers, Floats, Floats]:
        """Number at the sink (-1: not declared), columns expected, time and value of the data lines asked for."""
        ids = block.ids[start:stop]
        if self._arrays is None:
            self._arrays = self._tabulate()
        known, slots, widths, time_at, value_at = self._arrays
        if known[-1] == len(known) - 1:  # a table without gaps
            place = np.minimum(ids, known[-1])
        else:
            place = np.searchsorted(known[:-1], ids)
            place[known[place] != ids] = len(known) - 1
        columns = block.columns[0][start:stop], block.columns[1][start:stop], block.columns[2][start:stop]
        found = slots[place]
        if len(self._used) == 1:  # in nearly every file all vectors have the same columns
            width, t, v = (int(part[0]) for part in (widths, time_at, value_at))
            expected = np.broadcast_to(np.int32(width), found.shape)
            times = columns[t] if t >= 0 else np.arange(len(ids), dtype=np.float64)
            return found, expected, times, columns[v]
        t = time_at[place]
        times = np.choose(np.maximum(t, 0), columns)
        if (t < 0).any():
            times = np.where(t < 0, np.arange(len(ids), dtype=np.float64), times)
        return found, widths[place], times, np.choose(value_at[place], columns)

    def _tabulate(self) -> tuple[Numbers, ...]:
        """Arrays by place: number in the file, at the sink, width, columns of time and value; last: not declared."""
        largest = max(self._slots, default=-1)
        dense = largest < min(_LARGEST_TABLE, 64 * len(self._slots) + 65_536)
        known = list(range(largest + 1)) if dense else sorted(self._slots)
        layouts = [self._layouts.get(identity, next(iter(self._used), "")) for identity in known]
        table = (
            [*known, len(known) if dense else LARGEST_ID + 1],
            [*(self._slots.get(identity, -1) for identity in known), -1],
            [*map(len, layouts), 1],
            [*(layout.find("T") for layout in layouts), 0],
            [*(max(layout.find("V"), 0) for layout in layouts), 0],
        )
        first, *others = (np.array(column, np.int64) for column in table)
        return (first.astype(np.int64), *(column.astype(np.int32) for column in others))


def _sentence(error: Exception) -> str:
    return "words are missing" if isinstance(error, IndexError) else str(error)


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", "replace").strip()
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"
