"""What the RabbitMQ engine does when broker, connection or channel fail under it. Each test does it to a real node."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pika
import pytest
from pika import spec
from pika.frame import Method

from messaging import rabbitmq
from messaging.connect import connect
from messaging.engine import BrokerUnavailable, Consumer, Engine, Lost, Taken
from messaging.messages import Lane, parse_event
from messaging.rabbitmq_copy import properties_for
from messaging.rabbitmq_link import Address, Link
from messaging.settings import load
from messaging.topology import Topology
from producer import Producer, Published
from tests.support.broker import delete_queues, outgoing
from tests.support.nodes import RabbitNode
from tests.support.relay import Relay
from tests.support.scratch import wait_until

pytestmark = pytest.mark.rabbitmq

SOON = 60.0


@pytest.fixture
def url(rabbit_node: RabbitNode, topology: Topology) -> Iterator[str]:
    """The private node, with a short patience for its alarms."""
    yield f"{rabbit_node.url}?blocked_connection_timeout=2"
    delete_queues(rabbit_node.url, topology)


@pytest.fixture
def own_node(rabbit_node: RabbitNode) -> Iterator[RabbitNode]:
    """A node to be killed: what a crash leaves behind does not disturb other tests."""
    del rabbit_node  # skips the test where there is no RabbitMQ
    with RabbitNode() as node:
        yield node


@pytest.fixture
def engine(url: str, topology: Topology) -> Engine:
    return connect(url, topology)


@pytest.fixture
def queue(topology: Topology) -> str:
    return topology.lane(Lane.SINGLE)


def take(consumer: Consumer) -> Taken:
    taken = consumer.take(SOON)
    assert taken is not None, "nothing came"
    return taken


@pytest.mark.parametrize("seconds", [7, pytest.param(30, marks=pytest.mark.full)])
def test_work_may_take_longer_than_many_heartbeats(url: str, topology: Topology, queue: str, seconds: float) -> None:
    engine = connect(f"{url}&heartbeat=2", topology)
    with engine.consumer([queue]) as consumer:
        consumer.publish(outgoing("m"))  # so that both connections are open
        taken = take(consumer)
        work = threading.Timer(seconds, consumer.interrupt)
        work.start()
        consumer.pause(seconds + SOON)
        work.join()
        consumer.publish(outgoing("next"))
        consumer.ack(taken)
        following = take(consumer)
        consumer.ack(following)

    assert (following.message_id, following.redelivered) == ("next", False)


def test_confirmed_messages_outlive_the_broker_and_everybody_connects_anew(
    own_node: RabbitNode, topology: Topology, queue: str
) -> None:
    engine = connect(own_node.url, topology)
    with engine.consumer([queue]) as consumer, engine.publisher() as publisher:
        for name in ("held", "lying"):
            publisher.publish(outgoing(name))
        held = take(consumer)
        own_node.kill()
        try:
            with pytest.raises(Lost):
                consumer.wait(held, 0.2)
            with pytest.raises(BrokerUnavailable, match="cannot be reached or was lost"):
                consumer.take(0.1)
            with pytest.raises(BrokerUnavailable):
                publisher.publish(outgoing("while away"))
        finally:
            own_node.start()
        publisher.publish(outgoing("afterwards"))
        found = {}
        for _ in range(3):
            taken = take(consumer)
            consumer.ack(taken)
            found[taken.message_id] = taken.redelivered

    # The broker needs a moment to see that whoever held a message is gone, so "held" need not come first.
    assert found == {"held": True, "lying": False, "afterwards": False}


def test_a_consumer_may_be_made_while_the_broker_is_away(topology: Topology) -> None:
    with connect("amqp://guest:hunter2@127.0.0.1:1/", topology).consumer([topology.dead]) as consumer:
        for _ in range(2):
            with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1.*refused") as caught:
                consumer.take(0.1)

    assert "hunter2" not in str(caught.value)


def test_of_several_hosts_the_first_that_answers_is_used_and_from_then_on_first_of_all(
    rabbit_node: RabbitNode, topology: Topology, queue: str
) -> None:
    with Relay(rabbit_node.port) as other:
        place = f"127.0.0.1:{rabbit_node.port}"
        engine = connect(rabbit_node.url.replace(place, f"127.0.0.1:1,127.0.0.1:{other.port},{place}"), topology)
        with engine.consumer([queue]) as consumer:
            consumer.publish(outgoing("while one is away"))
            taken = take(consumer)
            consumer.ack(taken)
        assert not other.sent
        other.open()
        engine.depths()
        delete_queues(rabbit_node.url, topology)

    assert taken.message_id == "while one is away"
    assert not other.sent
    assert f"127.0.0.1:1, 127.0.0.1:{other.port}, {place}" in engine.description


def test_a_channel_closed_under_work_loses_nothing(rabbit_node: RabbitNode, engine: Engine, queue: str) -> None:
    """The broker closes a channel that holds a message for longer than its `consumer_timeout`; pika does not say so."""
    defaults = _set(rabbit_node, consumer_timeout=500, channel_tick_interval=200)
    with ExitStack() as impatient:
        impatient.callback(lambda: _set(rabbit_node, **defaults))
        with engine.consumer([queue], prefetch=2) as consumer:
            consumer.publish(outgoing("m"))
            taken = take(consumer)
            with pytest.raises(BrokerUnavailable, match=r"has closed the channel: .*timed out"):
                consumer.pause(SOON)
            with pytest.raises(Lost):
                consumer.ack(taken)
            impatient.close()  # the next channel is not closed, however slow this machine is
            again = take(consumer)
            consumer.ack(again)
            assert consumer.take(0.3) is None

    assert (again.message_id, again.redelivered) == ("m", True)


def test_a_message_that_cannot_be_copied_to_the_ladder_comes_again(
    url: str, engine: Engine, topology: Topology, queue: str
) -> None:
    with engine.consumer([queue]) as consumer:
        consumer.publish(outgoing("m"))
        taken = take(consumer)
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            connection.channel().queue_delete(topology.wait_queue(queue, topology.rung(1.0)))
        with pytest.raises(Lost):
            consumer.wait(taken, 1.0)
        again = take(consumer)
        consumer.ack(again)

    assert (again.message_id, again.redelivered) == ("m", True)


def test_a_broker_short_of_memory_makes_publishing_fail_in_time_and_settling_go_on_and_producers_keep_their_events(
    rabbit_node: RabbitNode, url: str, topology: Topology, queue: str, tmp_path: Path
) -> None:
    url = url.replace("timeout=2", "timeout=1")
    variables = {"DATA_DIR": str(tmp_path), "BROKER_URL": url, "BROKER_PREFIX": topology.prefix}
    settings = load({f"SIMCOURIER_{name}": value for name, value in variables.items()})
    engine = connect(url, topology)
    with (
        engine.consumer([queue]) as consumer,
        engine.publisher() as publisher,
        Producer(settings, engine=engine) as producer,
    ):
        publisher.publish(outgoing("before"))
        assert tell(producer, "before").state == "sent"
        rabbit_node.ctl("set_vm_memory_high_watermark", "absolute", "1")
        try:
            begun = time.monotonic()
            with pytest.raises(BrokerUnavailable, match="short of memory"):
                publisher.publish(outgoing("during"))
            assert time.monotonic() - begun < 15, "as its address asks, and not twenty seconds as usual"
            consumer.ack(take(consumer))
            begun = time.monotonic()
            during = tell(producer, "during")
            assert time.monotonic() - begun < 15
            begun = time.monotonic()
            for number in range(20):
                tell(producer, f"also {number}")
            assert time.monotonic() - begun < 10, "not each event waits for the broker, which takes a second"
        finally:
            rabbit_node.ctl("set_vm_memory_high_watermark", "0.6")
        assert (during.state, during.refused) == ("spooled", False)
        assert "takes no messages at the moment: it is short of memory" in during.reason
        publisher.publish(outgoing("after"))
        assert len(producer.flush().sent) == 21
        assert producer.spool.entries() == []
        # What failed may have been stored when the alarm ended: that is why nobody publishes it again unasked, and why
        # an event is told by its id.
        names = [taken.message_id for taken in _taken_all(consumer)]
    with engine.consumer([topology.recorder]) as recorder:
        events = {(parse_event(one.body).data.simulation_id, one.message_id) for one in _taken_all(recorder)}

    assert sorted(names) in (["after"], ["after", "during"])
    assert {name for name, _ in events} == {"before", "during", *(f"also {number}" for number in range(20))}
    assert len(events) == 22, "each by one id, however often it is there"


def tell(producer: Producer, name: str) -> Published:
    """Publish an event, in the lane of campaigns."""
    return producer.publish(
        "file://elsewhere/results", to="anna@example.org", backend="local", simulation_id=name, campaign="c"
    )


def _taken_all(consumer: Consumer) -> Iterator[Taken]:
    while (taken := consumer.take(0.5)) is not None:
        consumer.ack(taken)
        yield taken


def test_a_broker_that_answers_nothing_is_given_up(rabbit_node: RabbitNode) -> None:
    link = Link(Address(rabbit_node.url, answer_seconds=0.5), confirms=True)
    os.kill(rabbit_node.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        with pytest.raises(BrokerUnavailable, match=r"no answer within 0\.5 s"):
            link.publish("", "nowhere", b"", properties_for("m", "guest", {}))
        assert time.monotonic() - begun < 30, "and not the 45 s that a broker usually has"
        link.close()
    finally:
        os.kill(rabbit_node.pid, signal.SIGCONT)


def test_an_idle_publisher_whose_connection_was_closed_connects_anew(
    rabbit_node: RabbitNode, engine: Engine, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq, "SERVE_EVERY", 0.0)  # any time without use is idle, however fast the broker closes
    with engine.consumer([queue]) as consumer, engine.publisher() as publisher:
        publisher.publish(outgoing("first"))
        rabbit_node.ctl("close_all_connections", "test")
        wait_until(lambda: "running" not in rabbit_node.ctl("list_connections", "state"), "all are told to close")
        publisher.publish(outgoing("second"))
        with pytest.raises(BrokerUnavailable):
            consumer.take(0.1)

        names = []
        while (taken := consumer.take(0.5)) is not None:
            names.append(taken.message_id)
            consumer.ack(taken)

    assert names == ["first", "second"]


def test_a_queue_that_was_deleted_under_a_held_message_is_made_again(
    rabbit_node: RabbitNode, engine: Engine, queue: str
) -> None:
    with engine.consumer([queue], prefetch=2) as consumer:
        consumer.publish(outgoing("gone with it"))
        held = take(consumer)
        rabbit_node.ctl("delete_queue", queue)
        with pytest.raises(BrokerUnavailable):
            consumer.take(SOON)
        with pytest.raises(Lost):
            consumer.ack(held)
        assert consumer.take(0) is None
        consumer.publish(outgoing("m"))

        assert take(consumer).message_id == "m"


def test_a_broker_that_cancels_whoever_holds_a_message_leaves_nobody_deaf(
    rabbit_node: RabbitNode, topology: Topology, queue: str
) -> None:
    """What RabbitMQ sends from 4.3 on instead of closing the channel; said here in its place, since it is not there."""
    cancel = Method(1, spec.Basic.Cancel("", nowait=True)).marshal()
    with Overheard(rabbit_node.port) as relay:
        relay.open()
        engine = connect(rabbit_node.url.replace(f":{rabbit_node.port}/", f":{relay.port}/"), topology)
        with engine.consumer([queue], prefetch=2) as consumer:
            consumer.publish(outgoing("m"))
            taken = take(consumer)
            relay.say(cancel)
            with pytest.raises(BrokerUnavailable):
                consumer.pause(SOON)
            with pytest.raises(Lost):
                consumer.ack(taken)

            again = take(consumer)
            consumer.ack(again)
            consumer.publish(outgoing("next"))
            following = take(consumer)
            consumer.ack(following)
    delete_queues(rabbit_node.url, topology)

    assert [(one.message_id, one.redelivered) for one in (again, following)] == [("m", True), ("next", False)]


class Overheard(Relay):
    """A line on which somebody else says something to every client."""

    def say(self, data: bytes) -> None:
        for client in self._servers:
            client.sendall(data)


def _set(node: RabbitNode, **milliseconds: int) -> dict[str, int]:
    """Set variables of the broker for channels that are opened from now on; what they were."""
    before = {name: int(node.ctl("eval", f"rabbit_misc:get_env(rabbit, {name}, 0).")) for name in milliseconds}
    for name, value in milliseconds.items():
        node.ctl("eval", f"application:set_env(rabbit, {name}, {value}).")
    return before
