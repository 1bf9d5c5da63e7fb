"""An operator names a delivery by its id, by the id's beginning, or by the simulation's id."""

from __future__ import annotations

from uuid import UUID

import pytest
from click.testing import CliRunner, Result

from messaging.settings import Settings
from simcourier.cli import main
from tests.support.events import event
from tests.support.ledger import SECRET, next_tick

ONE, OTHER = UUID("6f1c1a52-6a3c-4f0e-9d4b-0d6f4a3f0f4e"), UUID("6f1cffff-6a3c-4f0e-9d4b-0d6f4a3f0f4e")


@pytest.fixture
def settings(ledger_settings: Settings) -> Settings:
    """With two deliveries whose ids begin alike."""
    from ledger.api import Deliveries

    deliveries = Deliveries("host:1", lease=30, overdue=60)
    for event_id, simulation_id in ((ONE, "mm1-first"), (OTHER, "mm1-again")):
        next_tick()  # the newest one is told first
        one = event(event_id=event_id, simulation_id=simulation_id)
        deliveries.record(one, one.to_bytes(), None)
    return ledger_settings


def simcourier(settings: Settings, *words: str) -> Result:
    environ = {
        "SIMCOURIER_DATA_DIR": str(settings.data_dir),
        "SIMCOURIER_SECRET_KEY": SECRET,
        "SIMCOURIER_DATABASE_URL": settings.database_url.get_secret_value(),
    }
    return CliRunner().invoke(main, list(words), env=environ)


@pytest.mark.parametrize("name", [str(ONE), ONE.hex, "6f1c1", "6F1C1A52-6a3c", "mm1-first"])
def test_whatever_one_delivery_alone_goes_by_will_do(settings: Settings, name: str) -> None:
    shown = simcourier(settings, "deliveries", "show", name)
    told = simcourier(settings, "where", name)
    cancelled = simcourier(settings, "deliveries", "cancel", name)

    assert f"Delivery:     {ONE}" in shown.stdout, shown.stderr
    assert f"Delivery:     {ONE}" in told.stdout
    assert str(OTHER) not in told.stdout
    assert (cancelled.exit_code, cancelled.stdout) == (0, f"{ONE} is cancelled.\n")


def test_what_several_go_by_is_refused_before_anything_is_done(settings: Settings) -> None:
    done = simcourier(settings, "deliveries", "cancel", str(ONE), "6f1c")

    assert done.exit_code == 1
    assert f"Several deliveries go by '6f1c'; give one of their ids, the newest are {OTHER}, {ONE}." in done.stderr
    assert "RECEIVED" in simcourier(settings, "where", str(ONE)).stdout


@pytest.mark.parametrize("name", ["6f1", "6f1d", "nonsense", str(UUID(int=7)), "x" * 300])
def test_what_none_goes_by_is_told(settings: Settings, name: str) -> None:
    done = simcourier(settings, "deliveries", "retry", name)

    assert done.exit_code == 1
    assert f"No delivery is known under '{name}'" in done.stderr


def test_where_shows_all_whose_id_begins_so(settings: Settings) -> None:
    told = simcourier(settings, "where", "6f1c").stdout

    assert told.index(str(OTHER)) < told.index(str(ONE))
