"""The roles that make a whole installation on one machine, and what they need before they start."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from messaging.cli import engine_of
from messaging.engine import BrokerError
from messaging.errors import UserError
from messaging.settings import Settings, WrongSetting
from simcourier.roles import Role

if TYPE_CHECKING:
    from ledger.api import Definition

# To listen on; nobody can connect to them from elsewhere.
EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


class InUse(UserError):
    """The data folder or a port is somebody else's."""


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the data folder, so that no second installation runs on it.

    Raises:
        InUse: one does.
    """
    with (folder / "up.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUse(
                f"'simcourier up' is already running on the data folder {folder}; "
                "set SIMCOURIER_DATA_DIR to run another one."
            ) from error
        yield


def upload_key(folder: Path) -> str:
    """The key with which this installation's workers upload to its local cloud; made on first use."""
    file = folder / "local-cloud-key"
    if not file.exists():
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(secrets.token_urlsafe(32) + "\n")
    return file.read_text(encoding="ascii").strip()


def define_local(settings: Settings, key: str) -> None:
    """Define the storage backend 'local' as this installation's local cloud, or bring its address up to date.

    A definition 'local' that an operator made for another server, with another key, is left alone.
    """
    from ledger.api import define

    host = "127.0.0.1" if settings.local_cloud_host in EVERY_ADDRESS else settings.local_cloud_host
    address = f"{host}:{settings.local_cloud_port}"
    before = _local()
    if before is None:
        define(
            "local",
            name="Local cloud",
            token=address,
            config={"key": key},
            description="The storage server of this installation.",
        )
    elif before.config_values().get("key") == key and before.token.get_secret_value() != address:
        define("local", token=address)


def with_port(settings: Settings) -> Settings:
    """The settings with a real port where SIMCOURIER_LOCAL_CLOUD_PORT is 0.

    The last one is taken again if it is free: the links that were made with it go on working.
    """
    if settings.local_cloud_port:
        return settings
    before = _local()
    port = before.token.get_secret_value().rpartition(":")[2] if before else ""
    try:
        ensure_free(settings.local_cloud_host, int(port), "")
    except (InUse, ValueError):
        port = str(free_port(settings.local_cloud_host))
    return settings.model_copy(update={"local_cloud_port": int(port)})


def with_site(settings: Settings) -> Settings:
    """The settings with the address of the site that is started too, so that mails name the deliveries' pages.

    One that listens on every address is reached under a name that only an operator can tell.
    """
    if settings.public_url or settings.web_host in EVERY_ADDRESS:
        return settings
    return settings.model_copy(update={"public_url": settings.site_url})


def use_of_cloud(settings: Settings) -> str:
    """Whether the storage backend 'local' is this installation's local cloud, in words."""
    before = _local()
    address = before.token.get_secret_value() if before else ""
    if address.rpartition(":")[2] == str(settings.local_cloud_port):
        return "storage backend 'local'"
    return f"not in use: the storage backend 'local' is at {address}"


def _local() -> Definition | None:
    from ledger.api import definitions

    return next((one for one in definitions() if one.identifier == "local"), None)


def require_public_urls(settings: Settings) -> None:
    """Make sure that what is put into mails leads somewhere.

    Raises:
        WrongSetting: the local cloud listens on every address and nothing says how links begin.
    """
    if settings.local_cloud_host in EVERY_ADDRESS and not settings.local_cloud_public_url:
        raise WrongSetting(
            "SIMCOURIER_LOCAL_CLOUD_PUBLIC_URL must be set when the local cloud listens on every address: links begin "
            "with it, e.g. http://files.example.org:8976."
        )


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on at this moment, and that the system gives to nobody else who asks for any.

    For a minute: so long it remembers a connection that was ended here. Who names the port may listen on it.
    """
    with socket.create_server((host, 0), family=_family(host)) as probe:
        address = probe.getsockname()[:2]
        with socket.create_connection(address):
            probe.accept()[0].close()
        return int(address[1])


def ensure_free(host: str, port: int, variable: str) -> None:
    """Raise `InUse` if somebody listens on the port; ``variable`` names the setting that chooses another one."""
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InUse(
                f"Nothing can listen on {host}:{port} ({error.strerror}); choose another address with {variable}."
            ) from error


@contextmanager
def reserved(host: str, port: int, variable: str) -> Iterator[None]:
    """Keep a port for a role that listens on it only seconds later: another installation finds it taken at once.

    Else it might start meanwhile too, and take the answers of our role for those of its own. What is held is the UDP
    port of the same number: nobody here needs it, and it is free again however this process ends.

    Raises:
        InUse: another installation has reserved it, or somebody listens on it.
    """
    with socket.socket(_family(host), socket.SOCK_DGRAM) as mark:
        try:
            mark.bind((host, port))
        except OSError as error:
            raise InUse(
                f"{host}:{port} is in use by another 'simcourier up' (or its UDP port by some other program); "
                f"choose another address with {variable}."
            ) from error
        ensure_free(host, port, variable)
        yield


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def ensure_apart(settings: Settings) -> None:
    """Raise `WrongSetting` if site and local cloud were to listen on one port."""
    if settings.web_port == settings.local_cloud_port:
        raise WrongSetting(
            f"SIMCOURIER_WEB_PORT and SIMCOURIER_LOCAL_CLOUD_PORT are both {settings.web_port}; give each its own."
        )


def environment(settings: Settings, base: Mapping[str, str]) -> dict[str, str]:
    """The environment of the roles: ours, and what `settings` has from elsewhere (``--env-file``, defaults)."""
    environ = {name: value for name, value in base.items() if not name.startswith("SIMCOURIER_")}
    for field in Settings.model_fields:
        value = getattr(settings, field)
        if value is None:
            continue
        text = value.get_secret_value() if hasattr(value, "get_secret_value") else value
        environ[f"SIMCOURIER_{field.upper()}"] = ",".join(text) if isinstance(text, tuple) else str(text)
    return environ


def worker(settings: Settings) -> Role:
    """Results worker, recorder and sweep; ready once the queues are there."""
    engine = engine_of(settings)

    def ready() -> bool:
        try:
            engine.depths()
        except BrokerError:
            return False
        return True

    return Role("worker", ["worker"], ready)


def email_sender() -> Role:
    """The email sender; what is published before it is ready waits for it."""
    return Role("email sender", ["email-sender"], lambda: True)


def local_cloud(settings: Settings) -> Role:
    """The storage server."""
    address = f"http://{settings.local_cloud_host}:{settings.local_cloud_port}"
    arguments = [
        "local-cloud",
        "--host",
        settings.local_cloud_host,
        "--port",
        str(settings.local_cloud_port),
        "--folder",
        str(settings.data_dir / "local-cloud"),
        "--key-file",
        str(settings.data_dir / "local-cloud-key"),
    ]
    if settings.local_cloud_public_url:
        arguments += ["--public-url", settings.local_cloud_public_url]
    return Role("local cloud", arguments, lambda: _answers(address + "/healthz"))


def web(settings: Settings) -> Role:
    """The site."""
    address = f"http://{settings.web_host}:{settings.web_port}"
    return Role("web", ["web"], lambda: _answers(f"{address}/healthz"))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)  # noqa: PLR2004
    except (OSError, urllib.error.URLError, ValueError):
        return False
