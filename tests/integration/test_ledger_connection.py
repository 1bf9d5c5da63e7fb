"""A connection to the ledger that the database has ended is never used again."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from django.db import connection, connections

from tests.support.ledger import settings_for, use_database


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
