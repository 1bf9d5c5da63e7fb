"""The address of a RabbitMQ, and that of a cluster."""

from __future__ import annotations

import pytest

from messaging.engine import BrokerError
from messaging.hosts import each_host
from messaging.rabbitmq_link import Address


def test_an_address_shows_no_password() -> None:
    address = Address("amqp://anna:hunter2@broker.example.org:5673/sims?heartbeat=5")

    assert address.place == "broker.example.org:5673, vhost sims"
    assert "hunter2" not in repr(address)
    assert [node.heartbeat for node in address.nodes] == [5]
    assert [node.blocked_connection_timeout for node in address.nodes] == [20]


def test_several_hosts_share_user_password_vhost_and_options() -> None:
    address = Address("amqps://anna:a%2Cb@one,two:5673,[::1]:5674/sims?heartbeat=5")

    assert address.place == "one:5671, two:5673, ::1:5674, vhost sims"
    assert {(node.credentials.username, node.credentials.password) for node in address.nodes} == {("anna", "a,b")}
    assert {(node.virtual_host, node.heartbeat, node.blocked_connection_timeout) for node in address.nodes} == {
        ("sims", 5, 20)
    }
    assert all(node.ssl_options is not None for node in address.nodes)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("amqp://one", ["amqp://one"]),
        ("amqp://one,two", ["amqp://one", "amqp://two"]),
        (
            "amqp://u:p,w@one, two/%2F?heartbeat=5",
            ["amqp://u:p,w@one/%2F?heartbeat=5", "amqp://u:p,w@two/%2F?heartbeat=5"],
        ),
        ("amqp://u:p,w@one/v", ["amqp://u:p,w@one/v"]),
    ],
)
def test_an_address_is_taken_apart_by_its_hosts(url: str, hosts: list[str]) -> None:
    assert each_host(url) == hosts


@pytest.mark.parametrize("hosts", ["one,", ",two", "one,,two", "one, "])
def test_a_comma_without_a_host_does_not_mean_this_machine(hosts: str) -> None:
    with pytest.raises(BrokerError, match="a comma between several hosts"):
        Address(f"amqp://anna:hunter2@{hosts}/")
