"""The format that the documentation shows does what it says."""

from __future__ import annotations

import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from consumer.formats.registry import GROUP, Formats, installed
from simcourier.formats import Format
from tests.support.formats import read

TEXT = (Path(__file__).parents[2] / "docs" / "formats.md").read_text("utf-8")
[EXAMPLE] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
[FILE] = re.findall(r"```\n(DRONES.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def drones(monkeypatch: pytest.MonkeyPatch) -> Format:
    module = ModuleType("drone_format")
    exec(compile(EXAMPLE, "docs/formats.md", "exec", dont_inherit=True), module.__dict__)
    monkeypatch.setitem(sys.modules, "drone_format", module)
    [(name, value)] = re.findall(r'^(\w+) = "(drone_format:\w+)"$', TEXT, re.MULTILINE)
    form = Formats([EntryPoint(name, value, GROUP), *installed()._entries]).recognise(FILE.encode())
    assert form
    return form


def test_the_example_reads_the_file_that_it_is_for(drones: Format) -> None:
    told = read(drones, FILE.encode())

    assert drones.name == "drone log"
    assert told.of("drone[d1]", "charge") == [(0, 100), (0.5, 99.5)]
    assert told.of("drone[d2]", "charge") == [(0.5, 100)]
    assert (told.warnings, told.cut_off) == ([], [])
    assert told.offsets == [len(FILE)]


def test_the_example_reports_damage_and_a_cut_off_line(drones: Format) -> None:
    told = read(drones, FILE.encode() + b"\xff\n1.0 d1 98\n1.5 d")

    assert told.warnings == [("The line is no sample: not read.", 5)]
    assert told.cut_off == [("The file ends in the middle of a line.", 7)]
    assert told.of("drone[d1]", "charge")[-1] == (1, 98)


def test_the_page_names_every_installed_format_and_every_file_that_is_carried() -> None:
    for form in (*installed()._loaded(), installed()._plain):
        assert form
        word = {"CSV": "plain tables"}.get(form.name, form.name)
        assert word.lower() in TEXT.lower(), form.name
