"""docs/security.md: each limit is the code's, each attempt gets the answer that stands beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.docs import with_security
from tests.support.security import ATTEMPTS, LIMITS, ROOT, Attempt, Limit, exists

PAGE = ROOT / "docs" / "security.md"


def test_the_tables_are_those_of_the_code() -> None:
    text = PAGE.read_text("utf-8")

    assert with_security(text) == text, "run scripts/docs"


@pytest.mark.parametrize("limit", LIMITS, ids=lambda one: one.what)
def test_what_is_too_large_is_refused_in_one_sentence(limit: Limit) -> None:
    answer = limit.answer()

    assert answer.rstrip(" (1more)").endswith(".")
    assert "\n" not in answer
    assert answer != "It was accepted."
    assert len(answer) < 300


@pytest.mark.parametrize("one", ATTEMPTS, ids=lambda one: one.attempt)
def test_each_attempt_gets_the_answer_that_the_page_names(one: Attempt) -> None:
    if callable(one.shown):
        assert one.answer in one.shown()
    else:
        assert exists(*one.shown), f"{one.shown[0]} has no {one.shown[1]}"


def test_the_readme_leads_an_operator_to_the_page() -> None:
    (row,) = [line for line in (ROOT / "README.md").read_text("utf-8").splitlines() if line.startswith("| an operator")]

    assert "(docs/security.md)" in row
    assert Path(PAGE).is_file()
