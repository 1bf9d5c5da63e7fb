"""Ports that are looked for now and listened on a moment later, on a machine where others look for some too."""

from __future__ import annotations

import socket

from tests.support.scratch import free_ports


def test_a_free_port_is_given_to_nobody_else_before_somebody_listens_on_it() -> None:
    ports = free_ports(40)

    given = set()
    for _ in range(5000):
        with socket.create_server(("127.0.0.1", 0)) as other:
            given.add(other.getsockname()[1])

    assert len(set(ports)) == 40
    assert given.isdisjoint(ports)
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()
