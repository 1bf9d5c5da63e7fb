"""All settings of a process, read once from the environment into one frozen object.

Each setting is a variable ``SIMCOURIER_<NAME>``; ``SIMCOURIER_<NAME>_FILE`` names a file that holds the value
instead, for secrets. A file given by ``--env-file`` (lines ``NAME=value``) is read first; the environment wins.
"""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Mapping
from difflib import get_close_matches
from email.errors import MessageError
from email.headerregistry import Address
from email.utils import parseaddr
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from platformdirs import user_data_path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

from messaging import roots
from messaging.errors import UserError
from messaging.hosts import EmptyHost, each_host
from messaging.listen import listen_address
from messaging.topology import Topology

PREFIX = "SIMCOURIER_"
# Of the storage server, which reads its own, and of the tests.
SPOOL_MAX_EVENTS, SPOOL_MAX_BYTES = 100_000, 1024**3
SHORTEST_TOKEN = 16
OTHERS = ("SIMCOURIER_LOCAL_CLOUD_", "SIMCOURIER_TEST_")


class WrongSetting(UserError):
    """A setting is missing or malformed; the text names the variable and says what to do."""

    exit_code = 2


def _words(value: object) -> object:
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]


class Settings(BaseModel):
    """The settings; each field's description is its documentation (a test holds docs/settings.md against it)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    data_dir: Path = Field(description="Folder for everything this machine keeps.")
    broker_url: SecretStr = Field(
        description="`sqlite:///FILE` (one machine) or `amqp[s]://USER:PASSWORD@HOST/VHOST`; of a cluster, all its "
        "nodes: `@HOST,HOST,HOST/`, each with `:PORT` if need be. With TLS, `?cacertfile=/FILE` names an authority of "
        "your own."
    )
    broker_prefix: str = Field(
        default="simcourier",
        pattern=r"^[a-z][a-z0-9_-]{0,40}$",
        description="First part of every exchange's and queue's name, for two installations on one broker.",
    )
    database_url: SecretStr = Field(
        description="The ledger: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`."
    )
    email_url: SecretStr = Field(
        description="`file:///FOLDER` (one .eml file per mail), or `smtp://`, `smtp+tls://`, `smtps://` with "
        "`USER:PASSWORD@HOST:PORT`."
    )
    email_from: str = Field(description="Sender of the mails.")
    operator_email: str = Field(
        default="",
        description="Who is told about mails that fail, messages set aside, and what only an operator can mend.",
    )
    results_roots: Words = Field(
        default=(),
        description="Folders and URL prefixes (`s3://bucket/runs`), separated by commas, that results may come from. "
        "Must be set with a RabbitMQ broker; with the embedded one, empty means: whatever folder this user can read, "
        "and no URL. `USER=/folder` is for one of the broker's users alone; `{user}` as a part of a path stands for "
        "the one who published.",
    )
    settle_seconds: float = Field(
        default=0,
        ge=0,
        le=86400,
        description="Results whose newest file is younger are waited for; 0: they are not. For results that other "
        "processes still write, or that reach a network file system later.",
    )
    secret_key: SecretStr | None = Field(
        default=None,
        description="Encrypts the definitions' secrets and signs sessions (32 characters or more). Made on first start "
        "with a SQLite ledger (an owner-readable file); must be set with PostgreSQL.",
    )
    secret_key_fallbacks: SecretStr | None = Field(
        default=None,
        description="Earlier secret keys, separated by commas, that still decrypt; `simcourier backends rotate-key` "
        "makes them superfluous.",
    )
    web_host: str = Field(default="127.0.0.1", description="Address that `web` listens on.")
    web_port: int = Field(default=8974, ge=1, le=65535, description="Port of `web`.")
    public_url: str = Field(
        default="",
        description="Address under which people reach the site; empty: the one that `web` listens on. Once it is set, "
        "mails name the deliveries' pages; those of `simcourier up` do so without.",
    )
    web_hsts_seconds: int = Field(
        default=86400,
        ge=0,
        le=2 * 366 * 86400,
        description="For how long browsers that saw the site shall use https only, where `SIMCOURIER_PUBLIC_URL` is an "
        "https address; 0: they are not told.",
    )
    web_proxies: Words = Field(
        default=(),
        description="Addresses or networks of the proxies before `web`, separated by commas, such as `127.0.0.1,::1`: "
        "they alone are believed which address a request comes from (X-Forwarded-For) and whether it came by TLS "
        "(X-Forwarded-Proto).",
    )
    worker_listen: str = Field(
        default="",
        description="`HOST:PORT`, or `PORT` for this machine alone, at which a `worker` answers `/metrics`, `/healthz` "
        "and `/readyz`. Each worker of a machine needs a port of its own; 0 takes a free one, which its log tells. "
        "Empty: it listens nowhere.",
    )
    email_sender_listen: str = Field(default="", description="The same for an `email-sender`.")
    metrics_token: SecretStr | None = Field(
        default=None,
        description="Whoever sends it (`Authorization: Bearer ...`) may read the `/metrics` of `worker`, "
        "`email-sender` and `web`; 16 characters or more. Without it, the first two show them to this machine alone, "
        "and `web` to signed-in staff.",
    )
    local_cloud_host: str = Field(default="127.0.0.1", description="Address that `local-cloud` listens on.")
    local_cloud_port: int = Field(
        default=8976,
        ge=0,
        le=65535,
        description="Port of `local-cloud`; 0 takes a free one. Links made before lead to the old one.",
    )
    local_cloud_public_url: str = Field(
        default="", description="Address in the links; empty: the one under which the worker uploads."
    )
    seafile_server: str = Field(
        default="",
        description="Address of the Seafile server, for definitions that name none: `https://seafile.example.org`.",
    )
    compression: Literal["fast", "small"] = Field(
        default="fast",
        description="How archives are packed: `fast`, or `small`, a few percent smaller and several times slower.",
    )
    concurrency: int = Field(default=1, ge=1, le=64, description="Deliveries a results worker works on at a time.")
    lease_seconds: float = Field(
        default=60,
        ge=1,
        le=3600,
        description="How long a claim holds without renewal; a dead worker's delivery waits this long.",
    )
    sweep_seconds: float = Field(default=10, gt=0, le=3600, description="How often overdue rows are looked for.")
    overdue_seconds: float = Field(
        default=60,
        gt=0,
        le=86400,
        description="How long past its time a row must be before the sweep wakes it again.",
    )
    grace_seconds: float = Field(
        default=30,
        ge=0,
        le=3600,
        description="On SIGTERM, how long running deliveries may finish before they are given back.",
    )
    max_wait_days: float = Field(default=14, gt=0, le=365, description="Nothing waits longer than this: then FAILED.")

    digest_quiet_minutes: int = Field(
        default=30,
        ge=0,
        le=1440,
        description="Runs of a campaign are told in one mail: once all are there that the events state, or this long "
        "after the last one, or a day after the first. 0: each run has a mail of its own.",
    )
    remind_days: int = Field(
        default=3,
        ge=0,
        le=365,
        description="How many days before an archive is removed its recipients are reminded, once; 0: never. Not of "
        "archives that are kept for less than twice as long.",
    )
    keep_longer_days: int = Field(
        default=90,
        ge=0,
        le=36500,
        description="Until how many days after a delivery has ended its recipients can have the archive kept, on the "
        "delivery's page; 0: not longer than its keep days.",
    )
    spool_max_events: int = Field(
        default=SPOOL_MAX_EVENTS,
        ge=1,
        description="Events that this machine keeps at most while the broker does not take them; then `publish` "
        "refuses another one. What `simcourier run` has begun is always kept.",
    )
    spool_max_bytes: int = Field(default=SPOOL_MAX_BYTES, ge=1, description="Bytes of these events, likewise.")

    keep_recipients_days: int = Field(
        default=90,
        ge=0,
        le=36500,
        description="Days after which an ended delivery's event and its recipients' addresses are erased; a failed one "
        "cannot be tried again then. Dead letters that are closed go as well. 0: never.",
    )
    keep_deliveries_days: int = Field(
        default=365,
        ge=0,
        le=36500,
        description="Days after which an ended delivery is reduced to id, digest, publisher, state and times, unless "
        "its archive is still stored. The admin's history goes as well. 0: never.",
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: dict[str, Any]) -> dict[str, Any]:
        values = dict(values)
        folder = values.setdefault("data_dir", user_data_path("simcourier", appauthor=False))
        folder = values["data_dir"] = Path(folder).expanduser().absolute()
        values.setdefault("broker_url", f"sqlite:///{folder}/broker.db")
        values.setdefault("database_url", f"sqlite:///{folder}/simcourier.db")
        values.setdefault("email_url", f"file://{folder}/mail")
        values.setdefault("email_from", _sender())
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        _expect_scheme("broker_url", self.broker_url, ("sqlite", "amqp", "amqps"))
        _expect_scheme("database_url", self.database_url, ("sqlite", "postgresql", "postgres"))
        _expect_scheme("email_url", self.email_url, ("file", "smtp", "smtp+tls", "smtps"))
        email = urlsplit(self.email_url.get_secret_value())
        if email.scheme != "file" and not email.hostname:
            raise ValueError(f"{PREFIX}EMAIL_URL names no mail server; {email.scheme}://HOST:PORT is expected")
        _expect_address("email_from", self.email_from)
        if self.operator_email:
            _expect_address("operator_email", self.operator_email)
        for field in ("public_url", "seafile_server", "local_cloud_public_url"):
            if getattr(self, field):
                _expect_http(field, getattr(self, field))
        for field in ("worker_listen", "email_sender_listen"):
            _expect_listen(field, getattr(self, field))
        if self.metrics_token and len(self.metrics_token.get_secret_value()) < SHORTEST_TOKEN:
            raise ValueError(f"{PREFIX}METRICS_TOKEN must have {SHORTEST_TOKEN} characters or more")
        for network in self.web_proxies:
            _expect_network("web_proxies", network)
        for root in self.results_roots:
            try:
                roots.check(root)
            except roots.WrongRoot as error:
                raise ValueError(f"{PREFIX}RESULTS_ROOTS: {error}") from None
        return self

    @property
    def topology(self) -> Topology:
        """Names of exchanges and queues."""
        return Topology(prefix=self.broker_prefix)

    @property
    def site(self) -> dict[str, str]:
        """Site-wide values for storage plugins, by plugin id and field."""
        return {"seafile_server": self.seafile_server}

    @property
    def told_url(self) -> str:
        """The site's address as mails tell it; empty where nobody has set one."""
        return self.public_url.rstrip("/")

    @property
    def site_url(self) -> str:
        """Where the site is reached, if nobody has set an address perhaps from this machine alone."""
        return self.told_url or f"http://{self.web_host}:{self.web_port}"

    @property
    def embedded_broker(self) -> bool:
        """True if the broker is a file on this machine."""
        return self.broker_url.get_secret_value().startswith("sqlite:")

    @property
    def embedded_ledger(self) -> bool:
        """True if the ledger is a file on this machine."""
        return self.database_url.get_secret_value().startswith("sqlite:")


def load(environ: Mapping[str, str], env_file: Path | None = None) -> Settings:
    """Read the settings.

    Raises:
        WrongSetting: a variable is malformed, unknown, or names a file that cannot be read.
    """
    variables = {**(_read_env_file(env_file) if env_file else {}), **environ}
    _refuse_unknown(variables)
    values: dict[str, str] = {}
    for field in Settings.model_fields:
        name = PREFIX + field.upper()
        file = variables.get(f"{name}_FILE")
        if file and name in variables:
            raise WrongSetting(f"Both {name} and {name}_FILE are set; keep one of them.")
        if file:
            values[field] = _read(Path(file), f"{name}_FILE").strip()
        elif variables.get(name, "").strip():
            values[field] = variables[name]
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise WrongSetting(_sentence(first["msg"], str(first["loc"][0]) if first["loc"] else "")) from None


def _sentence(message: str, field: str) -> str:
    """What is wrong, without the value: somebody may have put a secret into the wrong variable."""
    text = message.removeprefix("Value error, ")
    if not field:
        return f"{text}."
    name = PREFIX + field.upper()
    if text.startswith("Input should be "):
        return f"{name}{text.removeprefix('Input').partition(', unable')[0]}."
    return f"{name}: {text}."


def require_roots(settings: Settings) -> None:
    """Refuse to work off events of a shared broker without knowing where results may come from.

    Raises:
        WrongSetting: RabbitMQ is used and no root is set, or one is bound to users and the broker has none.
    """
    if not settings.embedded_broker and not settings.results_roots:
        raise WrongSetting(
            "SIMCOURIER_RESULTS_ROOTS must be set with a RabbitMQ broker: the folders that results may come from, "
            "separated by commas."
        )
    if settings.embedded_broker and any(map(roots.is_bound, settings.results_roots)):
        raise WrongSetting(
            "SIMCOURIER_RESULTS_ROOTS binds folders to users of the broker, and the embedded broker has no users: name "
            "folders without USER= and {user}, or set SIMCOURIER_BROKER_URL to a RabbitMQ."
        )


def _refuse_unknown(variables: Mapping[str, str]) -> None:
    """A mistyped name would else silently mean the default."""
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known}
    for name in sorted(variables):
        if name.startswith(PREFIX) and name not in known and not name.startswith(OTHERS):
            close = get_close_matches(name.removeprefix(PREFIX), [one.removeprefix(PREFIX) for one in known], n=1)
            hint = f"did you mean {PREFIX}{close[0]}?" if close else "docs/settings.md lists the settings."
            raise WrongSetting(f"{name} is no setting; {hint}")


def _expect_scheme(field: str, url: SecretStr, schemes: tuple[str, ...]) -> None:
    try:
        text = url.get_secret_value()
        nodes = [urlsplit(one) for one in (each_host(text) if field == "broker_url" else [text])]
        scheme = nodes[0].scheme if all(node.port is None or node.port for node in nodes) else ""
    except EmptyHost:
        raise ValueError(f"{PREFIX}{field.upper()} has two commas, or a comma at an end, without a host") from None
    except ValueError:  # its text would show a part of the address
        raise ValueError(
            f"{PREFIX}{field.upper()} cannot be read: a '/', '@', ':' or '#' in user or password must be "
            "percent-encoded (%2F, %40, %3A, %23)"
        ) from None
    if scheme not in schemes:
        raise ValueError(f"{PREFIX}{field.upper()} must begin with one of {', '.join(f'{s}:' for s in schemes)}")


def _expect_listen(field: str, text: str) -> None:
    try:
        listen_address(text or "0")
    except ValueError:
        raise ValueError(
            f"{PREFIX}{field.upper()}: {text!r} is no address to listen on; 127.0.0.1:8977 or 8977 is expected"
        ) from None


def _expect_network(field: str, text: str) -> None:
    try:
        ip_network(text)
    except ValueError:
        raise ValueError(
            f"{PREFIX}{field.upper()}: {text!r} is no address or network; 10.10.160.5 or 10.10.160.0/24 is expected"
        ) from None


def _expect_address(field: str, text: str) -> None:
    if not _is_address(text):
        raise ValueError(
            f"{PREFIX}{field.upper()}: {text!r} is no email address; NAME@DOMAIN or Some name <NAME@DOMAIN> is expected"
        )


def _is_address(text: str) -> bool:
    name, address = parseaddr(text)
    if not all(address.rpartition("@")[::2]) or not (text.isprintable() and address.isascii()):
        return False
    try:
        Address(display_name=name, addr_spec=address)
    except (ValueError, MessageError):
        return False
    return True


def _expect_http(field: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good:
        raise ValueError(
            f"{PREFIX}{field.upper()}: {url!r} is no address; http://HOST:PORT or https://HOST is expected"
        )


def _sender() -> str:
    try:
        address = f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError, ImportError):  # a container's user need not have a name
        address = ""
    return address if _is_address(address) else "simcourier@localhost"


def _read(path: Path, variable: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WrongSetting(f"{variable}: {path} cannot be read ({reason}).") from error


def _read_env_file(path: Path) -> dict[str, str]:
    values: dict[str, str] = {}
    for number, line in enumerate(_read(path, "--env-file").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.removeprefix("export ").partition("=")
        if not equals:
            raise WrongSetting(f"{path}, line {number}: NAME=value is expected.")
        values[name.strip()] = _unquoted(value.strip(), f"{path}, line {number}", name.strip())
    return values


def _unquoted(value: str, where: str, name: str) -> str:
    """What stands behind the ``=``; a comment there would silently become a part of it."""
    if value[:1] in {"'", '"'}:
        if len(value) == 1 or value[-1] != value[0]:
            raise WrongSetting(f"{where}: the value of {name} must end with the quote that it begins with.")
        return value[1:-1]
    if re.search(r"\s#", value):
        raise WrongSetting(
            f"{where}: a comment needs a line of its own; if ' #' belongs to the value of {name}, put it in quotes."
        )
    return value
