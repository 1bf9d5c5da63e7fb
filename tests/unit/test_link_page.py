"""The page behind a link can be made of whatever has been uploaded."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import pytest

from local_cloud.errors import Problem, Refusal
from local_cloud.page import Asked, Pages
from local_cloud.preview import LONGEST_TEXT, preview
from local_cloud.record import Record
from local_cloud.zip_index import Indexes
from tests.support.archives import PNG, zipped

FILES = {
    "README.md": b"# Title\n",
    "a.csv": b"a,b\n1,2\n",
    "a.json": b'{"a": [1, 2]}',
    "plots/p.png": PNG,
    "deep/er/and/deep/er/still/x.txt": b"text",
    "latin": "Größe".encode("latin-1"),
    "random.bin": random.Random(1).randbytes(500),
}


def record(name: str, size: int, sha256: str) -> Record:
    return Record(key="k", name=name, size=size, sha256=sha256, secret="s", stored="2026-03-01T12:00:00+00:00")


@pytest.mark.parametrize("runs", [200, pytest.param(10_000, marks=pytest.mark.full)])
def test_a_page_can_be_made_of_an_archive_that_is_damaged_anywhere(tmp_path: Path, runs: int) -> None:
    pages, chance, path = Pages(Indexes()), random.Random(2026), tmp_path / "x.zip"
    whole = zipped(FILES)
    asked = [Asked(show=name) for name in FILES] + [Asked(folder="deep/"), Asked(after="a.csv"), Asked()]
    refused = 0
    for run in range(runs):
        content = bytearray(whole)
        for _ in range(chance.choice([0, 1, 2, 8])):
            content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(content)
        try:
            made = pages.of_file(record("x.zip", len(content), str(run)), path, chance.choice(asked))
        except Refusal:  # the file that is asked for has another name now
            refused += 1
        else:
            assert made.count("<script>") == 1
            assert "?download=1" in made

    assert refused < runs / 2


@pytest.mark.parametrize("problem", Problem)
def test_every_refusal_has_a_page(problem: Problem) -> None:
    made = Pages(Indexes()).of_refusal(Refusal(problem))

    assert "<h1>" in made
    assert problem.sentence in made


def test_json_within_json_takes_no_more_memory_than_it_shows() -> None:
    """Indented, these 120 kB would be 120 MB."""
    depth = 900
    text = b"[" * depth + b"0," * 60_000 + b"0" + b"]" * depth
    tracemalloc.start()
    try:
        shown = preview("a.json", text, whole=True)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert shown.note.startswith("The first ")
    assert most < 100 * LONGEST_TEXT
