"""An archive is read while it is packed."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from backends.contract import Archive
from backends.errors import TransientError
from consumer.errors import Interrupted
from consumer.packing.archive import never
from consumer.packing.growing import GrowingArchive, prefix_sha256

CONTENT = random.Random(3).randbytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[GrowingArchive]:
    archive = GrowingArchive(tmp_path / "1.part", name="x.zip", key="d/1/x.zip")
    yield archive
    archive.fail(RuntimeError("the test is over"))


@pytest.fixture
def aside() -> Iterator[ThreadPoolExecutor]:
    """For what must wait."""
    with ThreadPoolExecutor(8) as pool:
        yield pool


def waits(future: Future[Any]) -> bool:
    """Whether it is not done after it had the time to be."""
    try:
        future.result(0.05)
    except TimeoutError:
        return True
    return False


def read_all(archive: Archive, offset: int = 0, step: int = 100_000) -> bytes:
    with archive.open(offset) as reader:
        return b"".join(iter(lambda: reader.read(step), b""))


def write_all(archive: GrowingArchive, step: int = 70_000) -> None:
    for at in range(0, len(CONTENT), step):
        archive.write(CONTENT[at : at + step])


def test_readers_at_several_offsets_get_all_that_is_written_while_they_read(
    growing: GrowingArchive, aside: ThreadPoolExecutor
) -> None:
    offsets = (0, 1, 69_999, 1_000_000, len(CONTENT) - 1, len(CONTENT))
    readers = [aside.submit(read_all, growing, offset) for offset in offsets]

    write_all(growing)
    growing.finish(SHA256)

    assert [reader.result(120) for reader in readers] == [CONTENT[offset:] for offset in offsets]
    assert read_all(growing, 2_999_990) == CONTENT[-10:]


def test_size_and_digest_are_known_in_the_end(growing: GrowingArchive, aside: ThreadPoolExecutor) -> None:
    digest = aside.submit(lambda: growing.sha256)
    write_all(growing)

    assert (growing.size, growing.written) == (None, len(CONTENT))
    assert waits(digest)
    growing.finish(SHA256)
    assert (growing.size, growing.written) == (len(CONTENT), len(CONTENT))
    assert digest.result(120) == SHA256


def test_a_reader_waits_for_what_is_not_there_yet(growing: GrowingArchive, aside: ThreadPoolExecutor) -> None:
    reader = aside.submit(read_all, growing)
    growing.write(CONTENT[:10])

    assert waits(reader)
    growing.finish(SHA256)
    assert reader.result(120) == CONTENT[:10]


def test_whoever_would_wait_too_long_is_told(growing: GrowingArchive, aside: ThreadPoolExecutor) -> None:
    growing.write(CONTENT[:10])

    assert growing.wait(10, 0)
    assert not growing.wait(11, 0.05)
    waiting = aside.submit(growing.wait, 1000, 30)
    assert waits(waiting)
    growing.write(CONTENT[10:1000])
    assert waiting.result(120)
    growing.finish(SHA256)
    assert growing.wait(1001, 0), "no more will come"


@pytest.mark.parametrize(
    "look", [read_all, lambda archive: archive.sha256, lambda archive: prefix_sha256(archive, 5_000_000, never)]
)
def test_whoever_waits_is_told_when_packing_failed(
    growing: GrowingArchive, aside: ThreadPoolExecutor, look: Callable[[GrowingArchive], object]
) -> None:
    waiting = aside.submit(look, growing)
    growing.write(CONTENT)

    assert waits(waiting)
    growing.fail(TransientError("The file a.vec became longer while it was read."))

    with pytest.raises(TransientError, match=r"a\.vec became longer"):
        waiting.result(120)
    with pytest.raises(TransientError, match=r"a\.vec became longer"):
        look(growing)
    assert growing.size is None


def test_a_failure_after_the_end_changes_nothing(growing: GrowingArchive) -> None:
    write_all(growing)
    growing.finish(SHA256)
    growing.fail(TransientError("too late"))

    assert read_all(growing) == CONTENT


def test_the_file_may_get_another_name_while_it_is_read(growing: GrowingArchive, tmp_path: Path) -> None:
    write_all(growing)
    with growing.open(10) as reader:
        assert reader.read(20) == CONTENT[10:30]
        growing.finish(SHA256, tmp_path / "x.zip")

        assert reader.read() == CONTENT[30:]
    assert read_all(growing) == CONTENT
    assert [file.name for file in tmp_path.iterdir()] == ["x.zip"]


def test_what_an_earlier_try_left_in_the_file_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "1.part").write_bytes(b"x" * 5_000_000)
    growing = GrowingArchive(tmp_path / "1.part", name="x.zip", key="d/1/x.zip")
    write_all(growing)
    growing.finish(SHA256)

    assert read_all(growing) == (tmp_path / "1.part").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [0, 1, 1_048_576, 1_048_577, len(CONTENT)])
def test_the_digest_of_what_was_sent_before_a_crash_is_waited_for(
    growing: GrowingArchive, aside: ThreadPoolExecutor, size: int
) -> None:
    digest = aside.submit(prefix_sha256, growing, size, never)

    write_all(growing)

    assert digest.result(120) == hashlib.sha256(CONTENT[:size]).hexdigest()


def test_an_archive_that_is_shorter_than_what_was_sent_has_no_such_digest(growing: GrowingArchive) -> None:
    write_all(growing)
    growing.finish(SHA256)

    assert prefix_sha256(growing, len(CONTENT) + 1, never) is None


def test_the_work_can_be_stopped_while_a_digest_is_made(growing: GrowingArchive) -> None:
    def stop() -> None:
        raise Interrupted

    growing.write(CONTENT)
    with pytest.raises(Interrupted):
        prefix_sha256(growing, 10, stop)


def test_many_readers_and_a_writer_with_small_pieces_do_not_miss_one_another(growing: GrowingArchive) -> None:
    """A wake-up that is lost would leave somebody waiting for ever."""
    digests: list[str] = []

    def read() -> None:
        digest = hashlib.sha256()
        with growing.open() as reader:
            while piece := reader.read(997):
                digest.update(piece)
        digests.append(digest.hexdigest())

    readers = [threading.Thread(target=read) for _ in range(8)]
    for reader in readers:
        reader.start()
    for at in range(0, 300_000, 311):
        growing.write(CONTENT[at : min(at + 311, 300_000)])
    growing.finish("")
    for reader in readers:
        reader.join(60)

    assert digests == [hashlib.sha256(CONTENT[:300_000]).hexdigest()] * 8
