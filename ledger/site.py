"""Django's settings, derived from ours, and its start."""

from __future__ import annotations

import itertools
import os
import pwd
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
import django
import structlog
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, connection

from ledger.errors import LedgerRefused, LedgerUnavailable, unavailable
from messaging.connect import connect
from messaging.engine import Engine
from messaging.settings import Settings, WrongSetting
from messaging.sqlite_files import make_private, refuse_network

SHORTEST_KEY = 32
SESSION_SECONDS = 12 * 3600
# The name of a row in `ledger.models.Lock`: an embedded ledger that has it was copied into another one.
CARRIED_OVER = "carried over"
# Django's commands that need no tables, or are about them; and options with which any command only tells something.
ABOUT_TABLES = {"check", "dbshell", "help", "makemigrations", "migrate", "showmigrations", "sqlmigrate", "version"}
LOOKING = {"--plan", "--check", "--help", "-h", "--version"}
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)

log = structlog.get_logger()


def setup(settings: Settings, *, patience: int = 30) -> None:
    """Start Django with ``settings``; a second call with the same ones does nothing.

    Args:
        settings: which ledger.
        patience: seconds for a connection, or for a file that is busy.

    Raises:
        WrongSetting: the secret key is missing or too short.
        LedgerUnavailable: the data folder cannot be written.
    """
    if not django_settings.configured:
        django_settings.configure(**site_settings(settings, patience))
        django.setup()


def prepare(settings: Settings, role: str) -> None:
    """Start Django and make sure that the tables are there: the first process that needs it brings them up to date.

    Args:
        settings: which ledger.
        role: what this process does, in a word, for whoever must stop it before an update.

    Raises:
        WrongSetting: the secret key is missing, or not the one that the definitions are encrypted with.
        LedgerUnavailable: the database cannot be reached at present.
        LedgerRefused: it cannot be used before somebody has mended something, its tables are those of a newer
            SimCourier, or must be brought up to date while others use them.
    """
    setup(settings)
    with _speaking():
        if settings.embedded_ledger:
            _own_file()
        from ledger.tables import ready

        ready(role)
        if settings.embedded_ledger:
            _refuse_carried_over()
        _check_key()


def prepare_in_time(settings: Settings, role: str) -> None:
    """`prepare`; waits for a database that cannot be reached, as a service does that starts before it."""
    for pause in itertools.chain(RETRY_SECONDS, itertools.repeat(RETRY_SECONDS[-1])):
        try:
            prepare(settings, role)
        except LedgerRefused:
            raise
        except LedgerUnavailable as error:
            log.warning("ledger.unavailable", error=str(error), retry_seconds=pause)
            time.sleep(pause)
        else:
            return


def manage(settings: Settings, arguments: Sequence[str]) -> None:
    """Run one of Django's commands; one that changes the tables has them to itself.

    Raises:
        LedgerUnavailable: as `prepare`.
    """
    setup(settings)
    from django.core.management import execute_from_command_line

    from ledger.tables import changing, ready

    name, looks = (*arguments, "help")[0], bool(LOOKING.intersection(arguments))
    with _speaking():
        if settings.embedded_ledger:
            _own_file()
        if name not in ABOUT_TABLES and not looks:
            ready("manage")
        only_forward = all(word.startswith("-") for word in arguments[1:])  # and to no migration by its name
        with changing(only_forward=only_forward) if name == "migrate" and not looks else nullcontext():
            execute_from_command_line(["simcourier manage", *arguments])


def site_settings(settings: Settings, patience: int = 30) -> dict[str, Any]:
    """Django's settings as a mapping.

    Raises:
        WrongSetting: as `setup`.
    """
    public = urlsplit(settings.site_url)
    secure = public.scheme == "https"
    return {
        "ALLOWED_HOSTS": list({public.hostname or "localhost", "localhost", "127.0.0.1", "[::1]", settings.web_host}),
        "CSRF_TRUSTED_ORIGINS": [f"{public.scheme}://{public.netloc}"],
        "DATABASES": {"default": _database(settings, patience)},
        "DEBUG": False,
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "INSTALLED_APPS": [
            "django.contrib.admin.apps.SimpleAdminConfig",  # ledger.urls discovers: workers need no admin
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.staticfiles",
            "ledger.apps.LedgerConfig",
        ],
        "LOGIN_REDIRECT_URL": "overview",  # also where `next` leads elsewhere; Django's own is a page that is not there
        "LOGGING_CONFIG": None,  # messaging.logs has done it
        "MIDDLEWARE": [
            "ledger.requests.guarded",
            "django.middleware.security.SecurityMiddleware",
            "whitenoise.middleware.WhiteNoiseMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
        "ROOT_URLCONF": "ledger.urls",
        "SECRET_KEY": _secret_key(settings),
        "SECRET_KEY_FALLBACKS": _fallback_keys(settings),
        "SESSION_COOKIE_SECURE": secure,
        "SESSION_COOKIE_AGE": SESSION_SECONDS,
        "SESSION_EXPIRE_AT_BROWSER_CLOSE": True,
        "CSRF_COOKIE_SECURE": secure,
        "CSRF_COOKIE_HTTPONLY": True,
        "SECURE_SSL_REDIRECT": secure,
        "SECURE_SSL_HOST": public.netloc,
        "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https") if secure else None,
        "SECURE_HSTS_SECONDS": settings.web_hsts_seconds if secure else 0,
        # Whether subdomains speak TLS, and whether browsers are to know all this by heart, is not ours to say.
        "SILENCED_SYSTEM_CHECKS": ["security.W005", "security.W021"],
        "SIMCOURIER_KEEP_LONGER_DAYS": settings.keep_longer_days,
        "SIMCOURIER_ENGINE": _engine(settings),
        "SIMCOURIER_METRICS_TOKEN": settings.metrics_token,
        "SIMCOURIER_PROXIES": settings.web_proxies,
        "SIMCOURIER_SITE": settings.site,
        "SIMCOURIER_TOPOLOGY": settings.topology,
        "STATIC_URL": "static/",
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "DIRS": [Path(__file__).with_name("site_templates")],  # over the admin's own, on our site alone
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        "FORMAT_MODULE_PATH": ["ledger.written"],
        "TIME_ZONE": "UTC",
        "USE_TZ": True,
        "WHITENOISE_USE_FINDERS": True,
        "WHITENOISE_AUTOREFRESH": False,
        "AUTH_PASSWORD_VALIDATORS": [
            {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
            {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
        ],
    }


def make_data_dir(folder: Path) -> None:
    """Make the data folder, readable by its owner only; so is whatever this process makes from now on.

    Raises:
        LedgerRefused: it cannot be made, or belongs to somebody else.
    """
    os.umask(0o077)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = folder.stat().st_uid
        if owner == os.geteuid():  # a producer may have made it before, with the user's own umask
            folder.chmod(0o700)
    except FileExistsError as error:
        raise LedgerRefused(f"The data folder {folder} is a file; set SIMCOURIER_DATA_DIR to a folder.") from error
    except OSError as error:
        raise LedgerRefused(
            f"The data folder {folder} cannot be used ({error.strerror}); set SIMCOURIER_DATA_DIR to another one."
        ) from error
    if owner != os.geteuid():  # also for root: files that root makes there, the owner could not use
        raise LedgerRefused(
            f"The data folder {folder} belongs to the user {_user(owner)}, and this is {_user(os.geteuid())}; start it "
            "as that user, or set SIMCOURIER_DATA_DIR to another folder."
        )


def _database(settings: Settings, patience: int) -> dict[str, Any]:
    try:
        config: dict[str, Any] = dict(dj_database_url.parse(settings.database_url.get_secret_value()))
    except ValueError:  # its text would show the address
        raise WrongSetting(
            "SIMCOURIER_DATABASE_URL cannot be read; postgresql://USER:PASSWORD@HOST/NAME is expected, with special "
            "characters percent-encoded."
        ) from None
    if settings.embedded_ledger:
        if config["NAME"] == ":memory:":
            raise WrongSetting(
                "SIMCOURIER_DATABASE_URL must name a file: sqlite:////var/lib/simcourier/ledger.db, say."
            )
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": patience,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        }
        # A connection to a file costs little to keep; to PostgreSQL it is kept and looked at before each use.
        config["CONN_MAX_AGE"] = None
    else:
        config["CONN_MAX_AGE"] = 600
        config["CONN_HEALTH_CHECKS"] = True
        config["OPTIONS"] = {"connect_timeout": min(patience, 10), **config.get("OPTIONS", {})}
    return config


def _engine(settings: Settings) -> Engine | None:
    """The broker, for looks at its queues; None: the site of an installation on servers need not know it."""
    if settings.embedded_broker and not settings.embedded_ledger:
        return None
    return connect(settings.broker_url.get_secret_value(), settings.topology)


def _secret_key(settings: Settings) -> str:
    if settings.secret_key is not None:
        key = settings.secret_key.get_secret_value()
        if len(key) < SHORTEST_KEY:
            raise WrongSetting(f"SIMCOURIER_SECRET_KEY must have {SHORTEST_KEY} characters or more.")
        return key
    if not settings.embedded_ledger:
        raise WrongSetting(
            "SIMCOURIER_SECRET_KEY must be set with PostgreSQL, the same for every role; make one with: "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
    make_data_dir(settings.data_dir)
    return _kept_key(settings.data_dir / "secret-key")


def _fallback_keys(settings: Settings) -> list[str]:
    listed = settings.secret_key_fallbacks.get_secret_value() if settings.secret_key_fallbacks else ""
    return [key.strip() for key in listed.split(",") if key.strip()]


def _kept_key(file: Path) -> str:
    if not file.exists():
        fresh = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(secrets.token_urlsafe(48))
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(fresh, file)  # unlike a rename, this does not replace the key of a role that was quicker
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return file.read_text(encoding="ascii").strip()


def _check_key() -> None:
    """Better no start than a worker to which every definition looks broken."""
    from ledger.models import StorageBackend

    list(StorageBackend.objects.all())


def _refuse_carried_over() -> None:
    """What is done in a ledger after it was copied would be missing in the copy, or be done twice."""
    from ledger.models import Lock

    if Lock.objects.filter(name=CARRIED_OVER).exists():
        raise LedgerRefused(
            "This ledger was carried over to another one: set SIMCOURIER_DATABASE_URL and SIMCOURIER_BROKER_URL to the "
            "new ones; if 'simcourier carry-over' did not come to its end, run it again."
        )


@contextmanager
def _speaking() -> Iterator[None]:
    try:
        yield
    except ImproperlyConfigured as error:
        raise WrongSetting(str(error)) from error
    except (DatabaseError, InterfaceError) as error:
        raise unavailable(error) from error


def _own_file() -> None:
    """Make the embedded ledger's file, for its owner only, on a disk of this machine.

    Raises:
        NetworkFolder: it would lie on a network file system.
        LedgerRefused: it cannot be made.
    """
    file = Path(str(connection.settings_dict["NAME"]))
    refuse_network(file.parent)
    try:
        make_private(file)
        status = file.stat()
        if status.st_uid == os.geteuid() and status.st_mode & 0o077:
            for one in (file, *(file.with_name(file.name + suffix) for suffix in ("-wal", "-shm"))):
                with suppress(FileNotFoundError):
                    one.chmod(0o600)
    except OSError as error:
        raise LedgerRefused(f"The ledger's file {file} cannot be used ({error.strerror}).") from error
    if not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)):
        raise LedgerRefused(f"The ledger's file {file}, or its folder, may not be written by this user.")


def _user(number: int) -> str:
    try:
        return f"{pwd.getpwuid(number).pw_name!r}"
    except KeyError:  # a container's user need not have a name
        return f"number {number}"
