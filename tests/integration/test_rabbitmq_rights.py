"""The broker's users, with the rights that deploy/rabbitmq gives them, overstepped on a real node."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pika.exceptions
import pytest

from backends.contract import Link
from messaging.connect import connect
from messaging.engine import BrokerError, Outgoing, Refused
from messaging.messages import SimulationCompleted
from messaging.settings import Settings
from messaging.topology import Topology
from tests.support.broker import delete_queues
from tests.support.deployment import DEPLOY, make_secrets, with_addresses
from tests.support.events import event
from tests.support.nodes import RabbitNode
from tests.support.pages import blocks, type_at

pytestmark = pytest.mark.rabbitmq

TOPOLOGY = Topology()
EVENTS = TOPOLOGY.exchange
KEY = "simulation.completed.single"
Overstep = Callable[[Any], object]


@pytest.fixture(scope="module")
def secrets(rabbit_node: RabbitNode, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The secrets of a deployment whose definitions the node has."""
    folder = tmp_path_factory.mktemp("deployment") / "secrets"
    assert make_secrets(folder).returncode == 0
    here = f"127.0.0.1:{rabbit_node.port}"
    with_addresses(folder, {"rabbitmq:5672": here, "localhost:5672": here})
    rabbit_node.ctl("import_definitions", str(folder / "rabbitmq_definitions.json"))
    return folder


@pytest.fixture
def worker_url(secrets: Path) -> Iterator[str]:
    """As a worker, who has declared everything."""
    url = (secrets / "broker_url").read_text("ascii").strip()
    connect(url, TOPOLOGY).consumer(TOPOLOGY.lanes).close()
    yield url
    delete_queues(url, TOPOLOGY)


@pytest.fixture
def simulator_url(worker_url: str, secrets: Path) -> str:
    """As a simulator, on a broker where a worker has been."""
    del worker_url
    return (secrets / "simulator_broker_url").read_text("ascii").strip()


@pytest.fixture
def channel(simulator_url: str) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    """A simulator that writes a client of its own."""
    connection = pika.BlockingConnection(pika.URLParameters(simulator_url))
    channel = connection.channel()
    channel.confirm_delivery()
    yield channel
    connection.close()


def test_the_users_are_those_of_the_definitions_and_none_may_administer(rabbit_node: RabbitNode, secrets: Path) -> None:
    del secrets
    tags = dict(line.split("\t") for line in rabbit_node.ctl("list_users").splitlines()[1:])

    assert (tags["simcourier"], tags["simulator"]) == ("[]", "[]")


def test_a_simulator_publishes_and_it_is_known_who_did(simulator_url: str, worker_url: str) -> None:
    with connect(simulator_url, TOPOLOGY).publisher() as publisher:
        publisher.publish(Outgoing(KEY, b"{}", "one"))

    with connect(worker_url, TOPOLOGY).consumer([TOPOLOGY.recorder]) as consumer:
        taken = consumer.take(60)
        assert taken is not None
        assert (taken.body, taken.user_id) == (b"{}", "simulator")
        consumer.ack(taken)


def test_simcourier_publish_needs_no_more_than_a_simulators_rights(simulator_url: str, tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (results / "a.sca").write_text("1")

    done = subprocess.run(
        [sys.executable, "-m", "simcourier", "publish", str(results), "--to", "anna@example.org", "--backend", "local"],
        env={"SIMCOURIER_BROKER_URL": simulator_url, "SIMCOURIER_DATA_DIR": str(tmp_path / "data")},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "Accepted by the broker" in done.stdout


@pytest.mark.parametrize("key", ["link.ready", "delivery.failed", "wake.single", "simulation.completed"])
def test_a_simulator_can_send_no_other_message_than_its_events(simulator_url: str, key: str) -> None:
    """Not under their keys. By way of ``CC``, which RabbitMQ does not hold against the rights, see the next test."""
    with connect(simulator_url, TOPOLOGY).publisher() as publisher, pytest.raises(Refused) as refused:
        publisher.publish(Outgoing(key, b"{}", "one"))

    assert "does not allow this to the user 'simulator'" in str(refused.value)


def routed(channel: pika.adapters.blocking_connection.BlockingChannel, body: bytes, *keys: str) -> None:
    """Publish an event with further routing keys in its headers."""
    properties = pika.BasicProperties(headers={"CC": list(keys[:1]), "BCC": list(keys[1:])}, user_id="simulator")
    channel.basic_publish(EVENTS, KEY, body, properties, mandatory=True)


def test_a_message_that_a_simulator_has_routed_to_the_email_sender_makes_no_mail_and_no_link(
    channel: pika.adapters.blocking_connection.BlockingChannel,
    worker_url: str,
    sqlite_ledger: Settings,
    tmp_path: Path,
) -> None:
    """RabbitMQ copies a message to the keys in ``CC`` and ``BCC`` without asking for the right to each.

    So a simulator reaches the email sender's queue. What is mailed, to whom, and with which link stands in the ledger.
    """
    from consumer.decide import Policy
    from consumer.email_sender import EmailSender
    from consumer.loop import Ack, Bury
    from consumer.mail.render import Renderer
    from consumer.mail.transports import transport
    from consumer.stop import Stop
    from ledger.api import Notices, announcement
    from ledger.models import Notification
    from ledger.work import from_now

    del sqlite_ledger
    delivered = some_delivery()
    told = announcement(delivered.id)
    assert told is not None
    forged = told.body.replace(b"http://example.org/f", b"http://evil.example/f").replace(
        f'"id":"{told.message_id}"'.encode(), f'"id":"{uuid.uuid4()}"'.encode()
    )
    assert b"evil" in forged
    mails = tmp_path / "mail"
    sender = EmailSender(
        Notices(lease=30, overdue=60),
        Renderer("SimCourier <sim@example.org>"),
        transport(mails.as_uri(), timeout=5),
        Policy(),
        Stop(1),
    )
    notice = Notification.objects.get()

    def wake(*bodies: bytes) -> list[object]:
        for body in bodies:
            routed(channel, body, "link.ready")
        settled: list[object] = []
        with connect(worker_url, TOPOLOGY).consumer([TOPOLOGY.notifications]) as consumer:
            while (taken := consumer.take(1)) is not None:
                assert taken.user_id == "simulator"
                settled.append(sender.handle(taken).settle)
                consumer.ack(taken)
        return settled

    Notification.objects.update(due_at=from_now(600))
    (later, buried) = wake(forged, delivered.to_bytes())
    assert isinstance(buried, Bury), "an event is nothing for the email sender"
    assert not isinstance(later, Ack), "the mail's own time counts"
    assert not list(mails.glob("*.eml"))

    Notification.objects.update(due_at=from_now(-1))
    assert wake(forged, forged) == [Ack(), Ack()]
    (mail,) = mails.glob("*.eml")
    assert "evil" not in mail.read_text()
    assert "http://example.org/f" in mail.read_text()
    assert Notification.objects.values_list("id", "recipient", "state").get() == (notice.id, notice.recipient, "SENT")


def test_a_wake_up_that_a_simulator_has_routed_is_the_event_it_is_and_delivers_nothing_twice(
    channel: pika.adapters.blocking_connection.BlockingChannel, worker_url: str, sqlite_ledger: Settings
) -> None:
    from ledger.api import Deliveries, Ended
    from ledger.models import Delivery, Notification

    del sqlite_ledger
    delivered = some_delivery()
    routed(channel, delivered.to_bytes(), "wake.single", "wake.campaign")

    claims = []
    with connect(worker_url, TOPOLOGY).consumer(TOPOLOGY.lanes) as consumer:
        while (taken := consumer.take(1)) is not None:
            claims.append(Deliveries("host:2", lease=30, overdue=60).claim(delivered, taken.body, taken.user_id))
            consumer.ack(taken)

    assert claims
    assert {type(claim) for claim in claims} == {Ended}
    assert (Delivery.objects.count(), Notification.objects.count()) == (1, 1)


def some_delivery() -> SimulationCompleted:
    """One that has its link, and whose mail is owed."""
    from ledger.api import Claim, Deliveries

    one = event()
    deliveries = Deliveries("host:1", lease=30, overdue=60)
    held = deliveries.claim(one, one.to_bytes(), "simulator")
    assert isinstance(held, Claim)
    deliveries.packed(held, name="a.zip", size=3, sha256="0" * 64, warnings=[])
    deliveries.finish(held, Link(url="http://example.org/f"), keep_days=30)
    return one


def test_a_simulator_cannot_speak_in_anothers_name(channel: pika.adapters.blocking_connection.BlockingChannel) -> None:
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        channel.basic_publish(EVENTS, KEY, b"{}", pika.BasicProperties(user_id="simcourier"), mandatory=True)

    assert closed.value.reply_code == 406
    assert "user_id" in closed.value.reply_text


@pytest.mark.parametrize(
    "overstep",
    [
        lambda channel: channel.basic_publish("", TOPOLOGY.notifications, b"{}"),
        lambda channel: channel.basic_publish(TOPOLOGY.dead_exchange, "", b"{}"),
        lambda channel: channel.basic_publish("amq.topic", KEY, b"{}"),
        lambda channel: channel.basic_get(TOPOLOGY.recorder),
        lambda channel: next(channel.consume(TOPOLOGY.lanes[0], inactivity_timeout=10)),
        lambda channel: channel.queue_purge(TOPOLOGY.lanes[0]),
        lambda channel: channel.queue_delete(TOPOLOGY.lanes[0]),
        lambda channel: channel.queue_declare("mine"),
        lambda channel: channel.queue_declare("simcourier.mine.v1"),
        lambda channel: channel.exchange_declare("simcourier.mine.v1"),
        lambda channel: channel.exchange_delete(EVENTS),
        lambda channel: channel.queue_bind(TOPOLOGY.notifications, EVENTS, KEY),
    ],
    ids=["a queue", "dead letters", "another exchange", "read", "consume", "purge", "delete", "declare a queue",
         "declare one of ours", "declare an exchange", "delete an exchange", "bind"],
)  # fmt: skip
def test_a_simulator_may_do_nothing_else(
    channel: pika.adapters.blocking_connection.BlockingChannel, overstep: Overstep
) -> None:
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        overstep(channel)

    assert closed.value.reply_code == 403


def test_a_worker_that_is_given_a_simulators_address_says_what_it_may_not(simulator_url: str) -> None:
    with pytest.raises(BrokerError) as told, connect(simulator_url, TOPOLOGY).consumer(TOPOLOGY.lanes) as consumer:
        consumer.take(1)

    assert "does not allow this to the user 'simulator'" in str(told.value)


def test_a_worker_does_all_it_must(worker_url: str) -> None:
    with connect(worker_url, TOPOLOGY).consumer([TOPOLOGY.notifications]) as consumer:
        consumer.publish(Outgoing("link.ready", b"{}", "one"))
        for settle in (
            lambda taken: consumer.wait(taken, 1),
            consumer.give_back,
            lambda taken: consumer.bury(taken, "x"),
        ):
            taken = consumer.take(60)
            assert taken is not None
            settle(taken)
    with connect(worker_url, TOPOLOGY).consumer([TOPOLOGY.dead]) as consumer:
        taken = consumer.take(60)
        assert taken is not None
        consumer.ack(taken)


@pytest.mark.parametrize(
    "overstep",
    [lambda channel: channel.queue_declare("other"), lambda channel: channel.basic_publish("amq.fanout", "", b"{}")],
    ids=["declare", "publish"],
)
def test_a_worker_may_do_nothing_outside_its_names(worker_url: str, overstep: Overstep) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(worker_url))
    channel = connection.channel()
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        overstep(channel)
    connection.close()

    assert closed.value.reply_code == 403


def test_another_simulators_user_is_added_as_the_operators_guide_says(
    rabbit_node: RabbitNode, simulator_url: str, secrets: Path
) -> None:
    definitions, user = blocks("docs/operating.md", "Users of the broker")
    type_at(rabbit_node.environ, secrets, definitions, {"/etc/simcourier/secrets": str(secrets)})
    type_at(rabbit_node.environ, secrets, user)
    _, at, rest = simulator_url.partition("@")
    with connect(f"amqp://cluster:PASSWORD{at}{rest}", TOPOLOGY).publisher() as publisher:
        publisher.publish(Outgoing(KEY, b"{}", "one"))
        with pytest.raises(Refused):
            publisher.publish(Outgoing("link.ready", b"{}", "one"))
    rabbit_node.ctl("delete_user", "cluster")


def test_the_consumer_timeout_is_looked_up_as_the_page_on_the_doctor_says(
    rabbit_node: RabbitNode, tmp_path: Path
) -> None:
    (look,) = blocks("docs/doctor.md", "What it cannot see")

    assert type_at(rabbit_node.environ, tmp_path, look).stdout.strip() == "{ok,1800000}"


def test_definitions_that_are_loaded_again_leave_what_they_do_not_name(
    rabbit_node: RabbitNode, secrets: Path, simulator_url: str
) -> None:
    """As a node does at every start."""
    rabbit_node.ctl("add_user", "cluster", "a password")
    rabbit_node.ctl("change_password", "simulator", "another password")
    rabbit_node.ctl("import_definitions", str(secrets / "rabbitmq_definitions.json"))

    assert "cluster" in rabbit_node.ctl("list_users")
    pika.BlockingConnection(pika.URLParameters(simulator_url)).close()  # with the password of the definitions
    rabbit_node.ctl("delete_user", "cluster")


def test_the_definitions_in_the_repository_hold_no_secret() -> None:
    text = (DEPLOY / "rabbitmq" / "definitions.template.json").read_text("utf-8")

    assert text.count('"password_hash": "@') == text.count('"password_hash"') == 2
