"""What `messaging.engine` promises, on the embedded engine and on a real RabbitMQ."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from messaging import rabbitmq, sqlite
from messaging.connect import connect
from messaging.engine import (
    QUEUE_HEADER,
    REASON_HEADER,
    BrokerError,
    Consumer,
    Engine,
    Lost,
    QueueDepth,
    Refused,
    Taken,
    Unroutable,
)
from messaging.messages import Lane
from messaging.topology import Topology
from tests.support.broker import EVENT_KEY, WAITS, WAKE_KEY, delete_queues, fresh_topology, outgoing
from tests.support.processes import client, lines
from tests.support.scratch import wait_until

SOON = 60.0  # seconds within which anything that must come has come, also on a busy machine
NOTHING = 0.25  # seconds after which nothing more is expected


def single(topology: Topology) -> str:
    return topology.lane(Lane.SINGLE)


def declare(engine: Engine) -> None:
    engine.consumer([engine.topology.dead]).close()


def publish(engine: Engine, *ids: str, key: str = WAKE_KEY) -> None:
    with engine.publisher() as publisher:
        for one in ids:
            publisher.publish(outgoing(one, key))


def take(consumer: Consumer) -> Taken:
    taken = consumer.take(SOON)
    assert taken is not None, "nothing came"
    return taken


def take_all(engine: Engine, queue: str) -> list[Taken]:
    """Everything in a queue, acked."""
    found = []
    with engine.consumer([queue]) as consumer:
        while (taken := consumer.take(NOTHING)) is not None:
            consumer.ack(taken)
            found.append(taken)
    return found


def ids(messages: list[Taken]) -> list[str]:
    return [taken.message_id for taken in messages]


def test_what_is_published_is_taken_as_it_was(engine: Engine, topology: Topology) -> None:
    body = bytes(range(256)) * 100
    with engine.consumer([single(topology)]) as consumer, engine.publisher() as publisher:
        publisher.publish(replace(outgoing("m", body=body), headers={"traceparent": "00-ä"}))
        taken = take(consumer)

    assert (taken.queue, taken.body, taken.message_id) == (single(topology), body, "m")
    assert taken.headers == {"traceparent": "00-ä"}
    assert not taken.redelivered


def test_a_confirmed_message_survives_the_death_of_its_publisher(
    engine: Engine, topology: Topology, broker_url: str
) -> None:
    declare(engine)
    with client(broker_url, topology, "publish", 20) as process:
        confirmed = lines(process, 20)
        process.send_signal(signal.SIGKILL)
        process.wait()

    assert ids(take_all(engine, single(topology))) == confirmed


def test_an_unroutable_message_is_told_and_stored_nowhere(engine: Engine) -> None:
    declare(engine)
    with engine.publisher() as publisher:
        with pytest.raises(Unroutable, match="simcourier worker"):
            publisher.publish(outgoing("m", "simulation.completed.nowhere"))
        publisher.publish(outgoing("next"))  # the publisher is still good

    assert sum(depth.ready for depth in engine.depths().values()) == 1


def test_a_body_that_is_too_large_is_refused(engine: Engine, topology: Topology, broker_url: str) -> None:
    small = connect(broker_url, replace(topology, max_bytes=1000))
    declare(engine)
    with small.publisher() as publisher:
        publisher.publish(outgoing("fits", body=b"x" * 1000))
        with pytest.raises(Refused, match="1001 bytes"):
            publisher.publish(outgoing("too large", body=b"x" * 1001))

    assert ids(take_all(engine, single(topology))) == ["fits"]


def test_a_full_queue_refuses_and_accepts_again_when_there_is_room(topology: Topology, broker_url: str) -> None:
    engine = connect(broker_url, replace(topology, max_length=3))
    declare(engine)
    accepted: list[str] = []
    with engine.publisher() as publisher:

        def refused() -> bool:
            name = f"m{len(accepted)}"
            try:
                publisher.publish(outgoing(name))
            except Refused:
                return True
            accepted.append(name)
            return False

        # RabbitMQ tells publishers that a quorum queue is full a moment after it is.
        wait_until(refused, "the queue is full", timeout=SOON)

        assert len(accepted) >= 3
        assert ids(take_all(engine, single(topology))) == accepted
        wait_until(lambda: not refused(), "the queue has room", timeout=SOON)


def test_an_event_goes_to_its_lane_and_to_the_recorder_and_a_wake_up_to_the_lane_alone(
    engine: Engine, topology: Topology
) -> None:
    declare(engine)
    publish(engine, "event", key=EVENT_KEY)
    publish(engine, "wake", key=WAKE_KEY)

    assert ids(take_all(engine, single(topology))) == ["event", "wake"]
    assert ids(take_all(engine, topology.recorder)) == ["event"]
    assert ids(take_all(engine, topology.lane(Lane.CAMPAIGN))) == []


def test_an_acked_message_never_comes_again(engine: Engine, topology: Topology) -> None:
    with engine.consumer([single(topology)]) as consumer:
        publish(engine, "m")
        consumer.ack(take(consumer))
        assert consumer.take(NOTHING) is None

    assert ids(take_all(engine, single(topology))) == []


def test_settling_twice_is_refused_and_doubles_nothing(engine: Engine, topology: Topology) -> None:
    with engine.consumer([single(topology)]) as consumer:
        publish(engine, "m")
        taken = take(consumer)
        consumer.ack(taken)
        for settle in (
            consumer.ack,
            consumer.give_back,
            lambda t: consumer.wait(t, 0.2),
            lambda t: consumer.bury(t, ""),
        ):
            with pytest.raises(Lost):
                settle(taken)

    assert ids(take_all(engine, single(topology))) == []
    assert ids(take_all(engine, topology.dead)) == []


@pytest.mark.parametrize("delay", WAITS[:2])
def test_a_waiting_message_comes_back_about_when_asked(engine: Engine, topology: Topology, delay: float) -> None:
    with engine.consumer([single(topology)]) as consumer, engine.publisher() as publisher:
        publisher.publish(replace(outgoing("m"), headers={"kept": "yes"}))
        taken = take(consumer)
        asked = time.monotonic()
        consumer.wait(taken, delay)
        again = take(consumer)
        waited = time.monotonic() - asked
        consumer.ack(again)

    assert delay - 0.05 <= waited < WAITS[2]  # a machine under load may look late, never early
    assert (again.body, again.message_id, again.queue) == (taken.body, "m", single(topology))
    assert again.headers == {"kept": "yes"}


def test_a_message_waits_again_and_again(engine: Engine, topology: Topology) -> None:
    with engine.consumer([single(topology)]) as consumer:
        publish(engine, "m")
        for _ in range(3):
            consumer.wait(take(consumer), 0.2)
        again = take(consumer)
        consumer.ack(again)

    assert again.message_id == "m"
    assert again.headers == {}


def test_others_overtake_a_message_that_waits(engine: Engine, topology: Topology) -> None:
    with engine.consumer([single(topology)]) as consumer:
        publish(engine, "first", "second")
        consumer.wait(take(consumer), 1.0)
        overtaking = take(consumer)
        consumer.ack(overtaking)
        last = take(consumer)
        consumer.ack(last)

    assert ids([overtaking, last]) == ["second", "first"]


def test_the_recorder_and_the_dead_letters_can_wait_too(engine: Engine, topology: Topology) -> None:
    with engine.consumer([topology.recorder, topology.dead, topology.notifications]) as consumer:
        publish(engine, "event", key=EVENT_KEY)
        consumer.wait(take(consumer), 0.2)
        event = take(consumer)
        consumer.bury(event, "because")
        consumer.wait(take(consumer), 0.2)
        dead = take(consumer)
        consumer.ack(dead)

    assert (event.queue, dead.queue) == (topology.recorder, topology.dead)
    assert dead.headers[REASON_HEADER] == "because"


def test_a_message_given_back_goes_to_another_consumer_at_once(engine: Engine, topology: Topology) -> None:
    with engine.consumer([single(topology)]) as one, engine.consumer([single(topology)]) as other:
        publish(engine, "m")
        one.give_back(take(one))
        taken = take(other)
        other.ack(taken)

        assert taken.message_id == "m"
        assert not taken.redelivered  # it does not count as a try that failed
        assert one.take(NOTHING) is None


def test_a_buried_body_is_unchanged_even_if_nobody_can_parse_it(engine: Engine, topology: Topology) -> None:
    body = b'\x00\xff{"specversion": \xc3'
    with engine.consumer([single(topology)]) as consumer, engine.publisher() as publisher:
        publisher.publish(replace(outgoing("m", body=body), headers={"kept": "yes"}))
        consumer.bury(take(consumer), "The body is no JSON: ä.")
        assert consumer.take(NOTHING) is None

    (dead,) = take_all(engine, topology.dead)
    assert (dead.body, dead.message_id, dead.queue) == (body, "m", topology.dead)
    assert dead.headers == {"kept": "yes", REASON_HEADER: "The body is no JSON: ä.", QUEUE_HEADER: single(topology)}


def test_what_a_killed_consumer_held_comes_back_in_order_and_flagged(
    engine: Engine, topology: Topology, broker_url: str
) -> None:
    declare(engine)
    publish(engine, "a", "b", "c")
    with (
        client(broker_url, topology, "hold", 2) as process,
        engine.consumer([single(topology)], prefetch=3) as consumer,
    ):
        assert lines(process, 2) == ["a", "b"]
        free = take(consumer)
        assert consumer.take(NOTHING) is None  # as long as it lives, its messages are its own
        consumer.ack(free)
        process.send_signal(signal.SIGKILL)
        back = [take(consumer), take(consumer)]

        assert (free.message_id, free.redelivered) == ("c", False)
        assert [(taken.message_id, taken.redelivered) for taken in back] == [("a", True), ("b", True)]


def test_what_a_closed_consumer_held_comes_back(engine: Engine, topology: Topology) -> None:
    with engine.consumer([single(topology)]) as consumer:
        publish(engine, "m")
        taken = take(consumer)
    with pytest.raises(Lost):
        consumer.ack(taken)
    with engine.consumer([single(topology)]) as consumer:
        back = take(consumer)
        consumer.ack(back)

    assert (back.message_id, back.redelivered) == ("m", True)


def test_messages_of_a_queue_come_in_the_order_of_publishing(engine: Engine, topology: Topology) -> None:
    declare(engine)
    sent = [f"m{number}" for number in range(60)]
    publish(engine, *sent)

    assert ids(take_all(engine, single(topology))) == sent


def test_a_consumer_takes_from_its_queues_in_turn(engine: Engine, topology: Topology) -> None:
    declare(engine)
    publish(engine, "c1", "c2", "c3", "c4", key="wake.campaign")
    publish(engine, "s1", "s2", key="wake.single")
    with engine.consumer(topology.lanes) as consumer:
        order = []
        for _ in range(6):
            taken = take(consumer)
            consumer.ack(taken)
            order.append(taken.message_id)

    assert order[:4] in (["s1", "c1", "s2", "c2"], ["c1", "s1", "c2", "s2"])
    assert order[4:] == ["c3", "c4"]


def test_a_consumer_holds_no_more_than_its_prefetch(engine: Engine, topology: Topology) -> None:
    with engine.consumer([single(topology)], prefetch=2) as one, engine.consumer([single(topology)]) as other:
        publish(engine, "a", "b", "c")
        held = [take(one), take(one)]
        begun = time.monotonic()
        assert one.take(0.3) is None
        assert time.monotonic() - begun >= 0.29
        free = take(other)  # what one may not hold is not kept from the other
        one.ack(held[0])
        publish(engine, "d")
        following = take(one)

    assert ids([*held, free, following]) == ["a", "b", "c", "d"]


def test_two_consumers_never_hold_one_message(engine: Engine, topology: Topology, broker_url: str) -> None:
    declare(engine)
    sent = {f"m{number}" for number in range(300)}
    for _ in range(15):  # on a busy machine one of them may have had nothing to do
        with client(broker_url, topology, "drain", 5) as one, client(broker_url, topology, "drain", 5) as other:
            lines(one, 1)
            lines(other, 1)
            publish(engine, *sent)
            shares = [process.communicate(timeout=120)[0].split() for process in (one, other)]

        taken = [[line[1:] for line in share if line.startswith("+")] for share in shares]
        assert sorted(taken[0] + taken[1]) == sorted(sent)
        if all(taken):
            return
    raise AssertionError("one of them never had anything to do")


@pytest.mark.parametrize("idle", [lambda consumer: consumer.take(60), lambda consumer: consumer.pause(60)])
def test_another_thread_ends_an_idle_consumer(
    engine: Engine, topology: Topology, idle: Callable[[Consumer], Taken | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (rabbitmq, sqlite):  # who is not ended at once looks again when its time is over
        monkeypatch.setattr(module, "LOOK_FIRST", 25.0)
        monkeypatch.setattr(module, "LOOK_LAST", 25.0)
    monkeypatch.setattr(rabbitmq, "SERVE_EVERY", 25.0)
    with engine.consumer([single(topology)]) as consumer:
        begun = time.monotonic()
        timer = threading.Timer(0.6, consumer.interrupt)
        timer.start()

        assert idle(consumer) is None
        assert 0.55 < time.monotonic() - begun < 20
        timer.join()

        publish(engine, "m")  # and it goes on as before
        consumer.ack(take(consumer))


def test_a_producer_makes_nothing(engine: Engine, topology: Topology) -> None:
    with engine.publisher() as publisher, pytest.raises(BrokerError, match="start"):
        publisher.publish(outgoing("m"))
    with pytest.raises(BrokerError, match="start"):
        engine.depths()

    declare(engine)
    publish(engine, "now")
    assert ids(take_all(engine, single(topology))) == ["now"]


def test_two_installations_share_a_broker_and_do_not_meet(
    engine: Engine, topology: Topology, broker_url: str, request: pytest.FixtureRequest
) -> None:
    second = fresh_topology()
    other = connect(broker_url, second)
    with other.publisher() as publisher:
        declare(engine)
        with pytest.raises(Unroutable):
            publisher.publish(outgoing("nobody there"))
    declare(other)
    if broker_url.startswith("amqp"):
        request.addfinalizer(lambda: delete_queues(broker_url, second))
    publish(engine, "mine")
    publish(other, "theirs")

    assert ids(take_all(engine, single(topology))) == ["mine"]
    assert ids(take_all(other, single(second))) == ["theirs"]


def test_depths_tell_what_is_ready_held_and_waiting(engine: Engine, topology: Topology, broker_url: str) -> None:
    with engine.consumer([single(topology)], prefetch=2) as consumer:
        publish(engine, "a", "b", "c", "d")
        consumer.wait(take(consumer), 5.0)
        take(consumer)
        # RabbitMQ tells who holds what to its management plugin only.
        expected = QueueDepth(ready=2, held=0 if broker_url.startswith("amqp") else 1, waiting=1)

        wait_until(lambda: engine.depths()[single(topology)] == expected, "the depths", timeout=SOON)
        depths = engine.depths()

    assert set(depths) == set(topology.queues)
    assert depths[topology.dead] == QueueDepth(0, 0, 0)


def test_consumers_and_publishers_work_in_other_threads(engine: Engine, topology: Topology) -> None:
    declare(engine)
    found: list[str] = []

    def work() -> None:
        publish(engine, "m")
        with engine.consumer([single(topology)]) as consumer:
            taken = take(consumer)
            consumer.ack(taken)
            found.append(taken.message_id)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert found == ["m", "m", "m"]


def test_the_start_up_line_names_the_broker_and_no_password(engine: Engine) -> None:
    assert "broker.db" in engine.description or "127.0.0.1" in engine.description
    assert "guest:" not in engine.description


def test_a_message_of_another_broker_is_adopted_as_it_was_in_its_queue_alone(
    engine: Engine, topology: Topology, tmp_path: Path
) -> None:
    other = connect(f"sqlite:///{tmp_path}/other/broker.db", topology)
    declare(other)
    with other.publisher() as publisher:
        publisher.publish(replace(outgoing("m", EVENT_KEY), headers={"traceparent": "00-ä"}))
    with other.consumer([single(topology)]) as source, engine.consumer([topology.dead]) as target:
        first = take(source)
        target.adopt(first)
        source.bury(first, "no reason")
    with other.consumer([topology.dead]) as source, engine.consumer([topology.dead]) as target:
        target.adopt(take(source))

    live, dead = take_all(engine, single(topology)), take_all(engine, topology.dead)
    assert [(one.message_id, one.body, one.headers, one.user_id) for one in live] == [
        ("m", b"m", {"traceparent": "00-ä"}, None)
    ]
    assert [(one.headers[REASON_HEADER], one.headers[QUEUE_HEADER]) for one in dead] == [
        ("no reason", single(topology))
    ]
    assert take_all(engine, topology.recorder) == []
