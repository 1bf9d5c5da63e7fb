"""Two users of a real RabbitMQ, roots that are bound to them, and what one tries to get at the other's results."""

from __future__ import annotations

import io
import uuid
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pika
import pytest

from messaging.connect import connect
from messaging.engine import Outgoing
from messaging.messages import CONTENT_TYPE, SimulationCompleted
from messaging.settings import Settings
from messaging.topology import Topology
from tests.support.broker import delete_queues
from tests.support.events import event
from tests.support.nodes import RabbitNode

if TYPE_CHECKING:
    from consumer.results import ResultsWorker

pytestmark = pytest.mark.rabbitmq

SECRET = b"what Bob wrote"


@pytest.fixture(scope="module")
def users(rabbit_node: RabbitNode) -> Iterator[RabbitNode]:
    for user in ("anna", "bob"):
        rabbit_node.ctl("add_user", user, "PASSWORD")
        rabbit_node.ctl("set_permissions", user, "^$", r"\.events\.v1$", "^$")
    yield rabbit_node
    for user in ("anna", "bob"):
        rabbit_node.ctl("delete_user", user)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Where the results of each user lie."""
    for user, text in (("anna", b"what Anna wrote"), ("bob", SECRET)):
        (tmp_path / user).mkdir()
        (tmp_path / user / "run").mkdir()
        (tmp_path / user / "run" / "a.csv").write_bytes(text)
    return tmp_path


@pytest.fixture
def worker(sqlite_ledger: Settings, folders: Path) -> Iterator[ResultsWorker]:
    from consumer.decide import Policy
    from consumer.lease import LeaseKeeper
    from consumer.results import ResultsWorker
    from consumer.stop import Stop
    from consumer.workshop import Workshop
    from ledger.api import Deliveries, define

    del sqlite_ledger
    define("memory", token=f"space-{uuid.uuid4()}")
    deliveries = Deliveries("host:1", lease=30, overdue=60)
    workshop = Workshop(
        deliveries=deliveries,
        archives=folders / "archives",
        roots=(f"{folders}/{{user}}",),
        site={},
        operator="",
        mail_patience=timedelta(),
    )
    keeper = LeaseKeeper(deliveries, Stop(1))
    keeper.start()
    yield ResultsWorker(workshop, keeper, Policy())
    keeper.close()


@pytest.fixture
def deliver(users: RabbitNode, topology: Topology, worker: ResultsWorker) -> Iterator[Callable[..., Any]]:
    """Publish as a user, let the worker take what came; the delivery's row."""
    own = connect(users.url, topology)
    consumer = own.consumer(topology.lanes)

    def work(user: str, one: SimulationCompleted, properties: pika.BasicProperties | None = None) -> Any:
        from ledger.models import Delivery

        address = users.url.replace("guest:guest@", f"{user}:PASSWORD@")
        if properties is None:
            with connect(address, topology).publisher() as publisher:
                publisher.publish(Outgoing(one.routing_key, one.to_bytes(), str(one.id)))
        else:  # a client of the user's own
            connection = pika.BlockingConnection(pika.URLParameters(address))
            channel = connection.channel()
            channel.confirm_delivery()
            channel.basic_publish(topology.exchange, one.routing_key, one.to_bytes(), properties, mandatory=True)
            connection.close()
        taken = consumer.take(60)
        assert taken is not None
        worker.handle(taken)
        consumer.ack(taken)
        return Delivery.objects.get(id=one.id)

    with consumer:
        yield work
    delete_queues(users.url, topology)


def test_each_user_s_own_results_are_delivered(deliver: Callable[..., Any], folders: Path) -> None:
    for user in ("anna", "bob"):
        row = deliver(user, event(folders / user / "run"))

        assert (row.state, row.publisher) == ("DELIVERED", user), row.reason


def test_nobody_has_another_s_folder_mailed_to_himself(deliver: Callable[..., Any], folders: Path) -> None:
    row = deliver("anna", event(folders / "bob" / "run", recipients=["anna@example.org"]))

    assert (row.state, row.archive_sha256) == ("FAILED", "")
    assert row.reason == f"The results folder {folders}/bob/run is outside the folders that results may come from."


def test_a_link_to_another_s_results_is_left_out(deliver: Callable[..., Any], folders: Path) -> None:
    from backends.memory import Memory
    from ledger.models import StorageBackend

    (folders / "anna" / "run" / "b.csv").symlink_to(folders / "bob" / "run" / "a.csv")

    row = deliver("anna", event(folders / "anna" / "run"))

    assert row.state == "DELIVERED"
    assert row.warnings == ["b.csv: a link that leads out of the results folder."]
    (stored,) = Memory.spaces[StorageBackend.objects.get().storage_backend_token].files.values()
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
        assert not any(SECRET in archive.read(name) for name in archive.namelist())


@pytest.mark.parametrize("headers", [{}, {"x-simcourier-user": "bob"}])
def test_an_event_whose_publisher_the_broker_does_not_vouch_for_is_refused(
    deliver: Callable[..., Any], folders: Path, headers: dict[str, str]
) -> None:
    """Also one that names another in the header by which our own copies tell whom they are from."""
    named = pika.BasicProperties(content_type=CONTENT_TYPE, delivery_mode=2, headers=headers)

    row = deliver("anna", event(folders / "bob" / "run"), named)

    assert row.state == "FAILED"
    assert row.reason.startswith("The broker does not say who published this event")


def test_a_wake_up_by_us_later_is_still_the_publisher_s_delivery(deliver: Callable[..., Any], folders: Path) -> None:
    """The ledger keeps who published: a copy in the ladder, or a retry, comes from the worker's own user."""
    from ledger.operators import retry

    one = event(folders / "bob" / "run")
    assert deliver("anna", one).state == "FAILED"
    assert retry(one.id)

    row = deliver("bob", one)  # Bob knows Anna's event, and sends the same again

    assert (row.state, row.publisher) == ("FAILED", "anna")
