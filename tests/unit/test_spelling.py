"""Words where there is nothing but ASCII: pictures without a font, terminals of another encoding."""

from __future__ import annotations

from messaging.spelling import in_ascii, in_encoding


def test_what_ascii_does_not_have_is_spelt_as_people_do() -> None:
    assert in_ascii("time, \u00d710⁻³ s") == "time, x10^-3 s"
    assert in_ascii("µs, mean \u22124.2, Zürich 中") == "us, mean -4.2, Zurich ?"
    assert in_ascii("12\u202f345") == "12 345"


def test_words_stay_as_they_are_where_they_can_be_written() -> None:
    assert in_encoding("Zürich 12\u202f345", "utf-8") == "Zürich 12\u202f345"
    assert in_encoding("Zürich", "latin-1") == "Zürich"
    assert in_encoding("12\u202f345 µs", "latin-1") == "12 345 us"
    assert in_encoding("12\u202f345 µs", None) == "12 345 us"
