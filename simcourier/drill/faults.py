"""The faults that a drill plays, one after the other."""

from __future__ import annotations

import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

from simcourier.drill.mailbox import HANG_UP
from simcourier.drill.points import POINTS, Point
from simcourier.drill.stage import LEASE_SECONDS, Stage

MIB = 1024 * 1024
FULL_SECONDS = 6.0
FULL_BYTES = 64 * 1024  # what a process may still write into one file
LOCKED_SECONDS = 3 * LEASE_SECONDS
TAKEN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong.

    Args:
        name: for ``--only``.
        about: what it is, in a phrase.
        play: publishes something and lets it go wrong; returns what happened, in a phrase.
        impossible: why it cannot be played on a stage; empty: it can.
    """

    name: str
    about: str
    play: Callable[[Stage], str]
    impossible: Callable[[Stage], str] = lambda _: ""


def _nothing(stage: Stage) -> str:
    stage.publish()
    stage.publish(size=3 * MIB)
    stage.publish(link=False)
    return "three runs, one of them to fail"


def _duplicated(stage: Stage) -> str:
    sent = [stage.publish() for _ in range(3)]
    for one in chain(sent, sent):
        stage.publish_again(one)
    stage.wait_for_mails(sent, TAKEN_SECONDS)
    for one in sent:
        stage.publish_again(one)
    return "each of 3 events published four times, the last time after its mail"


def _killed(name: str, point: Point, stage: Stage) -> str:
    stage.orders.give(name, "kill")
    point.provoke(stage)
    stage.wait_for(f"{point.who} passes {name}", lambda: not stage.orders.pending(name), TAKEN_SECONDS)
    return f"kill -9 when the {point.who} {point.about}"


def _impossible_point(point: Point, stage: Stage) -> str:
    return "one transaction with the embedded broker" if point.rabbitmq_only and stage.services.embedded else ""


def _hanging(stage: Stage) -> str:
    seconds = 2.5 * LEASE_SECONDS
    stage.orders.give("delivery.stored", "hang", seconds)
    stage.publish()
    stage.wait_for("a worker stores", lambda: not stage.orders.pending("delivery.stored"), TAKEN_SECONDS)
    return f"a worker stood still for {seconds:g} s with a lease of {LEASE_SECONDS:g} s, then went on"


def _bug(stage: Stage) -> str:
    stage.orders.give("delivery.linking", "raise")
    stage.publish()
    stage.wait_for("a worker stores", lambda: not stage.orders.pending("delivery.linking"), TAKEN_SECONDS)
    return "an exception that nobody expects, after the upload"


def _cut(stage: Stage) -> str:
    before = stage.relay.sent
    stage.relay.cut(5 * MIB)
    stage.publish(size=12 * MIB)
    stage.wait_for("the upload reaches the cut", lambda: not stage.relay.cut_pending, TAKEN_SECONDS)
    return f"the connection broke {(stage.relay.sent - before) / MIB:.0f} MiB into an upload of 12 MiB"


def _all_killed(stage: Stage) -> str:
    for _ in range(4):
        stage.publish(size=MIB)
    time.sleep(0.5)
    killed = stage.kill(stage.pids())
    return f"all {killed} workers and email senders killed at once, 4 deliveries under way"


def _broker(stage: Stage) -> str:
    assert stage.services.restart_broker is not None
    for _ in range(4):
        stage.publish(size=MIB)
    stage.services.restart_broker()
    stage.publish()
    return "the node killed with 4 deliveries under way, and started again"


def _database(stage: Stage) -> str:
    assert stage.services.restart_database is not None
    for _ in range(4):
        stage.publish(size=MIB)
    stage.services.restart_database()
    stage.publish()
    return "the server killed with 4 deliveries under way, and started again"


def _locked(url: str, stage: Stage) -> str:
    for _ in range(2):
        stage.publish(size=MIB)
    with closing(sqlite3.connect(urlsplit(url).path[1:] or url, isolation_level=None, timeout=30)) as database:
        database.execute("BEGIN IMMEDIATE")
        time.sleep(LOCKED_SECONDS)
        database.execute("ROLLBACK")
    return f"nobody could write for {LOCKED_SECONDS:g} s, three leases"


def _broker_locked(stage: Stage) -> str:
    return _locked(stage.settings.broker_url.get_secret_value(), stage)


def _ledger_locked(stage: Stage) -> str:
    return _locked(stage.settings.database_url.get_secret_value(), stage)


def _full(stage: Stage) -> str:
    with _no_room(stage):
        for _ in range(2):
            stage.publish(size=2 * MIB)
        time.sleep(FULL_SECONDS)
    return f"no process could make a file grow beyond {FULL_BYTES // 1024} KiB for {FULL_SECONDS:g} s"


@contextmanager
def _no_room(stage: Stage) -> Iterator[None]:
    """The kernel refuses what goes beyond a file's size limit (EFBIG), in the middle of whatever is being written."""
    pids = stage.pids()
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL_BYTES, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        for pid in pids:
            if Path(f"/proc/{pid}").exists():
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _disk_full_reported(stage: Stage) -> str:
    stage.orders.give("delivery.packaging", "full")
    stage.publish()
    stage.wait_for("a worker packs", lambda: not stage.orders.pending("delivery.packaging"), TAKEN_SECONDS)
    return "ENOSPC while packing (an exception, no full disk)"


def _smtp(answer: str, happened: str, stage: Stage, times: int = 2) -> str:
    answers = iter([answer] * times)
    stage.mailbox.answer_data = lambda: next(answers, "")
    before = stage.mailbox.refused
    stage.publish()
    stage.wait_for("the server refuses", lambda: stage.mailbox.refused - before >= times, TAKEN_SECONDS)
    return happened


def _refused_recipient(stage: Stage) -> str:
    stage.mailbox.answer_rcpt = lambda address: "550 5.1.1 no such user" if address.startswith("nobody") else ""
    before = stage.mailbox.refused
    stage.publish(to=["anna@example.org"], refused=["nobody@example.org"])
    stage.wait_for("the server refuses", lambda: stage.mailbox.refused > before, TAKEN_SECONDS)
    return "550 for one of two recipients: the other one gets the mail, an operator sees why"


def _revoked(stage: Stage) -> str:
    from ledger.api import definition

    stage.revoke_key()
    stage.publish()
    stage.wait_for("the definition is marked", lambda: bool(definition("local").unhealthy_reason), TAKEN_SECONDS)
    stage.give_key()
    return "401 for the upload: the delivery waited, and went on with a new key"


def _needs(which: str, stage: Stage) -> str:
    if getattr(stage.services, which) is not None:
        return ""
    return "no server to restart: it is a file" if stage.services.embedded else "not ours to restart"


def _embedded_only(stage: Stage) -> str:
    return "" if stage.services.embedded else "a fault of files"


FAULTS: tuple[Fault, ...] = (
    Fault("nothing", "nothing goes wrong, for comparison", _nothing),
    Fault("duplicates", "every event is published four times", _duplicated),
    *(
        Fault(
            f"kill:{name}",
            f"{one.who} killed: {one.about}",
            partial(_killed, name, one),
            partial(_impossible_point, one),
        )
        for name, one in POINTS.items()
    ),
    Fault("kill:all", "all workers and email senders killed at once", _all_killed),
    Fault("hang", "a worker stands still for longer than its lease", _hanging),
    Fault("bug", "an unexpected exception in a worker", _bug),
    Fault("upload-cut", "the connection to the storage service breaks within the upload", _cut),
    Fault("broker-restarted", "the broker is killed and started again", _broker, partial(_needs, "restart_broker")),
    Fault(
        "database-restarted", "the database is killed and started again", _database, partial(_needs, "restart_database")
    ),
    Fault("broker-locked", "somebody else holds the broker's file", _broker_locked, _embedded_only),
    Fault("ledger-locked", "somebody else holds the ledger's file", _ledger_locked, _embedded_only),
    Fault("disk-full", "writing fails for every process for a while", _full),
    Fault("no-space", "packing is told that the disk is full", _disk_full_reported),
    Fault(
        "smtp-4xx", "the mail server takes the mail at the third try", partial(_smtp, "451 4.3.0 later", "451 twice")
    ),
    Fault("smtp-5xx", "the mail server refuses one of two recipients", _refused_recipient),
    Fault(
        "smtp-data",
        "the mail server is lost after it has been given the mail",
        lambda stage: _smtp(HANG_UP, "the server took the mail and hung up without an answer", stage, times=1),
    ),
    Fault("token-revoked", "the storage service refuses the token, and takes a new one", _revoked),
)
