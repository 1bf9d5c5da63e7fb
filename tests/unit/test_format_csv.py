"""Plain tables: what can be seen in them is read, and nothing else is taken for one."""

from __future__ import annotations

import csv
import io
import math
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.formats import csv_columns
from consumer.formats.csv_columns import CsvColumns
from tests.support.formats import Remembered, read, same

ROOT = Path(__file__).parent.parent.parent
TABLE = b"""SimulationSecond,ReceiveRate,PacketsReceived,RoutingProtocol
0,0.5,1,AODV
1,nan,2,AODV
2,1e3,,OLSR
"""


def table(data: bytes | str) -> Remembered:
    data = data.encode() if isinstance(data, str) else data
    assert CsvColumns().recognises(data[:65_536])
    return read(CsvColumns(), data)


def names(told: Remembered) -> list[str]:
    return [name for _, name, _ in told.vectors]


def column(told: Remembered, name: str) -> list[float]:
    return [value for _, value in told.of("table", name)]


def test_a_rising_first_column_that_is_named_like_a_time_is_the_time() -> None:
    told = table(TABLE)

    assert all(told.timed)
    assert names(told) == ["ReceiveRate", "PacketsReceived"]
    assert [time for time, _ in told.of("table", "ReceiveRate")] == [0, 1, 2]
    assert told.cut_off == []


def test_empty_cells_and_nan_are_no_value() -> None:
    told = table(TABLE)

    rate, packets = column(told, "ReceiveRate"), column(told, "PacketsReceived")
    assert math.isnan(rate[1])
    assert (rate[0], rate[2]) == (0.5, 1000)
    assert packets[:2] == [1, 2]
    assert math.isnan(packets[2])


def test_columns_of_words_are_named_in_one_warning() -> None:
    assert table(TABLE).warnings == [("Columns that hold no numbers are not summarised: RoutingProtocol.", None)]


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n3,4\n",
        "a;b\n1;2\n3;4\n",
        "a\tb\n1\t2\n3\t4\n",
        "a  b\n1   2\n3\t4\n",
        "a, b\r\n1, 2\r\n3, 4\r\n",
        '"a","b"\n"1","2"\n3,4',
        "\ufeffa,b\n\n1,2,\n\n3,4,\n",
        "% a b\n1 2\n3 4\n",
        "# made by a script\n# a,b\n1,2\n# in between\n3,4\n",
        "%a\tb\n1\t2\n3\t4\n",
        "a;b\n1,0;2,0\n3,0;4,0\n",
    ],
)
def test_separators_headers_and_comments_of_every_kind_give_the_same_table(text: str) -> None:
    told = table(text)

    assert names(told) == ["a", "b"]
    assert (column(told, "a"), column(told, "b")) == ([1, 3], [2, 4])
    assert (told.warnings, told.cut_off) == ([], [])
    assert not any(told.timed)


def test_a_table_without_names_has_numbered_columns() -> None:
    told = table("1 2 3\n4 5 6\n")

    assert names(told) == ["column 1", "column 2", "column 3"]
    assert column(told, "column 1") == [1, 4]


def test_names_in_a_comment_may_be_that_of_a_time() -> None:
    told = table("% time(s)\trate\n0.1\t5\n0.2\t6\n")

    assert told.of("table", "rate") == [(0.1, 5), (0.2, 6)]


def test_equal_names_are_told_apart() -> None:
    assert names(table("x,x,,x (2)\n1,2,3,4\n5,6,7,8\n")) == ["x", "x (2)", "column 3", "x (2) (4)"]


def test_units_in_the_names_are_units() -> None:
    told = table("Time (ms),Delay [us],f(x),Throughput(Mbps)\n500,1,2,3\n1500,1,2,3\n")

    assert told.vectors == [
        ("table", "Delay", {"unit": "us"}),
        ("table", "f(x)", {}),
        ("table", "Throughput", {"unit": "Mbps"}),
    ]
    assert [time for time, _ in told.of("table", "Delay")] == [0.5, 1.5], "times are in seconds"


@pytest.mark.parametrize("name", ["t", "time", "Time", "sim_time", "simTime", "time_s", "step_time", "Seconds"])
def test_names_like_times(name: str) -> None:
    assert all(table(f"{name}\tx\n0\t5\n1\t6\n").timed)


@pytest.mark.parametrize("name", ["timeStep", "node", "distance", "lifetime of a node", "runtimes", "s"])
def test_names_unlike_times(name: str) -> None:
    assert not any(table(f"{name}\tx\n0\t5\n1\t6\n").timed)


def test_a_time_that_falls_further_down_is_none() -> None:
    rows = [*range(500), *range(500)]
    told = table("time,x\n" + "".join(f"{time},{place}\n" for place, time in enumerate(rows)))

    assert names(told) == ["time", "x"]
    assert not any(told.timed)
    assert column(told, "x") == list(range(1000))
    [(text, line)] = told.warnings
    assert "falls" in text
    assert line == 502


def test_rows_of_another_width_are_told_with_their_line_and_the_others_read() -> None:
    told = table("a,b\n1,2\n3\n\n4,5,6\n" + "7,8\n" * 20)

    assert column(told, "a") == [1, *[7] * 20]
    assert told.warnings == [
        ("The row has another number of columns than the others: not read.", 3),
        ("The row has another number of columns than the others: not read.", 5),
    ]


def test_a_cell_that_is_no_number_is_told_with_its_line() -> None:
    assert table("a,b\n" + "1,2\n" * 20 + "1_0,2\n").warnings == [("A cell is no number: taken as no value.", 22)]

    told = table("a,b\n" + "1,2\n" * 20 + "x,2\n1_0,2\n")

    assert told.warnings == [
        ("A cell is no number: taken as no value.", 22),
        ("A cell is no number: taken as no value.", 23),
    ]
    assert sum(map(math.isnan, column(told, "a"))) == 2
    assert len(column(told, "b")) == 22


def test_a_row_without_a_time_is_told() -> None:
    told = table("time,b\n0,2\n1,3\n2,4\n,5\n3,6\n")

    assert told.warnings == [("The row has no time: not read.", 5)]
    assert told.of("table", "b") == [(0, 2), (1, 3), (2, 4), (3, 6)]


def test_a_file_that_ends_within_a_row_is_incomplete() -> None:
    told = table("a,b\n1,2\n3,4\n5")

    assert column(told, "a") == [1, 3]
    assert told.cut_off == [("The file ends in the middle of a row; what stands before it was read.", 4)]
    assert table("a,b\n1,2\n3,4\n5,6").cut_off == [], "a last line need not end"


def test_a_file_that_ends_at_a_page_may_lack_digits() -> None:
    text = "a,b\n" + "1,2\n" * 2000
    text = text[: 4096 - 6] + "\n5,123"
    assert len(text) == 4096

    told = table(text)

    assert told.cut_off
    assert 123 not in column(told, "b")


def test_a_line_without_end_is_told_and_does_not_grow() -> None:
    told = table(b"a,b\n1,2\n3,4\n" + b"9" * 5_000_000 + b"\n5,6\n")

    assert column(told, "a") == [1, 3, 5]
    assert told.warnings == [("The line is longer than 1 MiB: not read.", 4)]


def test_a_large_table_is_that_which_the_csv_module_reads() -> None:
    chance = random.Random(7)
    rows = [[f"{place / 4}", f"{chance.random()}", f"{chance.randrange(10)}"] for place in range(20_000)]
    text = "time,x,n\n" + "\n".join(",".join(row) for row in rows) + "\n"

    told = table(text)

    expected = list(csv.DictReader(io.StringIO(text)))
    assert told.of("table", "x") == [(float(row["time"]), float(row["x"])) for row in expected]
    assert told.of("table", "n") == [(float(row["time"]), float(row["n"])) for row in expected]
    assert told.offsets[-1] == len(text)


@pytest.mark.parametrize(
    "file",
    [
        *(
            "README.md",
            "pyproject.toml",
            "ruff.toml",
            "LICENSE",
            "compose.yaml",
            "examples/c/publish.c",
            "docs/way.svg",
        ),
        *("tests/data/tokenring/TokenRing1-0.vec", "tests/data/veins-cv2x/Default-#0.sca", "examples/simulate.sh"),
        "tests/data/highway-ramp/trip_info.xml",
    ],
)
def test_what_is_no_table_is_not_taken_for_one(file: str) -> None:
    assert not CsvColumns().recognises((ROOT / file).read_bytes()[:65_536])


@pytest.mark.parametrize(
    "line",
    ["{}.5\tnode 3\treceived packet", "{}.25 INFO 5 vehicles", "time={}, value=7, 3", "+{}s 4 UdpEchoClient:Send(7)"],
)
def test_a_log_is_no_table(line: str) -> None:
    text = "".join(line.format(number) + "\n" for number in range(30))

    assert not CsvColumns().recognises(text.encode())


def test_a_table_without_names_may_have_categories() -> None:
    text = "".join(f"{number}.5,wifi{number % 2},{number}\n" for number in range(30))

    assert CsvColumns().recognises(text.encode())


@pytest.mark.parametrize("data", [b"", b"\n\n", b"1,2\n", b"a,b\n", b"\x00,1\n2,3\n", b"a,b\nc,d\n", b"# a\n# b\n"])
def test_too_little_is_no_table(data: bytes) -> None:
    assert not CsvColumns().recognises(data)


@settings(max_examples=200, deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.text(alphabet='0123456789.,;\t\n "-eE#%abtime_\r\u00e9', max_size=300).map(str.encode),
    )
)
def test_whatever_stands_in_a_file_is_only_worth_a_warning(data: bytes) -> None:
    recognised = CsvColumns().recognises(data)
    told = read(CsvColumns(), data)

    assert bool(told.vectors) == recognised
    for slot, series in told.series.items():
        times = [time for time, _ in series]
        assert times == sorted(times), told.vectors[slot]


CELLS = st.one_of(
    st.floats(width=32).map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.sampled_from(["", "nan", "-nan", "+.5", "5.", "1e400", "1e-400", "1,5", "1_0", "e5", "-", "1-2", "x"]),
    st.sampled_from(['"1"', " 7", "#", "\r"]),
)


@given(
    st.sampled_from([",", ";", "\t", " ", "  "]),
    st.lists(st.lists(CELLS, min_size=1, max_size=3), max_size=12),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_plain_rows_taken_at_once_tell_what_they_tell_one_by_one(
    separator: str, rows: list[list[str]], end: str, ends: bool, timed: bool
) -> None:
    head = [["time", "x"]] if timed else []
    sound = [[str(number), str(number % 3)] for number in range(20)]
    text = end.join(separator.join(row) for row in [*head, *sound, *rows, *sound[:3]]) + end * ends

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_columns, "_ROWS", 4)
        at_once = read(CsvColumns(), text.encode())
        patch.setattr(csv_columns, "plain_table", lambda *_: None)
        one_by_one = read(CsvColumns(), text.encode())

    assert same(at_once, one_by_one)


@pytest.mark.parametrize("separator", [",", ";", "\t", " ", "   "])
def test_a_table_of_numbers_is_not_taken_apart_cell_by_cell(separator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(separator.join([str(row), f"{row / 8}", "-1e3"]) + "\r\n" for row in range(100))
    expected = read(CsvColumns(), text.encode())

    monkeypatch.setattr(csv_columns._Reader, "_row", None)

    assert same(read(CsvColumns(), text.encode()), expected)
    assert expected.of("table", "column 2") == [(row, row / 8) for row in range(100)]
