"""One connection to RabbitMQ with one channel; the only module that drives pika.

Everything that can go wrong between us and the broker leaves as a `messaging.engine.BrokerError`. After any error but
`Refused` and `Unroutable` the link is closed whole, connection and channel: whoever needs one opens a new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pika
from pika.exceptions import (
    AMQPConnectionError,
    AMQPError,
    AuthenticationError,
    ChannelClosedByBroker,
    ChannelError,
    ConnectionBlockedTimeout,
    ConnectionClosedByBroker,
    NackError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    UnroutableError,
)

from messaging.engine import BrokerError, BrokerUnavailable, Refused, Unroutable
from messaging.hosts import each_host
from messaging.rabbitmq_properties import use_tolerant_properties
from messaging.rabbitmq_tls import distrust, without_files

# Defaults for what the URL's query may set otherwise (pika.URLParameters names them), in seconds. Heartbeats tell a
# dead broker after two of them; a broker that has run into its memory or disk alarm blocks publishers.
DEFAULTS: Final[Mapping[str, float]] = {
    "heartbeat": 30,
    "blocked_connection_timeout": 20,
    "socket_timeout": 5,
    "stack_timeout": 10,
    "connection_attempts": 1,
}
# Heartbeats say nothing of a queue that has lost its majority: it answers neither publish nor get, for ever.
ANSWER_SECONDS: Final = 45.0
CLOSE_SECONDS: Final = 5.0

# AMQP 0-9-1, section 1.2: reply codes.
ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED, NOT_ALLOWED = 403, 404, 406, 530

_PIKA_ERRORS = (AMQPError, ChannelError, OSError)


class OtherArguments(Refused):
    """A queue or exchange of this name is there, made in another way."""


@dataclass(frozen=True, slots=True)
class Got:
    """A message as it came, and the tag under which this link can settle it."""

    tag: int
    redelivered: bool
    properties: pika.BasicProperties
    body: bytes


class Address:
    """Where a broker is and who we are there.

    Args:
        url: ``amqp[s]://USER:PASSWORD@HOST[:PORT][,HOST[:PORT]...]/VHOST``, with pika's options as its query. The
            hosts are the nodes of one cluster.
        answer_seconds: how long the broker may take for any answer.

    Raises:
        BrokerError: the URL cannot be read.
    """

    def __init__(self, url: str, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        try:
            url, tls = without_files(url)
            nodes = [pika.URLParameters(one) for one in each_host(url)]
            given = parse_qs(urlsplit(url).query)
        except (ValueError, TypeError, IndexError):
            # Not chained: what pika says may quote the address, and with it the password.
            raise BrokerError(
                "The broker's address cannot be read; amqp[s]://USER:PASSWORD@HOST[:PORT]/VHOST is expected, with "
                "special characters in user, password and vhost percent-encoded, and a comma between several hosts."
            ) from None
        self.answer_seconds = answer_seconds
        self.nodes = nodes
        self.set(**{name: value for name, value in DEFAULTS.items() if name not in given})
        self.set(client_properties={"connection_name": "simcourier"})
        if tls is not None:
            self.set(ssl_options=pika.SSLOptions(tls))
        self.user: str = nodes[0].credentials.username
        self.place = f"{', '.join(map(_host, nodes))}, vhost {nodes[0].virtual_host}"

    def __repr__(self) -> str:
        return f"Address({self.place})"

    def set(self, **options: Any) -> None:
        """Set options of pika's for every node."""
        for node in self.nodes:
            for name, value in options.items():
                setattr(node, name, value)

    def connect(self) -> pika.BlockingConnection:
        """A connection to the first node that answers; the next one is tried there first, not where nobody was."""
        use_tolerant_properties()
        connection = pika.BlockingConnection(self.nodes)
        answered = _node(connection)
        self.nodes = sorted(self.nodes, key=lambda node: _host(node) != answered)
        return connection


class Link:
    """An open connection and channel. Belongs to the thread that made it, but for `wake`.

    Raises:
        BrokerUnavailable: the broker cannot be reached.
        Refused: it does not let us in.
    """

    def __init__(self, address: Address, *, confirms: bool) -> None:
        self._address = address
        try:
            self._connection = address.connect()
        except _PIKA_ERRORS as error:
            raise spoken(error, address) from error
        with self._errors():
            self._channel = self._connection.channel()
            if confirms:
                self._channel.confirm_delivery()

    @property
    def is_open(self) -> bool:
        """False once the broker or an error has closed it, as far as we have heard."""
        return bool(self._connection.is_open and self._channel.is_open)

    @property
    def node(self) -> str:
        """Host and port that it leads to, of several."""
        return _node(self._connection)

    @property
    def version(self) -> str:
        """What the broker says it is."""
        told = self._connection._impl.server_properties or {}  # noqa: SLF001 - pika hands it on to callbacks only
        return " ".join(str(told[name]) for name in ("product", "version") if name in told)

    def publish(self, exchange: str, key: str, body: bytes, properties: pika.BasicProperties) -> None:
        """Publish and wait for the confirm.

        Raises:
            BrokerUnavailable: whether the broker has the message is not known.
            Refused: it has refused the message.
            Unroutable: there is no such exchange, or no queue bound for the key.
        """
        with self._errors():
            self._channel.basic_publish(exchange, key, body, properties, mandatory=True)

    def get(self, queue: str) -> Got | None:
        """The first message of a queue."""
        with self._errors():
            method, properties, body = self._channel.basic_get(queue)
        if method is None:
            return None
        return Got(method.delivery_tag, method.redelivered, properties, body or b"")

    def count(self, queue: str) -> int:
        """Messages ready in a queue; asking writes nothing on the broker, other than an empty `get`."""
        with self._errors():
            return int(self._channel.queue_declare(queue, passive=True).method.message_count)

    def ack(self, tag: int) -> None:
        """Settle a message that this link got."""
        with self._errors():
            self._channel.basic_ack(tag)

    def requeue(self, tag: int) -> None:
        """Put a message that this link got back where it was."""
        with self._errors():
            self._channel.basic_nack(tag, requeue=True)

    def declare_exchange(self, name: str, kind: str, *, make: bool = True) -> None:
        """Make a durable exchange, or see that it is there; without ``make``, raise `Unroutable` if it is not."""
        with self._errors(name):
            self._channel.exchange_declare(name, kind, durable=True, passive=not make)

    def declare_queue(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Make a durable queue, or see that it is there with just these arguments."""
        with self._errors(name):
            self._channel.queue_declare(name, durable=True, arguments=dict(arguments))

    def bind(self, queue: str, exchange: str, key: str) -> None:
        """Let the queue have what is published to the exchange with this key."""
        with self._errors(queue):
            self._channel.queue_bind(queue, exchange, key)

    def serve(self, seconds: float) -> None:
        """Keep the connection alive, for ``seconds`` or until `wake`.

        Raises:
            BrokerUnavailable: connection or channel is closed (pika is silent about a closed channel).
        """
        with self._errors(idle=seconds):
            self._connection.process_data_events(seconds)
            if not self.is_open and isinstance(why := self._channel._closing_reason, AMQPError):  # noqa: SLF001
                raise why  # a message was held for too long, say
        if not self.is_open:
            self.close()
            raise BrokerUnavailable(f"RabbitMQ at {self._address.place} has closed our channel.")

    def wake(self) -> None:
        """End a `serve` that runs in the link's thread. May be called from any thread."""
        with suppress(*_PIKA_ERRORS):
            self._connection.add_callback_threadsafe(_nothing)

    def close(self) -> None:
        """Let go of the connection; the broker requeues what was got and not settled. Never raises."""
        if self._connection.is_open:
            with suppress(*_PIKA_ERRORS), _limit(self._connection, CLOSE_SECONDS):
                self._connection.close()

    @contextmanager
    def _errors(self, name: str = "", idle: float = 0) -> Iterator[None]:
        try:
            with _limit(self._connection, self._address.answer_seconds + idle):
                yield
        except _PIKA_ERRORS as error:
            if not isinstance(error, NackError | UnroutableError):
                self.close()
            raise spoken(error, self._address, name) from error


@contextmanager
def _limit(connection: pika.BlockingConnection, seconds: float) -> Iterator[None]:
    """Break the connection if the block takes longer: pika has no time limit for the broker's answers.

    This is how pika itself ends a connection that is blocked for too long (``_on_blocked_connection_timeout``).
    """
    if connection.is_closed:
        yield  # and let the call inside say so
        return
    impl = connection._impl  # noqa: SLF001
    broken = AMQPConnectionError(f"no answer within {seconds:g} s")
    timer = impl._adapter_call_later(seconds, partial(impl._terminate_stream, broken))  # noqa: SLF001
    try:
        yield
    finally:
        impl._adapter_remove_timeout(timer)  # noqa: SLF001


def spoken(error: Exception, address: Address, name: str = "") -> BrokerError:
    """The sentence for what pika has raised; never the password."""
    place = f"RabbitMQ at {address.place}"
    match error:
        case UnroutableError():
            return Unroutable(f"{place} has no queue for this message; start 'simcourier worker' once, it makes them.")
        case NackError():
            return Refused(f"{place} has refused the message: a queue is full, or too many of its nodes are down.")
        case AuthenticationError() | ProbableAuthenticationError() | ProbableAccessDeniedError():
            return Refused(_shut_out(place, address))
        case ConnectionClosedByBroker() if error.reply_code in {ACCESS_REFUSED, NOT_ALLOWED}:
            return Refused(_shut_out(place, address))
        case ChannelClosedByBroker():
            return _channel_closed(error.reply_code, error.reply_text, place, address.user, name)
        case ConnectionBlockedTimeout():
            return BrokerUnavailable(
                f"{place} takes no messages at the moment: it is short of memory or disk space (see "
                "`rabbitmq-diagnostics alarms` there)."
            )
        case _:
            inner = _innermost(error)
            if why := distrust(inner):
                return BrokerUnavailable(f"{place} is not trusted: {why}.")
            what = getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
            return BrokerUnavailable(f"{place} cannot be reached or was lost: {what}.")


def _node(connection: pika.BlockingConnection) -> str:
    return _host(connection._impl.params)  # noqa: SLF001 - pika does not say which of several it was


def _host(parameters: pika.ConnectionParameters) -> str:
    return f"{parameters.host}:{parameters.port}"


def _shut_out(place: str, address: Address) -> str:
    return (
        f"{place} does not let the user {address.user!r} in: check user, password and vhost of the broker's address, "
        "and the user's permissions there."
    )


def _channel_closed(code: int, text: str, place: str, user: str, name: str) -> BrokerError:
    """The sentence for a channel that the broker has closed, perhaps while ``name`` was declared."""
    if code == NOT_FOUND:
        return Unroutable(f"{place} has no queues of ours yet; start 'simcourier worker' once, it makes them ({text}).")
    if code == PRECONDITION_FAILED and name:
        return OtherArguments(
            f"{place} has {name} already, made with other arguments. Empty and delete it, or choose another "
            f"SIMCOURIER_BROKER_PREFIX ({text})."
        )
    if code == ACCESS_REFUSED or (code == PRECONDITION_FAILED and ("user_id" in text or "message size" in text)):
        return Refused(f"{place} does not allow this to the user {user!r}: {text}.")
    return BrokerUnavailable(f"{place} has closed the channel: {text}.")


def _innermost(error: BaseException) -> BaseException:
    """The error that says what is wrong: pika wraps it in others."""
    if error.args and isinstance(error.args[-1], Exception):
        return _innermost(error.args[-1])
    nested = getattr(error, "exception", None)
    return _innermost(nested) if isinstance(nested, Exception) else error


def _nothing() -> None:
    """A callback whose arrival is all that matters."""
