"""OMNeT++ text files: every version, whatever stands in them, and whatever has happened to them."""

from __future__ import annotations

import math
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.compiled import load
from consumer.formats import datalines
from consumer.formats.datalines_compiled import scan as compiled_scan
from consumer.formats.omnetpp_text import OmnetppIndex, OmnetppText
from consumer.formats.omnetpp_tokens import number, seconds, words
from consumer.python import environment
from tests.support.formats import Remembered, read, same

DATA = Path(__file__).parent.parent / "data"
VERSION_3 = b"""version 3
run General-0-20260102-12:00:00-77
attr configname General
attr iterationvars "$load=0.5, $n=3"
itervar load 0.5
itervar n 3
config sim-time-limit 1h
config *.n "${n=3}"
config warmup-period 20s
config sim-time-limit 100h

par Net.host[0] name "\\"abc\\""
scalar Net.host[0] "sent packets:count" 17
attr unit pk
attr title "sent packets, count"
scalar Net.host[0] delay:mean nan
statistic Net.host[0] delay:histogram
field count 3
field mean 2
field stddev 1
field min 1
field max 3
attr unit s
bin -inf 0
bin 0 1
bin 2 2
bin 4 0
vector 7 Net.host[0] qlen:vector ETV
attr interpolationmode sample-hold
vector 3 Net.host[0] delay:vector
7\t12\t0.5\t2
3\t0.25\t-1e-3
7\t13\t0.75\t3
"""


def text(data: bytes) -> Remembered:
    return read(OmnetppText(), data)


def test_a_file_of_version_3_is_told_item_by_item() -> None:
    told = text(VERSION_3)

    assert told.warnings == []
    [run] = told.runs
    assert run.id == "General-0-20260102-12:00:00-77"
    assert run.simulator == "OMNeT++ 6"
    assert run.attributes["iterationvars"] == "$load=0.5, $n=3"
    assert run.itervars == {"load": "0.5", "n": "3"}
    assert run.warmup == 20
    assert run.end == 3600, "the first entry that matches counts"
    assert run.end_is_bound
    assert told.parameters == [("Net.host[0]", "name", '"abc"')]
    first, second = told.scalars
    assert first == ("Net.host[0]", "sent packets:count", 17.0, {"unit": "pk", "title": "sent packets, count"})
    assert second[1] == "delay:mean"
    assert math.isnan(second[2]), "no value is no 0"
    [statistic] = told.statistics
    assert statistic.fields["stddev"] == 1
    assert list(statistic.bins) == [(-math.inf, 0.0), (0.0, 1.0), (2.0, 2.0), (4.0, 0.0)]
    assert statistic.attributes == {"unit": "s"}
    assert told.of("Net.host[0]", "qlen:vector") == [(0.5, 2), (0.75, 3)]
    assert told.of("Net.host[0]", "delay:vector") == [(0.25, -0.001)], "without columns they are time and value"


def test_windows_line_ends_and_blanks_for_tabs_mean_the_same() -> None:
    told, usual = text(VERSION_3.replace(b"\n", b"\r\n").replace(b"\t", b"   ")), text(VERSION_3)

    told.offsets = usual.offsets
    assert same(told, usual)


def test_a_file_without_version_line_and_with_vectors_before_the_run_is_read() -> None:
    told = text(b'# made by a tool\nvector 1 "net" "a b" 4\n1 0.5 2\nrun 1 "sim"\nscalar net x 1.#INF\n')

    assert told.of("net", "a b") == [(0.5, 2)]
    assert [run.id for run in told.runs] == ["", "1"]
    assert told.scalars == [("net", "x", math.inf, {})]
    assert told.warnings == []


def test_the_vectors_of_several_runs_in_one_file_are_kept_apart() -> None:
    told = text(b"version 2\nrun a\nvector 1 m v TV\n1 0 5\nrun b\nvector 1 m v TV\n1 0 6\n1 1 7\n")

    assert [run.id for run in told.runs] == ["a", "b"]
    assert told.series == {0: [(0, 5)], 1: [(0, 6), (1, 7)]}


def test_columns_may_stand_in_any_order() -> None:
    told = text(b"version 2\nrun a\nvector 1 m v VTE\nvector 2 m w TV\nvector 3 m x V\n1 9 1 5\n2 1 8\n3 7\n1 10 2 6\n")

    assert told.of("m", "v") == [(1, 9), (2, 10)]
    assert told.of("m", "w") == [(1, 8)]
    assert [value for _, value in told.of("m", "x")] == [7]
    assert told.timed == [True, True, False]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"scalar m x 1_000", "Not read: '1_000' is no number in: scalar m x 1_000"),
        (b'scalar m "x 1', 'Not read: a quote is not closed in: scalar m "x 1'),
        (b"scalar", "Not read: words are missing in: scalar"),
        (b"what is this", "Not read: unknown kind of line in: what is this"),
        (b"scalar m \xff 1", "The line is not UTF-8: not read."),
        (b"1 2 3 4", "A sample has another number of columns than its vector: not read."),
        (b"1 1.#INF 3 4", "A sample has another number of columns than its vector: not read."),
        (b"1 0.5 x", "Not read: 'x' is no number in: 1 0.5 x"),
        (b"vector 5 m v EQ", "Not read: columns 'EQ' in: vector 5 m v EQ"),
    ],
)
def test_a_damaged_line_is_told_with_its_number_and_costs_no_other(line: bytes, sentence: str) -> None:
    told = text(b"version 2\nrun a\nvector 1 m v TV\n\n1 0 5\n" + line + b"\n1 1 6\nscalar m good 1\n")

    assert told.warnings == [(sentence, 6)]
    assert told.of("m", "v") == [(0, 5), (1, 6)]
    assert [scalar[1] for scalar in told.scalars] == ["good"]


def test_samples_of_a_vector_that_nobody_declared_are_counted() -> None:
    told = text(b"version 2\nrun a\nvector 1 m v TV\n8 0 5\n1 0 5\n9 0 5\n")

    assert told.warnings == [("2 samples belong to no declared vector (the first to number 8): not read.", 4)]
    assert told.series == {0: [(0, 5)]}


def test_a_number_that_only_an_old_compiler_writes_keeps_its_place() -> None:
    told = text(b"version 2\nrun a\nvector 1 m v TV\n1 0 5\n1 1 -1.#IND\n1 2 -1.#INF\n1 3 nan\n1 4 1e400\n")

    assert same(told.of("m", "v"), [(0.0, 5.0), (1.0, math.nan), (2.0, -math.inf), (3.0, math.nan), (4.0, math.inf)])
    assert told.warnings == []


@pytest.mark.parametrize("end", ["1 4.5 17.", "1 4.5", "1", "scalar m x", 'scalar m "x', "vector 2 m cut TV"])
def test_a_file_that_stops_in_a_line_says_so_and_keeps_what_was_whole(end: str) -> None:
    head = b"version 2\nrun a\nvector 1 m v TV\n1 0 5\n"
    filler = b"#" * (4096 - len(head) - len(end) - 1) + b"\n"
    told = text(head + filler + end.encode())

    assert told.cut_off == [("The file ends in the middle of a line; what stands before it was read.", 6)]
    assert told.of("m", "v") == [(0, 5)]
    assert told.warnings == []


PERHAPS = "The file ends without a line end: its last value was read, but may lack digits."


def test_a_last_line_that_looks_whole_is_read_but_its_value_may_be_cut() -> None:
    told = text(b"version 2\nrun a\nvector 1 m v TV\n1 0 5\n1 1 6")

    assert told.of("m", "v") == [(0, 5), (1, 6)]
    assert told.cut_off == []
    assert told.warnings == [(PERHAPS, 5)]


def test_a_last_scalar_without_line_end_is_told_likewise() -> None:
    told = text(b"version 2\nrun a\nscalar m sent 4711\nscalar m received 47")

    assert told.scalars[-1][2] == 47
    assert told.warnings == [(PERHAPS, 4)]


def test_a_last_line_that_lacks_a_column_is_cut_off() -> None:
    told = text(b"version 2\nrun a\nvector 1 m v ETV\n1 7 0 5\n1 8 1.5")

    assert told.of("m", "v") == [(0, 5)]
    assert told.cut_off == [("The file ends in the middle of a line; what stands before it was read.", 5)]
    assert told.warnings == []


@pytest.mark.parametrize("end", ["\n", "\n# made by hand", "\n\n  "])
def test_a_file_whose_last_line_of_data_is_closed_is_not_suspected(end: str) -> None:
    told = text(b"version 2\nrun a\nvector 1 m v TV\n1 0 5\n1 1 6" + end.encode())

    assert told.of("m", "v") == [(0, 5), (1, 6)]
    assert (told.cut_off, told.warnings) == ([], [])


def test_an_index_that_was_never_closed_tells_of_the_run() -> None:
    index = OmnetppIndex()

    assert index.recognises(b" " * 64 + b"\nversion 3\n")
    assert read(index, b" " * 64 + b"\nversion 3\n").cut_off != []
    assert read(index, b"file 12 13".ljust(64) + b"\nversion 3\n").cut_off == []


@pytest.mark.parametrize(
    ("head", "known"),
    [
        (b"version 3\nrun x\n", True),
        (b"# c\n\nrun General-1 sim\n", True),
        (b'scalar "a b" c 4\n', True),
        (b"vector 1 m v\n", True),
        (b"version two\n", False),
        (b"run the whole simulation again\n", False),
        (b"scalar values are here\n", False),
        (b"file 100 200\nversion 2\n", False),
        (b'"unclosed\n', False),
        (b"\x00\x01\x02", False),
        (b"", False),
    ],
)
def test_a_file_is_known_by_what_it_holds(head: bytes, known: bool) -> None:
    assert OmnetppText().recognises(head) is known


def test_words_are_quoted_as_the_simulator_quotes() -> None:
    assert words('a  "b c"\t"\\"d\\"\\n\\x41\\q" e\\f') == ["a", "b c", '"d"\nAq', "e\\f"]
    for unclosed in ('"a', '"a"b', 'a "b\\"'):
        with pytest.raises(ValueError, match="quote"):
            words(unclosed)


def test_times_have_units() -> None:
    assert seconds("1h 30min") == 5400
    assert seconds("200s") == seconds("200") == 200
    assert seconds("12.5ms") == 0.0125
    assert seconds("${x=1,2}s") is None
    assert number("-1.#QNAN") != number("-1.#QNAN")


# The two ways to take a file apart


def both(data: bytes) -> None:
    slow, fast = datalines.scan(data, len(data)), compiled_scan(data, len(data))
    assert fast.lines == slow.lines
    # What Python understands and the compiled way leaves to `number` comes to the same in the end.
    assert same(text_of(slow), text_of(fast))


@pytest.mark.parametrize(
    "number", ["1e-300", "0." + "1" * 25, ".inf", "1e22", "1e23", "1E+5", "infinity", "5.", "-nan"]
)
def test_both_ways_leave_the_same_numbers_to_the_slow_one(number: str) -> None:
    data = f"1 0 {number}\n1 1 2\n".encode()
    slow, fast = datalines.scan(data, len(data)), compiled_scan(data, len(data))

    assert [other.text for other in slow.others] == [other.text for other in fast.others]
    assert same(slow.columns[1].tolist(), fast.columns[1].tolist())


def text_of(block: datalines.Block) -> list[tuple[int, list[str]]]:
    """Every line with its numbers, in the order of the file."""
    found: list[tuple[int, list[str]]] = []
    others = list(block.others)
    for sample in range(len(block.ids) + 1):
        while others and others[0].before == sample:
            found.append(as_numbers(others.pop(0).text))
        if sample < len(block.ids):
            width = int(block.widths[sample])
            found.append((int(block.ids[sample]), [repr(float(column[sample])) for column in block.columns[:width]]))
    return found


def as_numbers(line: bytes) -> tuple[int, list[str]]:
    parts = line.split()
    try:
        if 2 <= len(parts) <= 4 and parts[0].isdigit() and int(parts[0]) <= datalines.LARGEST_ID:
            return int(parts[0]), [repr(number(part.decode())) for part in parts[1:]]
    except ValueError:
        pass
    return -1, [repr(line.strip())]


NUMBERS = """1 23 2147483648 0.1 -1.5e-7 1e23 9007199254740993 12345678.90123456789 0000000000000000000001 1_0 4.35e-22
1.7976931348623157e308 5e-324 nan -inf infinity . e - + # x"""
PIECES = st.sampled_from(
    [*map(str.encode, NUMBERS.split()), b"\t", b" ", b"\n", b"\r\n", b"\r", b"\v", b"\f", b"#", b"\x00", b"\xff"]
)


@given(st.lists(PIECES, max_size=40))
@settings(max_examples=400, deadline=None)
def test_the_compiled_way_and_the_plain_one_tell_the_same(pieces: list[bytes]) -> None:
    both(b"".join(pieces))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50), st.sampled_from("gef"))
@settings(max_examples=200, deadline=None)
def test_every_number_becomes_the_nearest_double(values: list[float], kind: str) -> None:
    written = [f"{value:.{digits}{kind}}" for digits, value in enumerate(values, start=1) if abs(value) < 1e15]
    data = "".join(f"1 {word}\n" for word in written).encode()

    told = [numbers for _, numbers in text_of(compiled_scan(data, len(data)))]

    assert told == [[repr(float(word))] for word in written]


def test_a_file_worth_it_is_read_in_blocks_and_tells_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(4)
    lines = ["version 2", "run a", *(f"vector {vector + 3} m{vector} v ETV" for vector in range(5))]
    clock = 0.0
    for event in range(20_000):
        clock += chance.expovariate(10)
        lines.append(f"{chance.randrange(3, 9)}\t{event}\t{clock:.12g}\t{chance.random():.14g}")
        if not event % 1000:
            lines.append(f"scalar m s{event} {event}")
    data = ("\n".join(lines) + "\n").encode()
    monkeypatch.setattr(datalines, "_way", lambda _size: datalines._scan_piece)
    plain = text(data)
    monkeypatch.undo()

    monkeypatch.setattr(datalines, "WORTH_COMPILING", 1)
    monkeypatch.setattr(datalines, "LARGE", 1)
    monkeypatch.setattr(datalines, "BLOCK", 5000)
    in_blocks = text(data)

    assert len(in_blocks.offsets) > 100
    in_blocks.offsets = plain.offsets
    assert same(in_blocks, plain)


@pytest.mark.parametrize(("files", "compiled"), [(1, False), (4, True)])
def test_files_that_are_small_alone_are_read_the_compiled_way_where_they_are_many(
    files: int, compiled: bool, tmp_path: Path
) -> None:
    load.loops()  # so that the machine code is there
    (tmp_path / "results").mkdir()
    samples = "".join(f"0\t{event}\t{event / 8}\t{event % 7}\n" for event in range(12_000))
    for run in range(files):
        (tmp_path / "results" / f"{run}.vec").write_text(f"version 2\nrun r{run}\nvector 0 m v ETV\n{samples}")
    program = """
from pathlib import Path
from consumer.analyse import analyse
from consumer.collect import look
from consumer.compiled.load import loaded
analyse(look(Path("results").resolve()), Path("summary"))
print(loaded())
"""

    told = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )

    assert told.stdout.strip() == str(compiled)


def test_without_a_compiler_a_large_file_tells_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> bytes:
        raise load.Unavailable("no compiler here")

    monkeypatch.setattr(datalines, "WORTH_COMPILING", 1)
    usual = text(VERSION_3)
    load._loops.cache_clear()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(load, "_object_files", nothing)
            plain = text(VERSION_3)
            assert isinstance(load._loops(), load.Unavailable)
    finally:
        load._loops.cache_clear()

    assert same(plain, usual)


# Whatever happens to a file


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    found = [file.read_bytes()[:20_000] for file in sorted(DATA.rglob("*.[sv]*c*")) if file.suffix in {".sca", ".vec"}]
    assert found
    return [*found, VERSION_3]


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_file_cut_and_changed_anywhere_never_raises(files: list[bytes], data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(files))
    broken = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 5))):
        if broken:
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))

    told = text(bytes(broken))

    assert all(sentence for sentence, _ in told.warnings)


# A second reader, simple and slow


def simple_reader(file: Path) -> tuple[dict[tuple[str, str], list[tuple[float, float]]], dict[tuple[str, str], float]]:
    """Vectors and scalars of a file whose names hold no quote."""
    vectors: dict[tuple[str, str], list[tuple[float, float]]] = {}
    scalars: dict[tuple[str, str], float] = {}
    names: dict[str, tuple[str, str, str]] = {}
    for line in file.read_text("utf-8").splitlines():
        parts = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line)]
        if not parts:
            continue
        if parts[0] == "vector":
            names[parts[1]] = (parts[2], parts[3], parts[4] if len(parts) > 4 and parts[4].isalpha() else "TV")
            vectors[parts[2], parts[3]] = []
        elif parts[0] == "scalar":
            scalars[parts[1], parts[2]] = float(parts[3])
        elif parts[0].isdigit():
            module, name, columns = names[parts[0]]
            cells = dict(zip(columns, parts[1:], strict=True))
            vectors[module, name].append((float(cells["T"]), float(cells["V"])))
    return vectors, scalars


@pytest.mark.parametrize(
    "file", ["tokenring/TokenRing1-0.vec", "veins-cv2x/Default-#0.vec", "veins-cv2x/Default-#0.sca"]
)
def test_real_files_hold_what_a_simple_reader_finds(file: str) -> None:
    vectors, scalars = simple_reader(DATA / file)

    told = text((DATA / file).read_bytes())

    assert {(module, name): value for module, name, value, _ in told.scalars} == scalars
    assert {place[:2]: told.series.get(slot, []) for slot, place in enumerate(told.vectors)} == vectors
    assert vectors or scalars
    assert np.isfinite([value for series in vectors.values() for _, value in series]).all()
