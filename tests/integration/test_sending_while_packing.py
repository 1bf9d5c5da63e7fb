"""An archive that is sent while it is packed: the link comes sooner, and a crash sends nothing twice that is good."""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from backends.contract import Archive, Progress, Stored
from backends.errors import TransientError
from backends.memory import Memory
from messaging.engine import Taken
from messaging.messages import SimulationCompleted
from messaging.settings import Settings
from tests.support.events import event
from tests.support.installation import files_below, unpacked
from tests.support.scratch import wait_until

if TYPE_CHECKING:
    from consumer.results import ResultsWorker

SIZE = 4_000_000


@pytest.fixture
def worker(sqlite_ledger: Settings, tmp_path: Path) -> Iterator[ResultsWorker]:
    from consumer.decide import Policy
    from consumer.lease import LeaseKeeper
    from consumer.results import ResultsWorker
    from consumer.stop import Stop
    from consumer.workshop import Workshop
    from ledger.api import Deliveries, define

    del sqlite_ledger
    define("memory", token=f"space-{uuid.uuid4()}")
    deliveries = Deliveries("host:1", lease=30, overdue=60)
    workshop = Workshop(
        deliveries=deliveries, archives=tmp_path / "archives", roots=(), site={}, operator="", mail_patience=timedelta()
    )
    keeper = LeaseKeeper(deliveries, Stop(1))
    keeper.start()
    yield ResultsWorker(workshop, keeper, Policy())
    keeper.close()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "noise.bin").write_bytes(os.urandom(SIZE))
    return folder


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Packing does not end before this is set: what a plugin does when it has begun to read."""
    from consumer import analyse as analysis
    from consumer import making

    event, analyse = threading.Event(), analysis.analyse

    def patiently(*arguments: Any, **more: Any) -> Any:
        assert event.wait(120)
        return analyse(*arguments, **more)

    monkeypatch.setattr(making, "analyse", patiently)
    return event


def taken(one: SimulationCompleted) -> Taken:
    return Taken("results", one.to_bytes(), str(one.id), {}, False, None, None)


def row(one: SimulationCompleted) -> Any:
    from ledger.models import Delivery

    return Delivery.objects.get(id=one.id)


class SavedBefore:
    """Of a plugin that sends the rest in one piece: it saves nothing more, and asks before it commits."""

    checkpoint = None

    def __init__(self, progress: Progress) -> None:
        self.ensure = progress.ensure

    def save(self, checkpoint: Any, sent: int) -> None:
        """Nothing is saved."""


class Sent:
    """What a plugin was given, and what it does with it; takes the place of `Memory.store`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, begun: threading.Event) -> None:
        self.keys: list[str] = []
        self.sizes: list[int | None] = []
        self.checkpoints: list[Any] = []
        self.break_at: dict[int, Callable[[], None]] = {}
        self.break_after: dict[int, Callable[[], None]] = {}
        sent, whole = self, Memory.store

        def store(plugin: Memory, archive: Archive, progress: Progress) -> Stored:
            sent.keys.append(archive.key)
            sent.sizes.append(archive.size)
            sent.checkpoints.append(progress.checkpoint)
            with archive.open() as reader:
                first = reader.read(1_000_000)
                progress.save({"mine": len(first)}, len(first))
            action = sent.break_at.pop(len(sent.keys), None)
            if action:
                action()
            begun.set()
            if len(sent.keys) not in sent.break_after:
                return whole(plugin, archive, progress)
            whole(plugin, archive, SavedBefore(progress))
            sent.break_after.pop(len(sent.keys))()
            raise AssertionError

        monkeypatch.setattr(Memory, "store", store)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, begun: threading.Event) -> Sent:
    return Sent(monkeypatch, begun)


def stored_bytes(one: SimulationCompleted) -> bytes:
    from backends.memory import fetch

    return fetch(row(one).link)


def crash() -> None:
    raise KeyboardInterrupt  # like a process that dies, nobody here handles it


def again(worker: ResultsWorker, one: SimulationCompleted) -> None:
    """Another try, as if the lease of the dead one had run out."""
    from ledger.models import Delivery

    Delivery.objects.filter(id=one.id).update(state="RECEIVED", lease_until=None, waiting_until=None)
    worker.handle(taken(one))


def test_the_service_gets_the_first_bytes_before_the_last_are_packed(
    worker: ResultsWorker, results: Path, sent: Sent
) -> None:
    one = event(results)

    worker.handle(taken(one))

    assert sent.sizes == [None], "nobody knew the size when sending began"
    delivery = row(one)
    assert delivery.state == "DELIVERED"
    assert hashlib.sha256(stored_bytes(one)).hexdigest() == delivery.archive_sha256
    assert (len(stored_bytes(one)), delivery.generation) == (delivery.archive_size, 1)


def test_after_a_crash_the_same_bytes_go_on_where_they_stopped(
    worker: ResultsWorker, results: Path, sent: Sent, begun: threading.Event
) -> None:
    one = event(results)
    sent.break_at[1] = crash
    threading.Timer(0.5, begun.set).start()  # else the end of the block waits for packing, which waits for it
    with pytest.raises(KeyboardInterrupt):
        worker.handle(taken(one))
    begun.clear()

    again(worker, one)

    assert sent.checkpoints == [None, {"mine": 1_000_000}]
    assert sent.keys[0] == sent.keys[1]
    assert row(one).state == "DELIVERED"
    assert hashlib.sha256(stored_bytes(one)).hexdigest() == row(one).archive_sha256


def test_after_a_crash_other_bytes_begin_anew_under_another_name(
    worker: ResultsWorker, results: Path, sent: Sent, begun: threading.Event
) -> None:
    one = event(results)
    sent.break_at[1] = crash
    threading.Timer(0.5, begun.set).start()
    with pytest.raises(KeyboardInterrupt):
        worker.handle(taken(one))
    begun.clear()
    (results / "noise.bin").write_bytes(os.urandom(SIZE))

    again(worker, one)

    assert sent.checkpoints == [None, None]
    assert sent.keys[0] != sent.keys[1]
    assert row(one).generation == 2
    assert hashlib.sha256(stored_bytes(one)).hexdigest() == row(one).archive_sha256


def test_a_file_that_was_whole_before_a_crash_keeps_its_bytes_though_others_are_packed_after_it(
    worker: ResultsWorker, results: Path, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    from consumer import making
    from ledger.models import Delivery

    def drawn_after_the_last_byte_was_read(_found: Any) -> tuple[()]:
        threading.Event().wait(1)
        return ()

    one = event(results)
    sent.break_after[1] = crash
    monkeypatch.setattr(making, "_pictures", drawn_after_the_last_byte_was_read)
    with pytest.raises(KeyboardInterrupt):
        worker.handle(taken(one))
    held = next(space for space in Memory.spaces.values() if sent.keys[0] in space.files)
    before = dict(held.files)
    Delivery.objects.filter(id=one.id).update(crashes=2)  # so the next worker leaves the summary out
    next(worker._workshop.archives.rglob("*.zip")).unlink()  # it runs on another machine

    again(worker, one)

    assert row(one).state == "DELIVERED"
    assert len(set(sent.keys)) == 2
    assert {key: held.files.get(key) for key in before} == before
    assert hashlib.sha256(stored_bytes(one)).hexdigest() == row(one).archive_sha256
    assert zipfile.ZipFile(io.BytesIO(stored_bytes(one))).namelist() == ["noise.bin", "MANIFEST.sha256"]


def test_after_two_crashes_the_summary_is_left_out_and_mail_and_log_say_so(
    worker: ResultsWorker, results: Path, sent: Sent
) -> None:
    from ledger.models import Delivery

    one = event(results)
    sent.break_after[1] = crash
    with pytest.raises(KeyboardInterrupt):
        worker.handle(taken(one))
    Delivery.objects.filter(id=one.id).update(crashes=2)
    next(worker._workshop.archives.rglob("*.zip")).unlink()

    with structlog.testing.capture_logs() as lines:
        again(worker, one)

    (told,) = [line for line in lines if line["event"] == "summary.left_out"]
    assert (told["crashes"], told["log_level"]) == (2, "error")
    assert row(one).notes == ["The summary could not be made; the operator finds the reason in the worker's log."]


def test_a_service_that_goes_away_meanwhile_does_not_make_us_pack_again(
    worker: ResultsWorker, results: Path, sent: Sent, begun: threading.Event
) -> None:
    def away() -> None:
        begun.set()
        raise TransientError("It is away.")

    one = event(results)
    sent.break_at[1] = away
    worker.handle(taken(one))
    assert (row(one).state, row(one).reason) == ("WAITING", "It is away.")
    packed = row(one).archive_size
    (results / "noise.bin").unlink()  # whoever packed again would notice

    again(worker, one)

    assert row(one).state == "DELIVERED"
    assert sent.sizes == [None, packed]


def test_results_that_change_meanwhile_are_not_delivered(
    worker: ResultsWorker, results: Path, sent: Sent, begun: threading.Event
) -> None:
    def change() -> None:
        with (results / "noise.bin").open("ab") as stream:
            stream.write(b"more")
        begun.set()

    one = event(results)
    (results / "b.bin").write_bytes(os.urandom(3 * SIZE))
    sent.break_at[1] = change
    worker.handle(taken(one))

    assert row(one).state == "WAITING"
    assert "noise.bin" in row(one).reason
    assert re.search("while (it was read|the results were packed)", row(one).reason)
    assert not row(one).notifications.exists(), "nobody is told before it was tried for long"

    again(worker, one)

    assert row(one).state == "DELIVERED"
    assert unpacked(stored_bytes(one)) == files_below(results)


def test_results_that_are_still_written_are_waited_for_uncounted(worker: ResultsWorker, results: Path) -> None:
    from consumer.results import ResultsWorker

    patient = ResultsWorker(replace(worker._workshop, settle_seconds=60), worker._keeper, worker._policy)
    one = event(results)
    for name in ("noise.bin", "later.vec"):
        for earlier in results.iterdir():  # else both may have been written within one tick of the disk's clock
            os.utime(earlier, (time.time() - 20,) * 2)
        (results / name).write_bytes(b"more")
        again(patient, one)
        assert (row(one).state, row(one).attempts) == ("WAITING", 0)
        told = rf"The results are still being written: {name} changed (just now|\d+ s ago)\."
        assert re.fullmatch(told, row(one).reason), row(one).reason

    for file in results.iterdir():
        os.utime(file, (1_700_000_000, 1_700_000_000))
    again(patient, one)

    assert row(one).state == "DELIVERED"
    assert unpacked(stored_bytes(one)) == files_below(results)


def test_whoever_asks_meanwhile_is_told_how_much_is_packed_and_read(
    worker: ResultsWorker, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from consumer import making
    from consumer.analyse import analyse
    from ledger.lookup import find

    one = event(results)
    told: list[str] = []

    def read_half(snapshot: Any, folder: Path, *, progress: Callable[[int], None]) -> Any:
        progress(SIZE // 2)
        wait_until(lambda: "2.0 MB of" in find(str(one.id))[0].sentence(), "progress in the ledger, once all is packed")
        told.append(find(str(one.id))[0].sentence())
        return analyse(snapshot, folder, progress=progress)

    monkeypatch.setattr(making, "analyse", read_half)
    monkeypatch.setattr("consumer.packing.growing.WAITING_SECONDS", 0.05)
    worker.handle(taken(one))

    assert row(one).state == "DELIVERED"
    doing = r"packaging and storing, 2\.0 MB of 4\.0 MB, .+/s, \d+ s left to read"
    assert re.fullmatch(rf"A worker \(.+\) has it in work: {doing}\.", told[0])


def test_the_summary_is_named_while_it_is_made_and_no_service_is_blamed_for_it(
    worker: ResultsWorker, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from consumer.statistics.collector import Collector
    from ledger.lookup import find

    one = event(results)
    told: list[str] = []
    summary = Collector.summary

    def slowly(collector: Collector) -> Any:
        wait_until(lambda: "all 4.0 MB" in find(str(one.id))[0].doing, "all is packed and read")
        told.append(find(str(one.id))[0].doing)
        return summary(collector)

    monkeypatch.setattr(Collector, "summary", slowly)
    monkeypatch.setattr("consumer.packing.growing.WAITING_SECONDS", 0.05)
    monkeypatch.setattr("consumer.sending.SOON_SECONDS", 0)
    worker.handle(taken(one))

    assert row(one).state == "DELIVERED"
    assert told == ["packaging and storing, all 4.0 MB read, the summary is being made"]


def test_of_an_archive_that_is_whole_its_own_bytes_are_told_although_the_service_is_slow(
    worker: ResultsWorker, results: Path, begun: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ledger.lookup import find

    one = event(results)
    told: list[str] = []
    store = Memory.store

    def doing() -> str:
        return find(str(one.id))[0].doing

    def slowly(plugin: Memory, archive: Archive, progress: Progress) -> Stored:
        def told_while_more_is_read() -> bool:
            with archive.open(1_000_000) as reader:
                return bool(reader.read(1)) and doing() == "storing, 1.0 MB of 4.0 MB"

        progress.save({"mine": 1_000_000}, 1_000_000)
        told.append(doing())
        begun.set()
        wait_until(told_while_more_is_read, "that the archive is whole is told before the next checkpoint")
        assert archive.size
        for sent in (2_000_000, archive.size):
            progress.save({"mine": sent}, sent)
            told.append(doing())
        return store(plugin, archive, progress)

    monkeypatch.setattr(Memory, "store", slowly)
    monkeypatch.setattr("consumer.sending.PROGRESS_SECONDS", 0.01)
    worker.handle(taken(one))

    assert row(one).state == "DELIVERED"
    assert told[0].startswith("packaging and storing")
    assert re.fullmatch(r"storing, 2\.0 MB of 4\.0 MB, .+/s, \d+ s left", told[1]), told
    assert told[2] == "storing, all 4.0 MB sent, the service has not confirmed yet"


def test_too_little_room_for_the_archive_is_waited_for_and_the_reason_told(
    worker: ResultsWorker, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = event(results)
    with monkeypatch.context() as full:
        full.setattr("consumer.packing.space.free_bytes", lambda _folder: 1_000_000)
        worker.handle(taken(one))

    waiting = row(one)
    assert (waiting.state, waiting.attempts) == ("WAITING", 0)
    assert waiting.reason == "The worker's disk has 1.0 MB left, and the archive may need 4.0 MB."
    assert not list((tmp_path / "archives").rglob("*.*"))

    again(worker, one)

    assert row(one).state == "DELIVERED"
