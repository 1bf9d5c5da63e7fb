"""What the results worker makes of a ledger that goes away and comes back."""

from __future__ import annotations

import io
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from messaging.engine import Taken
from messaging.messages import SimulationCompleted
from messaging.settings import Settings
from tests.support.events import event
from tests.support.scratch import wait_until

if TYPE_CHECKING:
    from consumer.results import ResultsWorker
    from ledger.deliveries import Deliveries


@pytest.fixture
def lease() -> float:
    """Seconds: more than any stop of a busy machine."""
    return 30.0


@pytest.fixture
def deliveries(sqlite_ledger: Settings, lease: float) -> Deliveries:
    from ledger.api import Deliveries, define

    del sqlite_ledger
    define("memory", token=f"space-{uuid.uuid4()}")
    return Deliveries("host:1", lease=lease, overdue=60)


@pytest.fixture
def worker(deliveries: Deliveries, tmp_path: Path) -> Iterator[ResultsWorker]:
    from consumer.decide import Policy
    from consumer.lease import LeaseKeeper
    from consumer.results import ResultsWorker
    from consumer.stop import Stop
    from consumer.workshop import Workshop

    workshop = Workshop(
        deliveries=deliveries, archives=tmp_path / "archives", roots=(), site={}, operator="", mail_patience=timedelta()
    )
    keeper = LeaseKeeper(deliveries, Stop(1))
    keeper.start()
    yield ResultsWorker(workshop, keeper, Policy())
    keeper.close()


@pytest.fixture
def sent(tmp_path: Path) -> SimulationCompleted:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "a.sca").write_text("version 3\n")
    return event(folder)


def taken(one: SimulationCompleted) -> Taken:
    return Taken("results", one.to_bytes(), str(one.id), {}, False, None, None)


def row(one: SimulationCompleted) -> Any:
    from ledger.models import Delivery

    return Delivery.objects.get(id=one.id)


@pytest.mark.parametrize("lease", [6.0])  # six times in it, what could not be given back is tried again
@pytest.mark.parametrize("step", ["enter", "packed", "place", "stored", "finish"])
def test_a_ledger_that_goes_away_under_a_delivery_is_no_crash_of_the_worker(
    worker: ResultsWorker, deliveries: Deliveries, sent: SimulationCompleted, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from consumer.loop import Ack, Later
    from ledger.api import LedgerUnavailable

    def away(*_: object, **__: object) -> None:
        raise LedgerUnavailable("The ledger cannot be reached (gone).")

    for _ in range(2):
        with monkeypatch.context() as patched:
            patched.setattr(deliveries, step, away)
            assert isinstance(worker.handle(taken(sent)).settle, Later)
        wait_until(lambda: row(sent).state == "RECEIVED", "it is given back")

    assert isinstance(worker.handle(taken(sent)).settle, Ack)
    assert (row(sent).state, row(sent).crashes) == ("DELIVERED", 0)


@pytest.mark.parametrize("lease", [3.0])
def test_a_lease_is_renewed_while_the_work_goes_on(
    worker: ResultsWorker, deliveries: Deliveries, sent: SimulationCompleted, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ledger.api import Held

    slow = deliveries.finish
    another: list[Any] = []

    def finish(*arguments: Any, **more: Any) -> None:
        time.sleep(1.7 * deliveries.lease)  # a step that takes longer than the lease
        another.append(deliveries.claim(sent, sent.to_bytes(), None))
        slow(*arguments, **more)

    monkeypatch.setattr(deliveries, "finish", finish)
    worker.handle(taken(sent))

    assert [type(answer) for answer in another] == [Held]
    assert row(sent).state == "DELIVERED"


def test_a_bug_of_a_plugin_is_told_as_one_and_tried_again(
    worker: ResultsWorker, sent: SimulationCompleted, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backends.memory import Memory

    def broken(*_: object) -> None:
        raise ZeroDivisionError("canary-0b41")

    with monkeypatch.context() as patched:
        patched.setattr(Memory, "store", broken)
        worker.handle(taken(sent))

    assert row(sent).state == "WAITING"
    assert row(sent).reason.startswith(
        "The storage service, or its plugin, did something unexpected (ZeroDivisionError)"
    )
    assert "canary" not in row(sent).reason


def test_a_delivery_that_was_begun_ends_where_it_was_promised_to_though_nobody_else_may_go_there(
    worker: ResultsWorker, sent: SimulationCompleted, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backends.errors import TransientError
    from backends.memory import Memory
    from ledger.api import define

    def away(*_: object) -> None:
        raise TransientError("It is away.")

    with monkeypatch.context() as patched:
        patched.setattr(Memory, "store", away)
        worker.handle(taken(sent))
    define("memory", active=False)
    later = sent.model_copy(update={"id": uuid.uuid4()})
    worker.handle(taken(sent))
    worker.handle(taken(later))

    assert row(sent).state == "DELIVERED"
    assert (row(later).state, row(later).reason) == ("FAILED", "The storage backend 'memory' is not active.")


def test_a_retry_of_what_failed_after_it_was_stored_sends_nothing_again(
    worker: ResultsWorker, sent: SimulationCompleted, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backends.errors import PermanentError
    from backends.memory import Memory
    from ledger.api import retry

    def refuses(*_: object) -> None:
        raise PermanentError("Links are switched off for this account.")

    def never(*_: object) -> None:
        pytest.fail("it is stored already")

    with monkeypatch.context() as patched:
        patched.setattr(Memory, "link", refuses)
        worker.handle(taken(sent))
    assert (row(sent).state, row(sent).stage) == ("FAILED", "linking")
    key = row(sent).stored["key"]

    assert retry(sent.id)
    with monkeypatch.context() as patched:
        patched.setattr(Memory, "store", never)
        worker.handle(taken(sent))

    assert row(sent).state == "DELIVERED"
    assert row(sent).stored["key"] == key


def test_a_retry_sends_again_what_is_gone_at_the_service(
    worker: ResultsWorker, sent: SimulationCompleted, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backends.errors import PermanentError
    from backends.memory import Memory
    from ledger.api import retry

    def refuses(*_: object) -> None:
        raise PermanentError("Links are switched off for this account.")

    with monkeypatch.context() as patched:
        patched.setattr(Memory, "link", refuses)
        worker.handle(taken(sent))
    for space in Memory.spaces.values():
        space.files.pop(row(sent).stored["key"], None)

    assert retry(sent.id)
    worker.handle(taken(sent))

    assert row(sent).state == "DELIVERED"
    assert any(row(sent).stored["key"] in space.files for space in Memory.spaces.values())


@pytest.mark.parametrize("lease", [3.0])
def test_a_worker_that_cannot_renew_its_lease_stops_by_itself(
    worker: ResultsWorker, deliveries: Deliveries, sent: SimulationCompleted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anybody has taken over: the ledger, which does not answer, could not tell."""
    from backends.memory import Memory
    from consumer.loop import Later
    from ledger.api import LedgerUnavailable

    def away(*_: object) -> bool:
        raise LedgerUnavailable("The ledger cannot be reached (gone).")

    stored = Memory.store

    def slow(self: Memory, archive: Any, progress: Any) -> Any:
        time.sleep(1.5 * deliveries.lease)
        return stored(self, archive, progress)

    linked: list[str] = []
    monkeypatch.setattr(deliveries, "renew", away)
    monkeypatch.setattr(deliveries, "ensure", lambda _: None)
    monkeypatch.setattr(Memory, "store", slow)
    monkeypatch.setattr(Memory, "link", lambda *_: linked.append("linked"))

    assert isinstance(worker.handle(taken(sent)).settle, Later)
    assert (linked, row(sent).state) == ([], "WORKING")


def test_a_plugin_learns_before_it_commits_that_another_worker_has_taken_over(
    worker: ResultsWorker, deliveries: Deliveries, sent: SimulationCompleted, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backends.errors import Superseded
    from backends.memory import Memory
    from ledger.api import Claim
    from ledger.models import Delivery
    from ledger.work import from_now

    learnt: list[str] = []

    def store(_: Memory, archive: Any, progress: Any) -> Any:
        del archive
        Delivery.objects.filter(id=sent.id).update(lease_until=from_now(-1))
        assert isinstance(deliveries.claim(sent, sent.to_bytes(), None), Claim)
        try:
            progress.ensure()
        except Superseded as error:
            learnt.append(str(error))
            raise

    monkeypatch.setattr(Memory, "store", store)
    worker.handle(taken(sent))

    assert learnt == ["another worker has taken over"]
    assert row(sent).state == "WORKING"


def test_a_delivery_that_has_killed_five_workers_in_a_row_has_failed(
    worker: ResultsWorker, deliveries: Deliveries, sent: SimulationCompleted
) -> None:
    from consumer.loop import Ack
    from ledger.models import Delivery
    from ledger.work import from_now

    for _ in range(5):
        deliveries.claim(sent, sent.to_bytes(), None)
        Delivery.objects.filter(id=sent.id).update(lease_until=from_now(-1))

    result = worker.handle(taken(sent))

    assert isinstance(result.settle, Ack)
    assert [message.routing_key for message in result.publish] == ["delivery.failed"]
    assert row(sent).state == "FAILED"
    assert row(sent).reason.startswith("5 workers in a row ended unexpectedly")


def test_what_the_mail_and_the_page_show_of_the_results_is_kept_beside_the_archive(
    worker: ResultsWorker, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    rows = "".join(f"{number} {number % 7}\n" for number in range(50))
    (folder / "delay.csv").write_text(f"time delay\n{rows}".replace(" ", ","))
    one = event(folder, recipients=["anna@example.org"])
    worker.handle(taken(one))

    kept = row(one)
    assert kept.state == "DELIVERED"
    assert kept.contents == {
        "files": 1, "bytes": (folder / "delay.csv").stat().st_size, "names": ["delay.csv"], "summary": "summary",
    }  # fmt: skip
    pictures = list(kept.pictures.all())
    assert pictures
    assert "delay" in pictures[0].title
    for drawn in pictures:
        with Image.open(io.BytesIO(bytes(drawn.png))) as image:
            assert image.format == "PNG"
    assert [step.what for step in kept.steps.all()] == ["packed", "stored", "linked"]


def inactive() -> str:
    from ledger.api import define

    define("memory-old", token="old", active=False)
    return "memory-old"


def unhealthy() -> str:
    from ledger.api import define, mark_unhealthy

    define("memory-ill", token="ill")
    mark_unhealthy("memory-ill", "Its token was refused.", operator="")
    return "memory-ill"


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (lambda: "nosuch2", "no storage backend has the identifier 'nosuch2'; there are: memory."),
        (inactive, "the storage backend 'memory-old' is not active."),
        (unhealthy, "the storage backend 'memory-ill' cannot be used at present: Its token was refused."),
    ],
)
def test_why_results_are_stored_with_a_fallback_is_noted_once(
    worker: ResultsWorker, sent: SimulationCompleted, wanted: Callable[[], str], why: str
) -> None:
    from ledger.api import find

    folder = Path(sent.data.results.location.removeprefix("file://"))
    one = event(folder, backend=wanted(), fallback_backends=["memory"])
    worker.handle(taken(one))

    (view,) = find(str(one.id))
    assert (view.state, view.backend) == ("DELIVERED", "memory")
    assert view.notes[0] == f"Stored with 'memory': {why}"
    assert sum(note.startswith("Stored with") for note in view.notes) == 1


def test_a_backend_that_breaks_down_midway_is_named_as_the_reason_for_the_fallback(
    worker: ResultsWorker, sent: SimulationCompleted, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backends.errors import PermanentError
    from backends.memory import Memory
    from ledger.api import define, find

    store = Memory.store

    def full(self: Memory, archive: Any, progress: Any) -> Any:
        if archive.size is not None and not full.__dict__.setdefault("said", False):
            full.__dict__["said"] = True
            raise PermanentError("The account is full.", scope="backend")
        return store(self, archive, progress)

    define("memory-full", token="full")
    monkeypatch.setattr(Memory, "store", full)
    monkeypatch.setattr("consumer.sending.SOON_SECONDS", 60)  # it is sent as one, however long packing takes
    one = event(
        Path(sent.data.results.location.removeprefix("file://")), backend="memory-full", fallback_backends=["memory"]
    )
    worker.handle(taken(one))

    (view,) = find(str(one.id))
    assert (view.state, view.backend) == ("DELIVERED", "memory")
    assert view.notes[0] == (
        "Stored with 'memory': the storage backend 'memory-full' cannot be used at present: The account is full."
    )


def test_with_the_backend_that_was_asked_for_nothing_is_noted(worker: ResultsWorker, sent: SimulationCompleted) -> None:
    one = event(Path(sent.data.results.location.removeprefix("file://")), fallback_backends=["nosuch2"])
    worker.handle(taken(one))

    assert not [note for note in row(one).notes if note.startswith("Stored with")]


@pytest.mark.parametrize(("outcome", "told"), [("succeeded", True), ("failed", False), ("aborted", False)])
def test_that_there_are_no_numbers_is_news_of_a_simulation_that_succeeded_alone(
    worker: ResultsWorker, sent: SimulationCompleted, outcome: str, told: bool
) -> None:
    one = event(Path(sent.data.results.location.removeprefix("file://")), outcome=outcome)
    worker.handle(taken(one))

    assert row(one).state == "DELIVERED"
    assert any("No numbers" in note for note in row(one).notes) == told
