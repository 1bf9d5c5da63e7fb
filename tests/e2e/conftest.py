"""Whole installations: embedded, and on RabbitMQ with PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from messaging.topology import Topology
from tests.support.broker import delete_queues
from tests.support.installation import Installation

# What is about the ledger or one machine and not about the engine.
GROWN_IS_LIKE_EMBEDDED = (
    "test_crashes_midway.py",
    "test_retention.py",
    "test_doctor.py",
    "test_sweep.py",
    "test_wrong_input.py",
)
SLOW_AND_LIKE_ANOTHER = (
    "test_single_runs_are_delivered_in_turn_with_a_campaign_that_was_there_before_them[embedded]",
    "test_a_worker_works_on_as_many_deliveries_at_once_as_it_was_told[embedded]",
    "test_a_worker_that_is_ended_in_a_long_upload_hands_it_back_and_another_one_goes_on_with_it[grown]",
    "test_a_study_is_one_mail_for_each_recipient_and_what_comes_later_another_one[embedded]",
    "test_a_site_with_admin_and_users_of_its_own_takes_the_app_and_a_worker_uses_its_database[postgresql]",
    "test_a_definition_that_is_wrong_is_refused_with_the_field_named",  # as in tests/integration, without a browser
    "test_through_dropbox_with_a_link_that_ends",
    "test_through_a_plugin_from_outside",
    "test_tables_are_not_changed_under_a_process_that_uses_them[postgresql]",
    "test_a_message_that_is_no_event_is_set_aside_unchanged[grown]",
    "test_only_the_data_window_is_uncertain_and_it_is_counted[mail.accepted-2-1]",
    "test_ctrl_c_at_any_time_of_the_start_shows_no_traceback[command1]",
    "test_up_on_a_free_port_and_later_on_another_one_keeps_the_storage_backend_local_working",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        alike = item.path.name in GROWN_IS_LIKE_EMBEDDED and "[grown" in item.name
        if alike or item.name in SLOW_AND_LIKE_ANOTHER:
            item.add_marker(pytest.mark.full)


@pytest.fixture(scope="session")
def ledger_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the migrated ledger is made that embedded installations get copies of."""
    return tmp_path_factory.mktemp("ledger-template") / "simcourier.db"


@pytest.fixture(
    params=["embedded", pytest.param("grown", marks=[pytest.mark.rabbitmq, pytest.mark.postgresql])],
)
def installation(
    request: pytest.FixtureRequest, tmp_path: Path, topology: Topology, ledger_template: Path
) -> Iterator[Installation]:
    """One machine on the embedded default; and RabbitMQ with PostgreSQL."""
    if request.param == "embedded":
        with Installation(tmp_path / "data", template=ledger_template) as one:
            yield one
        return
    new_database_url: Callable[[], str] = request.getfixturevalue("new_database_url")
    url: str = request.getfixturevalue("amqp_url")
    prefix = topology.prefix
    with Installation(tmp_path / "data", broker_url=url, database_url=new_database_url(), prefix=prefix) as one:
        yield one
    delete_queues(url, Topology(prefix=prefix))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A small results folder."""
    folder = tmp_path / "results"
    (folder / "sub").mkdir(parents=True)
    (folder / "General-#0.sca").write_text("version 3\nscalar a b 1\n")
    (folder / "sub" / "größe, 1.vec").write_bytes(bytes(range(256)) * 2000)
    return folder
