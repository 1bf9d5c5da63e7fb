"""XML from anywhere: what is sound is read, what is hostile does no harm."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Mapping
from typing import BinaryIO

import pytest

from consumer.formats.xml_elements import MOST_NAMES, Stopped, read_elements, root_of


class Seen:
    """A handler that counts."""

    def __init__(self) -> None:
        self.elements = 0
        self.values: list[str] = []
        self.lines: list[int] = []
        self.comments: list[str] = []

    def start(self, path: tuple[str, ...], attributes: Mapping[str, str], line: int) -> None:
        self.elements += 1
        if len(self.lines) < 100:
            self.lines.append(line)
            self.values += [f"{'/'.join(path)} {name}={value}" for name, value in attributes.items()]

    def end(self, path: tuple[str, ...]) -> None:
        assert path

    def comment(self, text: str) -> None:
        self.comments.append(text)


class Repeated(io.RawIOBase):
    """A file of a beginning, one piece a number of times, and an end, which no memory needs to hold."""

    def __init__(self, begin: bytes, piece: bytes, times: int, end: bytes = b"") -> None:
        super().__init__()
        self._parts = iter([begin, *([piece * 100] * (times // 100)), end])
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        while len(self._rest) < size:
            part = next(self._parts, None)
            if part is None:
                break
            self._rest += part
        found, self._rest = self._rest[:size], self._rest[size:]
        return found


def parse(data: bytes | BinaryIO) -> tuple[Seen, Stopped | None]:
    seen = Seen()
    stopped = read_elements(io.BytesIO(data) if isinstance(data, bytes) else data, seen, lambda _: None)
    return seen, stopped


def test_elements_come_with_their_path_attributes_and_line() -> None:
    seen, stopped = parse(b'<!-- first --><a>\n<b x="1"/><!-- inside -->\n<c y="&lt;&#65;"/></a>\n')

    assert stopped is None
    assert seen.values == ["a/b x=1", "a/c y=<A"]
    assert seen.lines == [1, 2, 3]
    assert seen.comments == [" first "], "comments among the elements are nobody's business"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_the_encodings_of_xml_are_read(encoding: str) -> None:
    declared = '<?xml version="1.0" encoding="latin-1"?>' if encoding == "latin-1" else '<?xml version="1.0"?>'
    data = f'{declared}<a n="Köln"/>'.encode(encoding)

    seen, stopped = parse(data)

    assert stopped is None
    assert seen.values == ["a n=Köln"]
    assert root_of(data)[0] == "a"


def test_entities_are_refused_before_any_of_them_is_expanded() -> None:
    laughs = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 30))
    seen, stopped = parse(b'<!DOCTYPE a [<!ENTITY l0 "ha">' + laughs + b']><a b="&l29;">&l29;</a>')

    assert seen.elements == 0
    assert stopped
    assert "document type" in stopped.text


@pytest.mark.parametrize(
    "declaration",
    [
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
        b'<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x"> %x;]>',
        b'<!DOCTYPE a [<!ATTLIST b c CDATA "' + b"x" * 100_000 + b'">]>',
    ],
)
def test_nothing_that_a_document_type_declares_is_used(declaration: bytes) -> None:
    seen, stopped = parse(declaration + b"<a>&x;<b/><b/></a>")

    assert seen.elements == 0
    assert stopped


def test_a_document_type_outside_is_not_fetched_and_does_no_harm() -> None:
    seen, stopped = parse(b'<!DOCTYPE a SYSTEM "file:///etc/hostname"><a b="1"/>')

    assert stopped is None
    assert seen.values == ["a b=1"]


@pytest.mark.parametrize("times", [50_000, pytest.param(1_000_000, marks=pytest.mark.full)])
def test_a_million_elements_take_no_memory(times: int) -> None:
    data = Repeated(b"<a>", b'<b x="1" y="2"/>\n', times, b"</a>")
    tracemalloc.start()

    seen, stopped = parse(data)  # type: ignore[arg-type]  # it has all that is needed of a file
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert stopped is None
    assert seen.elements == times + 1
    assert peak < 6 * 1024 * 1024


@pytest.mark.parametrize(
    ("begin", "piece", "complaint"),
    [
        (b'<a b="', b"x" * 1000, "longer than 4 MiB"),
        (b"<a><!--", b"x" * 1000, "longer than 4 MiB"),
        (b"<a ", b"x" * 1000, "longer than 4 MiB"),
        (b"", b"<a>", "nested deeper"),
    ],
)
def test_what_would_grow_without_end_ends_the_reading(begin: bytes, piece: bytes, complaint: str) -> None:
    tracemalloc.start()

    _, stopped = parse(Repeated(begin, piece, 100_000))  # type: ignore[arg-type]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert stopped
    assert complaint in stopped.text
    assert peak < 64 * 1024 * 1024


def test_new_names_for_ever_end_the_reading() -> None:
    data = b"<a>" + b"".join(b"<n%d/>" % n for n in range(20 * MOST_NAMES))

    seen, stopped = parse(data)

    assert stopped
    assert "different names" in stopped.text
    assert seen.elements < 3 * MOST_NAMES


@pytest.mark.parametrize("encoding", [b"none-such", b"zip", b"punycode", b"hex", b"utf-7", b"gbk", b"undefined"])
def test_an_encoding_that_cannot_be_is_told(encoding: bytes) -> None:
    seen, stopped = parse(b'<?xml version="1.0" encoding="' + encoding + b'"?><a/>')

    assert seen.elements == 0
    assert stopped


def test_a_handlers_exception_passes() -> None:
    class Fails(Seen):
        def start(self, path: tuple[str, ...], _attributes: Mapping[str, str], _line: int) -> None:
            raise ValueError(path[0])

    with pytest.raises(ValueError, match="root"):
        read_elements(io.BytesIO(b"<root/>"), Fails(), lambda _: None)


@pytest.mark.parametrize(
    ("data", "cut_off", "line"),
    [
        (b"<a>\n<b/>\n", True, 3),
        (b"<a>\n<b x='", True, 2),
        (b"<a>\n<b></a>", False, 2),
        (b"<a/>\n<a/>", False, 2),
        (b"<a>\n<b/>\n\x00\x00", False, 3),
        (b"", True, 1),
    ],
)
def test_a_cut_off_file_differs_from_a_damaged_one(data: bytes, cut_off: bool, line: int) -> None:
    _, stopped = parse(data)

    assert stopped
    assert (stopped.cut_off, stopped.line) == (cut_off, line)


def test_the_root_is_found_behind_comments_and_declarations() -> None:
    head = (
        b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- <summary> is not it -->\n<!DOCTYPE t SYSTEM "t.dtd"><tripinfos x="1">'
    )

    root, before = root_of(head)

    assert root == "tripinfos"
    assert "is not it" in before
    assert root_of(b"<!-- cut off <a> ")[0] == ""
    assert root_of(b"no xml <a>")[0] == ""
