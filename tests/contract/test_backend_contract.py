"""The shipped contract suite, on the plugins that come with SimCourier."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from backends.contract import Backend
from backends.local import Local
from backends.memory import Memory, fetch
from backends.suite import BackendContract, Fetch
from tests.support.local_cloud import LocalCloud, session


@pytest.fixture(scope="module")
def server() -> Iterator[LocalCloud]:
    with LocalCloud() as running:
        yield running


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
