"""Each of our services as compose.yaml and the systemd units start it, against a real RabbitMQ and PostgreSQL.

Command, environment and health check are those of the files; `tests.support.deployment` says what stands in for the
container's engine and the service manager.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support import deployment
from tests.support.deployment import DEPLOY, Processes
from tests.support.installation import fetch, files_below, link_in, text_of, unpacked
from tests.support.nodes import MissingBinary, PostgresNode, RabbitNode
from tests.support.pages import adapted, blocks, with_programs
from tests.support.scratch import free_ports, wait_until
from tests.support.smtp import Mailbox, smtp_server
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.rabbitmq, pytest.mark.postgresql, pytest.mark.xdist_group("services")]

PUBLISH = ("simcourier", "publish", "--to", "anna@example.org", "--backend", "local")


@dataclass
class Server:
    """What the services find: a broker with our definitions, a database server, a mail server, and the secrets."""

    secrets: Path
    rabbit: RabbitNode
    postgres: PostgresNode
    mailbox: Mailbox
    site_port: int
    cloud_port: int

    @property
    def simulator_url(self) -> str:
        return (self.secrets / "simulator_broker_url").read_text("ascii").strip()

    def on_these_ports(self, text: str) -> str:
        """``text`` with the ports that the services are given here instead of their usual ones."""
        return text.replace("8974", str(self.site_port)).replace("8976", str(self.cloud_port))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RabbitNode, Path]]:
    """A node with the configuration of compose.yaml, and the secrets that its definitions were made with."""
    secrets = tmp_path_factory.mktemp("broker") / "secrets"
    assert deployment.make_secrets(secrets).returncode == 0
    lines = (DEPLOY / "rabbitmq" / "simcourier.conf").read_text("utf-8")
    definitions = secrets / "rabbitmq_definitions.json"
    config = lines.replace("/run/secrets/rabbitmq_definitions", str(definitions))
    assert config != lines
    login = re.search(r"amqp://(.*)@", (secrets / "broker_url").read_text("ascii"))
    assert login
    try:
        node = RabbitNode(config, login=login.group(1), vhost="simcourier")
    except MissingBinary as missing:
        pytest.skip(str(missing))
    with node:
        yield node, secrets


@pytest.fixture
def server(broker: tuple[RabbitNode, Path], postgres_node: PostgresNode, tmp_path: Path) -> Iterator[Server]:
    """Everything that is not ours, with an empty database."""
    node, made = broker
    secrets = shutil.copytree(made, tmp_path / "secrets")
    smtp, site, cloud = free_ports(3)
    addresses = {
        "rabbitmq:5672": f"127.0.0.1:{node.port}",
        "localhost:5672": f"127.0.0.1:{node.port}",
        "database:5432": f"127.0.0.1:{postgres_node.port}",
        "mail:1025": f"127.0.0.1:{smtp}",
    }
    deployment.with_addresses(secrets, addresses)
    password = (secrets / "database_password").read_text("ascii").strip()
    with psycopg.connect(postgres_node.url(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE simcourier LOGIN PASSWORD '{password}'")
        connection.execute("CREATE DATABASE simcourier OWNER simcourier")
    with smtp_server(smtp) as mailbox:
        yield Server(secrets, node, postgres_node, mailbox, site, cloud)
    with psycopg.connect(postgres_node.url(), autocommit=True) as connection:
        connection.execute("DROP DATABASE simcourier WITH (FORCE)")
        connection.execute("DROP ROLE simcourier")


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path / "logs") as running:
        yield running


@pytest.mark.full
def test_a_result_goes_its_whole_way_through_the_services_of_compose_yaml(
    server: Server, processes: Processes, results: Path, tmp_path: Path
) -> None:
    (shown,) = blocks("docs/operating.md", "With containers")
    _make, up, _ps, _account, add, backends = shown.replace("\\\n", "").splitlines()
    services = Compose(server, processes, tmp_path / "volumes", RESULTS_FOLDER=str(results.parent))
    assert up.startswith("docker compose up")
    twice = [services.start("migrate"), services.start("migrate")]  # by accident, at once
    assert [one.wait(120) for one in twice] == [0, 0]
    for name in ("local-cloud", "web", "email-sender", "worker", "worker"):
        services.start(name)
    for name in ("local-cloud", "web", "email-sender", "worker"):
        services.wait_healthy(name)

    added = services.type(add.replace("local-cloud:8976", f"127.0.0.1:{server.cloud_port}"))
    listed = services.type(backends)

    assert added.returncode == 0, added.stderr
    assert "\nlocal  " in listed.stdout, listed.stderr
    assert "local" in fetch(f"http://127.0.0.1:{server.site_port}/api/backends").decode()
    simulator = {"SIMCOURIER_BROKER_URL": server.simulator_url, "SIMCOURIER_DATA_DIR": str(tmp_path / "simulator")}
    published = processes.run([*PUBLISH, str(results)], simulator)
    assert "Accepted by the broker" in published.stdout, published.stderr
    see_the_result_arrive(server, published.stdout, results)
    assert processes.stop() == [0] * 7
    assert services.check("worker").stderr.startswith("Error: No worker runs on this machine")


@pytest.mark.full
def test_an_event_that_waited_in_the_spool_goes_its_whole_way_through_the_systemd_units(
    server: Server, processes: Processes, results: Path, tmp_path: Path
) -> None:
    home = {"SIMCOURIER_DATA_DIR": str(tmp_path / "simulator")}
    away = {**home, "SIMCOURIER_BROKER_URL": f"amqp://simulator:x@127.0.0.1:{free_ports(1)[0]}/simcourier"}
    published = processes.run([*PUBLISH, str(results)], away)
    assert "stays in the spool" in published.stdout
    units = Units(server, processes, tmp_path / "state", SIMCOURIER_RESULTS_ROOTS=str(results.parent))
    units.define_as_root()

    *_, enable = blocks("docs/operating.md", "With systemd")
    enabled = re.findall(r" simcourier-([a-z-]+@?)", enable)
    for role in enabled:
        units.start(role)
    assert sorted(enabled) == ["email-sender", "local-cloud", "web", "worker@", "worker@"]
    for role in enabled:
        units.wait_healthy(role)
    timer = deployment.unit(DEPLOY / "systemd" / "user" / "simcourier-spool-flush.service")["Service"]
    assert timer["EnvironmentFile"] == ["%E/simcourier.env"]
    flushed = processes.run(timer["ExecStart"][0].split(), {**home, "SIMCOURIER_BROKER_URL": server.simulator_url})

    assert flushed.stdout.startswith("1 sent to RabbitMQ"), flushed.stderr
    see_the_result_arrive(server, published.stdout, results)
    assert processes.stop() == [0] * 5


@pytest.mark.full
def test_the_broker_has_the_definitions_and_the_consumer_timeout(broker: tuple[RabbitNode, Path]) -> None:
    node, _ = broker

    users = node.ctl("list_users")
    assert "simulator" in users
    assert "guest" not in users
    assert node.ctl("eval", "application:get_env(rabbit, consumer_timeout).").strip() == "{ok,86400000}"


def see_the_result_arrive(server: Server, said: str, results: Path) -> None:
    """Find the mail about what was published at the mail server, and get the archive behind its link."""
    wait_until(lambda: bool(server.mailbox.accepted), "the mail is there")
    ((recipient, content),) = server.mailbox.accepted
    mail = message_from_bytes(content, policy=policy.default)
    assert isinstance(mail, EmailMessage)
    assert recipient == "anna@example.org"
    assert said.split()[1] in text_of(mail)
    assert link_in(mail).startswith(f"http://localhost:{server.cloud_port}/f/")
    assert unpacked(fetch(link_in(mail).replace("localhost", "127.0.0.1"))) == files_below(results)


class Compose:
    """Runs services of compose.yaml."""

    def __init__(self, server: Server, processes: Processes, volumes: Path, **variables: str) -> None:
        self._server = server
        self._processes = processes
        self._volumes = volumes
        self._file = deployment.compose(variables)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a container's process."""
        service = self._file["services"][name]
        return self._processes.start([*deployment.entry_point(), *service["command"]], self._environment(name))

    def run(self, name: str, *command: str, typed: str = "") -> Any:
        """`docker compose run NAME [COMMAND]`."""
        words = command or self._file["services"][name]["command"]
        inside = [*deployment.entry_point(), *(self._here(name, word) for word in words)]
        return self._processes.run(inside, self._environment(name), typed)

    def type(self, line: str) -> Any:
        """Obey ``docker compose exec`` and ``run``, to which ``echo`` may give something."""
        typed, _, order = line.rpartition(" | ")
        docker, compose, how, *words = shlex.split(order.partition("#")[0])
        assert (docker, compose) == ("docker", "compose")
        name, *inside = [word for word in words if word not in {"--rm", "-T"}]
        command = inside[1:] if how == "exec" else inside
        assert how == "run" or inside[:1] == deployment.entry_point()
        return self.run(name, *command, typed=f"{typed.removeprefix('echo ')}\n")

    def check(self, name: str) -> Any:
        """The service's health check."""
        how, *command = self._file["services"][name]["healthcheck"]["test"]
        assert how == "CMD"
        return self._processes.run(command, self._environment(name))

    def wait_healthy(self, name: str) -> None:
        """Wait for it."""
        wait_until(lambda: self.check(name).returncode == 0, f"{name} is healthy", step=0.5)

    def _environment(self, name: str) -> dict[str, str]:
        service = self._file["services"][name]
        values = deployment.image_environment() | service["environment"]
        here = {key: self._here(name, value) for key, value in values.items()}
        return {**here, "SIMCOURIER_WEB_PORT": str(self._server.site_port), "HOME": here["SIMCOURIER_DATA_DIR"]}

    def _here(self, name: str, text: str) -> str:
        """A secret, and the volume behind the data folder, where they are on this machine."""
        if text.startswith("/run/secrets/"):
            secret = text.removeprefix("/run/secrets/")
            assert secret in self._file["services"][name]["secrets"]
            return str(self._server.secrets / Path(self._file["secrets"][secret]["file"]).name)
        if text.startswith("/var/lib/simcourier"):
            volumes = [one for one in self._file["services"][name]["volumes"] if isinstance(one, str)]
            (volume,) = [one.split(":")[0] for one in volumes if one.endswith(":/var/lib/simcourier")]
            (self._volumes / volume).mkdir(parents=True, exist_ok=True)
            return text.replace("/var/lib/simcourier", str(self._volumes / volume))
        return self._server.on_these_ports(text)


class Units:
    """Runs what the units in deploy/systemd start."""

    def __init__(self, server: Server, processes: Processes, state: Path, **settings: str) -> None:
        self._server = server
        self._processes = processes
        self._state = state
        example = deployment.settings_lines(DEPLOY / "systemd" / "simcourier.env")
        ports = {
            "SIMCOURIER_WEB_PORT": str(server.site_port),
            "SIMCOURIER_LOCAL_CLOUD_PORT": str(server.cloud_port),
        }
        self._settings = {name: server.on_these_ports(value) for name, value in example.items()} | ports | settings

    def start(self, role: str) -> None:
        """Start a unit's process."""
        (command,) = self._service(role)["ExecStart"]
        self._processes.start(command.split(), self._environment(role))

    def wait_healthy(self, role: str) -> None:
        """Wait until a unit's process does its work."""
        ask = ["simcourier", "health", role.removesuffix("@")]
        environ = self._environment(role)
        wait_until(lambda: self._processes.run(ask, environ).returncode == 0, f"{role} does its work", step=0.5)

    def define_as_root(self) -> None:
        """What root types once, as the operator's guide says: tables, an account, and a storage backend."""
        _install, commands, _enable = blocks("docs/operating.md", "With systemd")
        secrets = str(self._server.secrets)
        lines = (DEPLOY / "systemd" / "admin.env").read_text("utf-8")
        file = self._server.secrets.parent / "admin.env"
        file.write_text(lines.replace("/etc/simcourier/secrets", secrets))
        here = {
            "/opt/simcourier/bin/": "",
            "/etc/simcourier/admin.env": str(file),
            "/etc/simcourier/secrets": secrets,
            "10.10.160.10:8976": f"127.0.0.1:{self._server.cloud_port}",
        }
        environ = with_programs({"SIMCOURIER_DATA_DIR": str(self._state / "root")})
        root = Terminal(["sh", "-ec", f"exec >&2\n{adapted(commands, here)}"], environment=environ)
        for question, answer in (
            ("Username", "chief"),
            ("Email address", "chief@example.org"),
            ("Password:", "wind over the ridge"),
            ("Password (again):", "wind over the ridge"),
        ):
            root.answer(question, answer)
        code, _ = root.end()
        assert code == 0, root.shown
        assert "Superuser created successfully." in root.shown
        assert "local: added." in root.shown

    def _service(self, role: str) -> Mapping[str, list[str]]:
        return deployment.unit(DEPLOY / "systemd" / f"simcourier-{role}.service")["Service"]

    def _environment(self, role: str) -> dict[str, str]:
        service = self._service(role)
        assert service["EnvironmentFile"] == ["/etc/simcourier/simcourier.env"]
        for credential in service["LoadCredential"]:
            within, _, file = credential.partition(":")
            assert file == f"/etc/simcourier/secrets/{within}"
            assert (self._server.secrets / within).is_file()
        (self._state / service["StateDirectory"][0]).mkdir(parents=True, exist_ok=True)
        words = (
            line.replace("%S", str(self._state)).replace("%d", str(self._server.secrets))
            for line in service["Environment"]
        )
        return {**self._settings, **dict(word.split("=", 1) for word in words)}
