"""Names in archives: hostile ones, and what a program makes of them that knows no better."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer import collect as collecting
from consumer.collect import look
from consumer.errors import Undeliverable
from consumer.packing.names import alike, member_name
from tests.support.packing import pack

HOSTILE = [
    "..\\..\\evil.dll",
    "C:\\x",
    "a\nb",
    "\x1b[2J",
    "\x9b31m",
    "right\u202etxt.exe",
    "tab\there",
    "\x7f",
    "\\\\host\\x",
]


def test_no_name_leads_a_naive_program_out_of_its_folder(tmp_path: Path) -> None:
    results = tmp_path / "results"
    (results / "C:").mkdir(parents=True)
    (results / "C:" / "x").write_text("drive")
    (results / "plain, 50% = ä.csv").write_text("plain")
    for name in HOSTILE:
        (results / name).write_text(name)

    pack(results, tmp_path / "x.zip")

    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        names = archive.namelist()
    assert "plain, 50% = ä.csv" in names
    assert len(names) == len(set(names)) >= len(HOSTILE) + 2
    for name in names:
        assert name.isprintable()
        assert "\\" not in name
        for path in (PureWindowsPath(name), Path(name)):
            assert not path.is_absolute()
            assert not path.drive
            assert ".." not in path.parts


@given(st.lists(st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1), unique=True))
def test_two_files_never_become_one(names: list[str]) -> None:
    assert len({member_name(name) for name in names}) == len(names)


@pytest.mark.parametrize("name", ["a\\b", "a%5Cb", "a%255Cb", "a%25255Cb", "a%20b", "a%b", "C:/x", "C%3A/x", "x:/y"])
def test_what_looks_like_a_name_of_ours_is_another_one(name: str) -> None:
    others = {"a\\b", "a%5Cb", "a%255Cb", "a%25255Cb", "a%20b", "a%b", "C:/x", "C%3A/x", "x:/y"} - {name}

    assert member_name(name) not in {member_name(other) for other in others}


def test_names_that_windows_and_macos_take_for_one_are_told() -> None:
    assert alike(["a.csv", "b.csv"]) == []
    (told,) = alike(["Run/A.csv", "run/a.CSV", "c"])
    assert told.startswith("Run/A.csv and run/a.CSV differ in upper and lower case")
    assert told.endswith("on Windows and macOS one replaces the other.")
    assert alike(["caf\u00e9", "cafe\u0301"])[0].startswith("caf\u00e9 and cafe\u0301 differ")
    assert alike([f"{number}{case}" for number in range(5) for case in "aA"])[-1] == "So do 2 more."


def test_a_name_longer_than_any_path_is_left_out_with_all_that_is_in_it(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (results / "a.csv").write_text("a")
    here = os.open(results, os.O_RDONLY)
    for _ in range(22):
        os.mkdir("d" * 200, dir_fd=here)
        further = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = further
    os.close(os.open("deep.csv", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)

    snapshot = look(results)

    assert [file.name for file in snapshot.files] == ["a.csv"]
    assert [told[-42:] for told in snapshot.left_out] == ["ddd...: the name is longer than 4096 bytes."[-42:]]


def test_more_files_than_any_worker_takes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "MOST_FILES", 3)
    for number in range(3):
        (tmp_path / f"{number}").touch()
    assert len(look(tmp_path).files) == 3
    (tmp_path / "folder").mkdir()

    with pytest.raises(Undeliverable, match=r"holds more than 3 files and folders; pack them into fewer"):
        look(tmp_path)
