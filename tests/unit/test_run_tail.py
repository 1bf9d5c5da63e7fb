"""The end of what a simulation has written."""

from __future__ import annotations

from pathlib import Path

import pytest

from producer.runs.tail import RING_BYTES, Ring, Source, readable


@pytest.mark.parametrize("chunk", [1, 7, 4096, RING_BYTES - 1, RING_BYTES, RING_BYTES + 1, 3 * RING_BYTES])
def test_a_ring_keeps_the_last_bytes_for_whoever_reads_its_file(tmp_path: Path, chunk: int) -> None:
    ring = Ring(tmp_path / "ring")
    content = bytes(number % 251 for number in range(4 * RING_BYTES))

    for begin in range(0, len(content), chunk):
        ring.add(memoryview(content)[begin : begin + chunk])

    assert ring.read() == content[-RING_BYTES:]
    assert Source(name="output", path=str(tmp_path / "ring")).read() == content[-RING_BYTES:]


def test_a_ring_without_room_on_the_disk_is_kept_in_memory(tmp_path: Path) -> None:
    ring = Ring(tmp_path / "nowhere" / "ring")

    ring.add(memoryview(b"the end"))

    assert (ring.path, ring.read()) == (None, b"the end")


def test_a_log_that_was_emptied_or_replaced_meanwhile_is_not_mistaken(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 1000)
    status = log.stat()
    source = Source(name="output", path=str(log), offset=1000, device=status.st_dev, inode=status.st_ino)

    log.write_bytes(b"new")
    assert source.read() == b"new"
    log.rename(tmp_path / "log.1")
    log.write_bytes(b"of somebody else" * 100)
    assert source.read() == b""
    log.unlink()
    assert source.read() == b""


def test_a_chatty_stream_does_not_crowd_out_what_the_other_says() -> None:
    text = readable([("standard output", b"step\n" * 5000), ("standard error", b"no such parameter\n")], "Our note.")

    assert len(text) <= 4000
    assert text.startswith("standard output:\n")
    assert text.endswith("step\n\nstandard error:\nno such parameter\n\nOur note.")
    assert text.count("step") > 700


def test_text_that_is_cut_within_a_letter_or_is_no_text_is_still_shown() -> None:
    assert readable([("standard output", "größe".encode()[3:] + b"\xff\x00")]) == "\ufffd\ufffdße\ufffd"[1:]
