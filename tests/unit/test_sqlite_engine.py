"""What only the embedded broker has: a file, its owner, its clock, its locks."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from messaging import sqlite
from messaging.engine import (
    DEATH_HEADER,
    QUEUE_HEADER,
    REASON_HEADER,
    BrokerError,
    BrokerUnavailable,
    Consumer,
    Lost,
    QueueDepth,
    Refused,
    Taken,
)
from messaging.messages import Lane
from messaging.sqlite import SqliteEngine
from messaging.sqlite_files import LifeLine, NetworkFolder, is_alive, new_life, refuse_network
from messaging.sqlite_store import Closed, close_for_good
from messaging.topology import Topology
from tests.support.broker import fresh_topology, outgoing

TOPOLOGY = Topology(prefix="unit")
QUEUE = TOPOLOGY.lane(Lane.SINGLE)


class Clock:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "broker.db"


@pytest.fixture
def engine(path: Path, clock: Clock) -> SqliteEngine:
    return SqliteEngine(f"sqlite:///{path}", TOPOLOGY, clock=clock)


def take(consumer: Consumer) -> Taken:
    taken = consumer.take(60)
    assert taken is not None
    return taken


@pytest.mark.parametrize("url", ["sqlite:", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://host/file"])
def test_an_address_without_a_file_is_told(url: str) -> None:
    with pytest.raises(BrokerError, match="must name a file"):
        SqliteEngine(url, TOPOLOGY)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////var/lib/broker.db", "/var/lib/broker.db"),
        ("sqlite:////var/my%20data/broker.db", "/var/my data/broker.db"),
        ("sqlite:////var/a#b?c/broker.db", "/var/a#b?c/broker.db"),
    ],
)
def test_an_address_names_its_file(url: str, path: str) -> None:
    assert SqliteEngine(url, TOPOLOGY).path == Path(path)


def test_an_address_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert SqliteEngine("sqlite:///broker.db", TOPOLOGY).path == tmp_path / "broker.db"


def test_a_file_with_strange_characters_in_its_name_works(tmp_path: Path) -> None:
    engine = SqliteEngine(f"sqlite:///{tmp_path}/a#b?mode=ro&ä/broker.db", TOPOLOGY)
    with engine.consumer([QUEUE]) as consumer:
        consumer.publish(outgoing("m"))
        consumer.ack(take(consumer))

    assert (tmp_path / "a#b?mode=ro&ä" / "broker.db").exists()


def test_files_and_folders_are_for_their_owner_only(engine: SqliteEngine, path: Path) -> None:
    before = os.umask(0)
    try:
        with engine.consumer([QUEUE]) as consumer:
            consumer.publish(outgoing("m"))
            modes = {found: stat.S_IMODE(found.stat().st_mode) for found in path.parent.rglob("*")}
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {oct(mode) for found, mode in modes.items() if found.is_file()} == {"0o600"}
    assert {oct(mode) for found, mode in modes.items() if found.is_dir()} == {"0o700"}
    assert len(modes) >= 5  # file, WAL, shared memory, folder of life lines, what is in it


def test_a_publisher_makes_no_file_and_says_whom_to_start(engine: SqliteEngine, path: Path) -> None:
    with engine.publisher() as publisher, pytest.raises(BrokerUnavailable, match="simcourier up"):
        publisher.publish(outgoing("m"))

    assert not path.parent.exists()


def test_an_empty_file_is_no_broker_yet(engine: SqliteEngine, path: Path) -> None:
    path.parent.mkdir()
    path.touch()

    with engine.publisher() as publisher, pytest.raises(BrokerUnavailable, match="Nobody has started"):
        publisher.publish(outgoing("m"))


def test_a_file_that_is_none_of_ours_is_told_and_left_alone(engine: SqliteEngine, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"something else entirely" * 100)

    with engine.publisher() as publisher, pytest.raises(BrokerUnavailable, match="not a database"):
        publisher.publish(outgoing("m"))
    with engine.consumer([QUEUE]) as consumer, pytest.raises(BrokerUnavailable, match="not a database"):
        consumer.take(0)
    assert path.read_bytes().startswith(b"something else")


def test_a_file_of_another_version_is_told(engine: SqliteEngine, path: Path) -> None:
    engine.consumer([QUEUE]).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    with engine.publisher() as publisher, pytest.raises(BrokerError, match="another version"):
        publisher.publish(outgoing("m"))


def test_nothing_is_written_into_a_file_that_was_deleted_or_replaced(engine: SqliteEngine, path: Path) -> None:
    with engine.consumer([QUEUE]) as consumer, engine.publisher() as publisher:
        publisher.publish(outgoing("lost with its file"))
        taken = take(consumer)
        for found in path.parent.glob("broker.db*"):
            if found.is_file():
                found.unlink()
        with pytest.raises(BrokerUnavailable, match="Nobody has started"):
            publisher.publish(outgoing("not yet"))
        with pytest.raises(Lost):
            consumer.ack(taken)
        assert consumer.take(0) is None  # makes a new one
        publisher.publish(outgoing("m"))

        assert take(consumer).message_id == "m"


def test_a_commit_reaches_the_disk(engine: SqliteEngine, path: Path) -> None:
    with engine.consumer([QUEUE]) as consumer:
        consumer.publish(outgoing("m"))
        store = consumer._connected()  # type: ignore[attr-defined]
        with store.reading() as db:
            modes = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]

    assert modes == ["wal", 2]  # 2 is FULL
    assert path.exists()


@pytest.mark.parametrize("delay", [0.0, 7.25, 86_400.0])
def test_a_wait_lasts_exactly_as_long_as_asked(engine: SqliteEngine, clock: Clock, delay: float) -> None:
    with engine.consumer([QUEUE]) as consumer:
        consumer.publish(outgoing("m"))
        consumer.wait(take(consumer), delay)
        if delay:
            clock.now += delay - 0.001
            assert consumer.take(0) is None
        clock.now += 0.001

        assert take(consumer).message_id == "m"


def test_what_has_waited_goes_to_the_end_in_the_order_of_time(engine: SqliteEngine, clock: Clock) -> None:
    with engine.consumer([QUEUE]) as consumer:
        for name, delay in (("long", 20), ("short", 10)):
            consumer.publish(outgoing(name))
            consumer.wait(take(consumer), delay)
        consumer.publish(outgoing("ready"))
        clock.now += 30
        order = []
        while (taken := consumer.take(0)) is not None:
            order.append(taken.message_id)
            consumer.ack(taken)

    assert order == ["ready", "short", "long"]


def test_a_message_delivered_too_often_ends_among_the_dead_letters(
    engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "DELIVERY_LIMIT", 2)
    engine.consumer([QUEUE]).close()
    with engine.publisher() as publisher:
        publisher.publish(outgoing("m", body=b"\x00"))
    deliveries = 0
    while True:
        with engine.consumer([QUEUE]) as consumer:  # closing it returns the message
            if consumer.take(0) is None:
                break
            deliveries += 1
    with engine.consumer([TOPOLOGY.dead]) as consumer:
        dead = take(consumer)

    assert deliveries == 3
    assert (dead.body, dead.message_id, dead.headers[QUEUE_HEADER]) == (b"\x00", "m", QUEUE)
    assert "3 deliveries" in dead.headers[REASON_HEADER]
    assert json.loads(dead.headers[DEATH_HEADER])[0]["reason"] == "delivery_limit"


def test_a_refused_event_is_in_none_of_its_queues(path: Path) -> None:
    engine = SqliteEngine(f"sqlite:///{path}", Topology(prefix="unit", max_length=1))
    with engine.consumer([TOPOLOGY.recorder]) as recorder, engine.publisher() as publisher:
        key = "simulation.completed.single"
        publisher.publish(outgoing("first", key))
        recorder.ack(take(recorder))
        with pytest.raises(Refused, match=f"{QUEUE} is full"):
            publisher.publish(outgoing("second", key))

        assert engine.depths()[TOPOLOGY.recorder] == QueueDepth(0, 0, 0)


def test_a_writer_that_holds_the_file_is_waited_for(engine: SqliteEngine, path: Path) -> None:
    engine.consumer([QUEUE]).close()
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, other.execute, ["COMMIT"])
    begun = time.monotonic()
    release.start()
    with engine.publisher() as publisher:
        publisher.publish(outgoing("m"))
    waited = time.monotonic() - begun
    release.join()
    other.close()

    assert waited > 0.25


def test_idle_waiting_costs_next_to_nothing(engine: SqliteEngine) -> None:
    with engine.consumer([QUEUE, TOPOLOGY.recorder]) as consumer:
        before = time.thread_time()
        consumer.take(1.0)
        spent = time.thread_time() - before

    assert spent < 0.1


def test_a_life_line_ends_with_its_owner_and_leaves_no_file(tmp_path: Path) -> None:
    one = new_life(tmp_path)
    left_behind = LifeLine(tmp_path)
    os.close(left_behind._descriptor)  # as the kernel does when a process dies
    assert is_alive(tmp_path, one.name)

    other = new_life(tmp_path)  # clears away what the dead have left

    assert not is_alive(tmp_path, left_behind.name)
    assert {found.name for found in tmp_path.iterdir()} == {one.name, other.name, "setup.lock"}
    one.close()
    other.close()
    assert not is_alive(tmp_path, one.name)
    assert {found.name for found in tmp_path.iterdir()} == {"setup.lock"}


MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 27 0:40 / /home rw,relatime - nfs4 server:/home rw
41 40 254:1 / /home/local rw,relatime - xfs /dev/vdb rw
42 27 0:42 / /mnt/my\\040share rw - fuse.sshfs me@there:/ rw
"""


@pytest.mark.parametrize(
    ("folder", "refused"),
    [
        ("/var/lib/simcourier", None),
        ("/home/anna/.local/share/simcourier", "nfs4"),
        ("/home/local/anna", None),
        ("/homeward", None),
        ("/mnt/my share/data", "fuse.sshfs"),
    ],
)
def test_a_network_file_system_is_refused(tmp_path: Path, folder: str, refused: str | None) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    check: Callable[[], None] = lambda: refuse_network(Path(folder), mounts)  # noqa: E731

    if refused is None:
        check()
    else:
        with pytest.raises(NetworkFolder, match=refused):
            check()


def test_an_engine_on_a_network_file_system_makes_nothing(
    engine: SqliteEngine, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("27 1 0:40 / / rw - nfs4 server:/ rw\n")
    monkeypatch.setattr(refuse_network, "__defaults__", (mounts,))

    with pytest.raises(NetworkFolder, match="SIMCOURIER_DATA_DIR"):
        engine.consumer([QUEUE])
    assert not path.parent.exists()


def test_a_second_consumer_of_a_process_leaves_the_locks_of_the_first_alone(tmp_path: Path) -> None:
    """The kernel forgets all POSIX locks of a process on a file when it closes any descriptor of it."""
    topology = fresh_topology()
    path = tmp_path / "broker.db"
    engine = SqliteEngine(f"sqlite:///{path}", topology)
    locks = Path("/proc/locks")

    def held() -> int:
        inodes = {str(file.stat().st_ino) for file in tmp_path.glob("broker.db*") if file.is_file()}
        own = [line.split() for line in locks.read_text().splitlines() if f" {os.getpid()} " in line]
        return sum(words[5].rpartition(":")[2] in inodes for words in own if words[1] == "POSIX")

    with engine.consumer([topology.recorder]) as first:
        assert first.take(0) is None
        before = held()
        with engine.consumer([topology.dead]) as second:
            assert second.take(0) is None

            assert held() >= before > 0


def test_a_broker_that_was_carried_over_refuses_publishers_and_consumers(tmp_path: Path) -> None:
    engine = SqliteEngine(f"sqlite:///{tmp_path}/broker.db", TOPOLOGY)
    engine.consumer([QUEUE]).close()
    with engine.publisher() as connected:
        connected.publish(outgoing("m"))
        assert not close_for_good(engine.path)
        with engine.consumer([QUEUE]) as consumer:
            taken = consumer.take(1)
            assert taken is not None
            consumer.ack(taken)

        assert close_for_good(engine.path)

        with pytest.raises(BrokerError):
            connected.publish(outgoing("m"))
    with engine.publisher() as publisher, pytest.raises(Closed, match="set SIMCOURIER_BROKER_URL"):
        publisher.publish(outgoing("m"))
    with pytest.raises(Closed):
        engine.consumer([QUEUE])
