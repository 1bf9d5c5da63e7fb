"""Fixtures with a ledger in the tests' own process, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connections

from messaging.settings import Settings
from tests.support.ledger import migrated_copy, settings_for, use_database


@pytest.fixture(scope="session")
def ledger_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the migrated SQLite ledger is made that tests get copies of."""
    return tmp_path_factory.mktemp("ledger-template") / "simcourier.db"


@pytest.fixture(scope="session")
def migrated_postgres(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A migrated PostgreSQL ledger that tests share, emptied for each."""
    url = str(request.getfixturevalue("new_database_url")())
    use_database(settings_for(tmp_path_factory.mktemp("postgres-data"), url))
    call_command("migrate", verbosity=0)
    return url


@pytest.fixture
def sqlite_ledger(tmp_path: Path, ledger_template: Path) -> Iterator[Settings]:
    """An empty SQLite ledger."""
    migrated_copy(ledger_template, tmp_path / "simcourier.db")
    settings = settings_for(tmp_path)
    use_database(settings)
    yield settings
    connections.close_all()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def ledger_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """An empty ledger, once per database."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_ledger")
        return
    settings = settings_for(tmp_path, request.getfixturevalue("migrated_postgres"))
    use_database(settings)
    call_command("flush", interactive=False, verbosity=0)
    yield settings
    connections.close_all()
