"""Result files cut anywhere and changed anywhere, read with all their statistics, with what must hold looked at.

    python benchmarks/fuzz_formats.py [--inputs 100000] [--seed 1] [--only 4711]
    python benchmarks/fuzz_formats.py --guided [--inputs 100000] [--seed 1] [--keep FOLDER]

Half of the inputs are OMNeT++ text: real files and one of every kind of line. The others are OMNeT++ SQLite, indexes,
FlowMonitor, SUMO and plain tables, also packed by gzip. Each input follows from the seed and its number alone, so that
`--only` makes it again.

What must hold: nothing raises; an input takes less than its bound; memory stays under its goal, and no more is kept
after the last input than after the first ones; a warning has words and no line 0; and OMNeT++ text gives the same
numbers, to the last bit, by plain Python and by the compiled loops, and the same counts in small pieces (looked at for
every fourth). One input in 200 is also written as a summary. Ends with 1 if something did not hold.

With `--guided`, an input that reaches a line of ours that none has reached, or is warned about in words that none was,
is changed next (tests/support/guided.py); it begins with the files above and with tests/fixtures/corpus/formats.
"""

from __future__ import annotations

import argparse
import gzip
import io
import multiprocessing
import os
import random
import re
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from consumer.formats import datalines
from consumer.formats.contract import HEAD, Format
from consumer.formats.registry import recognise
from consumer.report.write import write
from consumer.statistics import looped
from consumer.statistics.collector import Collector
from consumer.statistics.model import ScalarRow, StatisticRow, Summary
from tests.support.guided import ROOT, Run, fuzz, keep

CORPUS = ROOT / "tests" / "fixtures" / "corpus" / "formats"
BOUND = 10.0  # seconds for one input
MEMORY_GOAL = 256  # MiB
GROWTH_GOAL = 32  # MiB between the first tenth of the inputs and the last
LONGEST = 8_000  # bytes of an input, but for those that are made longer on purpose
WRITTEN = 200  # one input in so many becomes a whole summary

EVERY_LINE = b"""version 3
run General-0-20260102-12:00:00-77
attr configname General
attr iterationvars "$load=0.5, $n=3"
itervar load 0.5
config sim-time-limit 1h
config warmup-period 20s
par Net.host[0] name "\\"abc\\""
scalar Net.host[0] "sent packets:count" 17
attr unit pk
scalar Net.host[0] delay:mean nan
statistic Net.host[0] delay:histogram
field count 3
field mean 2
field min 1
field max 3
bin -inf 0
bin 0 1
bin 2 2
bin 4 0
vector 7 Net.host[0] qlen:vector ETV
attr interpolationmode sample-hold
vector 3 Net.host[0] delay:vector
vector 9 Net.host[0] state:vector ETV
attr type enum
attr enum "IDLE=0,BUSY=1"
7\t12\t0.5\t2
3\t0.25\t-1e-3
9\t13\t0.5\t1
7\t13\t0.75\t3
9\t14\t0.8\t0
"""
FLOWS = b"""<?xml version="1.0" ?>
<FlowMonitor><FlowStats><Flow flowId="1" timeFirstTxPacket="+1e+09ns" timeFirstRxPacket="+1.02e+09ns"
 timeLastTxPacket="+9e+09ns" timeLastRxPacket="+9.1e+09ns" delaySum="+4.7e+08ns" jitterSum="+1e+07ns"
 lastDelay="+2e+07ns"
 txBytes="20480" rxBytes="18432" txPackets="20" rxPackets="18" lostPackets="2" timesForwarded="40">
<packetsDropped reasonCode="3" number="2" />
<delayHistogram nBins="3"><bin index="0" start="0" width="0.001" count="4" />
<bin index="2" start="0.002" width="0.001" count="14" /></delayHistogram></Flow></FlowStats>
<Ipv4FlowClassifier><Flow flowId="1" sourceAddress="10.1.1.1" destinationAddress="10.1.1.2" protocol="17" sourcePort="9"
 destinationPort="10"><Dscp value="0x0" packets="20" /></Flow></Ipv4FlowClassifier></FlowMonitor>
"""
TABLES = (
    b"time,load,delay [ms]\n0,0.5,12\n1,0.7,13\n2,0.9,nan\n3,,14\n",
    b"# t queue\n0 1\n1 2\n2 1\n3 0\n" * 20,
    b"a;b;c\n1,5;2;x\n2,5;3;y\n",
)
SCHEMA = """
create table run (runId integer primary key, runName text, simtimeExp integer);
create table runAttr (runId integer, attrName text, attrValue text);
create table runItervar (runId integer, itervarName text, itervarValue text);
create table runConfig (runId integer, configKey text, configValue text, configOrder integer);
create table scalar (scalarId integer primary key, runId integer, moduleName text, scalarName text, scalarValue real);
create table scalarAttr (scalarId integer, attrName text, attrValue text);
create table vector (vectorId integer primary key, runId integer, moduleName text, vectorName text, vectorCount integer,
 vectorMin real, vectorMax real, vectorSum real, vectorSumSqr real, startEventNum integer, endEventNum integer,
 startSimtimeRaw integer, endSimtimeRaw integer);
create table vectorAttr (vectorId integer, attrName text, attrValue text);
create table vectorData (vectorId integer, eventNumber integer, simtimeRaw integer, value real);
insert into run values (1, 'r', -12);
insert into scalar values (1, 1, 'm', 'x', 4.5), (2, 1, 'm', 'y', null);
insert into vector values (1, 1, 'm', 'v', 3, 1, 3, 6, 14, 1, 3, 0, 2);
insert into vectorData values (1, 1, 0, 1), (1, 2, 1000000000000, 2), (1, 3, 2000000000000, 3);
"""
WORDS = [
    b"nan", b"-nan", b"inf", b"-inf", b"1.#INF", b"-1.#IND", b"1e999", b"-1e-999", b"1e308", b"-0", b"0", b"-1",
    b"1_000", b"9" * 30, b"0." + b"1" * 40, b"2147483647", b"2147483648", b"18446744073709551616", b"0x10",
    b"\xd9\xa1", b"+5", b"\x00", b"\xff\xfe", b'"', b'\\"', b'"\\x', b"<", b">", b"&x;", b"]]>", b"<!DOCTYPE a [",
    b"\n", b"\r\n", b"\r", b"\t", b" ", b"", b"# ", b"version 3\n", b"run r\n", b"vector 7 m v VT\n",
    b"vector 1 m v ETVV\n", b"scalar m x 1\n", b'attr enum "A=0,B="\n', b"bin 1 1\n", b"statistic m s\n",
    b"7\t1\tnan\t1\n", b"7\t1\t1e300\t1\n", b"7 1 -5 inf\n", b"3\t-inf\t0\n", b"9\t1\t9e99\t5\n",
    b"config sim-time-limit 1e-9s\n", b"config sim-time-limit nan\n", b"A" * 5000,
]  # fmt: skip


@dataclass(slots=True)
class Report:
    """What a share of the inputs gave."""

    inputs: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    warnings: int = 0
    slowest: float = 0.0
    slowest_input: int = -1
    faults: list[tuple[int, str]] = field(default_factory=list)
    peak: float = 0.0  # MiB
    growth: float = 0.0  # MiB

    def add(self, other: Report) -> None:
        """Those of another process."""
        self.inputs += other.inputs
        self.formats += other.formats
        self.warnings += other.warnings
        if other.slowest > self.slowest:
            self.slowest, self.slowest_input = other.slowest, other.slowest_input
        self.faults += other.faults
        self.peak, self.growth = max(self.peak, other.peak), max(self.growth, other.growth)


class Rows:
    """Takes rows and forgets them."""

    def scalar(self, row: ScalarRow) -> None:
        """One number."""

    def statistic(self, row: StatisticRow) -> None:
        """One statistic."""


class TooLong(Exception):
    """An input has taken longer than its bound."""


@cache
def originals() -> tuple[list[bytes], list[bytes]]:
    """OMNeT++ text, and files of all other formats."""
    data = ROOT / "tests" / "data"
    text = [EVERY_LINE, EVERY_LINE.replace(b"\n", b"\r\n"), EVERY_LINE + many_samples()]
    text += [file.read_bytes() for suffix in ("sca", "vec") for file in sorted(data.rglob(f"*.{suffix}"))]
    others = [FLOWS, *TABLES, database(), *(file.read_bytes() for file in sorted(data.rglob("*.xml")))]
    others += [file.read_bytes() for file in sorted(data.rglob("*.vci"))]
    return text, others


def many_samples() -> bytes:
    """Some hundred data lines of three vectors."""
    chance = random.Random(3)
    lines = [f"{chance.choice([7, 9])}\t{event}\t{event / 7:.12g}\t{chance.randrange(90)}" for event in range(600)]
    return "\n".join(lines).encode() + b"\n"


def database() -> bytes:
    """A small result file of OMNeT++ 6."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(SCHEMA)
        return connection.serialize()
    finally:
        connection.close()


def made(seed: int, number: int) -> bytes:
    """The input of this number."""
    chance = random.Random(f"{seed}-{number}")
    text, others = originals()
    data = chance.choice(chance.choice((text, others)))
    if len(data) > LONGEST and not data.startswith(
        b"SQLite"
    ):  # its head, which says what it is, and a piece from anywhere
        start = chance.randrange(2000, len(data) - LONGEST // 2)
        data = data[: LONGEST // 2] + data[start : start + LONGEST // 2]
    if not chance.randrange(3):
        data = data[: chance.randrange(len(data) + 1)]
    broken = bytearray(data)
    for _ in range(chance.choice([0, 1, 1, 2, 3, 5, 10, 40])):
        change(broken, chance)
    if not chance.randrange(20):
        return gzip.compress(bytes(broken), 1, mtime=0)[: chance.choice([None, -4, -40, 30])]
    return bytes(broken)


def change(data: bytearray, chance: random.Random) -> None:
    """One change anywhere."""
    place = chance.randrange(len(data) + 1)
    length = min(chance.choice([1, 1, 2, 5, 20, 400, 4096]), len(data) - place)
    piece = bytes(data[place : place + length])
    match chance.choice(("byte", "bit", "less", "again", "other", "word", "noise", "more")):
        case "byte" if piece:
            data[place] = chance.randrange(256)
        case "bit" if piece:
            data[place] ^= 1 << chance.randrange(8)
        case "less":
            del data[place : place + length]
        case "again":
            data[place:place] = piece * chance.choice([1, 2, 3])
        case "other":
            other = chance.choice(chance.choice(originals()))
            start = chance.randrange(len(other))
            data[place:place] = other[start : start + length]
        case "word":  # one of a line becomes another one
            ends = [end for end in (data.find(mark, place) for mark in b"\t \n") if end >= 0]
            data[place : min(ends, default=len(data))] = chance.choice(WORDS)
        case "noise":
            data[place : place + length] = chance.randbytes(length)
        case _:
            data[place:place] = chance.choice(WORDS)


def told(form: Format | None, data: bytes, *, whole: bool) -> Summary:
    """Everything that a summary would say of an input."""
    with Collector(Rows(), at=lambda _name, _offset: None) as found:
        found.begin_file("x", len(data), form.name if form else "")
        if form:
            form.read(io.BytesIO(data), found)
        found.end_file()
        summary = found.summary()
        for warned in summary.warnings:
            assert warned.text.strip(), "a warning without words"
            assert warned.line is None or warned.line > 0, f"line {warned.line}"
        if whole:
            with tempfile.TemporaryDirectory() as folder:
                write(summary, Path(folder) / "summary", vectors=found.vector_rows())
        return summary


def to_the_last_bit(summary: Summary) -> str:
    """All of it as text, "no value" being equal to itself."""
    with np.printoptions(threshold=3000, floatmode="unique"):
        return repr(summary)


def counted(summary: Summary) -> str:
    """What does not depend on the pieces in which a file is read, as sums of doubles do."""
    rows = sorted(
        repr((row.run, row.module, row.name, row.count, row.missing, row.minimum, row.maximum, row.percentiles))
        for row in summary.vectors
    )
    return repr((summary.runs, rows, summary.scalars_found, summary.statistics_found, summary.files))


@contextmanager
def the_way(*, compiled: bool, block: int) -> Iterator[None]:
    """Read in blocks of this size, by plain Python or not."""
    before = datalines.LARGE, datalines.BLOCK, looped.loaded  # type: ignore[attr-defined]
    datalines.LARGE, datalines.BLOCK = (0 if compiled else sys.maxsize), block
    looped.loaded = lambda: compiled  # type: ignore[attr-defined]
    try:
        yield
    finally:
        datalines.LARGE, datalines.BLOCK, looped.loaded = before  # type: ignore[attr-defined]


def one(seed: int, number: int, report: Report) -> None:
    """Make an input, read it, look at what came."""
    data = made(seed, number)
    began = time.perf_counter()
    before = signal.signal(signal.SIGALRM, _too_late)
    signal.setitimer(signal.ITIMER_REAL, BOUND)
    try:
        form = recognise(data[:HEAD])
        with the_way(compiled=False, block=datalines.BLOCK):
            plain = told(form, data, whole=number % WRITTEN == 0)
        if form and form.name == "OMNeT++ text" and number % 4 == 0:
            with the_way(compiled=True, block=datalines.BLOCK):
                other = told(form, data, whole=False)
                assert to_the_last_bit(other) == to_the_last_bit(plain), "the compiled loops tell something else"
            with the_way(compiled=True, block=997):
                assert counted(told(form, data, whole=False)) == counted(plain), "in pieces it is something else"
        report.formats[form.name if form else "carried, not read"] += 1
        report.warnings += plain.warnings_found
    except Exception as error:  # noqa: BLE001 - whatever it is, that is what we look for
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        report.faults.append((number, text[:300]))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    seconds = time.perf_counter() - began
    report.inputs += 1
    if seconds > report.slowest:
        report.slowest, report.slowest_input = seconds, number


def guided(inputs: int, seed: int) -> Run:
    """So many inputs, each made of what has reached something new; in this process, by plain Python."""

    def target(data: bytes) -> str:
        before = signal.signal(signal.SIGALRM, _too_late)
        signal.setitimer(signal.ITIMER_REAL, BOUND)
        try:
            form = recognise(data[:HEAD])
            with the_way(compiled=False, block=datalines.BLOCK):
                warnings = told(form, data, whole=False).warnings
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        words = sorted({re.sub(r"[\W\d]+|'.*?'", " ", one.text)[:40] for one in warnings})
        return f"{(form.name if form else 'unread').replace(' ', '-')} {words[:3]}"

    def changed(data: bytes, chance: random.Random) -> bytes:
        broken = bytearray(data)
        for _ in range(chance.choice([1, 1, 2, 3])):
            change(broken, chance)
        return bytes(broken)

    text, others = originals()
    whole = database()
    seeds = [*(file.read_bytes() for file in sorted(CORPUS.glob("*"))), *(one[:LONGEST] for one in (*text, *others))]
    return fuzz(target, [*seeds, whole], changed, count=inputs, seed=seed, largest=len(whole))


def _too_late(_signal: int, _frame: FrameType | None) -> None:
    raise TooLong(f"more than {BOUND} s")


def share(seed: int, numbers: range) -> Report:
    """Some of the inputs, in this process."""
    report = Report()
    early = 0.0
    for place, number in enumerate(numbers):
        one(seed, number, report)
        if place == len(numbers) // 10:
            early = resident()
    report.peak = resident("VmHWM")
    report.growth = resident() - early
    return report


def resident(what: str = "VmRSS") -> float:
    """MiB that this process has; with ``VmHWM`` at most so far.

    ``getrusage`` would count what the one had that started it.
    """
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) / 1024


def run(inputs: int, seed: int, jobs: int) -> Report:
    """All inputs, on several processes."""
    report = Report()
    if jobs == 1:
        report.add(share(seed, range(inputs)))
        return report
    context = multiprocessing.get_context("spawn")  # a fork of threads is none
    with context.Pool(jobs) as pool:
        shares = [(seed, range(job, inputs, jobs)) for job in range(jobs)]
        for found in pool.starmap(share, shares, chunksize=1):
            report.add(found)
    return report


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", type=int, help="one input, with its traceback")
    parser.add_argument("--guided", action="store_true", help="by what is reached, in one process")
    parser.add_argument("--keep", type=Path, help="a folder for small inputs that reached something new")
    asked = parser.parse_args()
    if asked.guided:
        found = guided(asked.inputs, asked.seed)
        print(found)
        if asked.keep:
            keep(found, asked.keep)
        sys.exit(1 if found.findings else 0)
    if asked.only is not None:
        report = Report()
        one(asked.seed, asked.only, report)
        print(report)
        sys.exit(1 if report.faults else 0)
    began = time.perf_counter()
    report = run(asked.inputs, asked.seed, asked.jobs)
    print(f"{report.inputs:,} inputs in {time.perf_counter() - began:.0f} s; {report.warnings:,} warnings")
    for name, count in report.formats.most_common():
        print(f"  {count:>7,} {name}")
    print(f"slowest {report.slowest:.2f} s (input {report.slowest_input}), bound {BOUND:.0f} s")
    print(
        f"peak {report.peak:.0f} MiB in a process, goal {MEMORY_GOAL}; {report.growth:+.0f} MiB after the first tenth"
    )
    for number, text in report.faults[:20]:
        print(f"  input {number}: {text}")
    bad = len(report.faults) + (report.peak > MEMORY_GOAL) + (report.growth > GROWTH_GOAL)
    print(f"{len(report.faults):,} faults")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
