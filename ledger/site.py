"""Django's settings, derived from ours, and its start."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
import django
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from messaging.errors import UserError
from messaging.settings import Settings, WrongSetting

SHORTEST_KEY = 32


class LedgerUnavailable(UserError):
    """The database cannot be reached or is not prepared; the text says what to do."""


def setup(settings: Settings) -> None:
    """Start Django with ``settings``; a second call with the same ones does nothing.

    Raises:
        WrongSetting: the secret key is missing or too short.
        LedgerUnavailable: the data folder cannot be written.
    """
    if not django_settings.configured:
        django_settings.configure(**site_settings(settings))
        django.setup()


def prepare(settings: Settings) -> None:
    """Start Django and make sure that the tables are there: an embedded ledger is migrated, another one is asked.

    Raises:
        LedgerUnavailable: the database cannot be reached, or waits for ``simcourier manage migrate``.
    """
    setup(settings)
    try:
        if settings.embedded_ledger:
            with (settings.data_dir / "migrate.lock").open("w") as lock:  # several roles may start at once
                fcntl.flock(lock, fcntl.LOCK_EX)
                if _unapplied():
                    call_command("migrate", verbosity=0, interactive=False)
        elif _unapplied():
            raise LedgerUnavailable("The ledger's tables are not up to date; run: simcourier manage migrate")
        _check_key()
    except ImproperlyConfigured as error:
        raise WrongSetting(str(error)) from error
    except DatabaseError as error:
        raise LedgerUnavailable(f"The ledger cannot be reached ({_first_line(error)}).") from error


def site_settings(settings: Settings) -> dict[str, Any]:
    """Django's settings as a mapping.

    Raises:
        WrongSetting: as `setup`.
    """
    public = urlsplit(settings.public_url)
    secure = public.scheme == "https"
    return {
        "ALLOWED_HOSTS": list({public.hostname or "localhost", "localhost", "127.0.0.1", "[::1]", settings.web_host}),
        "CSRF_TRUSTED_ORIGINS": [f"{public.scheme}://{public.netloc}"],
        "DATABASES": {"default": _database(settings)},
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
        "LOGGING_CONFIG": None,  # messaging.logs has done it
        "MIDDLEWARE": [
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
        "SESSION_COOKIE_SECURE": secure,
        "CSRF_COOKIE_SECURE": secure,
        "STATIC_URL": "static/",
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
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
    """Make the data folder, readable by its owner only.

    Raises:
        LedgerUnavailable: it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid == os.geteuid():  # a producer may have made it before, with the user's own umask
            folder.chmod(0o700)
    except OSError as error:
        raise LedgerUnavailable(
            f"The data folder {folder} cannot be made ({error.strerror}); set SIMCOURIER_DATA_DIR to another one."
        ) from error


def _database(settings: Settings) -> dict[str, Any]:
    try:
        config: dict[str, Any] = dict(dj_database_url.parse(settings.database_url.get_secret_value()))
    except ValueError:  # its text would show the address
        raise WrongSetting(
            "SIMCOURIER_DATABASE_URL cannot be read; postgresql://USER:PASSWORD@HOST/NAME is expected, with special "
            "characters percent-encoded."
        ) from None
    if settings.embedded_ledger:
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 30,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        }
        # A connection to a file costs little to keep; to PostgreSQL it is kept and looked at before each use.
        config["CONN_MAX_AGE"] = None
    else:
        config["CONN_MAX_AGE"] = 600
        config["CONN_HEALTH_CHECKS"] = True
        config["OPTIONS"] = {"connect_timeout": 10, **config.get("OPTIONS", {})}
    return config


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


def _unapplied() -> bool:
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
