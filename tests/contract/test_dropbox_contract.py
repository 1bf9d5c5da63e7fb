"""The Dropbox plugin, through the real SDK, on a stand-in that speaks Dropbox's protocol."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from backends.check import check
from backends.contract import Backend, Stored
from backends.errors import BackendError, PermanentError, Superseded, TransientError
from backends.suite import BackendContract, Fetch, Store
from backends.suite_doubles import BLOCK, SampleArchive, SampleProgress
from tests.standins.dropbox.client import DropboxStandin
from tests.support.dropbox import plugin_at
from tests.support.local_cloud import session
from tests.support.stores import Order, store

PART = 4 * BLOCK
SIZE = 3 * PART + 12_345
GIB = 1024 * BLOCK
START, APPEND, FINISH = (f"files/upload_session/{name}" for name in ("start", "append_v2", "finish"))
UPLOAD = "files/upload"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DropboxStandin]:
    with DropboxStandin(tmp_path_factory.mktemp("dropbox")) as standin:
        yield standin


@pytest.fixture(scope="module")
def plugin(running: DropboxStandin) -> Iterator[Any]:
    with plugin_at(running) as found:
        yield found


@pytest.fixture
def service(running: DropboxStandin) -> Iterator[DropboxStandin]:
    """All well at the beginning, and again in the end."""
    yield running
    running.heal()
    running.plan(paid=True, allocated=1 << 44)


@pytest.fixture
def http(service: DropboxStandin) -> Iterator[requests.Session]:
    with session() as made:
        made.verify = str(service.facts["ca"])
        yield made


@pytest.fixture
def backend(plugin: Any, service: DropboxStandin, http: requests.Session, monkeypatch: pytest.MonkeyPatch) -> Any:
    """With small parts, so that an archive of the suite has several."""
    monkeypatch.setattr(plugin, "chunk", PART)
    return plugin(plugin.Config.model_validate(service.config), http)


@pytest.fixture
def key(backend: Any, service: DropboxStandin) -> Iterator[str]:
    """What is stored with it is gone after the test."""
    made = f"{uuid.uuid4()}/1/mm1 rho=0.8.zip"
    yield made
    service.heal()
    backend.delete(Stored(key=made, size=0))


@pytest.fixture
def fetch(http: requests.Session) -> Fetch:
    def get(url: str) -> bytes | None:
        answer = http.get(url, timeout=120)
        return answer.content if answer.ok else None

    return get


def sample(key: str, size: int = SIZE, **how: Any) -> SampleArchive:
    return SampleArchive(size, key=key, name="mm1 rho=0.8.zip", **how)


def files(service: DropboxStandin) -> int:
    return len(service.state()["files"])


class TestDropbox(BackendContract):
    @pytest.fixture
    def backend(self, backend: Any) -> Backend[Any]:
        return backend  # type: ignore[no-any-return]

    @pytest.fixture
    def fetch(self, fetch: Fetch) -> Fetch:
        return fetch

    @pytest.fixture
    def count_files(self, service: DropboxStandin) -> Callable[[], int]:
        return lambda: files(service)

    @pytest.fixture
    def canaries(self, service: DropboxStandin) -> list[str]:
        return [service.config["app_secret"], service.config["refresh_token"], "access-"]


def test_a_check_says_of_each_step_what_it_found_and_leaves_nothing(
    backend: Backend[Any], service: DropboxStandin, http: requests.Session
) -> None:
    before = service.state()

    steps = list(check(backend, http))

    after = service.state()
    assert [step.name for step in steps if step.ok] == ["sign in", "store", "link", "fetch", "delete"]
    assert "Anna Example" in steps[0].text
    assert [after[what] for what in ("files", "folders", "links")] == [
        before[what] for what in ("files", "folders", "links")
    ]


# Going on


@pytest.mark.parametrize("route", [UPLOAD, START, APPEND, FINISH])
def test_after_a_lost_answer_the_next_try_leaves_one_file_and_sends_at_most_one_part_again(
    backend: Any, service: DropboxStandin, fetch: Fetch, key: str, route: str
) -> None:
    archive = sample(key, 1000 if route == UPLOAD else SIZE)
    before, progress = service.state(), SampleProgress()
    service.fail("lost_answer", route=route)
    with pytest.raises(TransientError):
        backend.store(archive, progress)

    stored = backend.store(sample(key, archive.size or 0), SampleProgress(progress.checkpoint))

    after = service.state()
    assert len(after["files"]) == len(before["files"]) + 1
    again = after["received"] - before["received"] - stored.size
    assert again == (PART if route == START else 0)
    assert fetch(backend.link(stored, None).url) == archive.content()


@pytest.mark.parametrize("grows", [False, True], ids=["size known", "still growing"])
def test_after_a_cut_in_the_middle_of_a_part_only_that_part_is_sent_again(
    backend: Any, service: DropboxStandin, fetch: Fetch, key: str, grows: bool
) -> None:
    before, progress = service.state()["received"], SampleProgress()

    def cut_in_the_third_part(checkpoint: Any, sent: int) -> None:
        SampleProgress.save(progress, checkpoint, sent)
        if sent == 2 * PART:
            service.fail("cut", route=APPEND, value=BLOCK)

    progress.save = cut_in_the_third_part  # type: ignore[method-assign]
    with pytest.raises(TransientError):
        backend.store(sample(key, grows=grows), progress)

    stored = backend.store(sample(key, grows=grows), SampleProgress(progress.checkpoint))

    assert service.state()["received"] - before - SIZE <= PART
    assert fetch(backend.link(stored, None).url) == sample(key).content()


@pytest.mark.parametrize("dies_before_save", [1, 2, 3])
def test_a_new_process_goes_on_where_dropbox_stands_though_the_last_part_was_not_noted(
    service: DropboxStandin, fetch: Fetch, key: str, tmp_path: Path, dies_before_save: int
) -> None:
    part = 8 * BLOCK
    order = Order("dropbox", service.config, key, 3 * part + 1, str(tmp_path / "checkpoint"), link=True)
    before = service.state()
    died = store(replace(order, dies_before_save=dies_before_save), service.environment)

    done = store(order, service.environment)

    after = service.state()
    assert (died.code, done.code) == (-9, 0), died.errors + done.errors
    assert len(after["files"]) == len(before["files"]) + 1
    assert after["received"] - before["received"] - order.size == (part if dies_before_save == 1 else 0)
    assert fetch(done.told["url"]) == sample(key, order.size).content()


def test_an_upload_that_dropbox_has_forgotten_begins_anew(
    backend: Any, service: DropboxStandin, fetch: Fetch, key: str
) -> None:
    progress = SampleProgress()
    with pytest.raises(TransientError):
        backend.store(sample(key, fails_after=3 * PART), progress)
    service.advance(timedelta(days=8).total_seconds())

    stored = backend.store(sample(key), SampleProgress(progress.checkpoint))

    assert fetch(backend.link(stored, None).url) == sample(key).content()


@pytest.mark.parametrize("lost_before", ["an append", "the end"])
def test_an_upload_that_dropbox_forgets_midway_is_begun_anew_by_the_next_try(
    backend: Any, service: DropboxStandin, fetch: Fetch, key: str, lost_before: str
) -> None:
    progress = SampleProgress(superseded=lambda: service.fail("session_lost") is not None)  # type: ignore[func-returns-value]
    if lost_before == "an append":
        service.fail("session_lost")
    with pytest.raises(TransientError, match="begins anew"):
        backend.store(sample(key), progress)
    service.heal()

    stored = backend.store(sample(key), SampleProgress(progress.checkpoint))

    assert fetch(backend.link(stored, None).url) == sample(key).content()


def test_a_session_that_holds_other_bytes_is_not_gone_on_with(backend: Any, fetch: Fetch, key: str) -> None:
    progress = SampleProgress()
    with pytest.raises(TransientError):
        backend.store(sample(key, fails_after=3 * PART, seed=1), progress)

    stored = backend.store(sample(key), SampleProgress(progress.checkpoint))

    assert fetch(backend.link(stored, None).url) == sample(key).content()


@pytest.mark.parametrize(
    "checkpoint", [{}, {"sent": 5}, {"session": "", "offset": -1}, {"session": 5}, ["x"]], ids=repr
)
def test_a_checkpoint_of_another_kind_means_starting_again(backend: Any, key: str, checkpoint: Any) -> None:
    assert backend.store(sample(key), SampleProgress(checkpoint)).size == SIZE


def test_of_two_writers_with_one_key_the_first_one_commits_nothing_and_one_file_is_left(
    backend: Any, service: DropboxStandin, fetch: Fetch, key: str
) -> None:
    """The second takes over while the first still sends, from its checkpoint; both use one session at Dropbox."""
    before = files(service)
    taken_over: list[Any] = []

    class First(SampleProgress):
        def save(self, checkpoint: Any, sent: int) -> None:
            if taken_over:
                raise Superseded
            super().save(checkpoint, sent)
            if sent == 2 * PART:
                taken_over.append(backend.store(sample(key), SampleProgress(self.checkpoint)))

    with pytest.raises((Superseded, TransientError)):
        backend.store(sample(key), First())

    assert files(service) == before + 1
    assert fetch(backend.link(taken_over[0], None).url) == sample(key).content()


@pytest.mark.parametrize("theirs", [PART, BLOCK], ids=["a whole part", "less than a part"])
def test_two_writers_who_send_at_once_do_not_mix_their_bytes(
    plugin: Any, backend: Any, service: DropboxStandin, fetch: Fetch, key: str, theirs: int
) -> None:
    """The other one sends between two parts of ours: Dropbox says what it has, and we go on behind that."""
    before = service.state()["received"]

    class Other(plugin):  # type: ignore[misc]
        chunk = BLOCK

    class Ours(SampleProgress):
        def save(self, checkpoint: Any, sent: int) -> None:
            super().save(checkpoint, sent)
            if sent == 2 * PART:
                with pytest.raises(TransientError):
                    Other(backend.config, backend.http).store(
                        sample(key, fails_after=2 * PART + theirs), SampleProgress(self.checkpoint)
                    )

    stored = backend.store(sample(key), Ours())

    assert service.state()["received"] - before == SIZE + PART
    assert fetch(backend.link(stored, None).url) == sample(key).content()


@pytest.mark.parametrize(("size", "route"), [(1000, UPLOAD), (SIZE, START), (SIZE, APPEND)])
def test_bytes_that_are_damaged_on_the_way_are_noticed_before_anything_is_shown(
    backend: Any, service: DropboxStandin, fetch: Fetch, key: str, size: int, route: str
) -> None:
    before, progress = files(service), SampleProgress()
    service.fail("damaged", route=route)
    with pytest.raises(TransientError, match="did not receive the bytes"):
        backend.store(sample(key, size), progress)
    assert files(service) == before

    stored = backend.store(sample(key, size), SampleProgress(progress.checkpoint))

    assert fetch(backend.link(stored, None).url) == sample(key, size).content()


@pytest.mark.parametrize("size", [1000, SIZE])
def test_other_bytes_under_the_key_are_replaced(
    backend: Any, service: DropboxStandin, fetch: Fetch, key: str, size: int
) -> None:
    before = files(service)
    backend.store(sample(key, size, seed=1), SampleProgress())

    stored = backend.store(sample(key, size), SampleProgress())

    assert files(service) == before + 1
    assert fetch(backend.link(stored, None).url) == sample(key, size).content()


# Answers


@pytest.mark.parametrize(
    ("route", "fault", "value", "seconds"),
    [
        ("oauth2/token", "throttled", 300, 300),
        ("files/get_metadata", "throttled", None, 1),
        ("users/get_space_usage", "throttled_text", None, 5),
        (START, "throttled_text", "17", 17),
        (APPEND, "throttled", 300, 300),
        (APPEND, "unavailable", None, 7),
        (FINISH, "throttled", 300, 300),
        (FINISH, "unavailable", None, 7),
    ],
)
def test_when_dropbox_asks_to_wait_we_are_told_how_long_and_lose_nothing(
    backend: Any, service: DropboxStandin, key: str, route: str, fault: str, value: Any, seconds: int
) -> None:
    before, progress = service.state(), SampleProgress()
    service.fail(fault, route=route, value=value)

    with pytest.raises(TransientError) as caught:
        backend.store(sample(key), progress)

    assert caught.value.retry_after == seconds
    backend.store(sample(key), SampleProgress(progress.checkpoint))
    assert files(service) == len(before["files"]) + 1


@pytest.mark.parametrize("fault", ["html", "charset", "no_error_key", "unknown_tag", "busy", "no_json"])
@pytest.mark.parametrize("route", [UPLOAD, APPEND, FINISH])
def test_an_odd_answer_is_one_of_our_errors_and_the_next_try_works(
    backend: Any, service: DropboxStandin, fetch: Fetch, key: str, route: str, fault: str
) -> None:
    size = 1000 if route == UPLOAD else 2 * PART
    before, progress = files(service), SampleProgress()
    service.fail(fault, route=route)
    with pytest.raises(BackendError):
        backend.store(sample(key, size), progress)

    stored = backend.store(sample(key, size), SampleProgress(progress.checkpoint))

    assert files(service) == before + 1
    assert fetch(backend.link(stored, None).url) == sample(key, size).content()


def test_an_access_token_that_ends_midway_is_renewed(backend: Any, service: DropboxStandin, key: str) -> None:
    before = service.state()["requests"]["oauth2/token"] if service.state()["requests"] else 0
    service.fail("expired_token", route=APPEND)

    assert backend.store(sample(key), SampleProgress()).size == SIZE
    assert service.state()["requests"]["oauth2/token"] == before + 2


def test_a_long_wait_within_an_upload_outlives_the_access_token(
    backend: Any, service: DropboxStandin, key: str
) -> None:
    class Slow(SampleProgress):
        def save(self, checkpoint: Any, sent: int) -> None:
            super().save(checkpoint, sent)
            service.advance(5 * 3600)

    assert backend.store(sample(key), Slow()).size == SIZE


def test_a_permission_that_the_app_lacks_is_named(backend: Any, service: DropboxStandin, key: str) -> None:
    service.fail("missing_scope", route=UPLOAD)

    with pytest.raises(PermanentError, match=r"files\.content\.write") as caught:
        backend.store(sample(key, 1000), SampleProgress())

    assert caught.value.scope == "backend"


def test_an_app_that_the_user_has_disconnected_is_the_definitions_trouble(
    plugin: Any, http: requests.Session, tmp_path: Path
) -> None:
    del plugin, http
    with DropboxStandin(tmp_path) as service, plugin_at(service) as fresh, session() as own:
        own.verify = str(service.facts["ca"])
        backend = fresh(fresh.Config.model_validate(service.config), own)
        backend.check()
        service.revoke()

        for _ in range(2):
            with pytest.raises(PermanentError, match="dropbox-authorize") as caught:
                backend.check()
            assert caught.value.scope == "backend"


@pytest.mark.parametrize("size", [1000, SIZE])
def test_a_full_account_is_noticed_before_the_first_byte(
    backend: Any, service: DropboxStandin, key: str, size: int
) -> None:
    before = service.state()
    service.plan(allocated=size - 1)

    with pytest.raises(PermanentError, match="no room left") as caught:
        backend.store(sample(key, size), SampleProgress())

    assert caught.value.scope == "backend"
    assert service.state()["received"] == before["received"]


def test_an_account_that_fills_up_meanwhile_keeps_what_was_sent_until_there_is_room(
    backend: Any, service: DropboxStandin, fetch: Fetch, key: str
) -> None:
    before = service.state()
    used = sum(file["size"] for file in before["files"].values())
    progress = SampleProgress()
    service.plan(allocated=used + SIZE - 1)
    with pytest.raises(PermanentError, match="no room left") as caught:
        backend.store(sample(key, grows=True), progress)
    assert caught.value.scope == "backend"
    assert files(service) == len(before["files"])
    service.plan(allocated=1 << 44)

    stored = backend.store(sample(key), SampleProgress(progress.checkpoint))

    assert service.state()["received"] - before["received"] == SIZE
    assert fetch(backend.link(stored, None).url) == sample(key).content()


# Links and leftovers


def test_a_link_ends_when_it_says_and_its_end_can_be_moved(
    backend: Any, service: DropboxStandin, fetch: Fetch, key: str, store_small: Store
) -> None:
    stored = store_small(key)
    soon = datetime.now(UTC) + timedelta(days=400)  # the stand-in's clock may have been moved
    first = backend.link(stored, soon)
    later = backend.link(stored, soon + timedelta(days=7))

    assert first.url == later.url
    assert first.expires is not None
    assert timedelta() <= first.expires - soon <= timedelta(seconds=1)
    assert later.expires == first.expires + timedelta(days=7)
    assert fetch(later.url) is not None
    service.advance(timedelta(days=408).total_seconds())
    assert fetch(later.url) is None


def test_on_a_plan_without_ends_the_link_says_that_it_has_none(
    backend: Any, service: DropboxStandin, fetch: Fetch, key: str, store_small: Store
) -> None:
    stored = store_small(key)
    service.plan(paid=False)

    for _ in range(2):
        link = backend.link(stored, datetime.now(UTC) + timedelta(days=4000))
        assert link.expires is None
        assert fetch(link.url) == sample(key, 1000).content()


def test_where_links_are_forbidden_the_definition_is_at_fault(
    backend: Any, service: DropboxStandin, key: str, store_small: Store
) -> None:
    stored = store_small(key)
    service.fail("link_not_allowed", count=None)

    with pytest.raises(PermanentError) as caught:
        backend.link(stored, None)

    assert caught.value.scope == "backend"


def test_nothing_is_left_of_what_was_deleted_though_the_answer_was_lost(
    backend: Any, service: DropboxStandin, key: str, store_small: Store
) -> None:
    before = service.state()
    stored = store_small(key)
    backend.link(stored, None)
    for route in ("sharing/revoke_shared_link", "files/delete_v2"):
        service.fail("lost_answer", route=route)
        with pytest.raises(TransientError):
            backend.delete(stored)

    backend.delete(stored)

    after = service.state()
    assert [after[what] for what in ("files", "folders", "links")] == [
        before[what] for what in ("files", "folders", "links")
    ]


@pytest.fixture
def store_small(backend: Any) -> Store:
    return lambda key: backend.store(sample(key, 1000), SampleProgress())


@pytest.mark.full
@pytest.mark.parametrize("grows", [False, True], ids=["size known", "still growing"])
def test_three_gigabytes_take_no_more_memory_than_a_few_parts(
    service: DropboxStandin, http: requests.Session, key: str, tmp_path: Path, grows: bool
) -> None:
    order = Order("dropbox", service.config, key, 3 * GIB, str(tmp_path / "checkpoint"), grows=grows, link=True)

    done = store(order, service.environment)

    assert done.code == 0, done.errors
    taken = (done.told["peak_kib"] - done.told["before_kib"]) / 1024
    print(f"peak: {done.told['peak_kib'] / 1024:.0f} MiB, of which {taken:.0f} MiB while storing")
    assert taken < 32
    digest = hashlib.sha256()
    with http.get(done.told["url"], stream=True, timeout=120) as answer:
        for piece in answer.iter_content(BLOCK):
            digest.update(piece)
    assert digest.hexdigest() == sample(key, order.size).sha256
