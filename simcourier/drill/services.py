"""The broker and the database of a rehearsal: files, private nodes of installed programs, or room on somebody's own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from messaging.errors import UserError
from messaging.topology import Topology
from simcourier.drill.nodes import (
    MissingBinary,
    PostgresNode,
    RabbitNode,
    create_database,
    delete_queues,
    drop_database,
)


class NoServices(UserError):
    """A broker or database for the rehearsal cannot be had; the text says why."""


@dataclass(frozen=True, slots=True)
class Services:
    """What a rehearsal runs on.

    Args:
        broker_url, database_url: None for files in the rehearsal's folder.
        prefix: of the broker's names.
        restart_broker, restart_database: end it as a crash does and start it again; None: it is not ours to restart.
    """

    description: str
    broker_url: str | None = None
    database_url: str | None = None
    prefix: str = "drill"
    restart_broker: Callable[[], None] | None = None
    restart_database: Callable[[], None] | None = None

    @property
    def embedded(self) -> bool:
        """True if broker and ledger are files."""
        return self.broker_url is None


@contextmanager
def embedded() -> Iterator[Services]:
    """Files, as on one machine."""
    yield Services("embedded broker and ledger (SQLite)")


@contextmanager
def private_nodes() -> Iterator[Services]:
    """A RabbitMQ node and a PostgreSQL server of the rehearsal's own, started from installed programs.

    Raises:
        NoServices: they are not installed.
    """
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(RabbitNode())
            database = stack.enter_context(PostgresNode())
        except MissingBinary as error:
            raise NoServices(f"{error} Install it, or leave out --private-nodes.") from error

        def restart_broker() -> None:
            broker.kill()
            broker.start()

        def restart_database() -> None:
            database.kill()
            database.start()

        yield Services(
            "RabbitMQ and PostgreSQL (private nodes)",
            broker.url,
            create_database(database.url()),
            restart_broker=restart_broker,
            restart_database=restart_database,
        )


@contextmanager
def given(amqp_url: str, database_url: str) -> Iterator[Services]:
    """Queues under a name of their own on a RabbitMQ, and a database of its own on a PostgreSQL; both removed again.

    Args:
        amqp_url: for a user who may make queues.
        database_url: for a user who may create databases; the database that it names is left alone.

    Raises:
        NoServices: no database can be made there.
    """
    import psycopg

    prefix = f"drill-{uuid.uuid4().hex[:10]}"
    try:
        own = create_database(database_url)
    except psycopg.Error as error:
        raise NoServices(f"No database for the drill can be made on that server: {str(error).strip()}") from error
    try:
        yield Services("RabbitMQ and PostgreSQL as given", amqp_url, own, prefix)
    finally:
        delete_queues(amqp_url, Topology(prefix=prefix))
        drop_database(database_url, own)
