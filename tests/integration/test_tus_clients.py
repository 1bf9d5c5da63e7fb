"""The official tus clients, unchanged, on our storage server; with ``--full`` on npm's too, which tests the tests."""

from __future__ import annotations

import random
import signal
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from backends.errors import PermanentError, TransientError
from backends.local import Local
from backends.suite_doubles import SampleArchive, SampleProgress
from tests.support.local_cloud import MIB, LocalCloud, session, watched
from tests.support.node import NoNode, NpmTusServer
from tests.support.relay import Relay
from tests.support.stores import Order as StoreOrder
from tests.support.stores import store
from tests.support.tus_clients import Order, Told, Upload, remembered, tus_js_client, tuspy

CONTENT = random.Random(5).randbytes(4 * MIB + 17)
CHUNK = 700_000
NAME = "rho=0.8 Größe.zip"
LONG_AFTER_THE_START = 2 * MIB
SENTENCE = r"^The tus server at http\S+ [^\n]+\w\.$"


@dataclass(frozen=True)
class Site:
    """A tus server.

    Args:
        fetch: what is stored, by its upload and the key in its metadata, if there was one; None: nothing.
        name: under which it is downloaded, by the same.
        takes_empty_metadata: as tuspy sends it where there is none.
    """

    port: int
    headers: dict[str, str]
    fetch: Callable[[Told, str], bytes | None]
    name: Callable[[Told, str], str]
    takes_empty_metadata: bool = True

    def order(self, file: Path, *, through: Relay | None = None, **more: object) -> Order:
        """For one of its clients."""
        fields: dict[str, object] = {"headers": self.headers} | more
        port = through.port if through is not None else self.port
        return Order(f"http://127.0.0.1:{port}/files/", str(file), **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["local cloud", pytest.param("npm", marks=pytest.mark.full)])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    if request.param == "npm":
        yield from npm_site()
    else:
        for server in watched():
            yield our_site(server)


def our_site(server: LocalCloud) -> Site:
    def stored(told: Told, key: str) -> str:
        return key or last_part(told)

    def fetch(told: Told, key: str) -> bytes | None:
        answer = server.call("POST", "links", params={"key": stored(told, key)}, json={"expires": None})
        return server.fetch(answer.json()["url"]) if answer.status_code == 200 else None

    def name(told: Told, key: str) -> str:
        return str(server.call("GET", "files", params={"key": stored(told, key)}).json()["name"])

    return Site(server.port, {"Authorization": f"Bearer {server.key}"}, fetch, name)


def npm_site() -> Iterator[Site]:
    with npm_server() as server, session() as http:

        def fetch(told: Told, _key: str) -> bytes | None:
            answer = http.get(f"{server.endpoint}/{last_part(told)}", timeout=120)
            return answer.content if answer.status_code == 200 else None

        yield Site(server.port, {}, fetch, lambda _told, _key: NAME, takes_empty_metadata=False)


def npm_server(*, bare: bool = False) -> NpmTusServer:
    try:
        return NpmTusServer(bare=bare)
    except NoNode as reason:
        pytest.skip(str(reason))


def last_part(told: Told) -> str:
    return urlsplit(told.url or "").path.rpartition("/")[2]


@pytest.fixture(params=[tuspy, tus_js_client], ids=["tuspy", "tus-js-client"])
def upload(request: pytest.FixtureRequest) -> Upload:
    return partial(or_skip, request.param)


@pytest.fixture
def by_js() -> Upload:
    return partial(or_skip, tus_js_client)


def or_skip(client: Upload, order: Order) -> Told:
    try:
        return client(order)
    except NoNode as reason:
        pytest.skip(str(reason))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "result.zip"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("chunk", [0, CHUNK], ids=["in one request", "in chunks"])
def test_a_file_arrives_under_its_key_and_name(site: Site, upload: Upload, file: Path, chunk: int) -> None:
    key = f"d1/{chunk}/{NAME}"

    told = upload(site.order(file, chunk=chunk, metadata={"key": key, "filename": NAME}))

    assert told.error is None
    assert site.fetch(told, key) == CONTENT
    assert site.name(told, key) == NAME


def test_a_file_without_a_key_is_known_by_its_upload(site: Site, upload: Upload, file: Path) -> None:
    told = upload(site.order(file, metadata={} if site.takes_empty_metadata else {"filename": NAME}))

    assert told.error is None
    assert site.fetch(told, "") == CONTENT


def test_an_empty_file_is_stored(site: Site, upload: Upload, file: Path) -> None:
    file.write_bytes(b"")

    told = upload(site.order(file, metadata={"key": "empty", "filename": NAME}))

    assert (told.error, told.resumed) == (None, None)
    assert site.fetch(told, "empty") == b""


def test_the_length_may_be_told_at_the_end(site: Site, by_js: Upload, file: Path) -> None:
    told = by_js(site.order(file, chunk=CHUNK, deferred=True, metadata={"key": "deferred", "filename": NAME}))

    assert told.error is None
    assert site.fetch(told, "deferred") == CONTENT


@pytest.mark.parametrize("chunk", [0, CHUNK], ids=["all bytes", "a chunk"])
def test_bytes_may_come_with_the_creation(site: Site, by_js: Upload, file: Path, chunk: int) -> None:
    metadata = {"key": f"creation {chunk}", "filename": NAME}

    told = by_js(site.order(file, chunk=chunk, with_creation=True, metadata=metadata))

    assert (told.error, told.resumed) == (None, chunk or None)
    assert site.fetch(told, metadata["key"]) == CONTENT


def test_each_chunk_may_tell_its_checksum(site: Site, file: Path) -> None:
    told = tuspy(site.order(file, chunk=CHUNK, checksum=True, metadata={"key": "checksum", "filename": NAME}))

    assert told.error is None
    assert site.fetch(told, "checksum") == CONTENT


@pytest.mark.parametrize("chunk", [0, CHUNK], ids=["in one request", "in chunks"])
@pytest.mark.parametrize("silently", [False, True], ids=["the server is told", "the server is not told"])
def test_a_new_process_resumes_what_was_cut(
    site: Site, upload: Upload, file: Path, tmp_path: Path, silently: bool, chunk: int
) -> None:
    key = f"cut {silently} {chunk} {upload}"
    storage = tmp_path / "uploads.json"
    with Relay(site.port) as relay:
        relay.open()
        order = site.order(file, through=relay, storage=str(storage), chunk=chunk, metadata={"key": key})
        relay.cut(LONG_AFTER_THE_START, silently=silently)

        first = upload(order)

        assert first.error is not None
        assert site.fetch(first, key) is None
        before = relay.sent

        second = upload(order)

        assert (second.error, second.url) == (None, remembered(storage))
        assert second.resumed is not None
        assert CHUNK <= second.resumed <= LONG_AFTER_THE_START
        assert relay.sent - before < len(CONTENT) - second.resumed + 10_000, "nothing but the rest was sent"
    assert site.fetch(second, key) == CONTENT


def test_a_client_that_tries_again_by_itself_goes_on_where_it_was_cut(site: Site, upload: Upload, file: Path) -> None:
    key = f"retry {upload}"
    with Relay(site.port) as relay:
        relay.open()
        relay.cut(LONG_AFTER_THE_START)

        told = upload(site.order(file, through=relay, retries=3, metadata={"key": key}))

        assert told.error is None
        assert relay.sent < len(CONTENT) + LONG_AFTER_THE_START, "it did not start again"
    assert site.fetch(told, key) == CONTENT


def test_an_upload_that_is_given_up_is_no_more(site: Site, by_js: Upload, file: Path) -> None:
    order = site.order(file, chunk=CHUNK, terminate_after=CHUNK, metadata={"key": "given up"})

    told = by_js(order)

    assert told.error is None
    assert site.fetch(told, "given up") is None
    with session() as http:
        answer = http.head(told.url or "", headers={"Tus-Resumable": "1.0.0", **site.headers}, timeout=120)
    assert answer.status_code in {404, 410}


def test_without_the_upload_key_nothing_is_begun(upload: Upload, file: Path) -> None:
    for server in watched():
        told = upload(Order(f"{server.url}/files/", str(file), headers={"Authorization": "Bearer wrong"}))

        assert (told.status, told.url) == (401, None)
        assert told.error is not None
        assert server.data() == []


# Our plugin, on a tus server that is not ours


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[NpmTusServer]:
    with npm_server() as server:
        yield server


@pytest.fixture
def plugin(elsewhere: NpmTusServer) -> Iterator[Local]:
    with session() as http:
        yield Local(Local.Config.model_validate({"server": elsewhere.endpoint}), http)


def sample(*, grows: bool = False, size: int = len(CONTENT)) -> SampleArchive:
    return SampleArchive(size, key=f"{uuid.uuid4()}/1/{NAME}", name=NAME, grows=grows)


@pytest.mark.parametrize("grows", [False, True], ids=["size known", "size told at the end"])
@pytest.mark.parametrize("size", [0, len(CONTENT)], ids=["empty", "large"])
def test_the_plugin_stores_on_another_tus_server(plugin: Local, grows: bool, size: int) -> None:
    archive = sample(grows=grows, size=size)

    stored = plugin.store(archive, SampleProgress())
    link = plugin.link(stored, datetime.now(UTC) + timedelta(days=7))

    assert (stored.key, stored.size) == (archive.key, size)
    assert plugin.http.get(link.url, timeout=120).content == archive.content()
    assert link.expires is None, "that server's links do not end, and nobody is told that they do"


def test_the_plugin_resumes_on_another_tus_server(elsewhere: NpmTusServer, tmp_path: Path) -> None:
    key, size = f"{uuid.uuid4()}/1/{NAME}", 20 * MIB
    before = len(elsewhere.data())
    with Relay(elsewhere.port) as relay:
        relay.open()
        config = {"server": f"http://127.0.0.1:{relay.port}/files"}
        checkpoint = str(tmp_path / "checkpoint")

        killed = store(StoreOrder("local", config, key, size, checkpoint, dies_before_save=3), {})
        finished = store(StoreOrder("local", config, key, size, checkpoint), {})

        assert (killed.code, finished.code, finished.errors) == (-signal.SIGKILL, 0, "")
        assert relay.sent < 2 * size, "it did not start again"
    assert len(elsewhere.data()) == before + 1
    assert SampleArchive(size, key=key, name=NAME).content() in elsewhere.data()


def test_bytes_of_two_archives_are_never_mixed_on_another_tus_server(plugin: Local, elsewhere: NpmTusServer) -> None:
    key, broken = f"{uuid.uuid4()}/1/{NAME}", SampleProgress()
    with pytest.raises(TransientError):
        plugin.store(SampleArchive(3 * MIB, key=key, name=NAME, grows=True, fails_after=MIB), broken)
    other = SampleArchive(3 * MIB, key=key, name=NAME, grows=True, seed=1)

    plugin.store(other, SampleProgress(broken.checkpoint))

    assert other.content() in elsewhere.data()


def test_the_plugin_removes_from_another_tus_server(plugin: Local) -> None:
    stored = plugin.store(sample(), SampleProgress())
    url = plugin.link(stored, None).url

    plugin.delete(stored)
    plugin.delete(stored)

    assert plugin.http.get(url, timeout=120).status_code in {404, 410}


def test_the_check_of_another_tus_server_knows_no_free_space(plugin: Local, elsewhere: NpmTusServer) -> None:
    status = plugin.check()

    assert status.free_bytes is None
    assert elsewhere.endpoint in status.account


def test_what_another_tus_server_cannot_do_is_one_sentence() -> None:
    with npm_server(bare=True) as server, session() as http:
        plugin = Local(Local.Config.model_validate({"server": server.endpoint}), http)
        archive = sample()

        stored = plugin.store(archive, SampleProgress())

        assert server.data() == [archive.content()]
        with pytest.raises(PermanentError, match=SENTENCE):
            plugin.link(stored, None)
        with pytest.raises(PermanentError, match=SENTENCE):
            plugin.delete(stored)
