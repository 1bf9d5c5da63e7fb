"""Sizes as people write and read them."""

from __future__ import annotations

import pytest

from local_cloud.sizes import parse, readable


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (5 * 1024**3, "5.0 GiB"),
        (2**64 - 1, "16.0 EiB"),
        (2**90, "1073741824.0 EiB"),
    ],
)
def test_a_size_is_told_for_people(size: int, told: str) -> None:
    assert readable(size) == told


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("10GiB", 10 * 1024**3),
        ("10 gib", 10 * 1024**3),
        (" 500MB ", 500_000_000),
        ("1.5TiB", 3 * 1024**4 // 2),
        ("7 B", 7),
    ],
)
def test_a_size_is_read_as_people_write_it(text: str, size: int) -> None:
    assert parse(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1", "10 GiBs", "ten", "1e9", "1,5GB", "10Gi B", "nan", "٣MB", "9" * 400])
def test_what_is_no_size_is_told_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is no size; a number with a unit is expected"):
        parse(text)
