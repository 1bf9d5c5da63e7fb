"""Django in the tests' own process, on one database after the other."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from django.core.management import call_command
from django.db import connection, connections

import ledger
from ledger.site import site_settings
from messaging.settings import Settings, load
from tests.support.scratch import wait_until

SECRET = "a secret key that only the tests know"


def settings_for(data_dir: Path, database_url: str | None = None, **more: str) -> Settings:
    """Settings with a data folder of the test's own."""
    variables = {"SIMCOURIER_DATA_DIR": str(data_dir), "SIMCOURIER_SECRET_KEY": SECRET}
    if database_url is not None:
        variables["SIMCOURIER_DATABASE_URL"] = database_url
    return load(variables | {f"SIMCOURIER_{name.upper()}": value for name, value in more.items()})


def use_database(settings: Settings) -> None:
    """Make Django talk to the database of ``settings`` from now on; it must be migrated."""
    ledger.setup(settings)
    connections.close_all()
    connections.settings["default"] = connections.configure_settings(
        {"default": site_settings(settings)["DATABASES"]["default"]}
    )["default"]
    with contextlib.suppress(AttributeError):  # this thread has not used the last one
        del connections["default"]


def next_tick() -> None:
    """Wait until the ledger's clock has gone on: SQLite's goes by milliseconds, and a fast machine does much in one."""

    def now() -> object:
        with connection.cursor() as cursor:
            cursor.execute("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")
            return cursor.fetchone()

    if connection.vendor == "sqlite":
        begun = now()
        wait_until(lambda: now() != begun, "the next tick of the ledger's clock", step=0.001)


def migrated_copy(template: Path, target: Path) -> None:
    """A migrated SQLite ledger at ``target``; the first call makes ``template``."""
    if not template.exists():
        use_database(settings_for(template.parent, f"sqlite:///{template}"))
        call_command("migrate", verbosity=0)
        connections.close_all()
    shutil.copyfile(template, target)
