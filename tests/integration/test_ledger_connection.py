"""A connection to the ledger that the database has ended is never used again."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from django.db import connection, connections

from messaging.settings import Settings
from tests.support.ledger import settings_for, use_database
from tests.support.scratch import wait_until


@pytest.mark.postgresql
def test_a_user_of_a_ledger_whose_session_was_lost_becomes_a_user_of_the_same_ledger_again(
    sqlite_ledger: Settings, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ledger the process asks by then, as tests do with one after the other."""
    from ledger import tables

    def holders() -> set[int]:
        query = (
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted AND database = "
        )
        database = "(SELECT oid FROM pg_database WHERE datname = current_database())"
        return {pid for (pid,) in server.execute(query + database).fetchall()}

    monkeypatch.setattr(tables, "PING_SECONDS", 0.05)
    use_database(settings_for(tmp_path / "server", database_url))
    tables.ready("worker")
    use_database(sqlite_ledger)
    with psycopg.connect(database_url, autocommit=True) as server:
        first = holders()
        assert len(first) == 1
        server.execute("SELECT pg_terminate_backend(%s, 5000)", [*first])

        wait_until(lambda: len(holders() - first) == 1, "it is a user again")


@pytest.mark.postgresql
def test_work_goes_on_at_once_on_a_new_connection_when_the_database_has_ended_the_last_one(
    migrated_postgres: str, tmp_path: Path
) -> None:
    use_database(settings_for(tmp_path, migrated_postgres))
    from ledger.work import unit_of_work

    @unit_of_work
    def ask() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int(cursor.fetchone()[0])

    first = ask()
    assert ask() == first
    with psycopg.connect(migrated_postgres, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [first])

    assert ask() != first
    connections.close_all()
