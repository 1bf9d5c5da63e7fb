"""The shipped contract suite on Seafile, against the stand-in, and the habits of that service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from backends import seafile
from backends.contract import Backend
from backends.errors import BackendError, PermanentError, TransientError
from backends.http import session
from backends.registry import build
from backends.seafile import CHUNK
from backends.suite import BackendContract, Fetch, Make, Store
from backends.suite_doubles import SampleProgress
from tests.standins.seafile.client import SeafileStandin

LARGE = 3 * CHUNK + 12_345


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeafileStandin]:
    with SeafileStandin(tmp_path_factory.mktemp("seafile")) as one:
        yield one


@pytest.fixture
def standin(running: SeafileStandin) -> Iterator[SeafileStandin]:
    yield running
    running.heal()
    running.change(
        encrypted=False, gone=False, permission="rw", total=-2, largest=0, old_links=False, link_host="",
        single_use=False, translated=False, c_server=False, force_days=[0, 0],
    )  # fmt: skip


def made(standin: SeafileStandin, config: dict[str, str], http: requests.Session) -> Backend[Any]:
    return build("seafile", standin.server, config, http)


def get(url: str) -> bytes | None:
    answer = requests.get(url, timeout=30)
    return answer.content if answer.ok else None


def count(standin: SeafileStandin) -> int:
    return len(standin.state()["files"])


class TestSeafile(BackendContract):
    @pytest.fixture
    def backend(self, standin: SeafileStandin) -> Iterator[Backend[Any]]:
        with session() as http:
            yield made(standin, standin.config, http)

    @pytest.fixture
    def fetch(self) -> Fetch:
        return get

    @pytest.fixture
    def count_files(self, standin: SeafileStandin) -> Callable[[], int]:
        return lambda: count(standin)

    @pytest.fixture
    def canaries(self, standin: SeafileStandin) -> list[str]:
        return [standin.config["token"]]

    def test_after_a_cut_a_new_process_sends_no_more_than_one_chunk_again(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch
    ) -> None:
        sample, broken = archive(LARGE), SampleProgress()
        standin.fail("cut", value=CHUNK // 2 + 1)
        before = standin.state()["received"]
        with pytest.raises(TransientError):
            store(sample, broken)
        standin.fail("cut", value=CHUNK // 2)
        with pytest.raises(TransientError):
            store(archive(LARGE, key=sample.key), SampleProgress(broken.checkpoint))

        stored = store(archive(LARGE, key=sample.key), SampleProgress(broken.checkpoint))

        assert fetch(backend.link(stored, None).url) == sample.content()
        assert standin.state()["received"] - before < LARGE + 2 * CHUNK + 100_000

    def test_chunks_that_have_arrived_are_not_sent_again(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch
    ) -> None:
        sample, broken = archive(LARGE, fails_after=2 * CHUNK + 1000), SampleProgress()
        with pytest.raises(BackendError):
            store(sample, broken)
        before = standin.state()["received"]

        with session() as http:
            again = made(standin, standin.config, http)
            stored = again.store(archive(LARGE, key=sample.key), SampleProgress(broken.checkpoint))

        assert standin.state()["received"] - before < LARGE - 2 * CHUNK + 100_000
        assert fetch(backend.link(stored, None).url) == sample.content()

    @pytest.mark.parametrize("size", [1000, LARGE])
    def test_a_lost_last_answer_leaves_one_file_that_is_not_sent_again(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, store: Store, size: int
    ) -> None:
        sample, broken = archive(size), SampleProgress()
        files = count(standin)
        standin.fail("lost_answer", route="upload", count=None)
        checkpoint: Any = None
        for _ in range(5):
            with pytest.raises(TransientError):
                store(sample, SampleProgress(checkpoint) if checkpoint else broken)
            checkpoint = dict(broken.checkpoint or {})
            if count(standin) > files:
                break
            checkpoint = dict(broken.checkpoint or {})
        standin.heal()
        while count(standin) == files:
            store(archive(size, key=sample.key), SampleProgress(checkpoint))
        uploads = standin.state()["requests"]["upload"]

        store(archive(size, key=sample.key), SampleProgress({"sha256": sample.sha256, "committing": True}))

        assert standin.state()["requests"]["upload"] == uploads
        assert count(standin) == files + 1
        assert backend.link(store(archive(size, key=sample.key)), None).url

    def test_other_bytes_that_were_left_behind_do_not_get_into_the_file(
        self, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch
    ) -> None:
        """The server's temporary file is one per name, and is never cut off."""
        longer = archive(LARGE + CHUNK, seed=1, fails_after=3 * CHUNK + CHUNK // 2)
        with pytest.raises(BackendError):
            store(longer)
        sample = archive(2 * CHUNK + 5, key=longer.key)
        progress = SampleProgress()

        with pytest.raises(TransientError, match="they were removed"):
            store(sample, progress)
        stored = store(archive(2 * CHUNK + 5, key=longer.key), SampleProgress(progress.checkpoint))

        assert fetch(backend.link(stored, None).url) == sample.content()

    def test_an_upload_link_that_has_expired_is_asked_for_again(
        self, standin: SeafileStandin, archive: Make, store: Store
    ) -> None:
        standin.fail("link_expired", count=2)

        assert store(archive(LARGE)).size == LARGE

    def test_a_link_that_never_works_ends_as_the_definition_s_fault(
        self, standin: SeafileStandin, archive: Make, store: Store
    ) -> None:
        standin.fail("link_expired", count=None)
        with pytest.raises(PermanentError):
            store(archive())

    def test_a_server_that_asks_to_wait_is_waited_for(self, standin: SeafileStandin, backend: Backend[Any]) -> None:
        standin.fail("throttled", value=17)

        with pytest.raises(TransientError) as caught:
            backend.check()

        assert caught.value.retry_after == 17

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"encrypted": True}, "is encrypted"),
            ({"gone": True}, "does not know the library"),
            ({"permission": "r"}, "is read-only"),
            ({"total": 1000}, "archive has 2000|no room"),
            ({"link_host": "127.0.0.1:9"}, "FILE_SERVER_ROOT"),
        ],
    )
    def test_what_only_an_operator_can_mend_is_the_definition_s_fault(
        self, standin: SeafileStandin, archive: Make, store: Store, change: dict[str, Any], told: str
    ) -> None:
        files = count(standin)
        standin.change(**change)

        with pytest.raises(PermanentError, match=told) as caught:
            store(archive(2000))

        assert caught.value.scope == "backend"
        standin.change(gone=False)
        assert count(standin) == files

    def test_quota_that_only_the_file_server_knows_is_the_definition_s_fault(
        self, standin: SeafileStandin, archive: Make, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As for a library that somebody shares with the account."""
        standin.change(total=LARGE)
        monkeypatch.setattr(seafile._Account, "free", lambda _: None)

        with pytest.raises(PermanentError, match="no room left") as caught:
            store(archive(LARGE))

        assert caught.value.scope == "backend"

    @pytest.mark.parametrize("fault", ["unavailable", "error", "collected", "html", "old_error", "finalising_fails"])
    def test_what_may_pass_is_tried_again_and_leaves_one_file(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch, fault: str
    ) -> None:
        sample, progress = archive(LARGE), SampleProgress()
        files = count(standin)
        standin.fail(fault, route="upload" if fault in {"unavailable", "error"} else "")
        with pytest.raises(TransientError):
            store(sample, progress)

        stored = store(archive(LARGE, key=sample.key), SampleProgress(progress.checkpoint))

        assert count(standin) == files + 1
        assert fetch(backend.link(stored, None).url) == sample.content()

    @pytest.mark.parametrize(
        "settings", [{"link_host": "/"}, {"single_use": True}, {"translated": True}, {"c_server": True}]
    )
    def test_servers_of_other_kinds_do_as_well(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch,
        settings: dict[str, Any],
    ) -> None:  # fmt: skip
        standin.change(**settings)
        sample = archive(1000, name="Größe & 50% +.zip")

        assert fetch(backend.link(store(sample), None).url) == sample.content()

    def test_a_link_ends_as_the_service_says(self, backend: Backend[Any], archive: Make, store: Store) -> None:
        stored = store(archive())
        asked = datetime.now(UTC) + timedelta(days=3)

        first, again = backend.link(stored, asked), backend.link(stored, asked)
        other = backend.link(stored, asked + timedelta(days=3))

        assert first == again
        assert first.expires is not None
        assert abs(first.expires - asked) < timedelta(minutes=1)
        assert other.expires is not None
        assert other.expires - first.expires > timedelta(days=2)

    def test_an_administrator_who_bounds_the_links_is_told_of(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, store: Store
    ) -> None:
        stored = store(archive())
        standin.change(force_days=[1, 5])

        with pytest.raises(PermanentError, match="Backend keep days"):
            backend.link(stored, datetime.now(UTC) + timedelta(days=30))
        assert backend.link(stored, datetime.now(UTC) + timedelta(days=4)).expires is not None

    def test_a_wrong_token_is_the_definition_s_fault(self, standin: SeafileStandin) -> None:
        with session() as http, pytest.raises(PermanentError, match="does not accept the token") as caught:
            made(standin, standin.config | {"token": "0" * 40}, http).check()

        assert caught.value.scope == "backend"

    def test_without_a_server_it_says_where_to_put_one(self, standin: SeafileStandin) -> None:
        with session() as http, pytest.raises(PermanentError, match="SIMCOURIER_SEAFILE_SERVER"):
            build("seafile", "", standin.config, http).check()


def test_a_library_s_own_token_stores_links_and_deletes(standin: SeafileStandin, tmp_path: Path) -> None:
    from backends.check import check

    del tmp_path
    with session() as http:
        steps = list(check(made(standin, standin.repo_config, http), http))

    assert [(step.name, step.ok) for step in steps] == [
        (name, True) for name in ("sign in", "store", "link", "fetch", "delete")
    ], [step.text for step in steps]
    assert "the library's own token" in steps[0].text


def test_the_site_s_server_is_taken_where_the_definition_names_none(standin: SeafileStandin) -> None:
    with session() as http:
        backend = build("seafile", "", standin.config, http, {"seafile_server": standin.server})

        assert "Simulation results" in backend.check().account


@pytest.mark.full
def test_three_gigabytes_take_little_memory(standin: SeafileStandin) -> None:
    import resource

    from backends.suite_doubles import SampleArchive

    size = 3 * 1024**3
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with session() as http:
        backend = made(standin, standin.config, http)
        sample = SampleArchive(size, key="three/1/gigabytes.zip", name="gigabytes.zip")
        stored = backend.store(sample, SampleProgress())
        assert stored.size == size
        backend.delete(stored)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB
