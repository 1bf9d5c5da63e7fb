"""Results on services: S3 (moto's server), a web server's index pages, FTP. All of them real, on this machine."""

from __future__ import annotations

import io
import os
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest

from backends.errors import TransientError
from consumer.collect import collect
from consumer.errors import NotNow, Undeliverable
from consumer.packing.archive import ArchiveWriter
from consumer.packing.sources import content, opened, source
from consumer.snapshot import Snapshot
from messaging.messages import Results
from tests.support.remote import Site, ftp_server, site
from tests.support.s3 import BUCKET, s3_server

LARGE = os.urandom(2_500_000)
FILES = {"a.sca": b"version 3\n", "empty": b"", "sub dir/b %20&\u00e4.vec": b"b", "sub dir/large.bin": LARGE}


class Service(NamedTuple):
    """Where results lie, and what puts and removes them."""

    url: str
    put: Callable[[str, bytes], object]
    remove: Callable[[str], object]


@pytest.fixture(scope="module")
def s3_address() -> Iterator[str]:
    with s3_server() as config:
        yield config["endpoint"]


@pytest.fixture
def credentials(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an operator gives them to a worker."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "simcourier")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-51d0")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture(scope="module")
def s3_client(s3_address: str) -> Any:
    return boto3.client("s3", "us-east-1", endpoint_url=s3_address, aws_access_key_id="a", aws_secret_access_key="b")


@pytest.fixture
def s3(credentials: None, s3_client: Any, tmp_path: Path) -> Service:
    del credentials
    prefix = f"runs/{tmp_path.name}"

    def put(name: str, data: bytes) -> object:
        return s3_client.put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=data)

    def remove(name: str) -> object:
        return s3_client.delete_object(Bucket=BUCKET, Key=f"{prefix}/{name}")

    return Service(f"s3://{BUCKET}/{prefix}", put, remove)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "run").mkdir()
    with site(tmp_path) as server:
        yield server


def of_folder(url: str, folder: Path) -> Service:
    def put(name: str, data: bytes) -> object:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        return (folder / name).write_bytes(data)

    return Service(url, put, lambda name: (folder / name).unlink())


@pytest.fixture(params=["s3", "http", "ftp"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """Each service in turn, with `FILES`."""
    if request.param == "ftp":
        (tmp_path / "run").mkdir()
        with ftp_server(tmp_path) as url:
            yield filled(of_folder(f"{url}/run", tmp_path / "run"))
    elif request.param == "http":
        yield filled(of_folder(f"{request.getfixturevalue('web').url}/run", tmp_path / "run"))
    else:
        yield filled(request.getfixturevalue("s3"))


def filled(service: Service) -> Service:
    for name, data in FILES.items():
        service.put(name, data)
    return service


def taken(url: str, *roots: str, **patterns: tuple[str, ...]) -> Snapshot:
    return collect(Results.model_validate({"location": url, **patterns}), roots or (url,))


def packed(snapshot: Snapshot) -> dict[str, bytes]:
    target = io.BytesIO()
    with ArchiveWriter(target, threads=2) as archive:
        for file in snapshot.files:
            archive.add_file(file)
        archive.close()
    with zipfile.ZipFile(target) as done:
        return {name: done.read(name) for name in done.namelist()}


def test_every_file_is_packed_under_its_name_byte_by_byte(service: Service) -> None:
    snapshot = taken(service.url)

    assert packed(snapshot) == FILES
    assert snapshot.left_out == ()
    assert snapshot.files.size == sum(map(len, FILES.values()))
    snapshot.ensure_unchanged()


def test_files_have_the_service_s_time_stamps(service: Service) -> None:
    now = time.time()

    assert all(now - 300 < file.mtime_ns / 1e9 < now + 300 for file in taken(service.url).files)


def test_patterns_choose(service: Service) -> None:
    files = taken(service.url, include=("*.sca", "sub dir/*"), exclude=("*.bin",)).files

    assert [file.name for file in files] == ["a.sca", "sub dir/b %20&\u00e4.vec"]


def test_a_reader_may_go_back_and_forth(service: Service) -> None:
    (large,) = taken(service.url, include=("*.bin",)).files

    with opened(large) as stream:
        assert stream.read(100) == LARGE[:100]
        assert stream.seek(-10, io.SEEK_END) == len(LARGE) - 10
        assert stream.read() == LARGE[-10:]
        stream.seek(0)
        assert stream.read() == LARGE


def test_what_came_went_or_changed_while_results_were_packed_is_told(service: Service) -> None:
    changes: dict[str, Callable[[], object]] = {
        "new came": lambda: service.put("new", b"n"),
        "new changed": lambda: service.put("new", b"nn"),
        "a.sca vanished": lambda: service.remove("a.sca"),
    }
    for told, change in changes.items():
        snapshot = taken(service.url)
        change()
        with pytest.raises(TransientError, match=f"The file {told} while the results were packed"):
            snapshot.ensure_unchanged()


def test_a_folder_that_vanished_meanwhile_is_waited_for(service: Service) -> None:
    snapshot = taken(service.url)
    for name in FILES:
        service.remove(name)

    with pytest.raises(TransientError):
        snapshot.ensure_unchanged()


def test_a_file_that_became_shorter_or_vanished_is_noticed_when_it_is_read(service: Service) -> None:
    files = {file.name: file for file in taken(service.url).files}
    service.put("sub dir/large.bin", LARGE[:-1])
    service.remove("a.sca")

    large = source(files["sub dir/large.bin"])
    large.read(0, memoryview(bytearray(1_000_000)))
    with pytest.raises(TransientError, match=r"large.bin became shorter"):
        large.read(1_000_000, memoryview(bytearray(1_500_000)))
    large.close()
    with pytest.raises(TransientError, match=r"a.sca vanished"):
        content(files["a.sca"])
    with opened(files["a.sca"]) as stream, pytest.raises(OSError, match=r"a.sca vanished"):
        stream.read()


def test_a_file_that_was_exchanged_for_one_of_the_same_size_and_second_is_told_by_its_etag(s3: Service) -> None:
    s3.put("x", b"one")
    snapshot = taken(s3.url)
    s3.put("x", b"two")

    with pytest.raises(TransientError, match="The file x changed"):
        snapshot.ensure_unchanged()


def test_a_missing_folder_is_told(service: Service) -> None:
    with pytest.raises(Undeliverable, match=r"does not exist|holds no file"):
        taken(f"{service.url}/nowhere", service.url)


def test_a_missing_bucket_and_an_empty_prefix_are_told(s3: Service) -> None:
    with pytest.raises(Undeliverable, match=r"^The results folder s3://no-such-bucket/x does not exist\.$"):
        taken("s3://no-such-bucket/x")
    with pytest.raises(Undeliverable, match=r"holds no file that can be read\.$"):
        taken(s3.url)


def test_keys_that_no_disk_could_hold_are_left_out_and_told(s3: Service) -> None:
    for name in ("ok", "../evil", "a//b", "folder/", "x/./y"):
        s3.put(name, b"" if name.endswith("/") else b"1")

    snapshot = taken(s3.url)

    assert [file.name for file in snapshot.files] == ["ok"]
    assert [one.partition(":")[0] for one in snapshot.left_out] == ["../evil", "a//b", "x/./y"]


def test_a_listing_of_several_pages_is_read_to_its_end(s3: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    from s3fs import S3FileSystem

    asked = S3FileSystem.call_s3
    monkeypatch.setattr(S3FileSystem, "call_s3", lambda *a, **k: asked(*a, **k, MaxKeys=3))
    for number in range(10):
        s3.put(f"{number}", b"1")

    assert [file.name for file in taken(s3.url).files] == list("0123456789")


def test_without_credentials_the_delivery_waits_for_somebody_to_set_them(
    s3: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(NotNow, match=rf"^This worker has no credentials for s3://{BUCKET}\.$"):
        taken(s3.url)


def test_a_service_that_is_away_is_tried_again(credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    del credentials
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)

    for url in ("s3://bucket/run", "http://127.0.0.1:9/run", "ftp://127.0.0.1:9/run"):
        with pytest.raises(TransientError, match="cannot be read at present") as raised:
            taken(url)
        assert "canary" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (401, Undeliverable, "may not be read by the worker"),
        (403, Undeliverable, "may not be read by the worker"),
        (404, Undeliverable, "does not exist"),
        (429, TransientError, "cannot be read at present"),
        (503, TransientError, "cannot be read at present"),
    ],
)
def test_what_a_server_answers_decides_whether_it_is_asked_again(
    web: Site, status: int, error: type[Exception], told: str
) -> None:
    web.answers["/run/"] = (status, "")

    with pytest.raises(error, match=told):
        taken(f"{web.url}/run")


def test_a_file_of_an_index_that_fails_is_waited_for_and_one_that_is_denied_is_left_out(
    web: Site, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / "run" / name).write_text(name)
    web.answers["/run/a"] = (403, "")

    snapshot = taken(f"{web.url}/run")

    assert [file.name for file in snapshot.files] == ["b"]
    assert snapshot.left_out[0].startswith("a: cannot be read (")
    web.answers["/run/a"] = (500, "")
    with pytest.raises(TransientError):
        taken(f"{web.url}/run")


def test_a_redirection_leads_nowhere(web: Site, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "run" / "a").write_text("a")
    (tmp_path / "run" / "b").write_text("b")
    with site(tmp_path / "inner") as inner:
        (tmp_path / "inner" / "a").write_text("s")
        web.answers["/run/a"] = (302, f"{inner.url}/a")
        snapshot = taken(f"{web.url}/run")
        web.answers["/run/b"] = (307, f"{inner.url}/a")
        with pytest.raises(Undeliverable, match="redirections are not followed"):
            content(snapshot.files[0])
        web.answers["/run/"] = (302, f"{inner.url}/")
        with pytest.raises(Undeliverable, match="redirections are not followed"):
            taken(f"{web.url}/run")

        assert [file.name for file in snapshot.files] == ["b"]
        assert inner.asked == []


def test_links_of_an_index_page_that_lead_out_of_the_folder_are_not_followed(web: Site, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "run" / "in").write_text("in")
    (tmp_path / "run" / "index.html").write_text(
        f'<a href="in">in</a><a href="../secret">1</a><a href="/secret">2</a><a href="{web.url}/secret">3</a>'
        '<a href="%2e%2e/secret">4</a><a href="..%2fsecret">5</a><a href="?C=N;O=D">6</a><a href="http://127.0.0.1:9/x">'
    )

    snapshot = taken(f"{web.url}/run")

    assert [file.name for file in snapshot.files] == ["in"]
    assert not any("secret" in path for path in web.asked)


@pytest.mark.parametrize("roots", [(), ("{folder}",), ("{url}/other",), ("http://127.0.0.1:9",)])
def test_an_address_that_nobody_has_allowed_is_not_asked(web: Site, tmp_path: Path, roots: tuple[str, ...]) -> None:
    (tmp_path / "run" / "a").write_text("a")
    given = [root.format(folder=tmp_path, url=web.url) for root in roots]

    with pytest.raises(Undeliverable, match="below no address that results may come from"):
        collect(Results.model_validate({"location": f"{web.url}/run"}), given)

    assert web.asked == []


def test_an_address_that_holds_a_password_is_refused_and_not_repeated(web: Site) -> None:
    with pytest.raises(Undeliverable, match="holds a password") as raised:
        taken(web.url.replace("//", "//anna:canary@") + "/run", web.url)

    assert "canary" not in str(raised.value)
    assert web.asked == []


def test_where_only_addresses_are_allowed_no_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")

    with pytest.raises(Undeliverable, match="outside"):
        taken(tmp_path.as_uri(), "s3://bucket")


@pytest.mark.parametrize(("url", "package"), [("gs://bucket/run", "gcsfs"), ("smb://host/share/run", "smbprotocol")])
def test_a_package_that_is_missing_is_named(url: str, package: str) -> None:
    with pytest.raises(NotNow, match=f"it needs the package {package}"):
        taken(url)


def test_a_protocol_that_nobody_knows_is_told() -> None:
    with pytest.raises(Undeliverable, match="names a protocol that no worker knows"):
        taken("gopher://host/run")


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_a_large_file_goes_through_in_pieces(tmp_path: Path, web: Site, scheme: str) -> None:
    with (tmp_path / "run" / "large").open("wb") as large:
        large.truncate(64 * 1024 * 1024)
    with ftp_server(tmp_path) as ftp:
        snapshot = taken(f"{web.url if scheme == 'http' else ftp}/run")
        tracemalloc.start()
        try:
            with ArchiveWriter(io.BytesIO(), threads=2) as archive:
                archive.add_file(snapshot.files[0])
                written = archive.close()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert written.members == 1
    assert peak < 24 * 1024 * 1024
