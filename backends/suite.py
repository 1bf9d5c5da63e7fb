"""The plugin contract as tests, for plugin authors too: docs/backends.md shows how to run it.

It needs pytest, so nothing else imports this module. It never skips: what a service cannot do is said by an attribute
of the class.
"""

from __future__ import annotations

import logging
import re
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from backends.contract import Archive, Backend, Progress, Status, Stored
from backends.errors import BackendError, Superseded, TransientError
from backends.suite_doubles import BLOCK, SampleArchive, SampleProgress

Fetch = Callable[[str], bytes | None]
Store = Callable[..., Stored]
Make = Callable[..., SampleArchive]

MINUTE = timedelta(minutes=1)
# More than one chunk of most services, and no multiple of anything.
LARGE = 5 * BLOCK + 12_345
HUGE = 64 * BLOCK
FLAT = 16 * BLOCK

NAMES = [
    "mm1.zip",
    "mm1 rho=0.8, 3rd run.zip",
    "Größe 漢字 \N{RACING CAR}.zip",
    "\"double\" 'single' `back`.zip",
    "100% a+b & c;d? #1 50%25 %2F %00.zip",
    "..up..and\\down..zip",
    "..",
    "-rf --flag.zip",
    "ends with a dot.",
    "long " + "x" * 200 + ".zip",
]
# Keys that lead elsewhere if they are taken for paths.
KEYS = ["{id}/1/..", "{id}/../../{id}.zip", "/{id}//a.zip", "../{id}.zip", "{id}\\..\\a.zip"]


class BackendContract:
    """Subclass it as ``class TestMine(BackendContract)`` and give it the fixtures that raise `NotImplementedError`."""

    holds_in_memory: ClassVar[bool] = False
    """True where the service is this process, so that storing takes memory."""

    caps_expiry: ClassVar[bool] = False
    """True where the service ends links earlier than asked for."""

    @pytest.fixture
    def backend(self) -> Backend[Any]:
        """The plugin's instance, on an account that works."""
        raise NotImplementedError

    @pytest.fixture
    def fetch(self) -> Fetch:
        """Gets the bytes behind a link, as a recipient does; None: there is nothing (any more)."""
        raise NotImplementedError

    @pytest.fixture
    def count_files(self) -> Callable[[], int]:
        """Counts the files that the service shows, without going through the plugin."""
        raise NotImplementedError

    @pytest.fixture
    def canaries(self) -> list[str]:
        """The secrets in the plugin's configuration; none may appear anywhere."""
        raise NotImplementedError

    @pytest.fixture
    def archive(self, backend: Backend[Any]) -> Make:
        """Makes archives; those whose size is not known at first get it where the plugin needs it."""

        def make(size: int = 1000, *, key: str | None = None, name: str = "mm1.zip", **how: Any) -> SampleArchive:
            grows = how.pop("grows", False) and not backend.needs_size
            return SampleArchive(size, key=key or f"{uuid.uuid4()}/1/{name}", name=name, grows=grows, **how)

        return make

    @pytest.fixture
    def store(self, backend: Backend[Any]) -> Iterator[Store]:
        """Stores, and removes in the end what was stored."""
        done: list[Stored] = []

        def run(archive: Archive, progress: Progress | None = None) -> Stored:
            stored = backend.store(archive, progress or SampleProgress())
            done.append(stored)
            return stored

        yield run
        for stored in done:
            backend.delete(stored)

    def test_the_identifier_can_stand_before_the_first_hyphen(self, backend: Backend[Any]) -> None:
        assert re.fullmatch(r"[a-z0-9_]+", backend.identifier)
        assert issubclass(backend.Config, BaseModel)
        assert backend.token_field in backend.Config.model_fields

    def test_check_tells_whose_account_it_is(self, backend: Backend[Any]) -> None:
        status = backend.check()

        assert isinstance(status, Status)
        assert status.account
        assert status.free_bytes is None or status.free_bytes >= 0

    @pytest.mark.parametrize("grows", [False, True], ids=["size known", "still growing"])
    @pytest.mark.parametrize("size", [0, 1, BLOCK, LARGE])
    def test_linked_bytes_are_the_archives(
        self, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch, size: int, grows: bool
    ) -> None:
        sample = archive(size, grows=grows)

        stored = store(sample)

        assert (stored.key, stored.size) == (sample.key, size)
        assert fetch(backend.link(stored, None).url) == sample.content()

    def test_what_was_stored_survives_json(
        self, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch
    ) -> None:
        """`Stored` is kept in a database between `store` and `link`."""
        sample = archive()

        kept = Stored.model_validate_json(store(sample).model_dump_json())

        assert fetch(backend.link(kept, None).url) == sample.content()

    @pytest.mark.parametrize("name", NAMES)
    def test_any_name_is_stored_and_linked(
        self, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch, name: str
    ) -> None:
        sample = archive(name=name)

        assert fetch(backend.link(store(sample), None).url) == sample.content()

    @pytest.mark.parametrize("pattern", KEYS)
    def test_no_key_leads_elsewhere(
        self, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch, pattern: str
    ) -> None:
        unique = uuid.uuid4()
        key, other = pattern.format(id=unique), archive(key=f"{unique}.zip", seed=1)
        beside = store(other)
        sample = archive(key=key)

        stored = store(sample)

        assert fetch(backend.link(stored, None).url) == sample.content()
        assert fetch(backend.link(beside, None).url) == other.content()

    def test_generations_are_different_files(
        self, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch, count_files: Callable[[], int]
    ) -> None:
        before, delivery = count_files(), uuid.uuid4()
        first = archive(key=f"{delivery}/1/mm1.zip")
        second = archive(key=f"{delivery}/2/mm1.zip", seed=1)

        stored = [store(first), store(second)]

        assert count_files() == before + 2
        assert [fetch(backend.link(one, None).url) for one in stored] == [first.content(), second.content()]

    def test_store_twice_with_one_key_leaves_one_file_and_a_working_link(
        self, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch, count_files: Callable[[], int]
    ) -> None:
        before, sample = count_files(), archive(LARGE)
        store(sample)
        backend.link(store(sample), None)

        link = backend.link(store(sample), None)

        assert count_files() == before + 1
        assert fetch(link.url) == sample.content()

    @pytest.mark.parametrize("grows", [False, True], ids=["size known", "still growing"])
    @pytest.mark.parametrize("ends_after", [0, 999, LARGE - 1])
    def test_a_source_that_ends_early_is_an_error_and_leaves_nothing(
        self, archive: Make, store: Store, count_files: Callable[[], int], ends_after: int, grows: bool
    ) -> None:
        before = count_files()

        with pytest.raises(BackendError):
            store(archive(LARGE, grows=grows, ends_after=ends_after))

        assert count_files() == before

    def test_a_source_that_is_longer_than_announced_is_an_error_and_leaves_nothing(
        self, archive: Make, store: Store, count_files: Callable[[], int]
    ) -> None:
        before = count_files()

        for announced in (BLOCK, LARGE - 1):
            with pytest.raises(BackendError):
                store(archive(LARGE, announced=announced))

        assert count_files() == before

    @pytest.mark.parametrize("error", [TransientError("It could not be packed."), OSError(5, "read error")], ids=repr)
    @pytest.mark.parametrize("fails_after", [0, 3 * BLOCK])
    @pytest.mark.parametrize("grows", [False, True], ids=["size known", "still growing"])
    def test_an_error_of_the_source_comes_out_and_leaves_nothing(
        self,
        archive: Make,
        store: Store,
        count_files: Callable[[], int],
        grows: bool,
        fails_after: int,
        error: Exception,
    ) -> None:
        before = count_files()

        with pytest.raises((type(error), BackendError)) as caught:
            store(archive(LARGE, grows=grows, fails_after=fails_after, error=error))

        assert count_files() == before
        if isinstance(error, BackendError):
            assert str(caught.value) == str(error)

    def test_a_failed_store_keeps_what_was_there(
        self, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch, count_files: Callable[[], int]
    ) -> None:
        before, sample = count_files(), archive(LARGE)
        link = backend.link(store(sample), None)

        for fault in ({"ends_after": BLOCK}, {"fails_after": BLOCK}):
            with pytest.raises(BackendError):
                store(archive(LARGE, key=sample.key, seed=1, **fault))

        assert count_files() == before + 1
        assert fetch(link.url) == sample.content()

    @pytest.mark.parametrize("grows", [False, True], ids=["size known", "still growing"])
    def test_after_an_error_midway_a_new_process_goes_on(
        self,
        backend: Backend[Any],
        archive: Make,
        store: Store,
        fetch: Fetch,
        count_files: Callable[[], int],
        grows: bool,
    ) -> None:
        before, broken = count_files(), SampleProgress()
        sample = archive(LARGE, grows=grows, fails_after=3 * BLOCK)
        with pytest.raises(BackendError):
            store(sample, broken)

        stored = store(archive(LARGE, grows=grows, key=sample.key), SampleProgress(broken.checkpoint))

        assert count_files() == before + 1
        assert fetch(backend.link(stored, None).url) == sample.content()

    @pytest.mark.parametrize("grows", [False, True], ids=["size known", "still growing"])
    def test_what_was_sent_of_a_longer_archive_does_not_hinder_a_shorter_one(
        self, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch, grows: bool
    ) -> None:
        broken = SampleProgress()
        sample = archive(LARGE, grows=True, fails_after=3 * BLOCK)
        with pytest.raises(BackendError):
            store(sample, broken)
        shorter = archive(BLOCK, grows=grows, key=sample.key)

        stored = store(shorter, SampleProgress(broken.checkpoint))

        assert fetch(backend.link(stored, None).url) == shorter.content()

    def test_progress_is_saved_on_the_way_and_never_past_the_end(self, archive: Make, store: Store) -> None:
        progress = SampleProgress()

        store(archive(LARGE), progress)

        assert progress.saved
        assert progress.saved == sorted(progress.saved)
        assert progress.saved[-1] <= LARGE

    @pytest.mark.parametrize("size", [0, 1000, LARGE])
    @pytest.mark.parametrize("grows", [False, True], ids=["size known", "still growing"])
    def test_who_was_superseded_while_sending_commits_nothing(
        self, archive: Make, store: Store, count_files: Callable[[], int], size: int, grows: bool
    ) -> None:
        """Another worker takes over when the last byte has been read: asking at the start is not enough."""
        before, sample = count_files(), archive(size, grows=grows)

        with pytest.raises(Superseded):
            store(sample, SampleProgress(superseded=lambda: sample.was_read))

        assert count_files() == before

    def test_who_was_superseded_leaves_the_old_content(
        self, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch, count_files: Callable[[], int]
    ) -> None:
        before, old = count_files(), archive(LARGE)
        link = backend.link(store(old), None)
        new = archive(LARGE, key=old.key, seed=1)

        with pytest.raises(Superseded):
            store(new, SampleProgress(superseded=lambda: new.was_read))

        assert count_files() == before + 1
        assert fetch(link.url) == old.content()

    def test_superseded_from_saving_comes_out_and_leaves_nothing(
        self, archive: Make, store: Store, count_files: Callable[[], int]
    ) -> None:
        before = count_files()

        with pytest.raises(Superseded):
            store(archive(LARGE), SampleProgress(refuses_to_save=True))

        assert count_files() == before

    def test_link_again_gives_a_working_link(
        self, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch
    ) -> None:
        sample = archive()
        stored = store(sample)

        for expires in (None, None, datetime.now(UTC) + timedelta(days=1), datetime.now(UTC) + timedelta(days=9), None):
            assert fetch(backend.link(stored, expires).url) == sample.content()

    def test_a_link_tells_when_it_really_ends(self, backend: Backend[Any], archive: Make, store: Store) -> None:
        asked = datetime.now(UTC) + timedelta(days=2)

        link = backend.link(store(archive()), asked)

        if link.expires is not None:
            assert link.expires.utcoffset() is not None
            assert link.expires > datetime.now(UTC)
            assert self.caps_expiry or link.expires >= asked - MINUTE

    def test_a_link_without_an_end_has_none(self, backend: Backend[Any], archive: Make, store: Store) -> None:
        link = backend.link(store(archive()), None)

        assert link.expires is None or self.caps_expiry

    def test_link_of_what_was_never_stored_is_an_error(self, backend: Backend[Any]) -> None:
        with pytest.raises(BackendError):
            backend.link(Stored(key=f"{uuid.uuid4()}/1/never.zip", size=1), None)

    def test_delete_removes_the_file_and_its_link_and_may_be_repeated(
        self, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch, count_files: Callable[[], int]
    ) -> None:
        before, sample, kept = count_files(), archive(), archive(seed=1)
        beside = backend.link(store(kept), None)
        stored = store(sample)
        link = backend.link(stored, None)

        backend.delete(stored)
        backend.delete(stored)

        assert count_files() == before + 1
        assert fetch(link.url) is None
        assert fetch(beside.url) == kept.content()

    def test_delete_of_what_was_never_stored_is_fine(self, backend: Backend[Any], archive: Make, store: Store) -> None:
        stored = store(archive())
        never = stored.model_copy(update={"key": f"{uuid.uuid4()}/1/never.zip"})

        backend.delete(never.model_copy(update={"reference": {}}))

    def test_store_after_delete_works(self, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch) -> None:
        sample = archive()
        backend.delete(store(sample))

        assert fetch(backend.link(store(sample), None).url) == sample.content()

    def test_no_secret_is_told(
        self,
        backend: Backend[Any],
        archive: Make,
        store: Store,
        canaries: list[str],
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        """Neither by what is returned or raised (with its causes), nor by logs, down to those of the HTTP library."""
        caplog.set_level(logging.DEBUG)
        sample, progress = archive(LARGE), SampleProgress()
        told: list[Any] = [backend, backend.config, backend.check()]
        told.append(stored := store(sample, progress))
        told += [backend.link(stored, None), stored.model_dump_json(), backend.config.model_dump_json()]
        told += progress.checkpoints
        never = Stored(key=f"{uuid.uuid4()}/1/never.zip", size=1)
        calls: list[Callable[[], Any]] = [
            lambda: store(archive(LARGE, ends_after=BLOCK)),
            lambda: store(archive(LARGE, fails_after=BLOCK)),
            lambda: backend.link(never, None),
        ]
        for call in calls:
            with suppress(BackendError):
                try:
                    call()
                except BackendError as error:
                    told += _with_causes(error)
                    raise

        text = "\n".join([*(f"{one!r} {one}" for one in told), caplog.text, *capfd.readouterr()])

        assert canaries
        assert [canary for canary in canaries if canary in text] == []

    def test_a_large_archive_takes_little_memory(self, archive: Make, store: Store) -> None:
        if self.holds_in_memory:
            return
        for grows in (False, True):
            sample = archive(HUGE, grows=grows)
            tracemalloc.start()
            try:
                stored = store(sample)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()

            assert stored.size == HUGE
            assert peak < FLAT


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
