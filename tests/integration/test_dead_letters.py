"""What an operator does with messages that were set aside: look at them, send them back, let them go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from messaging.cli import engine_of
from messaging.engine import DEATH_HEADER, QUEUE_HEADER, REASON_HEADER, Engine, Taken
from messaging.messages import Lane
from messaging.settings import Settings
from messaging.topology import Topology
from simcourier.cli import main
from tests.support.broker import delete_queues
from tests.support.events import event
from tests.support.ledger import SECRET, migrated_copy, next_tick, settings_for, use_database

if TYPE_CHECKING:
    from ledger.dead_letters import DeadLetterView

NO_JSON = b"\x00\xff not JSON"


BOTH = pytest.mark.parametrize(
    "settings", ["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)], indirect=True
)


@pytest.fixture
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, ledger_template: Path, topology: Topology
) -> Iterator[Settings]:
    """An empty ledger, and a broker whose queues are declared."""
    rabbitmq = request.getfixturevalue("amqp_url") if getattr(request, "param", "") == "rabbitmq" else ""
    more = {"broker_url": rabbitmq} if rabbitmq else {}
    migrated_copy(ledger_template, tmp_path / "simcourier.db")
    settings = settings_for(tmp_path, broker_prefix=topology.prefix, **more)
    use_database(settings)
    engine_of(settings).consumer([settings.topology.dead]).close()
    yield settings
    if rabbitmq:
        delete_queues(rabbitmq, settings.topology)


@pytest.fixture
def engine(settings: Settings) -> Engine:
    return engine_of(settings)


def dead(settings: Settings, *arguments: str, broker_url: str = "") -> Result:
    """``simcourier dead``, in this process."""
    environ = {
        "SIMCOURIER_DATA_DIR": str(settings.data_dir),
        "SIMCOURIER_SECRET_KEY": SECRET,
        "SIMCOURIER_BROKER_PREFIX": settings.broker_prefix,
        "SIMCOURIER_BROKER_URL": broker_url or settings.broker_url.get_secret_value(),
    }
    return CliRunner().invoke(main, ["dead", *arguments], env=environ)


def set_aside(settings: Settings, body: bytes, *, lane: bool = True, reason: str = "It is no event.") -> None:
    from ledger.api import file_dead_letter

    queue = settings.topology.lane(Lane.SINGLE) if lane else settings.topology.notifications
    headers = {REASON_HEADER: reason, QUEUE_HEADER: queue, "traceparent": "00-1"}
    next_tick()  # the newest one is listed first
    file_dead_letter(body, headers=headers, queue=queue, reason=reason, publisher="alice")


def still_open() -> list[DeadLetterView]:
    from ledger.api import dead_letters

    return dead_letters()


def taken_all(engine: Engine, *queues: str) -> list[Taken]:
    """What lies in the queues, taken out of them."""
    found = []
    with engine.consumer(queues) as consumer:
        while (taken := consumer.take(0.3)) is not None:
            consumer.ack(taken)
            found.append(taken)
    return found


def record_all(engine: Engine) -> None:
    """Let the recorder work off its queue and the dead letters."""
    from consumer.loop import Bury
    from consumer.recorder import Recorder
    from ledger.api import Deliveries

    topology = engine.topology
    recorder = Recorder(Deliveries("host:1", lease=30, overdue=60), topology.dead)
    with engine.consumer([topology.recorder, topology.dead]) as consumer:
        while (taken := consumer.take(0.3)) is not None:
            settle = recorder.handle(taken).settle
            if isinstance(settle, Bury):
                consumer.bury(taken, settle.reason)
            else:
                consumer.ack(taken)


@pytest.mark.parametrize("arrivals", [1, 3])
def test_a_message_that_the_broker_set_aside_counts_once_for_each_time_it_arrived(
    settings: Settings, arrivals: int
) -> None:
    """An event lies in its lane and with the recorder; its two copies are one arrival."""
    from consumer.recorder import Recorder
    from ledger.api import Deliveries

    topology = settings.topology
    recorder = Recorder(Deliveries("host:1", lease=30, overdue=60), topology.dead)
    for number in range(arrivals):
        for queue in (topology.lane(Lane.SINGLE), topology.recorder):
            death = json.dumps([{"reason": "delivery_limit", "queue": queue, "count": 1}])
            recorder.handle(Taken(topology.dead, b"no json", f"{number}", {DEATH_HEADER: death}, False, None, number))

    shown = dead(settings, "show", "1").stdout
    (letter,) = still_open()
    assert (letter.times, letter.queue) == (arrivals, topology.lane(Lane.SINGLE))
    assert ("Again:" in shown, "2 times more" in shown) == (arrivals > 1, arrivals == 3)


def test_an_operator_is_mailed_about_dead_letters_once_each_and_in_few_mails(settings: Settings) -> None:
    from consumer.recorder import Recorder
    from ledger.api import Deliveries, Notices, OperatorNotice, overdue
    from ledger.models import Notification

    topology = settings.topology
    recorder = Recorder(Deliveries("host:1", lease=30, overdue=60), topology.dead, "ops@example.org")

    def set_aside_by_worker(body: bytes) -> None:
        for queue in (topology.lane(Lane.SINGLE), topology.recorder):
            headers = {REASON_HEADER: "Its id was\n    used.", QUEUE_HEADER: queue}
            recorder.handle(Taken(topology.dead, body, "m", headers, False, "alice", None))

    set_aside_by_worker(b"one")
    set_aside_by_worker(b"one")
    (found,) = overdue({})
    notices = Notices(lease=30, overdue=60)
    notice = notices.claim_next(found.subject)
    assert isinstance(notice, OperatorNotice)
    assert notice.recipient == "ops@example.org"
    where = f"from the queue {topology.lane(Lane.SINGLE)}, published by alice"
    assert f"Number 1 {where}: Its id was used.\n\n    simcourier dead show 1" in notice.text
    assert "Number 2" not in notice.text
    notices.data_starts(notice)
    notices.sent(notice)

    next_tick()
    for number in range(300):
        set_aside_by_worker(f"{number}".encode())
    assert overdue({}) == [], "another mail goes out in an hour"
    texts = list(Notification.objects.order_by("created_at").values_list("text", flat=True))
    assert len(texts) == 2
    assert "    simcourier dead show 2" in texts[1]
    assert texts[1].endswith("There are more:\n\n    simcourier dead list")


@BOTH
def test_a_letter_goes_back_byte_for_byte_under_its_publisher_s_name_and_is_one_delivery_however_often(
    settings: Settings, engine: Engine
) -> None:
    from ledger.models import Delivery

    one = event()
    body = b' {"newer": [1,  2],' + one.to_bytes().removeprefix(b"{") + b"\n"
    set_aside(settings, body, reason="The type 'v2' is not known here.")

    for _ in range(2):
        done = dead(settings, "replay", "1")
        assert (done.exit_code, done.stdout) == (0, "1: replayed.\n")
    assert still_open() == []
    held = taken_all(engine, settings.topology.lane(Lane.SINGLE))
    record_all(engine)

    assert [taken.body for taken in held] == [body, body]
    assert {taken.message_id for taken in held} == {str(one.id)}
    assert held[0].headers == {"traceparent": "00-1"}
    if not settings.embedded_broker:
        assert {taken.user_id for taken in held} == {"alice"}
        assert Delivery.objects.get().publisher == "alice"
    assert Delivery.objects.get().id == one.id


@BOTH
def test_a_letter_that_is_still_not_accepted_comes_back_under_a_new_number(settings: Settings, engine: Engine) -> None:
    set_aside(settings, NO_JSON, reason="The body is no JSON.")

    done = dead(settings, "replay", "1")
    next_tick()
    record_all(engine)

    assert done.exit_code == 0
    assert "It will come back, unless the workers are newer than this command: The body is no JSON" in done.stdout
    assert "comes back under a new number" in done.stderr
    (back,) = still_open()
    assert (back.id, back.body, back.times) == (2, NO_JSON, 1)
    assert [row["closed_as"] for row in json.loads(dead(settings, "list", "--all", "--json").stdout)] == [
        "",
        "replayed",
    ]


def test_an_event_whose_id_was_used_with_another_body_stays_refused(settings: Settings, engine: Engine) -> None:
    from ledger.api import Deliveries
    from ledger.models import Delivery

    first = event(title="first")
    Deliveries("host:1", lease=30, overdue=60).record(first, first.to_bytes(), None)
    set_aside(settings, event(event_id=first.id, title="second").to_bytes())

    done = dead(settings, "replay", "--all")
    record_all(engine)

    assert "was used before with another body" in done.stdout
    assert ["was used before with another body" in letter.reason for letter in still_open()] == [True]
    assert Delivery.objects.get().title == "first"


def test_a_message_about_a_mail_goes_back_to_the_email_sender(settings: Settings, engine: Engine) -> None:
    body = (Path(__file__).parents[1] / "fixtures" / "messages" / "link.ready.v1.minimal.json").read_bytes()
    set_aside(settings, body, lane=False)

    assert dead(settings, "replay", "1").exit_code == 0

    assert [taken.body for taken in taken_all(engine, settings.topology.notifications)] == [body]


def test_a_replay_that_was_cut_off_counts_as_open_and_the_sweep_of_a_worker_ends_it(
    settings: Settings, engine: Engine
) -> None:
    from consumer.sweeper import Sweeper
    from ledger.api import Digests, Keep, forget
    from ledger.models import DeadLetter
    from ledger.replay import replay
    from ledger.work import from_now

    body = event().to_bytes()
    set_aside(settings, body)
    replay(1, settings.topology)  # and then the command is killed, or it was asked for in the admin

    DeadLetter.objects.update(closed_at=from_now(-100 * 86400))
    assert forget(Keep(90, 365)) == {}, "nothing that is not out yet is erased"
    assert [(letter.id, letter.closed_as) for letter in still_open()] == [(1, "replaying")]
    sweeper = Sweeper(engine, "host:1", 10, Keep(90, 365), Digests(quiet=1800, overdue=60))
    sweeper.round()
    sweeper.round()

    assert [taken.body for taken in taken_all(engine, settings.topology.recorder)] == [body]
    assert DeadLetter.objects.get().closed_as == "replayed"


def test_a_letter_that_comes_back_before_its_row_is_closed_is_not_lost(settings: Settings) -> None:
    """Published, found invalid and filed by the recorder, all before the command wrote that it was published."""
    from ledger.replay import replay, replayed

    set_aside(settings, NO_JSON)
    replay(1, settings.topology)
    set_aside(settings, NO_JSON)
    replayed(1)

    assert [letter.id for letter in still_open()] == [2]


def test_while_the_broker_is_away_a_replay_is_kept_for_a_worker(settings: Settings) -> None:
    for name in ("a", "b"):
        set_aside(settings, event(simulation_id=name).to_bytes())

    done = dead(settings, "replay", "--all", broker_url="amqp://guest:hunter2@127.0.0.1:1/")

    assert done.exit_code == 0
    assert done.stdout == "".join(f"{n}: a worker replays it as soon as the broker is there.\n" for n in (1, 2))
    assert "The broker is away: RabbitMQ at 127.0.0.1:1" in done.stderr
    assert "hunter2" not in done.stderr
    assert {letter.closed_as for letter in still_open()} == {"replaying"}


def test_letters_are_chosen_by_queue_and_by_reason(sqlite_ledger: Settings) -> None:
    engine_of(sqlite_ledger).consumer([sqlite_ledger.topology.dead]).close()
    set_aside(sqlite_ledger, b"1", reason="The type 'v7' is not known here.")
    set_aside(sqlite_ledger, b"2", reason="recipients: a mail address is expected.")
    set_aside(sqlite_ledger, b"3", lane=False, reason="The type 'v7' is not known here.")

    def listed(*filters: str) -> set[int]:
        return {row["id"] for row in json.loads(dead(sqlite_ledger, "list", "--json", *filters).stdout)}

    assert listed("--queue", "Results") == {1, 2}
    assert listed("--reason", "NOT KNOWN") == {1, 3}
    assert listed("--limit", "1") == {3}
    replay = dead(sqlite_ledger, "replay", "--queue", "results", "--reason", "not known")
    assert replay.stdout.startswith("1: replayed.")
    assert listed() == {2, 3}
    assert dead(sqlite_ledger, "replay", "--reason", "nothing like it").stdout == "No open dead letter is like that.\n"


def test_a_single_one_is_told_as_one(sqlite_ledger: Settings) -> None:
    set_aside(sqlite_ledger, event().to_bytes())

    assert "Error: 1 dead letter would be discarded; say --yes" in dead(sqlite_ledger, "discard", "--all").stderr


def test_discarding_several_wants_a_yes_and_can_be_taken_back(sqlite_ledger: Settings) -> None:
    engine_of(sqlite_ledger).consumer([sqlite_ledger.topology.dead]).close()
    for number in (1, 2, 3):
        set_aside(sqlite_ledger, event(simulation_id=str(number)).to_bytes())

    refused = dead(sqlite_ledger, "discard", "--all")
    assert refused.exit_code == 2
    assert "3 dead letters would be discarded; say --yes to do that." in refused.stderr
    assert len(still_open()) == 3

    assert dead(sqlite_ledger, "discard", "2").stdout == "2: discarded.\n"
    assert dead(sqlite_ledger, "discard", "--all", "--yes").stdout == "1: discarded.\n3: discarded.\n"
    again = dead(sqlite_ledger, "discard", "2", "77")
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr.splitlines() == [f"Error: {n}: no dead letter of this number is open." for n in (2, 77)]
    assert dead(sqlite_ledger, "list").stderr == "No dead letters.\n"
    assert "discarded" in dead(sqlite_ledger, "list", "--all").stdout

    assert dead(sqlite_ledger, "replay", "2").stdout == "2: replayed.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["replay"], "Say which"),
        (["discard"], "Say which"),
        (["replay", "1", "--all"], "Say which"),
        (["replay", "one"], "'one' is not a valid integer"),
        (["show", "1", "--raw", "--json"], "give one of them"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(sqlite_ledger: Settings, arguments: list[str], sentence: str) -> None:
    done = dead(sqlite_ledger, *arguments)

    assert done.exit_code == 2
    assert sentence in done.stderr


def test_letters_that_cannot_go_back_say_why_and_do_not_stop_the_others(sqlite_ledger: Settings) -> None:
    from ledger.api import file_dead_letter

    engine_of(sqlite_ledger).consumer([sqlite_ledger.topology.dead]).close()
    set_aside(sqlite_ledger, b" " * 2_000_000 + event().to_bytes())
    file_dead_letter(NO_JSON, headers={}, queue="somebody's", reason="no JSON", publisher=None)
    set_aside(sqlite_ledger, event().to_bytes())

    done = dead(sqlite_ledger, "replay", "1", "2", "3", "77")

    assert (done.exit_code, done.stdout) == (1, "3: replayed.\n")
    too_large, no_queue, unknown, _ = done.stderr.splitlines()
    assert too_large.startswith("Error: 1: Dead letter 1 has 2000")
    assert "at most 1048576" in too_large
    assert no_queue.startswith("Error: 2: Nobody can tell where dead letter 2 belongs")
    assert unknown == "Error: 77: There is no dead letter number 77."
    assert {letter.id: letter.closed_as for letter in still_open()} == {1: "", 2: ""}


def test_a_letter_is_shown_with_what_was_counted_and_without_its_escape_sequences(sqlite_ledger: Settings) -> None:
    from ledger.api import file_dead_letter

    body = b'\xff{"a":\n "\x1b]0;owned\x07"}'
    death = [
        {"reason": "delivery_limit", "queue": "lane", "count": 1},
        {"reason": "expired", "queue": "lane.wait.5s", "count": 12},
    ]
    headers: dict[str, Any] = {DEATH_HEADER: json.dumps(death), "x-odd\x1b[2J": "\r\n"}
    for _ in range(2):
        file_dead_letter(body, headers=headers, queue="lane", reason="\x1b[2Jgone", publisher="alice")

    shown = dead(sqlite_ledger, "show", "1")
    raw = dead(sqlite_ledger, "show", "1", "--raw")
    (listed,) = json.loads(dead(sqlite_ledger, "list", "--json").stdout)

    assert raw.stdout_bytes == body
    assert "\x1b" not in shown.stdout + dead(sqlite_ledger, "list").stdout
    assert "Again:      once more, last" in shown.stdout
    assert "delivery_limit in lane, once" in shown.stdout
    assert "expired in lane.wait.5s, 12 times" in shown.stdout
    assert '\\xff{"a":\n "\\x1b]0;owned\\x07"}' in shown.stdout
    assert listed["deaths"][1] == {"reason": "expired", "queue": "lane.wait.5s", "count": 12}
