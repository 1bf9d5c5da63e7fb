"""Canaries in every place for a secret; then deliveries that succeed and fail, and everything is searched for them."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from messaging.topology import Topology
from tests.support.broker import delete_queues
from tests.support.echo import echo_server
from tests.support.installation import Installation, fetch, link_in
from tests.support.nodes import RabbitNode
from tests.support.scratch import free_ports, wait_until
from tests.support.smtp import Mailbox

CANARIES = {
    "broker password": "canary-broker-6c1f/x@y",
    "database password": "canary-database-0b7e",
    "mail password": "canary-mail-93d2:z",
    "secret key": "canary-secret-key-5f04a7c1d8e24b6f9a3c7e1d2b4f6a8c",
    "local cloud key": "canary-local-cloud-7d11",
    "echo key": "canary-echo-key-2b95",
    "Seafile token": "canary0seafile0token0" + "1" * 19,
    "Dropbox app secret": "canary-dropbox-app-secret",
    "Dropbox refresh token": "canary-dropbox-refresh-token",
    "admin password": "canary-admin-password-88",
}


def forms(secret: str) -> set[bytes]:
    """As it is, as it stands in addresses, and in base64 wherever it may begin."""
    found = {secret.encode(), quote(secret, safe="").encode()}
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + secret.encode())
        found.add(coded[4 if before else 0 : -4])
    return found


def search(where: str, content: bytes) -> list[str]:
    return [f"{name} in {where}" for name, secret in CANARIES.items() for form in forms(secret) if form in content]


@pytest.fixture
def echo() -> Iterator[str]:
    with echo_server() as address:
        yield address


@pytest.fixture
def mail_server() -> Iterator[Mailbox]:
    """It lets in who knows the password, and tells everybody else what he has sent."""
    mailbox = Mailbox()

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        del server, session, envelope
        if data.password == CANARIES["mail password"].encode():
            return AuthResult(success=True)
        coded = base64.b64encode(b"\0" + data.login + b"\0" + data.password).decode()
        told = f"535 5.7.8 {mechanism} {coded} {data.password.decode()} is wrong"
        return AuthResult(success=False, handled=False, message=told)

    (mailbox.port,) = free_ports(1)
    controller = Controller(
        mailbox, hostname="127.0.0.1", port=mailbox.port, authenticator=authenticate, auth_require_tls=False
    )
    controller.start()
    yield mailbox
    controller.stop()


@pytest.fixture
def one(
    rabbit_node: RabbitNode, database_url: str, mail_server: Mailbox, tmp_path: Path, topology: Topology
) -> Iterator[Installation]:
    password = CANARIES["broker password"]
    rabbit_node.ctl("add_user", "canary", password)
    rabbit_node.ctl("set_permissions", "canary", ".*", ".*", ".*")
    broker = f"amqp://canary:{quote(password, safe='')}@127.0.0.1:{rabbit_node.port}/"
    database = database_url.replace("postgres@", "postgres:" + CANARIES["database password"] + "@")
    mail_password = quote(CANARIES["mail password"], safe="")
    mail = f"smtp://canary:{mail_password}@127.0.0.1:{mail_server.port}"
    with Installation(
        tmp_path / "data", broker_url=broker, database_url=database, prefix=topology.prefix, email_url=mail,
        operator_email="operator@example.org", web_port=str(free_ports(1)[0]),
    ) as installation:  # fmt: skip
        yield installation
    delete_queues(rabbit_node.url, topology)
    rabbit_node.ctl("delete_user", "canary")


def definitions(echo: str, cloud_port: int) -> str:
    """A file to import, with the secrets of every backend."""
    rows = [
        {"storage_backend_id": "local", "storage_backend_token": f"127.0.0.1:{cloud_port}",
         "storage_backend_config": {"key": CANARIES["local cloud key"]}},
        {"storage_backend_id": "local-echo", "storage_backend_token": echo,
         "storage_backend_config": {"key": CANARIES["echo key"]}},
        {"storage_backend_id": "seafile-echo",
         "storage_backend_config": {"server": echo, "token": CANARIES["Seafile token"], "repoid": str(UUID(int=0))}},
        {"storage_backend_id": "dropbox-unused",
         "storage_backend_config": {"app_key": "abc", "app_secret": CANARIES["Dropbox app secret"],
                                    "refresh_token": CANARIES["Dropbox refresh token"]}},
    ]  # fmt: skip
    return json.dumps(
        {"format": "simcourier-backends-1", "backends": [{"storage_backend": "x", **row} for row in rows]}
    )


@pytest.mark.full
@pytest.mark.rabbitmq
@pytest.mark.postgresql
def test_no_secret_is_anywhere_but_where_it_belongs(  # noqa: PLR0915 - one installation, searched from end to end
    one: Installation, echo: str, mail_server: Mailbox, tmp_path: Path, rabbit_node: RabbitNode
) -> None:
    from ledger.models import StorageBackend

    StorageBackend.objects.all().delete()
    one.environ["SIMCOURIER_SECRET_KEY"] = CANARIES["secret key"]
    (one.folder / "cloud-key").write_text(CANARIES["local cloud key"])
    (tmp_path / "import.json").write_text(definitions(echo, one.cloud_port))
    told: dict[str, bytes] = {}

    def logs() -> bytes:
        return b"".join(log.read_bytes() for log in one.folder.glob("*.log"))

    def command(*words: str) -> str:
        done = one.simcourier(*words, check=False)
        told[f"simcourier {' '.join(words)}"] = (done.stdout + done.stderr).encode()
        return done.stdout

    command("backends", "import", str(tmp_path / "import.json"))
    assert told.popitem()[1].count(b": added") == 4
    one.environ["DJANGO_SUPERUSER_PASSWORD"] = CANARIES["admin password"]
    command("manage", "createsuperuser", "--noinput", "--username", "admin", "--email", "admin@example.org")
    del one.environ["DJANGO_SUPERUSER_PASSWORD"]
    one.start_cloud()
    one.start("worker")
    one.start("web")
    one.wait_ready()
    results = tmp_path / "results"
    results.mkdir()
    (results / "a.csv").write_text("t,x\n0,1\n")
    wrong = dict(one.environ)
    one.environ["SIMCOURIER_EMAIL_URL"] = wrong["SIMCOURIER_EMAIL_URL"].replace("@", "-not-quite@")
    one.start("email-sender")  # with a wrong password, which the server repeats

    good = one.publish(results)
    bad = [one.publish(results, backend=backend) for backend in ("local-echo", "seafile-echo")]
    wait_until(lambda: (one.where(good) or {}).get("state") == "DELIVERED", "one is delivered")
    wait_until(lambda: all((one.where(event) or {}).get("reason") for event in bad), "two have met the echo")
    wait_until(lambda: b"mail.postponed" in logs(), "a mail could not be sent")
    one.stop(one.processes[-1])
    one.environ["SIMCOURIER_EMAIL_URL"] = wrong["SIMCOURIER_EMAIL_URL"]
    one.start("email-sender")
    wait_until(lambda: any(good.encode() in mail for _, mail in mail_server.accepted), "the mail is there")

    site = f"http://127.0.0.1:{one.environ['SIMCOURIER_WEB_PORT']}"
    for event in (good, *bad):
        command("where", event)
        command("where", event, "--json")
        told[f"/api/deliveries/{event}"] = fetch(f"{site}/api/deliveries/{event}")
    for words in ("deliveries list", "backends list", "backends check", "dead list", "doctor"):
        command(*words.split(), "--json")
    for words in ("backends export", "backends check", "doctor", "manage dumpdata"):
        command(*words.split())
    told["/api/backends"] = fetch(f"{site}/api/backends")
    told["/metrics of the local cloud"] = fetch(f"http://127.0.0.1:{one.cloud_port}/metrics")
    link = link_in(next(parsed(mail) for _, mail in mail_server.accepted if good.encode() in mail))
    told["the archive"] = unpacked(fetch(link))
    told["the page of the link"] = page(link)
    told["mails"] = b"".join(mail for _, mail in mail_server.accepted)
    told["logs"] = logs()
    told["the database"] = dump(one)
    for host in ("canary", "canary-wrong"):  # a wrong password for broker and database
        one.environ |= {"SIMCOURIER_BROKER_URL": wrong["SIMCOURIER_BROKER_URL"].replace("canary:", f"{host}:x")}
        command("worker")
        command("publish", str(results), "--to", "a@example.org", "--backend", "local")
    one.environ["SIMCOURIER_DATABASE_URL"] = wrong["SIMCOURIER_DATABASE_URL"].replace("/simcourier_test", "/nowhere")
    command("where", good)
    for file in one.folder.rglob("*"):
        if file.is_file() and file.name != "cloud-key":
            told[str(file.relative_to(one.folder))] = file.read_bytes()
    told["the broker's files"] = b"".join(
        file.read_bytes() for file in (rabbit_node._scratch.path / "data").rglob("*") if file.is_file()
    )

    searched = ("logs", "the database", "mails", "the archive", "the broker's files")
    assert [where for where in searched if not told[where]] == []
    assert b"***" in told[f"simcourier where {bad[0]} --json"], "the service repeated the key, and it was blacked out"
    assert [found for where, content in told.items() for found in search(where, content)] == []


def parsed(mail: bytes) -> Any:
    import email.policy

    return email.message_from_bytes(mail, policy=email.policy.default)


def page(link: str) -> bytes:
    request = urllib.request.Request(link, headers={"Accept": "text/html"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return bytes(answer.read())


def unpacked(archive: bytes) -> bytes:
    """Everything in it: the results, the report, the manifest."""
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return b"".join(name.encode() + opened.read(name) for name in opened.namelist())


def dump(one: Installation) -> bytes:
    """All tables as text."""
    from django.apps import apps
    from django.db import connection

    del one
    found = []
    with connection.cursor() as cursor:
        for model in apps.get_models():
            cursor.execute(f'SELECT * FROM "{model._meta.db_table}"')
            found += [repr(bytes(cell) if isinstance(cell, memoryview) else cell) for row in cursor for cell in row]
    return "\n".join(found).encode()
