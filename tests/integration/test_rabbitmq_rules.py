"""What only RabbitMQ has: users, arguments of queues, its own dead-lettering."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pika
import pytest

from messaging import topology as limits
from messaging.connect import connect
from messaging.engine import (
    DEATH_HEADER,
    QUEUE_HEADER,
    REASON_HEADER,
    BrokerError,
    Consumer,
    Engine,
    Refused,
    Taken,
    Unroutable,
)
from messaging.messages import CONTENT_TYPE, Lane
from messaging.topology import Topology
from tests.support.broker import delete_queues, outgoing, queue_names
from tests.support.nodes import RabbitNode

pytestmark = pytest.mark.rabbitmq

SOON = 60.0


@pytest.fixture
def url(rabbit_node: RabbitNode, topology: Topology) -> Iterator[str]:
    yield rabbit_node.url
    delete_queues(rabbit_node.url, topology)


@pytest.fixture
def engine(url: str, topology: Topology) -> Engine:
    return connect(url, topology)


@pytest.fixture
def queue(topology: Topology) -> str:
    return topology.lane(Lane.SINGLE)


@pytest.fixture
def channel(url: str) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    """A client that is not ours."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    yield connection.channel()
    connection.close()


def take(consumer: Consumer) -> Taken:
    taken = consumer.take(SOON)
    assert taken is not None, "nothing came"
    return taken


def test_a_message_delivered_too_often_ends_among_the_dead_letters_with_the_reason(
    engine: Engine, topology: Topology, queue: str, channel: pika.adapters.blocking_connection.BlockingChannel
) -> None:
    with engine.consumer([topology.dead]) as consumer:
        consumer.publish(replace(outgoing("m", body=b"\x00"), headers={"kept": "yes"}))
        deliveries = 0
        while (method := channel.basic_get(queue)[0]) is not None:
            channel.basic_nack(method.delivery_tag, requeue=True)
            deliveries += 1
        dead = take(consumer)
        consumer.wait(dead, 0.2)
        again = take(consumer)
        consumer.ack(again)

    assert deliveries == limits.DELIVERY_LIMIT + 1
    assert (dead.body, dead.message_id, dead.headers["kept"]) == (b"\x00", "m", "yes")
    assert dead.headers[QUEUE_HEADER] == queue
    assert dead.headers[REASON_HEADER] == "The broker has set it aside: delivery_limit."
    (death,) = json.loads(dead.headers[DEATH_HEADER])
    assert (death["reason"], death["queue"], death["count"]) == ("delivery_limit", queue, 1)
    assert again.headers == dead.headers  # what is known of a death outlives a wait


def test_an_event_that_expired_says_so_whatever_its_publisher_wrote_into_its_headers(
    engine: Engine, topology: Topology, queue: str, channel: pika.adapters.blocking_connection.BlockingChannel
) -> None:
    forged = {
        REASON_HEADER: "All is well.",
        QUEUE_HEADER: "nowhere",
        DEATH_HEADER: [{"reason": "maxlen", "queue": "x"}],
    }
    with engine.consumer([topology.dead]) as consumer:
        properties = pika.BasicProperties(expiration="50", headers=forged, message_id="m")
        channel.basic_publish("", queue, b"{}", properties)
        dead = take(consumer)
        consumer.wait(dead, 0.2)
        again = take(consumer)
        consumer.ack(again)

    assert dead.headers[REASON_HEADER].startswith("It expired in its queue before anybody took it")
    assert dead.headers[QUEUE_HEADER] == queue
    assert json.loads(dead.headers[DEATH_HEADER])[0]["reason"] == "expired"
    assert again.headers == dead.headers


def test_giving_back_does_not_count_against_the_delivery_limit(
    url: str, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DELIVERY_LIMIT", 3)
    engine = connect(url, topology)
    with engine.consumer([topology.recorder]) as consumer:
        consumer.publish(outgoing("m", "simulation.completed.single"))
        for _ in range(8):
            consumer.give_back(take(consumer))
        for _ in range(8):
            consumer.wait(take(consumer), 0.2)

        assert take(consumer).message_id == "m"


def test_a_simulator_host_needs_the_right_to_write_and_nothing_else(
    rabbit_node: RabbitNode, engine: Engine, topology: Topology, queue: str
) -> None:
    rabbit_node.ctl("add_user", "writer", "sesame")
    try:
        rabbit_node.ctl("set_permissions", "writer", "^$", rf"^{topology.prefix}\.events\.v1$", "^$")
        theirs = connect(rabbit_node.url.replace("guest:guest", "writer:sesame"), topology)
        with theirs.publisher() as publisher:
            with pytest.raises(Unroutable, match="start 'simcourier worker' once"):
                publisher.publish(outgoing("early"))
            with engine.consumer([queue]) as consumer:
                publisher.publish(outgoing("m"))
                taken = take(consumer)
                consumer.wait(taken, 0.2)
                again = take(consumer)
                consumer.ack(again)
        with pytest.raises(Refused, match="'writer'") as caught:
            theirs.consumer([queue])
    finally:
        rabbit_node.ctl("delete_user", "writer")

    assert (taken.user_id, again.user_id) == ("writer", "writer")
    assert again.headers == {}
    assert "sesame" not in str(caught.value)


def test_who_publishes_without_a_user_is_nobody_also_after_a_wait(
    engine: Engine, topology: Topology, queue: str, channel: pika.adapters.blocking_connection.BlockingChannel
) -> None:
    with engine.consumer([queue]) as consumer:
        foreign = pika.BasicProperties(headers={"x-simcourier-user": "root", "number": 7, "CC": ["elsewhere"]})
        channel.basic_publish(topology.exchange, "wake.single", b"{}", foreign)
        taken = take(consumer)
        consumer.give_back(taken)
        again = take(consumer)
        consumer.ack(again)

    assert (taken.user_id, again.user_id) == (None, None)
    assert taken.message_id == ""
    assert taken.headers == again.headers == {"number": "7"}


class Raw(pika.BasicProperties):  # type: ignore[misc] # pika has no types
    """Properties whose headers may be given as the bytes of a table, as pika writes none."""

    def encode(self) -> list[bytes]:
        table: Any = self.headers
        if not isinstance(table, bytes):
            return list(super().encode())
        self.headers: Any = {}
        flags, *strings, _ = super().encode()
        return [flags, *strings, struct.pack(">I", len(table)), table]


def nested(times: int) -> bytes:
    """A list in a list in a list."""
    value = b"V"
    for _ in range(times):
        value = b"A" + struct.pack(">I", len(value)) + value
    return value


@pytest.mark.parametrize(
    "odd",
    [
        {"headers": b"\x01tT" + struct.pack(">Q", 2**63)},
        {"headers": b"\x01l" + nested(5000)},
        {"headers": {"large": "x" * 130_950}},
        {"headers": {b"\xff" * 255: "x", "deep": {b"\xff": 1}}, "message_id": b"\xff" * 255},
    ],
    ids=["far future", "deep", "large", "no text"],
)
def test_what_a_client_writes_beside_a_message_stops_nobody(
    engine: Engine,
    topology: Topology,
    queue: str,
    channel: pika.adapters.blocking_connection.BlockingChannel,
    odd: dict[str, Any],
) -> None:
    with engine.consumer([queue, topology.dead]) as consumer:
        channel.basic_publish(topology.exchange, "wake.single", b"{}", Raw(content_type="x", **odd))
        consumer.give_back(take(consumer))
        consumer.wait(take(consumer), 0.2)
        consumer.bury(take(consumer), "because")
        dead = take(consumer)
        consumer.ack(dead)

    assert (dead.queue, dead.body, dead.headers[REASON_HEADER]) == (topology.dead, b"{}", "because")


def test_what_is_published_is_persistent_and_says_what_it_is(
    engine: Engine, queue: str, channel: pika.adapters.blocking_connection.BlockingChannel
) -> None:
    engine.consumer([queue]).close()
    with engine.publisher() as publisher:
        publisher.publish(outgoing("m"))
    _, properties, body = channel.basic_get(queue, auto_ack=True)

    assert body == b"m"
    assert (properties.delivery_mode, properties.content_type) == (2, CONTENT_TYPE)
    assert (properties.message_id, properties.user_id) == ("m", "guest")


def test_a_wrong_password_is_told_without_the_password(rabbit_node: RabbitNode, topology: Topology) -> None:
    engine = connect(rabbit_node.url.replace("guest:guest", "guest:hunter2"), topology)
    with engine.publisher() as publisher:
        for attempt in (lambda: publisher.publish(outgoing("m")), engine.depths, lambda: engine.consumer([])):
            with pytest.raises(Refused, match="the user 'guest' in") as caught:
                attempt()
            assert "hunter2" not in f"{caught.value}{engine.description}{engine!r}"


def test_an_unknown_vhost_is_told(rabbit_node: RabbitNode, topology: Topology) -> None:
    with connect(f"{rabbit_node.url}nowhere", topology).publisher() as publisher, pytest.raises(Refused, match="vhost"):
        publisher.publish(outgoing("m"))


def test_a_queue_made_with_other_arguments_is_named(
    engine: Engine, topology: Topology, channel: pika.adapters.blocking_connection.BlockingChannel
) -> None:
    channel.queue_declare(topology.recorder, durable=True)
    with pytest.raises(BrokerError, match=rf"{topology.recorder} already, made with other arguments"):
        engine.consumer([topology.recorder])


def test_all_queues_are_made_whichever_consumer_comes_first(
    engine: Engine, topology: Topology, channel: pika.adapters.blocking_connection.BlockingChannel
) -> None:
    engine.consumer([topology.notifications]).close()
    engine.consumer([topology.dead]).close()  # a second time changes nothing

    for name in queue_names(topology):
        channel.queue_declare(name, passive=True)  # raises if it is missing
