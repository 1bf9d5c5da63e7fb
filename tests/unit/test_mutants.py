"""The deliberate bugs, by which the suite itself is tested, can be put in; and each of them is noticed."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from tests.support.mutants import ROOT, Bug, Rotten, bugs, main


@pytest.mark.parametrize("bug", bugs(), ids=lambda bug: bug.what)
def test_a_deliberate_bug_can_still_be_put_in_and_its_test_is_there(bug: Bug, tmp_path: Path) -> None:
    copy = tmp_path / bug.file
    copy.parent.mkdir(parents=True)
    shutil.copyfile(ROOT / bug.file, copy)

    before = bug.put_into(tmp_path)

    assert ast.dump(ast.parse(copy.read_text("utf-8"))) != ast.dump(ast.parse(before)), "it changes nothing"
    file, _, name = bug.caught_by.partition("::")
    assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text("utf-8")


def test_a_bug_whose_place_is_gone_is_told(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("a = 1\na = 1\n")

    for search in ("a = 1", "b = 1"):
        with pytest.raises(Rotten, match=r"stands [02] times in code\.py"):
            Bug("bug", "code.py", search, "", "").put_into(tmp_path)


@pytest.mark.full
@pytest.mark.rabbitmq
def test_every_deliberate_bug_is_noticed() -> None:
    assert main([]) == 0
