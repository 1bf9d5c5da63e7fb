"""The shipped contract suite, on the plugins that come with SimCourier."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.contract import Backend
from backends.errors import TransientError
from backends.local import Local
from backends.memory import Memory, fetch
from backends.suite import BackendContract, Fetch, Make, Store
from backends.suite_doubles import SampleArchive, SampleProgress
from tests.support.local_cloud import MIB, LocalCloud, session, watched

server = pytest.fixture(scope="module")(watched)


class TestMemory(BackendContract):
    holds_in_memory = True

    @pytest.fixture
    def backend(self) -> Iterator[Backend[Any]]:
        with session() as http:
            yield Memory(Memory.Config(space=f"space-{uuid.uuid4()}"), http)

    @pytest.fixture
    def fetch(self) -> Fetch:
        def get(url: str) -> bytes | None:
            try:
                return fetch(url)
            except KeyError:
                return None

        return get

    @pytest.fixture
    def count_files(self, backend: Memory) -> Callable[[], int]:
        return lambda: len(backend.space.files)

    @pytest.fixture
    def canaries(self) -> list[str]:
        return ["it has no secret"]


class TestLocal(BackendContract):
    @pytest.fixture
    def backend(self, server: LocalCloud) -> Iterator[Backend[Any]]:
        with session() as http:
            yield Local(Local.Config.model_validate({"server": server.url, "key": server.key}), http)

    @pytest.fixture
    def fetch(self, server: LocalCloud) -> Fetch:
        return server.fetch

    @pytest.fixture
    def count_files(self, server: LocalCloud) -> Callable[[], int]:
        return lambda: len(server.keys())

    @pytest.fixture
    def canaries(self, server: LocalCloud) -> list[str]:
        return [server.key]

    def test_bytes_that_are_not_those_of_the_digest_are_not_shown(
        self, archive: Make, store: Store, count_files: Callable[[], int]
    ) -> None:
        before, sample = count_files(), archive()
        sample.__dict__["sha256"] = "0" * 64

        with pytest.raises(TransientError):
            store(sample)

        assert count_files() == before

    @pytest.mark.parametrize("grows", [False, True], ids=["size known", "still growing"])
    def test_an_archive_that_cannot_be_read_is_not_said_to_be_the_servers_fault(
        self, archive: Make, store: Store, grows: bool
    ) -> None:
        with pytest.raises(TransientError, match=r"^The archive cannot be read: Input/output error\.$"):
            store(archive(3 * MIB, grows=grows, fails_after=MIB, error=OSError(5, "Input/output error")))

    def test_other_bytes_than_those_of_an_upload_that_is_whole_are_told_once_and_then_sent(
        self, backend: Backend[Any], archive: Make, store: Store, fetch: Fetch
    ) -> None:
        progress, sample = SampleProgress(), archive(3 * MIB, grows=True)
        store(sample, progress)
        other = archive(2 * MIB, grows=True, key=sample.key)
        with pytest.raises(TransientError, match="holds other bytes than were sent"):
            store(other, progress)

        stored = store(other, progress)

        assert fetch(backend.link(stored, None).url) == other.content()


def test_a_server_that_calls_itself_otherwise_is_reached_as_the_definition_says() -> None:
    with LocalCloud(arguments=("--public-url", "https://files.example.org/cloud")) as server, session() as http:
        backend = Local(Local.Config.model_validate({"server": server.url, "key": server.key}), http)
        sample, broken = SampleArchive(3 * MIB, key="a/1/b.zip", name="b.zip", fails_after=MIB), SampleProgress()
        with pytest.raises(TransientError):
            backend.store(sample, broken)

        stored = backend.store(SampleArchive(3 * MIB, key="a/1/b.zip", name="b.zip"), SampleProgress(broken.checkpoint))

        assert stored.size == 3 * MIB
        assert backend.link(stored, None).url.startswith("https://files.example.org/cloud/f/")
        assert len(server.events("audit.uploaded")) == 1


def test_the_key_is_sent_to_no_other_server_that_a_checkpoint_names() -> None:
    with LocalCloud() as server, LocalCloud(key="another key of another server") as other, session() as http:
        foreign = Local(Local.Config.model_validate({"server": other.url, "key": other.key}), http)
        broken = SampleProgress()
        with pytest.raises(TransientError):
            foreign.store(SampleArchive(3 * MIB, key="a/1/b.zip", name="b.zip", fails_after=MIB), broken)
        backend = Local(Local.Config.model_validate({"server": server.url, "key": server.key}), http)

        backend.store(SampleArchive(3 * MIB, key="a/1/b.zip", name="b.zip"), SampleProgress(broken.checkpoint))

        assert "no_key" not in [line["code"] for line in other.events("request.refused")]
        assert server.keys() == ["a/1/b.zip"]


def test_the_plugin_on_the_page_for_authors_is_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "backends.md").read_text("utf-8")
    plugin, suite = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    namespace: dict[str, Any] = {}

    for example in (plugin, suite):
        exec(compile(example, "docs/backends.md", "exec", dont_inherit=True), namespace)

    with session() as http:
        config = namespace["Config"](server="https://cloud.example.org", token="secret")
        assert isinstance(namespace["MyCloud"](config, http), Backend)
    wanted = {"backend", "fetch", "count_files", "canaries"}
    assert vars(namespace["TestMyCloud"]).keys() >= wanted
