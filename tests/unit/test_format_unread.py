"""What the summary says of files that no format reads: why not, and a warning where they were meant to be results."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from consumer.analyse import analyse
from consumer.collect import look
from consumer.statistics.model import Summary

SCALARS = "version 3\nrun General-0\nscalar Net sent 17\n"
VECTORS = "# made by hand\nversion 3\nrun General-0\nvector 1 Net x TV\n1 0 5\n1 1 7\n"
TABLE = "time,load\n0,1\n1,2\n2,4\n"
FLOWS = '<FlowMonitor><FlowStats><Flow flowId="1" txPackets="3" rxPackets="2"/></FlowStats></FlowMonitor>\n'
BOMB = (
    '<?xml version="1.0"?>\n<!DOCTYPE a [\n<!ENTITY l "lol">\n<!ENTITY m "&l;&l;">]>\n<FlowMonitor>&m;</FlowMonitor>\n'
)
FETCHING = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>\n<tripinfos>&x;</tripinfos>\n'
MARK = b"\xef\xbb\xbf"


def summary_of(tmp_path: Path, name: str, data: bytes) -> Summary:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / name).write_bytes(data)
    return analyse(look(folder), tmp_path / "summary").summary


@pytest.mark.parametrize(
    ("name", "data", "reason", "line", "warning"),
    [
        ("flowmon.xml", BOMB.encode(), "XML that cannot be read", 2, "declares a document type of its own"),
        ("flowmon.xml", MARK + BOMB.encode(), "XML that cannot be read", 2, "declares a document type of its own"),
        ("trips.xml", FETCHING.encode(), "XML that cannot be read", 1, "declares a document type of its own"),
        ("trips.xml", b'<?xml version="1.0"?>\n<a<b>\n', "XML that cannot be read", 2, "The XML is damaged here"),
        ("r.vec", b"SQLite format 3\x00" + b"\x07garbage" * 90, "damaged SQLite database", None, "header is damaged"),
        ("r.sca", b"", "empty", None, "The file is empty"),
        ("r.vec", b"", "empty", None, "The file is empty"),
        ("r.sca", SCALARS.encode("utf-16"), "UTF-16 text", None, "this is OMNeT++ text in UTF-16"),
        ("r.csv", TABLE.encode("utf-16-le"), "UTF-16 text", None, "this is CSV in UTF-16"),
        ("r.csv", TABLE.encode("utf-16-be"), "UTF-16 text", None, "this is CSV in UTF-16"),
        ("r.sca", b"nothing of that kind\n", "not a result file", None, "no known result format"),
        ("r.vec", b"PAR1....", "Parquet table", None, "Not read: Parquet table."),
        ("r.gz", b"\x1f\x8bgarbage", "damaged gzip file", None, "cannot be unpacked"),
        (
            "r.xml.gz",
            gzip.compress(BOMB.encode(), mtime=0),
            "XML that cannot be read, packed by gzip",
            2,
            "document type",
        ),
    ],
)
def test_what_was_meant_to_be_a_result_is_warned_about(
    name: str, data: bytes, reason: str, line: int | None, warning: str, tmp_path: Path
) -> None:
    summary = summary_of(tmp_path, name, data)

    [file], [told] = summary.files, summary.warnings
    assert (file.format, file.reason) == ("", reason)
    assert (told.file, told.line) == (name, line)
    assert warning in told.text


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("notes.txt", b"just words\n", "not a result file"),
        ("stderr.log", b"", "empty"),
        ("notes.txt", "just words\n".encode("utf-16"), "UTF-16 text"),
        ("page.html", b"<!DOCTYPE html>\n<html lang=en><p>words<br></html>\n", "not a result file"),
        ("icon.svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "XML with the root svg, which no format reads"),
        ("a.pcap", bytes.fromhex("d4c3b2a1020004000000000000000000ffff0000"), "packet capture (pcap)"),
        ("notes.gz", gzip.compress(b"just words\n", mtime=0), "not a result file, packed by gzip"),
    ],
)
def test_other_files_are_passed_over_with_a_reason_and_no_warning(
    name: str, data: bytes, reason: str, tmp_path: Path
) -> None:
    summary = summary_of(tmp_path, name, data)

    assert [file.reason for file in summary.files] == [reason]
    assert not summary.warnings
    assert f"not read: {reason}" in (tmp_path / "summary" / "report.html").read_text("utf-8")


@pytest.mark.parametrize(("name", "text"), [("r.sca", SCALARS), ("r.vec", VECTORS), ("r.csv", TABLE), ("f.xml", FLOWS)])
def test_a_byte_order_mark_before_a_result_changes_nothing(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    plain = summary_of(tmp_path / "plain", name, text.encode())
    marked = summary_of(tmp_path, name, MARK + text.encode())

    assert not marked.warnings
    assert marked.files[0].format
    for part in ("runs", "scalars", "vectors"):
        assert repr(getattr(marked, part)) == repr(getattr(plain, part))
