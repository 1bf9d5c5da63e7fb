from __future__ import annotations

import fcntl
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from messaging.engine import BrokerUnavailable, Outgoing, Refused
from messaging.messages import Completed, Results, SimulationCompleted
from producer.flush import Flushed, flush
from producer.spool import Entry, Spool, SpoolError, SpoolFull

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "data" / "spool")


def event(name: str = "run") -> SimulationCompleted:
    data = Completed(
        simulation_id=name,
        results=Results(location="file:///results"),
        backend="local",
        recipients=("anna@example.org",),
    )
    return SimulationCompleted.of(data, source="//host/simcourier", time=NOON)


def sent(spool: Spool) -> list[str]:
    """Flush into a list of simulation ids."""
    names: list[str] = []
    flush(spool, lambda message: names.append(name_of(message)))
    return names


def _never(_: Outgoing) -> None:
    pytest.fail("nothing must be sent here")


def name_of(message: Outgoing) -> str:
    return SimulationCompleted.model_validate_json(message.body).data.simulation_id


def names_in(spool: Spool) -> list[str]:
    found = [spool.read(entry) for entry in spool.entries()]
    return [one[0].data.simulation_id for one in found if one]


def test_what_is_spooled_comes_back_unchanged(spool: Spool) -> None:
    completed = event()

    entry = spool.put(completed)

    read = spool.read(entry)
    assert read is not None
    assert read == (completed, completed.to_bytes())


def test_an_empty_spool_has_no_entries_and_makes_no_folder(spool: Spool) -> None:
    assert spool.entries() == []
    assert flush(spool, _never) == Flushed()
    assert not spool.folder.exists()


def test_folder_and_files_are_readable_by_their_owner_only(spool: Spool) -> None:
    old = os.umask(0)
    try:
        entry = spool.put(event())
    finally:
        os.umask(old)

    assert stat.S_IMODE(spool.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry.path.stat().st_mode) == 0o600
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in spool.folder.iterdir())


def test_order_holds_while_the_clock_stands_still_and_when_it_goes_back(tmp_path: Path) -> None:
    times = iter([5_000, 5_000, 5_000, 4_000, 6_000])
    spool = Spool(tmp_path, now=lambda: next(times))

    for name in "abcde":
        spool.put(event(name))

    assert names_in(spool) == list("abcde")


def test_order_holds_between_two_processes(spool: Spool) -> None:
    """Turn by turn, two processes write events while their clock stands still."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from producer.spool import Spool
from messaging.messages import SimulationCompleted
spool = Spool(Path(sys.argv[1]), now=lambda: 1000)
for line in sys.stdin:
    spool.put(SimulationCompleted.model_validate_json(line))
    print("put", flush=True)
"""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(spool.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        for number in range(10):
            writer = writers[number % 2]
            assert writer.stdin is not None
            assert writer.stdout is not None
            writer.stdin.write(event(f"run {number}").to_bytes().decode() + "\n")
            writer.stdin.flush()
            assert writer.stdout.readline() == "put\n"
    finally:
        for writer in writers:
            writer.communicate()

    assert names_in(spool) == [f"run {number}" for number in range(10)]


def test_a_process_killed_in_the_middle_of_writing_leaves_no_broken_event(spool: Spool) -> None:
    """The kernel kills it when its file grows past 200 bytes."""
    spool.put(event("before"))
    body = event("cut").to_bytes()
    assert len(body) > 200

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    code = f"""
import signal, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from producer.spool import Spool
from messaging.messages import SimulationCompleted
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
Spool(Path(sys.argv[1])).put(SimulationCompleted.model_validate_json(sys.argv[2]))
"""
    writer = subprocess.run(
        [sys.executable, "-B", "-c", code, str(spool.folder), body.decode()],
        preexec_fn=limit,
        check=False,
    )

    assert writer.returncode == -signal.SIGXFSZ
    (leftover,) = spool.folder.glob(".*.tmp")
    assert leftover.stat().st_size == 200
    assert sent(spool) == ["before"]
    assert list(spool.folder.glob("*.damaged")) == []


def test_a_full_disk_is_told_in_a_sentence_and_leaves_nothing(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    spool.put(event("before"))
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(SpoolError, match=r"cannot be written \(No space left on device\).*SIMCOURIER_DATA_DIR"):
        spool.put(event("too much"))

    assert names_in(spool) == ["before"]
    assert list(spool.folder.glob(".*.tmp")) == []


def test_what_is_made_for_the_spool_is_closed_to_others(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        Spool(tmp_path / "home" / "data" / "spool").put(event())
    finally:
        os.umask(before)

    modes = [stat.S_IMODE((tmp_path / "home" / name).stat().st_mode) for name in ("data/spool", "data", ".")]
    assert modes == [0o700, 0o700, 0o755]


def test_a_spool_whose_folder_cannot_be_made_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SpoolError, match="Not a directory"):
        Spool(tmp_path / "file" / "spool").put(event())


def test_leftovers_go_after_an_hour_and_not_before(spool: Spool) -> None:
    now = spool.put(event()).path.stat().st_mtime_ns
    old, young = spool.folder / ".1.json.tmp", spool.folder / ".2.json.tmp"
    for path, age in ((old, 3601), (young, 3599)):
        path.touch()
        os.utime(path, ns=(now - age * 10**9,) * 2)

    Spool(spool.folder, now=lambda: now).remove_leftovers()

    assert not old.exists()
    assert young.exists()


def test_everything_goes_out_in_order_and_is_forgotten(spool: Spool) -> None:
    for name in "abc":
        spool.put(event(name))

    assert sent(spool) == ["a", "b", "c"]
    assert sent(spool) == []


def test_the_published_bytes_are_those_that_were_spooled(spool: Spool) -> None:
    """A field of a newer version stays in the body."""
    entry = spool.put(event())
    newer = entry.path.read_bytes().replace(b'"specversion"', b'"newfield":1,"specversion"')
    entry.path.write_bytes(newer)
    messages: list[Outgoing] = []

    flush(spool, messages.append)

    (message,) = messages
    assert message.body == newer
    assert message.message_id == str(entry.event_id)
    assert message.routing_key == "simulation.completed.single"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"specversion":"1.0"}'])
def test_a_damaged_file_is_set_aside_and_does_not_block_the_rest(spool: Spool, content: bytes) -> None:
    spool.put(event("first"))
    damaged = spool.put(event("damaged"))
    spool.put(event("last"))
    damaged.path.write_bytes(content)
    names: list[str] = []

    done = flush(spool, lambda message: names.append(name_of(message)))

    assert names == ["first", "last"]
    (sentence,) = done.damaged
    assert str(damaged.event_id) in sentence
    assert "set aside" in sentence
    (aside,) = spool.damaged()
    assert aside.read_bytes() == content
    assert spool.is_aside(damaged)
    assert spool.entries() == []


def test_a_file_that_holds_another_event_than_its_name_says_is_damaged(spool: Spool) -> None:
    entry = spool.put(event())
    entry.path.write_bytes(event().to_bytes())

    assert sent(spool) == []
    assert spool.is_aside(entry)


def test_other_files_in_the_folder_are_left_alone(spool: Spool) -> None:
    spool.put(event())
    (spool.folder / "notes.json").write_text("mine")

    sent(spool)

    assert (spool.folder / "notes.json").read_text() == "mine"


def test_a_refused_event_stays_and_those_behind_it_go(spool: Spool) -> None:
    entries = [spool.put(event(name)) for name in ("a", "full", "c")]
    names: list[str] = []

    def send(message: Outgoing) -> None:
        if name_of(message) == "full":
            raise Refused("The queue is full.")
        names.append(name_of(message))

    done = flush(spool, send)

    assert names == ["a", "c"]
    assert done.refused == {entries[1].path: "The queue is full."}
    assert spool.entries() == [entries[1]]


def test_a_broker_that_goes_away_ends_the_flush_with_the_rest_in_order(spool: Spool) -> None:
    for name in "abcd":
        spool.put(event(name))
    names: list[str] = []

    def send(message: Outgoing) -> None:
        if len(names) == 2:
            raise BrokerUnavailable("It went away.")
        names.append(name_of(message))

    done = flush(spool, send)

    assert names == ["a", "b"]
    assert done.away == "It went away."
    assert names_in(spool) == ["c", "d"]


def test_events_that_come_in_during_a_flush_are_taken_along(spool: Spool) -> None:
    """The process that wrote such an event may have stopped waiting for its turn."""
    spool.put(event("first"))
    names: list[str] = []

    def send(message: Outgoing) -> None:
        names.append(name_of(message))
        if len(names) < 3:
            spool.put(event(f"meanwhile {len(names)}"))

    flush(spool, send)

    assert names == ["first", "meanwhile 1", "meanwhile 2"]


def test_while_another_process_sends_nothing_is_sent_here(spool: Spool) -> None:
    entry = spool.put(event())
    with (spool.folder / ".sending").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        done = flush(spool, _never, own=entry, patience=0.1)

    assert done.busy
    assert spool.entries() == [entry]


def test_waiting_for_another_process_ends_when_it_has_sent_our_event(spool: Spool) -> None:
    entry = spool.put(event())
    with (spool.folder / ".sending").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        timer = threading.Timer(0.2, entry.path.unlink)
        timer.start()

        done = flush(spool, _never, own=entry, patience=60)

        timer.join()
    assert done.busy
    assert not entry.path.exists()


def test_two_flushes_at_a_time_send_each_event_once(spool: Spool) -> None:
    entries: list[Entry] = [spool.put(event(str(number))) for number in range(50)]
    names: list[str] = []
    threads = [
        threading.Thread(target=flush, args=(spool, lambda message: names.append(name_of(message)))) for _ in range(4)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert names == [str(number) for number in range(50)]
    assert not any(entry.path.exists() for entry in entries)


def test_a_spool_that_holds_as_much_as_it_may_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    size = len(event("a").to_bytes())
    by_number = Spool(tmp_path / "number", most_events=2)
    by_size = Spool(tmp_path / "size", most_bytes=2 * size + size // 2 + 20)  # with the file of the last number

    for spool in (by_number, by_size):
        for name in "ab":
            spool.put(event(name))
        with pytest.raises(SpoolFull, match=r"2 events, .*SIMCOURIER_SPOOL_MAX_EVENTS.*this one was not kept"):
            spool.put(event("c"))

        assert names_in(spool) == ["a", "b"]
        assert list(spool.folder.glob(".*.tmp")) == []
        spool.remove(spool.entries()[0])
        spool.put(event("d"))
        assert names_in(spool) == ["b", "d"]


def test_what_another_process_has_spooled_counts_as_well(tmp_path: Path) -> None:
    ours, theirs = (Spool(tmp_path, most_events=70) for _ in range(2))
    for number in range(60):
        theirs.put(event(str(number)))

    for number in range(60, 70):
        ours.put(event(str(number)))
    with pytest.raises(SpoolFull):
        ours.put(event("too many"))

    assert names_in(ours) == [str(number) for number in range(70)]


def test_an_event_that_was_promised_at_the_start_is_taken_over_however_full_the_spool_is(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", most_events=1)
    spool.put(event("a"))
    promised = event("b")
    (tmp_path / "promised").write_bytes(promised.to_bytes())

    spool.adopt(tmp_path / "promised", promised.id)

    assert names_in(spool) == ["a", "b"]
