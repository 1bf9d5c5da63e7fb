r"""Writing OMNeT++ result files, version 3: scalars (``.sca``), vectors (``.vec``) and the vectors' index (``.vci``).

Source of the grammar: OMNeT++ Simulation Manual 6, appendix "Result File Formats"
(https://doc.omnetpp.org/omnetpp/manual/#cha:result-file-formats). A token is quoted when it is empty or holds white
space, a backslash, a double quote or a control character; numbers are written as by C's ``%.14g``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

PICOSECONDS = 10**12
# Samples of a vector that are written together, as one line of the index.
BLOCK = 1024
NEEDS_QUOTES = re.compile(r'[\s\\"\x00-\x1f\x7f]')
ESCAPES = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\b": r"\b", "\f": r"\f"}
INDEX_HEAD = 64


@dataclass(frozen=True, slots=True)
class RunHeader:
    """What every file of a run begins with.

    Args:
        identifier: unique for every execution.
        attributes: configname, runnumber, network, ...
        iteration: iteration variables.
        config: entries of the configuration, in order; keys may repeat.
    """

    identifier: str
    attributes: Mapping[str, str]
    iteration: Mapping[str, str]
    config: Iterable[tuple[str, str]]

    def text(self) -> str:
        """The lines, with the version before and a blank line after them."""
        lines = ["version 3", line("run", self.identifier)]
        lines += [line("attr", name, self.attributes[name]) for name in sorted(self.attributes)]
        lines += [line("itervar", name, self.iteration[name]) for name in sorted(self.iteration)]
        lines += [line("config", key, value) for key, value in self.config]
        return "\n".join(lines) + "\n\n"


class ScalarFile:
    """A ``.sca`` file: collects its items and is written in one go when the run has ended."""

    def __init__(self, header: RunHeader) -> None:
        self._lines = [header.text().rstrip("\n"), ""]

    def par(self, module: str, name: str, value: str, **attributes: str) -> None:
        """A parameter, as the text that a NED file or a configuration would hold."""
        self._add(line("par", module, name, value), attributes)

    def scalar(self, module: str, name: str, value: float, **attributes: str) -> None:
        """A number."""
        self._add(line("scalar", module, name, number(value)), attributes)

    def statistic(
        self,
        module: str,
        name: str,
        fields: Mapping[str, float],
        bins: Iterable[tuple[float, float]],
        **attributes: str,
    ) -> None:
        """A histogram: fields (count, mean, ...) and bins as pairs of lower edge and count."""
        self._lines.append(line("statistic", module, name))
        self._lines += [line("field", key, number(value)) for key, value in fields.items()]
        self._lines += [line("attr", key, attributes[key]) for key in sorted(attributes)]
        self._lines += [f"bin\t{number(edge)}\t{number(count)}" for edge, count in bins]

    def write(self, path: Path) -> None:
        """Write the file."""
        path.write_text("\n".join(self._lines) + "\n", encoding="utf-8", newline="\n")

    def _add(self, item: str, attributes: Mapping[str, str]) -> None:
        self._lines.append(item)
        self._lines += [line("attr", key, attributes[key]) for key in sorted(attributes)]


@dataclass(slots=True)
class Vector:
    """A vector that is being written; `VectorFile.vector` makes it."""

    identifier: int
    lines: list[str] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def record(self, event: int, now: int, value: float) -> bool:
        """Keep a sample (``now`` in picoseconds); True if the block is full."""
        self.events.append(event)
        self.times.append(now)
        self.values.append(value)
        return len(self.values) >= BLOCK


class VectorFile:
    """A ``.vec`` file and its ``.vci`` index, written in blocks, so that memory stays flat. All vectors are ETV.

    As with the real simulator, the files of a run that is killed stay behind unfinished: the index begins with blanks
    until `close`.

    Args:
        path: of the ``.vec`` file; both files are replaced.
        header: of the run.
    """

    def __init__(self, path: Path, header: RunHeader) -> None:
        self._path = path
        self._data = path.open("wb")
        try:
            self._index = path.with_suffix(".vci").open("wb")
        except BaseException:
            self._data.close()
            raise
        self._index.write(b" " * INDEX_HEAD + b"\n")
        self._vectors: list[Vector] = []
        self._both(header.text())

    def vector(self, module: str, name: str, **attributes: str) -> Vector:
        """Declare a vector; all of them before the first sample."""
        vector = Vector(len(self._vectors))
        self._vectors.append(vector)
        lines = [line("vector", str(vector.identifier), module, name, "ETV")]
        lines += [line("attr", key, attributes[key]) for key in sorted(attributes)]
        self._both("\n".join(lines) + "\n")
        return vector

    def record(self, vector: Vector, event: int, now: int, value: float) -> None:
        """Add a sample: event number, time in picoseconds (never less than the vector's last one), value."""
        if vector.record(event, now, value):
            self._write_block(vector)

    def close(self, *, finished: bool = True) -> None:
        """Write what is left and, if the run has ``finished``, make the index valid."""
        with self._data, self._index:
            for vector in self._vectors:
                self._write_block(vector)
            self._data.flush()
            if finished:
                status = self._path.stat()
                self._index.seek(0)
                self._index.write(f"file {status.st_size} {int(status.st_mtime)}".ljust(INDEX_HEAD).encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(finished=kind is None)

    def _write_block(self, vector: Vector) -> None:
        events, times, values = vector.events, vector.times, vector.values
        if not values:
            return
        samples = zip(events, times, values, strict=True)
        block = "".join(
            f"{vector.identifier}\t{event}\t{seconds(now)}\t{number(value)}\n" for event, now, value in samples
        ).encode()
        place = f"{self._data.tell()} {len(block)} {events[0]} {events[-1]} {seconds(times[0])} {seconds(times[-1])}"
        moments = (min(values), max(values), sum(values), sum(value * value for value in values))
        self._data.write(block)
        self._index.write(f"{vector.identifier}\t{place} {len(values)} {' '.join(map(number, moments))}\n".encode())
        for column in (events, times, values):
            column.clear()

    def _both(self, text: str) -> None:
        self._data.write(text.encode())
        self._index.write(text.encode())


def line(*tokens: str) -> str:
    """A line of quoted tokens."""
    return " ".join(map(quoted, tokens))


def quoted(token: str) -> str:
    """A token as it stands in a file."""
    if token and not NEEDS_QUOTES.search(token):
        return token
    return '"' + "".join(ESCAPES.get(letter) or _hex(letter) for letter in token) + '"'


def number(value: float) -> str:
    """A number as it stands in a file: 14 significant digits; ``nan``, ``inf`` and ``-inf`` as such."""
    return format(value, ".14g")


def seconds(picoseconds: int) -> str:
    """A simulation time as an exact decimal."""
    whole, rest = divmod(picoseconds, PICOSECONDS)
    return f"{whole}.{rest:012d}".rstrip("0") if rest else str(whole)


def _hex(letter: str) -> str:
    return f"\\x{ord(letter):02x}" if letter < " " or letter == "\x7f" else letter
