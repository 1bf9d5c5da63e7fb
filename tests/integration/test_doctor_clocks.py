"""What the doctor says of a machine whose clock is wrong."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import pytest
from django.db import connections

from tests.support.ledger import settings_for, use_database


@pytest.mark.postgresql
@pytest.mark.parametrize(("seconds", "told"), [(0, "agrees"), (-90, "differ by 90 s"), (90, "differ by 90 s")])
def test_a_clock_that_is_wrong_is_told(
    seconds: int, told: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path, database_url)
    use_database(settings)
    from simcourier.doctor import database

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(seconds=seconds)

    monkeypatch.setattr(database, "datetime", Wrong)

    found = [one for one in database.database(settings, []) if one.check == "clocks"]
    connections.close_all()

    assert told in found[0].text
