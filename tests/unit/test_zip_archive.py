"""Archives are read as Python's own module reads them, and what is wrong with one is told, whatever it is."""

from __future__ import annotations

import contextlib
import io
import os
import random
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_cloud.zip_entry import PIECE, Unpacking
from local_cloud.zip_format import Broken, NoArchive
from local_cloud.zip_index import Archive, File, Folder, Indexes
from tests.support.archives import Forged, of_overlapping_files, zipped


@contextlib.contextmanager
def opened(path: Path, content: bytes) -> Iterator[Archive]:
    path.write_bytes(content)
    with Indexes().open(path, "any") as archive:
        yield archive


def read(archive: Archive, path: str, copy: int = 1) -> bytes:
    entry = archive.find(path, copy)
    assert entry is not None
    unpacking = Unpacking(archive.handle, entry, archive.index.directory)
    content = b""
    while piece := unpacking.read():
        assert len(piece) <= PIECE
        content += piece
    return content


def listed(archive: Archive, folder: str = "", after: str = "") -> list[str]:
    return [one.path if isinstance(one, Folder) else one.entry.path for one in archive.children(folder, after)]


def walk(archive: Archive, folder: str = "") -> Iterator[File]:
    for child in archive.children(folder):
        if isinstance(child, Folder):
            yield from walk(archive, child.path)
        else:
            yield child


NAMES = st.lists(st.text("ab/. 0é", min_size=1, max_size=8), max_size=12)


@given(names=NAMES, stored=st.booleans(), seed=st.integers(0, 1000))
def test_every_file_is_found_with_its_bytes(
    names: list[str], stored: bool, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = [(name, random.Random(f"{seed}{n}").randbytes(n * 50)) for n, name in enumerate(names)]
    method = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    path = tmp_path_factory.getbasetemp() / "any.zip"

    with opened(path, zipped(files, method=method)) as archive:
        found = [(file.entry.path, read(archive, file.entry.path, file.copy)) for file in walk(archive)]

        assert sorted(content for _, content in found) == sorted(c for name, c in files if not name.endswith("/"))
        assert archive.folder("").count == len(found)
        assert archive.folder("").size == sum(len(content) for name, content in files)


def test_a_folder_shows_its_files_and_folders_with_what_is_in_them(tmp_path: Path) -> None:
    files = {"b.txt": b"12", "a/x.txt": b"123", "a/deep/y.txt": b"1234", "a0.txt": b"", "a/": b"", "empty/": b""}
    with opened(tmp_path / "x.zip", zipped(files)) as archive:
        assert listed(archive) == ["a/", "a0.txt", "b.txt", "empty/"]
        assert listed(archive, "a/") == ["a/deep/", "a/x.txt"]
        assert listed(archive, "a/", after="a/deep/") == ["a/x.txt"]
        assert listed(archive, "", after="a/") == ["a0.txt", "b.txt", "empty/"]
        assert listed(archive, "nowhere/") == []
        assert [archive.folder(path) for path in ("a/", "", "empty/")] == [
            Folder("a/", 2, 7),
            Folder("", 4, 9),
            Folder("empty/", 0, 0),
        ]


def test_files_with_one_name_are_each_found(tmp_path: Path) -> None:
    with opened(tmp_path / "x.zip", zipped([("same", b"one"), ("other", b"!"), ("same", b"two")])) as archive:
        assert [read(archive, "same", copy) for copy in (1, 2)] == [b"one", b"two"]
        assert [archive.find("same", copy) for copy in (0, 3, 99)] == [None] * 3


def test_bytes_before_the_archive_do_not_count(tmp_path: Path) -> None:
    with opened(tmp_path / "x.zip", b"#!/bin/sh\n" * 20 + zipped({"a": b"content"})) as archive:
        assert read(archive, "a") == b"content"


@pytest.mark.parametrize("before", [0, 100])
def test_zip64_is_read(tmp_path: Path, before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    content = zipped({"a": b"x" * 1000, "b": b"y" * 2000})
    assert b"PK\x06\x06" in content

    with opened(tmp_path / "x.zip", b"z" * before + content) as archive:
        assert read(archive, "b") == b"y" * 2000


ODD = [
    (b"../../etc/passwd", "../../etc/passwd", "leads out"),
    (b"/etc/passwd", "etc/passwd", "leads out"),
    (b"C:\\Windows\\x.txt", "C:/Windows/x.txt", "leads out"),
    (b"dir\\file.txt", "dir/file.txt", ""),
    (b"gr\x94\xe1e.txt", "größe.txt", ""),
    ("größe.txt".encode(), "größe.txt", ""),
    (b"\xff\xfe", "�■", "cannot be shown"),
    (b"a\x00b\n\xe2\x80\xaegpj.exe", "a�b��gpj.exe", "cannot be shown"),
    (b"x" * 60_000, "x" * 1000 + "…", "longer"),
    (b"", "�", "no name"),
    (b"./a/./b", "a/b", ""),
    (b"<script>alert(1)</script>", "<script>alert(1)</script>", ""),
]


@pytest.mark.parametrize(("raw", "path", "odd"), ODD, ids=[ascii(path[:20]) for _, path, _ in ODD])
def test_a_name_of_any_kind_is_shown_and_found(tmp_path: Path, raw: bytes, path: str, odd: str) -> None:
    with opened(tmp_path / "x.zip", Forged().add(raw, b"content").whole()) as archive:
        (file,) = walk(archive)

        assert file.entry.path == path
        assert odd in file.entry.odd
        assert bool(odd) == bool(file.entry.odd)
        assert read(archive, path) == b"content"


WRONG = {
    "encrypted": (Forged().add(b"a", b"x", flags=1), "encrypted"),
    "another method": (Forged().add(b"a", b"x", method=12), "(bzip2)"),
    "unknown method": (Forged().add(b"a", b"x", method=77), "(number 77)"),
    "wrong digest": (Forged().add(b"a", b"x" * 100, crc=1), "not what was packed"),
    "larger than it says": (Forged().add(b"a", bytes(10**6), size=10), "larger than it says"),
    "one byte larger": (
        Forged().add(b"a", bytes(PIECE + 1), size=PIECE, crc=zlib.crc32(bytes(PIECE))),
        "not what was packed",
    ),
    "smaller than it says": (Forged().add(b"a", b"x" * 100, size=101), "ends early"),
    "cannot be so large": (Forged().add(b"a", b"x", size=2**32 - 2), "cannot be as large"),
    "stored, other size": (Forged().add(b"a", b"x" * 9, method=0, size=10), "cannot be as large"),
    "no deflate": (Forged().add(b"a", b"x" * 50, packed=b"\xff" * 60), "not what was packed"),
    "two names": (Forged().add(b"a", b"x", local_name=b"b"), "differs"),
    "behind the end": (Forged().add(b"a", b"x", begin=10**6), "not where it should be"),
    "not a header": (Forged().add(b"a", b"x", begin=1), "not where it should be"),
    "longer than the archive": (Forged().add(b"a", b"x", stated=10**8), "ends early"),
}


@pytest.mark.parametrize(("forged", "told"), WRONG.values(), ids=WRONG.keys())
def test_a_file_that_is_not_as_it_should_be_is_refused_with_a_sentence(
    tmp_path: Path, forged: Forged, told: str
) -> None:
    with opened(tmp_path / "x.zip", forged.whole()) as archive:
        assert listed(archive) == ["a"]
        with pytest.raises(Broken) as caught:
            read(archive, "a")

        assert told in str(caught.value)


def test_the_last_piece_comes_only_if_the_digest_is_right(tmp_path: Path) -> None:
    content = os.urandom(3 * PIECE)
    with opened(tmp_path / "x.zip", Forged().add(b"a", content, crc=1).whole()) as archive:
        entry = archive.find("a")
        assert entry is not None
        unpacking = Unpacking(archive.handle, entry, archive.index.directory)
        pieces = [unpacking.read(), unpacking.read()]

        assert b"".join(pieces) == content[: 2 * PIECE]
        with pytest.raises(Broken):
            unpacking.read()


def test_files_that_share_bytes_are_told(tmp_path: Path) -> None:
    with opened(tmp_path / "x.zip", of_overlapping_files()) as archive:
        assert "share the same bytes" in archive.index.warnings[0]
        assert archive.folder("").count == 50


def test_a_list_that_is_damaged_shows_what_comes_before(tmp_path: Path) -> None:
    forged = Forged().add(b"a", b"first").add(b"b", b"second")
    forged.list = forged.list[:47] + b"XXXX" + forged.list[51:]
    with opened(tmp_path / "x.zip", forged.whole()) as archive:
        assert listed(archive) == ["a"]
        assert "first 1 lines" in archive.index.warnings[0]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", NoArchive),
        (b"PK", NoArchive),
        (b"no archive at all" * 10_000, NoArchive),
        (zipped({"a": b"x"})[:-1], NoArchive),
        (zipped({"a": b"x"})[30:], Broken),
        (Forged().add(b"a").whole(length=10**6), Broken),
        (Forged().add(b"a").whole(offset=2**32 - 2), Broken),
        (b"PK\x06\x07" + bytes(16) + Forged().whole(), Broken),
    ],
    ids=range(8),
)
def test_what_is_no_archive_or_a_cut_one_is_told(tmp_path: Path, content: bytes, error: type[Exception]) -> None:
    with pytest.raises(error), opened(tmp_path / "x.zip", content):
        pass


def test_more_files_than_can_be_listed_are_refused(tmp_path: Path) -> None:
    forged = Forged()
    forged.count = 65_535
    end = forged.whole()
    record = b"PK\x06\x06" + (44).to_bytes(8, "little") + bytes(12) + (10**7).to_bytes(8, "little") * 2 + bytes(16)
    locator = b"PK\x06\x07" + bytes(4) + bytes(8) + bytes(4)

    with pytest.raises(Broken, match="10,000,000 files"), opened(tmp_path / "x.zip", record + locator + end):
        pass


@pytest.mark.parametrize("runs", [600, pytest.param(100_000, marks=pytest.mark.full)])
def test_damage_anywhere_is_told_and_does_no_harm(tmp_path: Path, runs: int) -> None:
    """Whatever happens to the bytes: a file comes out as it was packed, or a sentence."""
    files = {"a.txt": b"hello " * 500, "folder/b.bin": random.Random(1).randbytes(3000), "c": b"", "e/": b""}
    whole = zipped(files)
    chance, right, told = random.Random(2026), 0, 0
    path = tmp_path / "x.zip"
    for _ in range(runs):
        content = bytearray(whole)
        for _ in range(chance.choice([1, 1, 2, 8])):
            content[chance.randrange(len(content))] = chance.choice([0, 255, chance.randrange(256)])
        if chance.random() < 0.2:
            del content[chance.randrange(len(content)) :]
        try:
            with opened(path, bytes(content)) as archive:
                for file in walk(archive):
                    with contextlib.suppress(Broken):
                        assert read(archive, file.entry.path, file.copy) in files.values()
                        right += 1
        except (Broken, NoArchive):
            told += 1

    assert right > runs / 10
    assert told > runs / 10


def test_python_reads_what_we_take_for_whole(tmp_path: Path) -> None:
    """So that the forged archives are odd only where they are meant to be."""
    (tmp_path / "x.zip").write_bytes(Forged().add(b"a", b"content").add(b"b", b"x" * 999, method=0).whole())

    with warnings.catch_warnings(), zipfile.ZipFile(io.BytesIO((tmp_path / "x.zip").read_bytes())) as archive:
        assert archive.testzip() is None
        assert archive.read("b") == b"x" * 999
