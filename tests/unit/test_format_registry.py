"""Which format reads a file, through gzip too, and what a third party's format may do wrong."""

from __future__ import annotations

import gzip
import io
import sys
import tracemalloc
import zlib
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.formats import gzipped
from consumer.formats.carried import carried
from consumer.formats.contract import HEAD, Run, Sink
from consumer.formats.gzipped import Unpacked
from consumer.formats.registry import GROUP, Formats, installed, recognise, troubles
from tests.support.formats import Remembered, read

DATA = Path(__file__).parent.parent / "data"
SCALARS = b"version 3\nrun General-0\nscalar Net sent 17\n"
TRIPS = b'<!-- SUMO --><tripinfos>\n<tripinfo id="1" depart="0" arrival="2" duration="2"/>\n</tripinfos>\n'
FLOWS = b"<FlowMonitor><FlowStats></FlowStats></FlowMonitor>"
TABLE = b"a,b\n1,2\n3,4\n"


def name_of(data: bytes) -> str:
    form = recognise(data[:HEAD])
    return form.name if form else ""


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (SCALARS, "OMNeT++ text"),
        (b" " * 64 + b"\nversion 2\nrun General-0\nvector 1 Net x ETV\n", "OMNeT++ index"),
        (b"file 4096 1700000000" + b" " * 44 + b"\nversion 2\n", "OMNeT++ index"),
        (FLOWS, "ns-3 FlowMonitor"),
        (TRIPS, "SUMO"),
        (TABLE, "CSV"),
        (gzip.compress(TRIPS, mtime=0), "SUMO, gzip"),
        (gzip.compress(b"just words\n", mtime=0), ""),
        (b"just words\n", ""),
        (b"\x1f\x8b", ""),
        (b"", ""),
    ],
)
def test_a_file_is_recognised_by_its_contents(data: bytes, name: str) -> None:
    assert name_of(data) == name


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("tokenring/TokenRing1-0.vec", "OMNeT++ text"),
        ("tokenring/TokenRing1-0.vci", "OMNeT++ index"),
        ("veins-cv2x/Default-#0.sca", "OMNeT++ text"),
        ("highway-ramp/trip_info.xml", "SUMO"),
        ("highway-ramp/summary.xml", "SUMO"),
        ("highway-ramp/LICENSE.txt", ""),
        ("README.md", ""),
    ],
)
def test_real_files_are_recognised(file: str, name: str) -> None:
    assert name_of((DATA / file).read_bytes()) == name


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (bytes.fromhex("d4c3b2a1020004000000000000000000ffff000009000000"), "packet capture (pcap)"),
        (bytes.fromhex("0a0d0d0a1c0000004d3c2b1a"), "packet capture (pcapng)"),
        (
            b"+ 0.002 /NodeList/0/DeviceList/0/$ns3::PointToPointNetDevice/TxQueue/Enqueue ns3::PppHeader (x)\n" * 3,
            "ns-3 ASCII trace",
        ),
        (b"SB ov 1538 ev 1538 rid General-0-20260102\nE # 1 t 0 m 2\n", "OMNeT++ event log"),
        (b'<?xml version="1.0"?><anim ver="netanim-3.108"><node id="0"/></anim>', "NetAnim trace"),
        (b'<?xml version="1.0"?>\n<!-- c --><fcd-export>', "SUMO positions of every vehicle"),
        (b'<?xml version="1.0"?><analysis version="2"/>', "OMNeT++ analysis"),
        (b"SQLite format 3\x00" + b"\x00" * 84, "SQLite database"),
        (b"words", ""),
        (b"", ""),
    ],
)
def test_files_that_are_carried_and_not_read_are_named(head: bytes, kind: str) -> None:
    assert carried(head) == kind
    assert recognise(head) is None


def test_all_formats_are_installed_and_none_is_broken() -> None:
    assert troubles() == []
    assert recognise(SCALARS) is recognise(SCALARS), "a format is made once"


# Through gzip


def test_a_packed_file_is_read_as_it_were_not() -> None:
    for data in (TRIPS, SCALARS, FLOWS, TABLE):
        packed = gzip.compress(data)
        form = recognise(packed)
        plain = recognise(data)
        assert form
        assert plain
        told, expected = read(form, packed), read(plain, data)

        assert (told.scalars, told.series, told.warnings) == (expected.scalars, expected.series, [])
        assert told.offsets == sorted(told.offsets)
        assert told.offsets[-1] == len(packed), "bytes of the file as it lies on the disk"


def test_packed_members_one_after_the_other_and_padding_are_one_file() -> None:
    parts = gzip.compress(TRIPS[:40]) + gzip.compress(TRIPS[40:]) + bytes(100_000)
    form = recognise(parts)
    assert form

    told = read(form, parts)

    assert told.of("tripinfo", "duration") == [(0, 2)]
    assert (told.warnings, told.cut_off) == ([], [])


def test_a_packed_file_that_is_cut_off_keeps_what_came_and_is_incomplete_once() -> None:
    packed = gzip.compress((DATA / "highway-ramp" / "trip_info.xml").read_bytes())
    form = recognise(packed[:HEAD])
    assert form

    told = read(form, packed[: len(packed) // 2])

    assert 100 < len(told.of("tripinfo", "duration")) < 449
    assert len(told.cut_off) == 1


def test_a_packed_file_that_is_damaged_is_told() -> None:
    packed = bytearray(gzip.compress((DATA / "highway-ramp" / "trip_info.xml").read_bytes()))
    packed[len(packed) // 2 :] = b"\xff" * (len(packed) // 2)
    form = recognise(bytes(packed[:HEAD]))
    assert form

    told = read(form, bytes(packed))

    assert any("damaged" in text for text, _ in told.warnings)
    assert len(told.of("tripinfo", "duration")) > 10


def test_a_file_that_unpacks_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzipped, "_ALWAYS", 1_000_000)
    packed = gzip.compress(TRIPS[: TRIPS.index(b"</")] + b" " * 30_000_000)
    form = recognise(packed[:HEAD])
    assert form
    tracemalloc.start()

    told = read(form, packed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert any("300 times" in text for text, _ in told.warnings)
    assert told.of("tripinfo", "duration") == [(0, 2)]
    assert peak < 8_000_000


@settings(max_examples=100, deadline=None)
@given(
    data=st.binary(max_size=3000),
    places=st.lists(st.tuples(st.integers(-100, 4000), st.sampled_from([0, 1, 2])), max_size=6),
    size=st.integers(1, 500),
)
def test_an_unpacked_stream_goes_wherever_a_file_would(data: bytes, places: list[tuple[int, int]], size: int) -> None:
    packed = Unpacked(io.BytesIO(gzip.compress(data)))
    plain = io.BytesIO(data)

    for offset, whence in places:
        start = {0: 0, 1: plain.tell(), 2: len(data)}[whence]
        place = min(max(start + offset, 0), len(data))
        packed.seek(place)
        plain.seek(place)
        assert packed.tell() == plain.tell()
        expected = plain.read(size)
        found = b""
        while len(found) < len(expected):
            found += packed.read(len(expected) - len(found)) or b""
        assert found == expected
    assert packed.seek(0, io.SEEK_END) == len(data)


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(0, 200), place=st.integers(0, 199), byte=st.integers(0, 255))
def test_whatever_has_happened_to_a_packed_file_is_only_worth_a_warning(cut: int, place: int, byte: int) -> None:
    packed = bytearray(gzip.compress(TRIPS))
    form = recognise(bytes(packed))
    assert form
    packed[place % len(packed)] = byte

    recognise(bytes(packed[:cut]))
    told = read(form, bytes(packed[:cut]))

    assert len(told.scalars) < 10


def test_pending_output_of_the_last_bytes_is_not_lost() -> None:
    """A small member may unpack to far more than is asked for at once."""
    packed = zlib.compress(bytes(1_000_000), 9, wbits=31)

    assert len(Unpacked(io.BytesIO(packed)).readall()) == 1_000_000


# Third parties


class Odd:
    """A sound format of a third party."""

    name: ClassVar[str] = "odd"

    def recognises(self, head: bytes) -> bool:
        return head.startswith(b"odd")

    def read(self, stream: BinaryIO, sink: Sink) -> None:
        sink.run(Run("", "Odd"))
        sink.scalar("m", "length", len(stream.read()), {})


class RaisesAtOnce(Odd):
    def __init__(self) -> None:
        raise RuntimeError("no licence server")


class RaisesOnLooking(Odd):
    def recognises(self, head: bytes) -> bool:
        raise KeyError(head[:1])


class RaisesOnReading(Odd):
    def read(self, stream: BinaryIO, sink: Sink) -> None:
        super().read(stream, sink)
        raise ZeroDivisionError


class Nameless:
    def recognises(self, _head: bytes) -> bool:
        return True


class GreedyTable(Odd):
    def recognises(self, head: bytes) -> bool:
        return b"," in head


@pytest.fixture
def formats(monkeypatch: pytest.MonkeyPatch) -> type[Formats]:
    module = ModuleType("odd_formats")
    for kind in (Odd, RaisesAtOnce, RaisesOnLooking, RaisesOnReading, Nameless, GreedyTable):
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "odd_formats", module)
    return Formats


def with_theirs(*classes: str) -> Formats:
    theirs = [EntryPoint(name.lower(), f"odd_formats:{name}", GROUP) for name in classes]
    return Formats([*theirs, *installed()._entries])


@pytest.mark.usefixtures("formats")
def test_a_third_partys_format_is_found_by_its_entry_point() -> None:
    form = with_theirs("Odd").recognise(b"odd file")

    assert form
    assert form.name == "odd"
    assert read(form, b"odd file").scalars == [("m", "length", 8.0, {})]


@pytest.mark.usefixtures("formats")
def test_ours_go_first_but_for_the_plain_table() -> None:
    found = with_theirs("GreedyTable")

    assert [form.name for form in (found.recognise(TABLE), found.recognise(SCALARS + b",")) if form] == [
        "odd",
        "OMNeT++ text",
    ]


@pytest.mark.usefixtures("formats")
@pytest.mark.parametrize("broken", ["RaisesAtOnce", "NoSuchClass", "Nameless", "RaisesOnLooking"])
def test_a_broken_format_is_a_warning_and_the_others_work(broken: str) -> None:
    found = with_theirs(broken, "Odd")

    form, ours, none = (found.recognise(head) for head in (b"odd file", SCALARS, b"nobody's"))

    assert form
    assert form.name == "odd"
    assert ours
    assert ours.name == "OMNeT++ text"
    assert none is None
    [trouble] = found.troubles()
    assert broken.lower() in trouble
    assert trouble.endswith(".")


@pytest.mark.usefixtures("formats")
def test_a_module_that_cannot_be_imported_is_a_warning() -> None:
    found = Formats([EntryPoint("lost", "no_such_module:Format", GROUP), *installed()._entries])

    assert found.recognise(SCALARS)
    assert found.troubles() == ["The result format 'lost' cannot be used: No module named 'no_such_module'."]


@pytest.mark.usefixtures("formats")
def test_an_exception_while_reading_costs_the_rest_of_that_file() -> None:
    form = with_theirs("RaisesOnReading").recognise(b"odd file")
    assert form

    told = read(form, b"odd file")

    assert len(told.scalars) == 1
    [(text, _)] = told.warnings
    assert "ZeroDivisionError" in text


@pytest.mark.usefixtures("formats")
def test_an_exception_of_the_sink_passes_through_a_third_partys_format() -> None:
    class Stops(Remembered):
        def scalar(self, module: str, name: str, *_: object) -> None:
            raise ValueError(f"superseded at {module} {name}")

    form = with_theirs("Odd").recognise(b"odd file")
    assert form

    with pytest.raises(ValueError, match="superseded"):
        form.read(io.BytesIO(b"odd file"), Stops())
