"""A RabbitMQ cluster of three nodes whose leader is killed under load: nothing lost, nothing twice."""

from __future__ import annotations

import email
import email.policy
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from messaging.connect import connect
from messaging.engine import Outgoing
from messaging.messages import Lane
from messaging.topology import Topology
from producer import publish
from tests.support.cluster import SIZE, RabbitCluster
from tests.support.installation import Installation, fetch, files_below, link_in, stored_archives, text_of, unpacked
from tests.support.nodes import MissingBinary
from tests.support.pages import blocks, type_at
from tests.support.scratch import free_ports, wait_until
from tests.support.smtp import Mailbox, smtp_server

pytestmark = [pytest.mark.full, pytest.mark.rabbitmq, pytest.mark.postgresql]

KILLS = 3
LOAD = 5.0  # seconds of it around each kill
BETWEEN = 0.1  # seconds between two events


@pytest.fixture
def cluster() -> Iterator[RabbitCluster]:
    try:
        made = RabbitCluster()
    except MissingBinary as missing:
        pytest.skip(str(missing))
    with made:
        yield made


def test_a_node_is_added_and_all_are_upgraded_one_after_the_other_as_the_page_says(tmp_path: Path) -> None:
    _join, grow = blocks("docs/cluster.md", "RabbitMQ")
    (upgrade,) = blocks("docs/cluster.md", "Rolling upgrade")
    before, after = upgrade.split("# stop, upgrade, start\n")
    after_each, after_the_last = after.splitlines()
    queue = Topology().lane(Lane.SINGLE)
    try:
        cluster = RabbitCluster(joined=SIZE - 1)
    except MissingBinary as missing:
        pytest.skip(str(missing))
    with cluster:
        first, *_, last = cluster.nodes
        first.ctl("add_vhost", "simcourier")
        first.ctl("set_permissions", "--vhost=simcourier", "guest", ".*", ".*", ".*")
        url = f"{cluster.url}simcourier"
        connect(url, Topology()).consumer(Topology().queues).close()
        with connect(url, Topology()).publisher() as publisher:
            publisher.publish(Outgoing("simulation.completed.single", b"{}", "one"))

        cluster.join(last)
        told = type_at(last.environ, tmp_path, grow, {"rabbit@two": last.name}).stdout

        status = told.partition("Status of quorum queue")[2]
        assert all(node.name in status for node in cluster.nodes)
        for node in cluster.nodes:
            type_at(node.environ, tmp_path, before)
            node.stop()
            node.start()
            type_at(node.environ, tmp_path, after_each)
        type_at(last.environ, tmp_path, after_the_last)
        with connect(url, Topology()).consumer([queue]) as consumer:
            taken = consumer.take(60)
        assert taken is not None
        assert taken.body == b"{}"


def kill_leaders(cluster: RabbitCluster, queue: str, over: threading.Event) -> None:
    """One after the other, each started again before the next: two of three are always there."""
    try:
        for _ in range(KILLS):
            over.wait(LOAD)
            leader = cluster.leader(queue)
            leader.kill()
            over.wait(LOAD)
            leader.start()
            wait_until(lambda: cluster.online(queue) == SIZE, "it is a member again", 60, 0.5)
    finally:
        over.set()


def test_the_leader_of_the_work_queue_is_killed_under_load_and_nothing_is_lost_and_nothing_comes_twice(
    cluster: RabbitCluster, new_database_url: Callable[[], str], tmp_path: Path, results: Path
) -> None:
    published: list[str] = []
    with (
        smtp_server(free_ports(1)[0]) as mailbox,
        Installation(
            tmp_path / "data", broker_url=cluster.url, database_url=new_database_url(), email_url=mailbox.url
        ) as one,
    ):
        queue = one.settings.topology.lane(Lane.SINGLE)
        one.start_cloud()
        for role in ("worker", "worker", "email-sender"):
            one.start(role)
        one.wait_ready()
        assert cluster.members(queue) == SIZE
        over = threading.Event()
        killer = threading.Thread(target=kill_leaders, args=(cluster, queue, over))
        killer.start()
        while not over.wait(BETWEEN):
            answer = publish(results, to="anna@example.org", backend="local", settings=one.settings)
            published.append(str(answer.event_id))
        killer.join()
        one.simcourier("spool", "flush")
        wait_until(lambda: len(delivered(mailbox)) >= len(published), "a mail for each", 600, 0.5)
        one.wait_until_quiet()
        wanted = files_below(results)
        links = [link for mails in delivered(mailbox).values() for link in map(link_in, mails)]
        good = sum(unpacked(fetch(link)) == wanted for link in set(links))
        stored = len(stored_archives(one))
        dead = one.simcourier("dead", "list", "--json").stdout.strip()

    mails = Counter({event_id: len(found) for event_id, found in delivered(mailbox).items()})
    lost = [event_id for event_id in published if not mails[event_id]]
    twice = [event_id for event_id, count in mails.items() if count > 1]
    print(
        f"events {len(published)}, leaders killed {KILLS}, links {good}, archives {stored}, mails {mails.total()}, "
        f"lost {len(lost)}, twice {len(twice)}"
    )
    assert (lost, twice, dead) == ([], [], "[]")
    assert good == stored == mails.total() == len(published)


def delivered(mailbox: Mailbox) -> dict[str, list[EmailMessage]]:
    """The mails by the delivery that they are about."""
    found: dict[str, list[EmailMessage]] = {}
    for _, content in list(mailbox.accepted):
        mail = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        found.setdefault(text_of(mail).strip().rpartition(" ")[2], []).append(mail)
    return found
