"""The shipped contract suite on Seafile, against the stand-in, and the habits of that service."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from backends.contract import Backend, Json
from backends.errors import BackendError, PermanentError, TransientError
from backends.http import session
from backends.registry import build
from backends.seafile_errors import CHUNK
from backends.suite import BackendContract, Fetch, Make, Store
from backends.suite_doubles import SampleArchive, SampleProgress
from tests.standins.seafile.client import SeafileStandin

LARGE = 3 * CHUNK + 12_345


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeafileStandin]:
    with SeafileStandin(tmp_path_factory.mktemp("seafile")) as one:
        yield one


@pytest.fixture
def standin(running: SeafileStandin) -> Iterator[SeafileStandin]:
    yield running
    running.reset()


class Meanwhile(SampleProgress):
    """Something happens there once, when so many bytes are said to have been sent."""

    def __init__(self, sent: int, happens: Callable[[], object]) -> None:
        super().__init__()
        self._sent = sent
        self._happens: Callable[[], object] | None = happens

    def save(self, checkpoint: Json, sent: int) -> None:
        super().save(checkpoint, sent)
        if sent >= self._sent and self._happens is not None:
            self._happens()
            self._happens = None


def made(standin: SeafileStandin, config: dict[str, str], http: requests.Session) -> Backend[Any]:
    return build("seafile", standin.server, config, http)


def get(url: str) -> bytes | None:
    answer = requests.get(url, timeout=120)
    return answer.content if answer.ok else None


def ask(standin: SeafileStandin, method: str, path: str, **arguments: Any) -> requests.Response:
    """As somebody else who uses the account."""
    headers = {"Authorization": f"Token {standin.facts['token']}"}
    return requests.request(method, f"{standin.server}{path}", headers=headers, timeout=120, **arguments)


def make_link(standin: SeafileStandin, **how: Any) -> str:
    """A share link to the only file, made by hand."""
    (path,) = standin.state()["files"]
    asked = {"repo_id": standin.facts["repoid"], "path": path, **how}
    return str(ask(standin, "POST", "/api/v2.1/share-links/", json=asked).json()["link"])


def remove_folders(standin: SeafileStandin) -> None:
    assert ask(standin, "DELETE", f"/api2/repos/{standin.facts['repoid']}/dir/?p=/simcourier").ok


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

    def test_fewer_bytes_of_somebody_else_are_not_gone_on_with(
        self, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch
    ) -> None:
        other = archive(LARGE, seed=1, fails_after=CHUNK + 1000)
        with pytest.raises(BackendError):
            store(other)
        sample = archive(LARGE, key=other.key)

        assert fetch(backend.link(store(sample), None).url) == sample.content()

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

    @pytest.mark.parametrize("size", [2000, LARGE])
    def test_in_somebody_s_shared_library_only_that_one_s_quota_counts(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, store: Store, size: int
    ) -> None:
        standin.change(shared=True, total=size + CHUNK)

        assert backend.check().free_bytes is None
        assert store(archive(size)).size == size
        with pytest.raises(PermanentError, match="no room left") as caught:
            store(archive(size + CHUNK))

        assert caught.value.scope == "backend"

    def test_a_refusal_that_the_closing_connection_swallows_is_learnt_the_next_time(
        self, standin: SeafileStandin, archive: Make, store: Store
    ) -> None:
        """The file server refuses before it has read the body."""
        standin.change(shared=True, total=LARGE)
        standin.fail("reset")

        with pytest.raises(TransientError):
            store(archive(LARGE))
        with pytest.raises(PermanentError, match="no room left"):
            store(archive(LARGE))

    def test_an_archive_that_is_larger_than_the_server_takes_fails_alone(
        self, standin: SeafileStandin, archive: Make, store: Store
    ) -> None:
        standin.change(largest=CHUNK)

        with pytest.raises(PermanentError, match="takes no file as large") as caught:
            store(archive(LARGE))

        assert caught.value.scope == "item"

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

    @pytest.mark.parametrize("size", [1000, LARGE])
    @pytest.mark.parametrize(
        "settings",
        [
            {"link_host": "/"}, {"single_use": True}, {"translated": True}, {"c_server": True}, {"resumable": True},
            {"prefix": "/seafile"}, {"prefix": "/seafile", "link_host": "/"},
            {"old_links": True}, {"old_links": "lone"},
        ],
    )  # fmt: skip
    def test_servers_of_other_kinds_do_as_well(
        self, standin: SeafileStandin, archive: Make, fetch: Fetch, settings: dict[str, Any], size: int
    ) -> None:
        standin.change(**settings)
        sample = archive(size, name="Größe & 50% +.zip")
        with session() as http:
            config = standin.config | {"server": f"{standin.server}{settings.get('prefix', '')}"}
            backend = made(standin, config, http)

            stored = backend.store(sample, SampleProgress())
            first, again = (backend.link(stored, None) for _ in range(2))

        assert first == again
        assert fetch(first.url) == sample.content()

    @pytest.mark.parametrize("settings", [{"old_links": True}, {"old_links": "lone"}, {}])
    @pytest.mark.parametrize("there", [{"expire_days": 1}, {"password": "long enough"}])
    def test_a_link_that_does_not_fit_gives_way(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch,
        settings: dict[str, Any], there: dict[str, Any],
    ) -> None:  # fmt: skip
        standin.change(**settings)
        sample = archive()
        stored = store(sample)
        made_by_hand = make_link(standin, **there)

        link = backend.link(stored, None)

        assert link.expires is None
        assert fetch(link.url) == sample.content()
        assert fetch(f"{made_by_hand}?dl=1") is None

    def test_a_link_that_has_ended_is_made_anew(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch
    ) -> None:
        sample = archive()
        stored = store(sample)
        first = backend.link(stored, datetime.now(UTC) + timedelta(days=1))
        standin.advance(2 * 86400)

        assert fetch(first.url) is None
        assert fetch(backend.link(stored, datetime.now(UTC) + timedelta(days=5)).url) == sample.content()

    @pytest.mark.parametrize("happens", ["an hour passes", "a restart"])
    def test_an_upload_goes_on_when_its_link_has_died_on_the_way(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, fetch: Fetch, happens: str
    ) -> None:
        sample = archive(LARGE)
        event = standin.restart if happens == "a restart" else lambda: standin.advance(3601)

        stored = backend.store(sample, Meanwhile(2 * CHUNK, event))

        assert fetch(backend.link(stored, None).url) == sample.content()
        assert standin.state()["requests"]["upload"] == -(-LARGE // CHUNK) + 1

    @pytest.mark.parametrize("c_server", [False, True])
    def test_what_came_before_a_cut_is_used_as_far_as_the_server_kept_it(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch, c_server: bool
    ) -> None:
        """The program in C keeps what had arrived of a chunk, the one in Go none of it."""
        standin.change(c_server=c_server)
        sample, broken = archive(LARGE), SampleProgress()
        standin.fail("cut", value=CHUNK // 3)
        with pytest.raises(TransientError):
            store(sample, broken)
        assert [size > 0 for size in standin.state()["halves"].values()] == [True] * c_server

        stored = store(archive(LARGE, key=sample.key), SampleProgress(broken.checkpoint))

        assert fetch(backend.link(stored, None).url) == sample.content()

    def test_chunks_that_the_server_has_lost_do_not_become_zeros(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch
    ) -> None:
        """It forgets them after three days, and writes the next one behind a hole."""
        sample, progress = archive(LARGE), Meanwhile(2 * CHUNK, lambda: standin.advance(3 * 86400 + 1))
        with pytest.raises(TransientError):
            store(sample, progress)
        assert count(standin) == 0

        stored = store(archive(LARGE, key=sample.key), SampleProgress(progress.checkpoint))

        assert fetch(backend.link(stored, None).url) == sample.content()

    @pytest.mark.parametrize("status", [403, 409, 443, 500])
    def test_a_last_chunk_that_was_refused_is_not_sent_alone(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch, status: int
    ) -> None:
        """The server forgets all chunks when it fails to join them."""
        sample, progress = archive(LARGE), SampleProgress()
        standin.fail("finalising_fails", value=status)
        with pytest.raises(BackendError):
            store(sample, progress)
        assert count(standin) == 0

        stored = store(archive(LARGE, key=sample.key), SampleProgress(progress.checkpoint))

        assert fetch(backend.link(stored, None).url) == sample.content()

    def test_a_byte_that_the_server_loses_is_noticed(
        self, standin: SeafileStandin, archive: Make, store: Store
    ) -> None:
        standin.fail("shortened")

        with pytest.raises(TransientError, match="they were removed"):
            store(archive(2000))

        assert count(standin) == 0

    @pytest.mark.parametrize("size", [1000, LARGE])
    def test_a_file_that_the_server_names_otherwise_is_linked_under_that_name(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch, size: int
    ) -> None:
        sample = archive(size)
        standin.fail("renamed")

        stored = store(sample)

        assert fetch(backend.link(stored, None).url) == sample.content()
        backend.delete(stored)
        assert count(standin) == 0

    def test_a_name_in_decomposed_letters_is_found_again(
        self, standin: SeafileStandin, archive: Make, store: Store
    ) -> None:
        """The server keeps names composed (NFC)."""
        sample, progress = archive(name=unicodedata.normalize("NFD", "Größe.zip")), SampleProgress()
        standin.fail("lost_answer", route="upload")
        with pytest.raises(TransientError):
            store(sample, progress)

        store(sample, progress)

        assert standin.state()["requests"]["upload"] == 1

    def test_folders_get_no_sisters_with_numbers(self, standin: SeafileStandin, archive: Make, store: Store) -> None:
        sample = archive()
        for _ in range(2):
            store(archive(key=sample.key))

        assert len(standin.state()["folders"]) == 2

    @pytest.mark.parametrize("size", [1000, LARGE])
    def test_a_folder_that_somebody_removes_meanwhile_is_made_again(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch, size: int
    ) -> None:
        sample = archive(size)
        progress = Meanwhile(size // (2 * CHUNK) * CHUNK, lambda: remove_folders(standin))
        with pytest.raises(TransientError):
            store(sample, progress)

        stored = store(archive(size, key=sample.key), SampleProgress(progress.checkpoint))

        assert fetch(backend.link(stored, None).url) == sample.content()

    def test_a_file_that_somebody_has_removed_is_not_the_definition_s_fault(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, store: Store
    ) -> None:
        stored = store(archive())
        remove_folders(standin)

        with pytest.raises(PermanentError, match="not there any more") as caught:
            backend.link(stored, None)

        assert caught.value.scope == "item"

    @pytest.mark.parametrize("wrong", ["redirects", "another server"])
    def test_a_wrong_address_of_the_file_server_is_told(
        self, standin: SeafileStandin, archive: Make, store: Store, wrong: str
    ) -> None:
        """Signing in works, uploads do not."""
        standin.change(**(
            {"redirects": True} if wrong == "redirects" else {"link_host": f"127.0.0.1:{standin.facts['control']}"}
        ))  # fmt: skip

        with pytest.raises(PermanentError, match="FILE_SERVER_ROOT") as caught:
            store(archive(2000))

        assert caught.value.scope == "backend"
        assert not standin.state()["requests"].get("upload")

    @pytest.mark.parametrize("size", [1000, LARGE])
    def test_a_wrong_address_can_be_set_right_in_the_config(
        self, standin: SeafileStandin, archive: Make, fetch: Fetch, size: int
    ) -> None:
        standin.change(link_host="127.0.0.1:9")
        with session() as http:
            backend = made(standin, standin.config | {"fileserver": standin.server}, http)
            stored = backend.store(archive(size), SampleProgress())
            url = backend.link(stored, None).url

        standin.change(link_host="")
        assert fetch(url) is not None

    def test_a_proxy_that_takes_no_large_bodies_is_named(
        self, standin: SeafileStandin, archive: Make, store: Store
    ) -> None:
        standin.fail("unavailable", route="upload", value=413)

        with pytest.raises(PermanentError, match="client_max_body_size") as caught:
            store(archive(2000))

        assert caught.value.scope == "backend", "no archive of any size gets through"

    def test_too_many_requests_in_a_minute_only_take_longer(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch
    ) -> None:
        standin.change(user_limit=8)
        sample, progress = archive(LARGE), SampleProgress()
        waited: list[float] = []
        stored = None
        while stored is None and len(waited) < 9:
            try:
                stored = store(archive(LARGE, key=sample.key), progress)
            except TransientError as error:
                waited.append(error.retry_after or 0)
                standin.advance(waited[-1])
        standin.change(user_limit=0)

        assert stored is not None
        assert 0 < min(waited) <= max(waited) <= 60
        assert fetch(backend.link(stored, None).url) == sample.content()

    @pytest.mark.parametrize(
        ("route", "status", "scope"),
        [
            ("upload", 400, "item"), ("upload", 440, "item"), ("upload", 442, "item"),
            ("upload", 443, "backend"), ("upload", 444, "backend"), ("upload", 445, "backend"),
            ("upload", 409, ""), ("upload", 446, ""), ("upload", 500, ""), ("upload", 502, ""), ("upload", 504, ""),
            ("upload-link", 401, "backend"), ("upload-link", 403, "backend"), ("upload-link", 440, "backend"),
            ("upload-link", 441, "backend"), ("upload-link", 443, "backend"), ("upload-link", 447, "backend"),
            ("upload-link", 404, ""), ("upload-link", 500, ""), ("upload-link", 520, ""),
        ],
    )  # fmt: skip
    def test_statuses_decide_whatever_the_body_says(
        self, standin: SeafileStandin, archive: Make, store: Store, route: str, status: int, scope: str
    ) -> None:
        standin.fail("unavailable", route=route, value=status)

        with pytest.raises(BackendError) as caught:
            store(archive())

        assert isinstance(caught.value, PermanentError) == bool(scope)
        assert getattr(caught.value, "scope", "") == scope

    def test_a_library_that_is_deleted_meanwhile_is_the_definition_s_fault(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make
    ) -> None:
        for size in (1000, LARGE):
            progress = Meanwhile(size // (2 * CHUNK) * CHUNK, lambda: standin.change(gone=True))
            with pytest.raises(PermanentError, match="the library") as caught:
                backend.store(archive(size), progress)
            assert caught.value.scope == "backend"
            standin.change(gone=False)

    def test_a_device_that_its_owner_wiped_is_the_definition_s_fault(
        self, standin: SeafileStandin, backend: Backend[Any]
    ) -> None:
        standin.fail("wiped", count=None)

        with pytest.raises(PermanentError, match="does not accept the token") as caught:
            backend.check()

        assert caught.value.scope == "backend"

    def test_a_removal_that_fails_is_tried_again(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, store: Store
    ) -> None:
        stored = store(archive())
        standin.fail("fails_520")

        with pytest.raises(TransientError):
            backend.delete(stored)
        assert count(standin) == 1
        backend.delete(stored)
        assert count(standin) == 0

    def test_an_administrator_who_wants_passwords_on_links_is_told_of(
        self, standin: SeafileStandin, backend: Backend[Any], archive: Make, store: Store
    ) -> None:
        stored = store(archive())
        standin.change(force_password=True)

        with pytest.raises(PermanentError, match="demands a password"):
            backend.link(stored, None)

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


@pytest.mark.parametrize("token", ["account's", "library's"])
def test_what_somebody_put_beside_an_archive_stays_when_the_archive_is_removed(
    standin: SeafileStandin, token: str
) -> None:
    account = {"Authorization": f"Token {standin.config['token']}"}
    repo = f"{standin.server}/api2/repos/{standin.config['repoid']}"
    with session() as http:
        backend = made(standin, standin.config if token == "account's" else standin.repo_config, http)
        stored = backend.store(sample(), SampleProgress())
        folder = str(stored.reference["folder"])
        address = http.get(f"{repo}/upload-link/", params={"p": folder}, headers=account).json()
        note = {"file": ("notes.txt", b"mine")}
        http.post(address, data={"parent_dir": folder}, files=note, headers=account).raise_for_status()

        backend.delete(stored)

        left = http.get(f"{repo}/dir/", params={"p": folder}, headers=account).json()
        assert [entry["name"] for entry in left] == ["notes.txt"]
        backend.delete(stored)
        assert http.get(f"{repo}/dir/", params={"p": folder}, headers=account).json() == left


@pytest.fixture
def own(standin: SeafileStandin) -> Iterator[Backend[Any]]:
    """With the library's own token."""
    with session() as http:
        yield made(standin, standin.repo_config, http)


def sample(size: int = 1000) -> SampleArchive:
    return SampleArchive(size, key="own/1/mm1.zip", name="mm1.zip")


@pytest.mark.parametrize("c_server", [False, True])
def test_a_library_s_own_token_stores_what_is_large_in_one_request(
    standin: SeafileStandin, own: Backend[Any], c_server: bool
) -> None:
    standin.change(c_server=c_server)

    stored = own.store(sample(LARGE), SampleProgress())

    assert get(own.link(stored, None).url) == sample(LARGE).content()
    assert standin.state()["requests"]["upload"] == 1


def test_a_library_s_own_token_does_not_send_again_when_the_answer_was_lost(
    standin: SeafileStandin, own: Backend[Any]
) -> None:
    progress = SampleProgress()
    standin.fail("lost_answer", route="upload")
    with pytest.raises(TransientError):
        own.store(sample(), progress)

    own.store(sample(), progress)

    assert standin.state()["requests"]["upload"] == 1


@pytest.mark.parametrize("translated", [False, True])
def test_a_library_s_own_token_tells_when_its_link_ends(
    standin: SeafileStandin, own: Backend[Any], translated: bool
) -> None:
    standin.change(translated=translated)
    stored = own.store(sample(), SampleProgress())
    soon = datetime.now(UTC) + timedelta(days=1)

    first, again = own.link(stored, soon), own.link(stored, soon)
    later = own.link(stored, soon + timedelta(days=3))

    assert first == again
    assert first.expires is not None
    assert later.expires is not None
    assert later.expires - first.expires > timedelta(days=2)
    standin.advance(2 * 86400)
    assert get(later.url) == sample().content()


def test_a_server_that_cannot_list_the_links_of_a_library_s_own_token_gives_the_one_there_is(
    standin: SeafileStandin, own: Backend[Any]
) -> None:
    standin.change(repo_token_shares="create")
    stored = own.store(sample(), SampleProgress())
    soon = datetime.now(UTC) + timedelta(days=1)

    first, again = own.link(stored, soon), own.link(stored, soon)

    assert first.url == again.url
    assert get(again.url) == sample().content()
    standin.advance(2 * 86400)
    with pytest.raises(PermanentError, match="has ended"):
        own.link(stored, soon + timedelta(days=3))


def test_a_server_without_links_for_a_library_s_own_token_is_told_of(
    standin: SeafileStandin, own: Backend[Any]
) -> None:
    standin.change(repo_token_shares=False)
    stored = own.store(sample(), SampleProgress())

    with pytest.raises(PermanentError, match="makes no links for a library's own token") as caught:
        own.link(stored, None)

    assert caught.value.scope == "backend"


def test_a_library_s_own_token_says_which_file_is_gone(standin: SeafileStandin, own: Backend[Any]) -> None:
    stored = own.store(sample(), SampleProgress())
    remove_folders(standin)

    with pytest.raises(PermanentError, match="not there any more") as caught:
        own.link(stored, None)

    assert caught.value.scope == "item"
    own.delete(stored)


@pytest.mark.parametrize(
    ("change", "told"),
    [({"encrypted": True}, "encrypted"), ({"permission": "r"}, "does not allow"), ({"gone": True}, "know the library")],
)
def test_a_library_that_its_own_token_cannot_use_is_the_definition_s_fault(
    standin: SeafileStandin, own: Backend[Any], change: dict[str, Any], told: str
) -> None:
    standin.change(**change)

    with pytest.raises(PermanentError, match=told) as caught:
        own.store(sample(), SampleProgress())

    assert caught.value.scope == "backend"


def test_the_site_s_server_is_taken_where_the_definition_names_none(standin: SeafileStandin) -> None:
    with session() as http:
        backend = build("seafile", "", standin.config, http, {"seafile_server": standin.server})

        assert "Simulation results" in backend.check().account


@pytest.mark.full
def test_three_gigabytes_take_little_memory(standin: SeafileStandin) -> None:
    import resource

    size = 3 * 1024**3
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with session() as http:
        backend = made(standin, standin.config, http)
        stored = backend.store(sample(size), SampleProgress())
        assert stored.size == size
        backend.delete(stored)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB
