"""Private throw-away nodes of RabbitMQ and PostgreSQL, started from installed binaries beside whatever runs here."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import uuid
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import pika
import pika.exceptions
import psycopg

from messaging.topology import Topology
from simcourier.drill.scratch import Scratch, find_binary, free_ports, wait_until


class MissingBinary(Exception):
    """A node cannot be started because its programs are not installed."""


class RabbitNode:
    """A RabbitMQ node with its own ports, cookie, port mapper and data.

    Args:
        config: lines of ``rabbitmq.conf``.
        login: user and password, where the configuration makes others than ``guest``.
        vhost: likewise.
        beside: a node whose cookie and port mapper it shares, so that the two can be clustered; it is ended last.

    Raises:
        MissingBinary: RabbitMQ is not installed.
    """

    def __init__(
        self, config: str = "", *, login: str = "guest:guest", vhost: str = "", beside: RabbitNode | None = None
    ) -> None:
        self._login, self._vhost = login, vhost
        self._server = _require("rabbitmq-server", "RabbitMQ", "/usr/lib/rabbitmq/bin")
        self._ctl = _require("rabbitmqctl", "RabbitMQ", "/usr/lib/rabbitmq/bin")
        self._epmd = _require("epmd", "Erlang", "/usr/lib/erlang/erts-*/bin")
        self._scratch = Scratch("rabbitmq", signal.SIGKILL)
        self.port, dist_port, epmd_port = free_ports(3)
        self.name = f"simcourier{self.port}@localhost"
        folder = self._scratch.path
        (folder / "rabbitmq.conf").write_text(
            f"loopback_users = none\nlisteners.tcp.1 = 127.0.0.1:{self.port}\n{config}"
        )
        (folder / "plugins").write_text("[].")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        self.environ: dict[str, str] = inherited | {
            "HOME": beside.environ["HOME"] if beside else str(folder),
            "ERL_EPMD_PORT": beside.environ["ERL_EPMD_PORT"] if beside else str(epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(dist_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            # The script becomes the node instead of guarding it: one process, one pid.
            "RUNNING_UNDER_SYSTEMD": "true",
        }
        if beside is None:
            self._scratch.spawn(
                [self._epmd, "-port", str(epmd_port), "-address", "127.0.0.1"], log="epmd.log", env=self.environ
            )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of the node for its user."""
        return f"amqp://{self._login}@127.0.0.1:{self.port}/{self._vhost}"

    @property
    def runs(self) -> bool:
        """False before it is started and once it is ended."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Process id of the running node."""
        assert self._process is not None, "the node does not run"
        return self._process.pid

    def start(self) -> None:
        """Start, or start again with the data of before; returns when clients can work (6 to 9 s)."""
        self._process = process = self._scratch.spawn([self._server], log="server.log", env=self.environ)

        def ready() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"RabbitMQ ended on start:\n{self._scratch.tail('server.log')}")
            return self._answers()

        wait_until(ready, "RabbitMQ's start", timeout=300, step=0.2)

    def stop(self) -> None:
        """Shut down in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def ctl(self, *arguments: str) -> str:
        """Run ``rabbitmqctl`` on the node; what it prints (1 to 2 s)."""
        done = subprocess.run(
            [self._ctl, "--quiet", *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=300,  # on a busy machine, a program of Erlang's takes long to start
            check=False,
        )
        assert done.returncode == 0, f"rabbitmqctl {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def close(self) -> None:
        """End everything and remove the data."""
        self._scratch.remove()
        self._process = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._scratch.end(self._process, how)
            self._process = None

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            try:
                pika.BlockingConnection(pika.URLParameters(f"{self.url}?stack_timeout=10")).close()
            except pika.exceptions.AMQPError:
                return False
            return True
        return False


class PostgresNode:
    """A PostgreSQL server on a port of the loopback address; as root it runs as the user ``postgres``.

    Raises:
        MissingBinary: PostgreSQL is not installed.
    """

    def __init__(self) -> None:
        self._postgres = _require("postgres", "PostgreSQL", "/usr/lib/postgresql/*/bin")
        initdb = _require("initdb", "PostgreSQL", "/usr/lib/postgresql/*/bin")
        self._scratch = Scratch("postgres", signal.SIGQUIT)
        self._user = "postgres" if os.geteuid() == 0 else None
        (self.port,) = free_ports(1)
        if self._user:
            shutil.chown(self._scratch.path, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            subprocess.run(
                [initdb, "-D", "data", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"],
                cwd=self._scratch.path,
                user=self._user,
                capture_output=True,
                check=True,
                timeout=300,
            )
        except BaseException:
            self._scratch.remove()
            raise

    def url(self, database: str = "postgres") -> str:
        """Address of a database for the user ``postgres``."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start, or start again with the data of before; returns when clients can work (about 1 s)."""
        self._process = process = self._scratch.spawn(
            [self._postgres, "-D", "data", "-h", "127.0.0.1", "-p", str(self.port), "-k", str(self._scratch.path)],
            log="server.log",
            user=self._user,
        )

        def ready() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"PostgreSQL ended on start:\n{self._scratch.tail('server.log')}")
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
            except psycopg.OperationalError:
                return False
            return True

        wait_until(ready, "PostgreSQL's start", timeout=300, step=0.1)

    def stop(self) -> None:
        """Shut down in order, disconnecting whoever is there."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a crash would: no checkpoint, the next start recovers."""
        self._end(signal.SIGQUIT)

    def close(self) -> None:
        """End everything and remove the data."""
        self.kill()
        self._scratch.remove()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._scratch.end(self._process, how)
            self._process = None


def create_database(server_url: str) -> str:
    """A new, empty database on the server of ``server_url`` (whose user may create databases); its address."""
    name = f"simcourier_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    parts = urlsplit(server_url)  # psycopg's own options, as `sslmode`, may follow the name
    return parts._replace(path=f"/{name}").geturl()


def drop_database(server_url: str, url: str) -> None:
    """Remove a database that `create_database` made, whoever is still connected to it."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{urlsplit(url).path.lstrip("/")}" WITH (FORCE)')


def queue_names(topology: Topology) -> list[str]:
    """All queues on RabbitMQ, the wait ladder among them."""
    ladder = [topology.wait_queue(queue, rung) for queue in topology.queues for rung in topology.waits]
    return [*topology.queues, *ladder]


def delete_queues(url: str, topology: Topology) -> None:
    """Remove whatever RabbitMQ has of ``topology``."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        channel = connection.channel()
        for name in queue_names(topology):
            channel.queue_delete(name)
        for name in (topology.exchange, topology.dead_exchange):
            channel.exchange_delete(name)
    finally:
        connection.close()


def _require(name: str, product: str, *patterns: str) -> str:
    path = find_binary(name, *patterns)
    if path is None:
        raise MissingBinary(f"{product} is not installed ({name} is neither in {', '.join(patterns)} nor on the PATH).")
    return path
