"""OMNeT++'s SQLite result files: the same extensions as the text files, and the same contents.

Source: OMNeT++'s ``sqliteresultfileschema.h`` from 5.0 to 6.1. Names of tables differ in their case only, but for those
of the parameters of a run and of the bins; a scalar file and a vector file have the same tables. NULL stands for NaN.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, ClassVar, TypeVar

import numpy as np

from consumer.formats.contract import Run, Sink, Statistic
from consumer.formats.omnetpp_tokens import first_time
from consumer.formats.sqlite_file import MAGIC, Database, Unreadable, Value, opened

_RUN_TABLE = re.compile(rb"CREATE TABLE (?:IF NOT EXISTS )?[\"'\[`]?run\b", re.IGNORECASE)
_SAMPLE = 25  # bytes, about
_LONGEST_NAME = 1000  # characters
T = TypeVar("T")
_EXPONENTS = range(-18, 1)
_FIELDS = {
    "count": "statcount", "mean": "statmean", "stddev": "statstddev", "min": "statmin", "max": "statmax",
    "sum": "statsum", "sqrsum": "statsqrsum", "weights": "statweights", "weightedSum": "statweightedsum",
    "sqrSumWeights": "statsqrsumweights", "weightedSqrSum": "statweightedsqrsum",
}  # fmt: skip
_WEIGHTED = frozenset({"weights", "weightedSum", "sqrSumWeights", "weightedSqrSum"})
_KNOWN = frozenset({
    "run", "runattr", "runitervar", "runconfig", "runparam", "scalar", "scalarattr", "parameter", "paramattr",
    "statistic", "statisticattr", "histogrambin", "histbin", "vector", "vectorattr", "vectordata",
})  # fmt: skip


class OmnetppSqlite:
    """Scalar and vector files that are databases."""

    name: ClassVar[str] = "OMNeT++ SQLite"

    def recognises(self, head: bytes) -> bool:
        """A database with a table of runs."""
        return head.startswith(MAGIC) and bool(_RUN_TABLE.search(head))

    def read(self, stream: BinaryIO, sink: Sink) -> None:
        """Read the tables one after the other, each in the order in which it was written."""
        try:
            with opened(stream) as (database, note):
                if note:
                    sink.incomplete(note)
                _Reader(database, sink, ended=not note).read()
        except Unreadable as error:
            sink.warning(f"The database was not read: {error}.")


class _Reader:
    def __init__(self, database: Database, sink: Sink, *, ended: bool) -> None:
        self._database = database
        self._sink = sink
        self._ended = ended  # nothing was told so far of a run that did not end
        self._tables = database.tables()
        self._runs: dict[Value, Run] = {}
        self._exponents: dict[Value, int | None] = {}
        self._present: Value = None

    def read(self) -> None:
        self._read_runs()
        self._read_scalars()
        self._read_parameters()
        self._read_statistics()
        self._read_vectors()
        unknown = sorted(name for name in self._tables.keys() - _KNOWN if not name.startswith("sqlite_"))
        if unknown:
            self._sink.warning(f"Other tables are not read: {', '.join(unknown[:5])[:200]}.")

    # Rows

    def _rows(self, table: str, *columns: str) -> Iterator[tuple[Value, ...]]:
        """Rows of a table, as far as it is sound; none when it is not there."""
        return self._sound(table, columns, self._database.rows)

    def _sound(
        self, table: str, columns: Sequence[str], read: Callable[[str, Sequence[str]], Iterator[T]]
    ) -> Iterator[T]:
        if table not in self._tables:
            return
        known = self._tables[table]
        try:
            yield from read(table, [column if column in known else "" for column in columns])
        except Unreadable as error:
            self._sink.warning(f"The table {table} is damaged ({error}): the rest of it was not read.")

    def _either(self, *tables: str) -> str:
        return next((table for table in tables if table in self._tables), tables[0])

    def _attributes(self, table: str, item: str) -> _Side:
        return _Side(self._rows(table, item, "attrname", "attrvalue"))

    def _left(self, side: _Side, what: str) -> None:
        left = side.rest()
        if left:
            self._sink.warning(f"{left} {what} belong to nothing, or are not in order: not read.")

    # Tables

    def _read_runs(self) -> None:
        attributes = self._by_run("runattr", "attrname", "attrvalue")
        itervars = self._by_run("runitervar", "itervarname", "itervarvalue")
        table = self._either("runconfig", "runparam")
        known = self._tables.get(table, frozenset())
        names = next((pair for pair in _CONFIG_COLUMNS if pair[0] in known), _CONFIG_COLUMNS[0])
        config = self._by_run(table, *names)
        rows = list(self._rows("run", "runid", "runname", "simtimeexp"))
        version = "6" if "runconfig" in self._tables else "5"
        for identity, name, exponent in rows:
            entries = tuple(config.get(identity, ()))
            self._runs[identity] = Run(
                id=_text(name),
                simulator=f"OMNeT++ {version}",
                attributes=dict(attributes.get(identity, ())),
                itervars=dict(itervars.get(identity, ())),
                config=entries,
                warmup=first_time(entries, "warmup-period"),
                end=first_time(entries, "sim-time-limit"),
                end_is_bound=True,
            )
            sound = isinstance(exponent, int) and exponent in _EXPONENTS
            self._exponents[identity] = exponent if sound and isinstance(exponent, int) else None
            if not sound:
                self._sink.warning("The run's simtimeExp makes no sense: the times of its samples are not known.")
            self._begin(identity)
        if not rows:
            self._sink.warning("The database holds no run.")

    def _by_run(self, table: str, name: str, value: str) -> dict[Value, list[tuple[str, str]]]:
        found: dict[Value, list[tuple[str, str]]] = {}
        for identity, key, text in self._rows(table, "runid", name, value):
            found.setdefault(identity, []).append((_name(key), _text(text)))
        return found

    def _read_scalars(self) -> None:
        attributes = self._attributes("scalarattr", "scalarid")
        columns = ("scalarid", "runid", "modulename", "scalarname", "scalarvalue")
        for identity, run, module, name, value in self._rows("scalar", *columns):
            self._begin(run)
            self._sink.scalar(_name(module), _name(name), self._number(value), attributes.named(identity))
        self._left(attributes, "attributes of scalars")

    def _read_parameters(self) -> None:
        for run, module, name, value in self._rows("parameter", "runid", "modulename", "paramname", "paramvalue"):
            self._begin(run)
            self._sink.parameter(_name(module), _name(name), _text(value))

    def _read_statistics(self) -> None:
        attributes = self._attributes("statisticattr", "statid")
        table = self._either("histogrambin", "histbin")
        edge, count = ("loweredge", "binvalue") if table == "histogrambin" else ("basevalue", "cellvalue")
        bins = _Side(self._rows(table, "statid", edge, count))
        columns = ("statid", "runid", "modulename", "statname", "isweighted", *_FIELDS.values())
        for row in self._rows("statistic", *columns):
            identity, run, module, name, weighted, *values = row
            self._begin(run)
            fields = {field: self._number(value) for field, value in zip(_FIELDS, values, strict=True)}
            if not weighted and all(math.isnan(fields[field]) for field in _WEIGHTED):
                fields = {field: value for field, value in fields.items() if field not in _WEIGHTED}
            found = [(self._number(low), self._number(value)) for low, value in bins.of(identity)]
            sound = sorted(pair for pair in found if not math.isnan(pair[0]) and math.isfinite(pair[1]))
            if len(sound) < len(found):
                self._sink.warning("A bin of a histogram has no number: not read.")
            self._sink.statistic(
                Statistic(_name(module), _name(name), fields, tuple(sound), attributes.named(identity))
            )
        self._left(attributes, "attributes of statistics")
        self._left(bins, "bins of histograms")

    def _read_vectors(self) -> None:
        attributes = self._attributes("vectorattr", "vectorid")
        vectors: dict[Value, _Vector] = {}
        columns = ("vectorid", "runid", "modulename", "vectorname", "vectorcount")
        for identity, run, module, name, count in self._rows("vector", *columns):
            self._begin(run)
            exponent = self._exponents.get(run)
            slot = self._sink.vector(_name(module), _name(name), attributes.named(identity), timed=exponent is not None)
            vectors[identity] = _Vector(slot, 10.0 ** -(exponent or 0), count if isinstance(count, int) else None)
            if count is None and self._ended:
                self._ended = False
                self._sink.incomplete("The simulation did not end as it should: vectors were never closed.")
        self._left(attributes, "attributes of vectors")
        self._read_samples(vectors)
        wrong = sum(1 for vector in vectors.values() if vector.told is not None and vector.told != vector.found)
        if wrong:
            self._sink.warning(f"{wrong} vectors have not as many samples as the file says.")

    def _read_samples(self, vectors: dict[Value, _Vector]) -> None:
        told = sum(vector.told or 0 for vector in vectors.values())
        expected = max(told, self._database.size // _SAMPLE, 1)
        columns = ("vectorid", "simtimeraw", "value")
        undeclared = done = 0
        for batch in self._sound("vectordata", columns, self._database.numbers):
            identities, raws, values = zip(*batch, strict=True)
            counts = Counter(identities)
            if counts.keys() <= vectors.keys() and {type(raw) for raw in raws} == {int} and "?" not in values:
                slots = np.array([vectors[identity].slot for identity in identities], np.int32)
                scales = np.array([vectors[identity].per_second for identity in identities], np.float64)
                for identity, count in counts.items():
                    vectors[identity].found += count
                self._sink.samples(slots, np.array(raws, np.float64) / scales, np.array(values, np.float64))
            else:
                undeclared += self._one_by_one(batch, vectors)
            done += len(batch)
            self._sink.at(self._database.size * min(done, expected) // expected)
        if undeclared:
            self._sink.warning(f"{undeclared} samples belong to no declared vector: not read.")

    def _one_by_one(self, batch: list[tuple[Value, ...]], vectors: dict[Value, _Vector]) -> int:
        """Samples some of which are damaged; how many belong to no vector."""
        undeclared = 0
        slots: list[int] = []
        times: list[float] = []
        values: list[float] = []
        for identity, raw, value in batch:
            vector = vectors.get(identity)
            if vector is None:
                undeclared += 1
                continue
            vector.found += 1
            if not isinstance(raw, int):
                self._sink.warning("A sample has no time: not read.")
                continue
            slots.append(vector.slot)
            times.append(raw / vector.per_second)
            values.append(self._number(value))
        self._sink.samples(np.array(slots, np.int32), np.array(times, np.float64), np.array(values, np.float64))
        return undeclared

    # Values

    def _begin(self, identity: Value) -> None:
        if identity == self._present and self._present is not None:
            return
        if identity not in self._runs:
            self._sink.warning("A result belongs to no run of the database.")
            self._runs[identity] = Run("", "OMNeT++")
        self._present = identity
        self._sink.run(self._runs[identity])

    def _number(self, value: Value) -> float:
        """A column's number: NULL stands for NaN."""
        if value is None:
            return math.nan
        if isinstance(value, str):
            self._sink.warning("A value is no number: taken as no value.")
            return math.nan
        return float(value)


_CONFIG_COLUMNS = (("configkey", "configvalue"), ("paramkey", "paramvalue"), ("parname", "parvalue"))


class _Vector:
    __slots__ = ("found", "per_second", "slot", "told")

    def __init__(self, slot: int, per_second: float, told: int | None) -> None:
        self.slot = slot
        self.per_second = per_second
        self.told = told  # samples that the file says there are
        self.found = 0


class _Side:
    """Rows that belong to the items of another table, both in the order of the items' numbers, as they are written."""

    def __init__(self, rows: Iterator[tuple[Value, ...]]) -> None:
        self._rows = rows
        self._next: tuple[Value, ...] | None = next(rows, None)
        self._passed = 0

    def of(self, identity: Value) -> list[tuple[Value, Value]]:
        """The rows of an item; items must be asked for in order."""
        found = []
        while self._next is not None and _rank(self._next[0]) <= _rank(identity):
            owner, first, second = self._next
            if owner == identity:
                found.append((first, second))
            else:
                self._passed += 1
            self._next = next(self._rows, None)
        return found

    def named(self, identity: Value) -> dict[str, str]:
        """The rows of an item as names and values."""
        return {_name(name): _text(text) for name, text in self.of(identity)}

    def rest(self) -> int:
        """How many rows no item took, when all items have been asked for."""
        while self._next is not None:
            self._passed += 1
            self._next = next(self._rows, None)
        return self._passed


def _rank(value: Value) -> tuple[int, float, str]:
    """SQLite's own order: NULL, numbers, text."""
    if value is None:
        return 0, 0.0, ""
    return (2, 0.0, value) if isinstance(value, str) else (1, value, "")


def _name(value: Value) -> str:
    return _text(value)[:_LONGEST_NAME]


def _text(value: Value) -> str:
    return "" if value is None else str(value)
