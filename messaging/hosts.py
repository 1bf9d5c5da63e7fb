"""Several hosts in one address, as a cluster has them: ``amqp://USER:PASSWORD@ONE,TWO:5673/VHOST``."""

from __future__ import annotations

from urllib.parse import urlsplit


class EmptyHost(ValueError):
    """Between two commas there is no host."""


def each_host(url: str) -> list[str]:
    """The address once per host, in the order given, the rest being the same.

    Raises:
        ValueError: it cannot be read.
        EmptyHost: there is no host between two commas; pika would take this machine.
    """
    parts = urlsplit(url)
    credentials, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        return [url]
    if not all(host.strip() for host in hosts.split(",")):
        raise EmptyHost
    return [parts._replace(netloc=f"{credentials}{at}{host.strip()}").geturl() for host in hosts.split(",")]
