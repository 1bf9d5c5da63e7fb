"""Ended at the boundaries of steps that lie beside a result's way: whoever comes next finds it, and does it once."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path

import pytest

from backends.memory import Memory
from messaging import faults
from messaging.engine import Taken
from messaging.settings import Settings
from messaging.topology import Topology
from tests.support.events import event


class Ended(BaseException):
    """As a process that is killed: nothing of ours handles it."""


def end_at(point: str, patch: pytest.MonkeyPatch) -> None:
    """End whoever passes ``point`` the first time."""
    left = [point]

    def hook(name: str) -> None:
        if name in left:
            left.remove(name)
            raise Ended

    patch.setattr(faults, "_installed", [hook])


def test_a_dead_letter_is_filed_once_though_the_recorder_ends_before_it_says_so(
    sqlite_ledger: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from consumer.loop import Ack
    from consumer.recorder import Recorder
    from ledger.api import Deliveries, dead_letters

    del sqlite_ledger
    dead = Topology().dead
    recorder = Recorder(Deliveries("host:1", lease=30, overdue=60), dead)
    letter = Taken(dead, b"no event", "1", {}, redelivered=False, user_id=None, receipt=None)
    end_at("recorder.filed", monkeypatch)

    with pytest.raises(Ended):
        recorder.handle(letter)
    assert recorder.handle(letter).settle == Ack()

    assert [one.reason for one in dead_letters()] == ["The broker set it aside."]


def test_an_archive_that_was_removed_is_gone_though_the_worker_ended_before_it_said_so(
    sqlite_ledger: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from consumer.expirer import expire
    from ledger.api import find
    from ledger.models import Placement
    from ledger.work import from_now

    del sqlite_ledger
    sent = delivered(tmp_path)
    Placement.objects.update(remove_at=from_now(-1))
    end_at("expiry.deleted", monkeypatch)

    with pytest.raises(Ended):
        list(expire("host:1", {}, ""))
    assert [problem for _, problem in expire("host:1", {}, "")] == [""]

    assert find(str(sent))[0].state == "EXPIRED"
    assert [space.files for space in Memory.spaces.values() if space.files] == []


def delivered(folder: Path) -> uuid.UUID:
    """A delivery that was mailed long ago."""
    from consumer.decide import Policy
    from consumer.lease import LeaseKeeper
    from consumer.results import ResultsWorker
    from consumer.stop import Stop
    from consumer.workshop import Workshop
    from ledger.api import Deliveries, define
    from ledger.models import Notification
    from ledger.work import from_now

    Memory.spaces.clear()
    define("memory", token=f"space-{uuid.uuid4()}", keep_days=1)
    results = folder / "results"
    results.mkdir()
    (results / "a.sca").write_text("version 3\n")
    sent = event(results)
    deliveries = Deliveries("host:1", lease=30, overdue=60)
    workshop = Workshop(
        deliveries=deliveries, archives=folder / "archives", roots=(), site={}, operator="", mail_patience=timedelta()
    )
    worker = ResultsWorker(workshop, LeaseKeeper(deliveries, Stop(1)), Policy())
    worker.handle(Taken("results", sent.to_bytes(), str(sent.id), {}, redelivered=False, user_id=None, receipt=None))
    long_ago = from_now(-10 * 24 * 3600)
    Notification.objects.update(state="SENT", sent_at=long_ago, keep_until=(long_ago_date()))
    return sent.id


def long_ago_date() -> object:
    from datetime import UTC, datetime

    return (datetime.now(UTC) - timedelta(days=9)).date()
