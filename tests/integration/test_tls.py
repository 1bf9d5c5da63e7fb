"""TLS to the broker, the mail server and the database: who is trusted, and what is said of who is not."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from email.message import EmailMessage
from pathlib import Path
from uuid import uuid4

import pytest
from aiosmtpd.controller import Controller

from consumer.mail.transports import MailTransient, transport
from messaging.connect import connect
from messaging.engine import BrokerError, BrokerUnavailable, Outgoing
from messaging.topology import Topology
from tests.support.authority import Authority, Certificate
from tests.support.broker import delete_queues
from tests.support.nodes import MissingBinary, PostgresNode, RabbitNode
from tests.support.scratch import free_ports
from tests.support.smtp import Mailbox, smtp_server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    return authority.certificate("localhost")  # and not for 127.0.0.1


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("strangers"))


@contextmanager
def behind_tls(certificate: Certificate, target: int) -> Iterator[int]:
    """A port that speaks TLS and hands on to a plain one, as a proxy before a broker does."""
    context = certificate.context()
    listener = socket.create_server(("127.0.0.1", 0))

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def serve(plain: socket.socket) -> None:
        with (
            suppress(OSError),
            context.wrap_socket(plain, server_side=True) as secure,
            socket.create_connection(("127.0.0.1", target)) as inner,
        ):
            threading.Thread(target=copy, args=(inner, secure), daemon=True).start()
            copy(secure, inner)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


@pytest.fixture(scope="module", params=["a proxy", pytest.param("RabbitMQ itself", marks=pytest.mark.full)])
def port(request: pytest.FixtureRequest, certificate: Certificate, authority: Authority) -> Iterator[int]:
    """Where a broker speaks TLS, with a certificate for localhost."""
    if request.param == "a proxy":
        with behind_tls(certificate, request.getfixturevalue("rabbit_node").port) as port:
            yield port
        return
    (port,) = free_ports(1)
    try:
        node = RabbitNode(
            f"listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {authority.file}\n"
            f"ssl_options.certfile = {certificate.file}\nssl_options.keyfile = {certificate.key}\n"
        )
    except MissingBinary as missing:
        pytest.skip(str(missing))
    with node:
        yield port


def address(port: int, query: str = "", host: str = "localhost") -> str:
    return f"amqps://guest:guest@{host}:{port}/{query and '?' + query}"


@pytest.mark.rabbitmq
def test_messages_go_over_tls_to_a_broker_of_our_own_authority(
    port: int, authority: Authority, request: pytest.FixtureRequest
) -> None:
    behind = "a proxy" in request.node.name  # of the node that other tests use
    plain = request.getfixturevalue("rabbit_node").url if behind else None
    topology = Topology(prefix=f"tls-{port}")
    url = address(port, f"cacertfile={authority.file}&heartbeat=20")
    with connect(url, topology).consumer(topology.lanes) as consumer:
        consumer.publish(Outgoing("wake.single", b"{}", "one"))
        taken = consumer.take(60)
        assert taken is not None
        assert (taken.body, taken.user_id) == (b"{}", "guest")
        consumer.ack(taken)
    if plain is not None:
        delete_queues(plain, topology)


@pytest.mark.rabbitmq
@pytest.mark.parametrize("trusted", ["nobody", "a stranger"])
def test_a_broker_of_an_unknown_authority_is_not_trusted(port: int, stranger: Authority, trusted: str) -> None:
    query = f"cacertfile={stranger.file}" if trusted == "a stranger" else ""
    with pytest.raises(BrokerUnavailable) as told:
        connect(address(port, query), Topology()).reach()

    text = str(told.value)
    assert text.startswith(
        f"RabbitMQ at localhost:{port}, vhost / is not trusted: its certificate is not from an authority"
    )
    assert "cacertfile=/FILE" in text
    assert "guest" not in text


@pytest.mark.rabbitmq
def test_a_certificate_for_another_host_is_not_trusted(port: int, authority: Authority) -> None:
    with pytest.raises(
        BrokerUnavailable, match=r"is not trusted: its certificate is for another host \(.*127\.0\.0\.1"
    ):
        connect(address(port, f"cacertfile={authority.file}", "127.0.0.1"), Topology()).reach()


@pytest.mark.rabbitmq
def test_a_broker_that_speaks_no_tls_is_told_as_such(rabbit_node: RabbitNode) -> None:
    with pytest.raises(BrokerUnavailable, match=r"does not speak TLS as we do \(.+\); amqps: is usually port 5671\.$"):
        connect(address(rabbit_node.port), Topology()).reach()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("amqps://u:canary@h/?verify=verify_none", "holds verify, which is not taken"),
        ("amqps://u:canary@h/?ssl_options=%7B%27protocol%27%3A2%7D", "holds ssl_options, which is not taken"),
        ("amqps://u:canary@h/?server_name_indication=x", "holds server_name_indication, which is not taken"),
        ("amqp://u:canary@h/?cacertfile=/x", "it must begin with amqps:"),
        (
            "amqps://u:canary@h/?cacertfile=/nowhere",
            "The file /nowhere, which the broker's address names, cannot be used",
        ),
        ("amqps://u:canary@h/?cacertfile=/etc/hostname", "The file /etc/hostname, which the broker's address names"),
    ],
)
def test_nothing_in_an_address_turns_verification_off(url: str, told: str) -> None:
    with pytest.raises(BrokerError, match=told) as raised:
        connect(url, Topology())

    assert "canary" not in str(raised.value)


@contextmanager
def mail_server(certificate: Certificate, *, at_once: bool) -> Iterator[tuple[Mailbox, int]]:
    """With TLS from the first byte, or begun by STARTTLS."""
    (port,) = free_ports(1)
    if at_once:
        with smtp_server(port) as mailbox, behind_tls(certificate, port) as secure:
            yield mailbox, secure
        return
    mailbox = Mailbox()
    controller = Controller(
        mailbox, hostname="127.0.0.1", port=port, tls_context=certificate.context(), require_starttls=True
    )
    controller.start()
    try:
        yield mailbox, port
    finally:
        controller.stop()


def mail() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.org", "b@example.org", "x"
    message.set_content("x")
    return message


@pytest.mark.parametrize("scheme", ["smtps", "smtp+tls"])
def test_a_mail_server_is_verified(
    certificate: Certificate, authority: Authority, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server(certificate, at_once=scheme == "smtps") as (mailbox, port):
        url = f"{scheme}://user:canary@localhost:{port}"
        with pytest.raises(MailTransient, match="certificate verify failed") as unknown:
            transport(url, 10).send(uuid4(), mail(), lambda: None)
        assert "canary" not in str(unknown.value)

        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        with pytest.raises(MailTransient, match="certificate verify failed"):  # it is for another host
            transport(f"{scheme}://127.0.0.1:{port}", 10).send(uuid4(), mail(), lambda: None)
        assert mailbox.accepted == []
        transport(f"{scheme}://localhost:{port}", 10).send(uuid4(), mail(), lambda: None)
        assert [recipient for recipient, _ in mailbox.accepted] == ["b@example.org"]


@pytest.mark.full
@pytest.mark.postgresql
def test_postgresql_is_verified_as_its_address_says(
    authority: Authority, certificate: Certificate, stranger: Authority
) -> None:
    import psycopg

    from ledger.site import site_settings
    from tests.support.ledger import settings_for

    try:
        node = PostgresNode()
    except MissingBinary as missing:
        pytest.skip(str(missing))
    data = node._scratch.path / "data"
    for source, name in ((certificate.file, "server.crt"), (certificate.key, "server.key")):
        shutil.copyfile(source, data / name)
        (data / name).chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(data / name, "postgres")
    with (data / "postgresql.conf").open("a") as config:
        config.write("ssl = on\n")
    with node:
        for host, ca, told in (
            ("localhost", authority, ""),
            ("localhost", stranger, "certificate verify failed"),
            ("127.0.0.1", authority, "does not match host name|Hostname mismatch|certificate"),
        ):
            url = f"postgresql://postgres@{host}:{node.port}/postgres?sslmode=verify-full&sslrootcert={ca.file}"
            options = site_settings(settings_for(data.parent / "own", url))["DATABASES"]["default"]["OPTIONS"]
            assert (options["sslmode"], options["sslrootcert"]) == ("verify-full", str(ca.file))
            given = {"host": host, "port": node.port, "user": "postgres", "dbname": "postgres", **options}
            if told:
                with pytest.raises(psycopg.OperationalError, match=told):
                    psycopg.connect(**given)
            else:
                with closing(psycopg.connect(**given)) as connection:
                    assert connection.pgconn.ssl_in_use


def test_the_options_of_a_database_s_address_reach_its_driver(tmp_path: Path) -> None:
    from ledger.site import site_settings
    from tests.support.ledger import settings_for

    url = "postgresql://u:p@h/n?sslmode=verify-full&sslrootcert=/etc/ca.pem"
    options = site_settings(settings_for(tmp_path, url))["DATABASES"]["default"]["OPTIONS"]

    assert (options["sslmode"], options["sslrootcert"]) == ("verify-full", "/etc/ca.pem")
