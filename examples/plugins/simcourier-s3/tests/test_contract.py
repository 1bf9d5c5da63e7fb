"""The contract suite that SimCourier ships, against moto's server, and the habits of S3."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from typing import Any

import boto3
import pytest
import requests
from botocore.exceptions import ReadTimeoutError
from simcourier_s3 import S3, SMALLEST_PART

from backends.registry import build
from backends.suite import BackendContract, Fetch, Make, Store
from backends.suite_doubles import SampleProgress
from simcourier.plugins import Backend, PermanentError, TransientError

SECRET = "canary-secret-access-key"


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """Moto's server, as a process of its own: the memory that it takes is not the plugin's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", address.rpartition(":")[2]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        deadline = time.monotonic() + 60
        while not _answers(f"http://{address}/moto-api/"):
            assert server.poll() is None, "moto's server has ended"
            assert time.monotonic() < deadline, "moto's server does not answer"
            time.sleep(0.05)
        yield f"http://{address}"
        server.terminate()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


@pytest.fixture
def config(endpoint: str) -> dict[str, str]:
    bucket = f"results-{uuid.uuid4()}"
    client(endpoint).create_bucket(Bucket=bucket)
    return {"bucket": bucket, "access_key_id": "simcourier", "secret_access_key": SECRET, "endpoint": endpoint}


def client(endpoint: str) -> Any:
    return boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1"
    )


class TestS3(BackendContract):
    caps_expiry = True  # a presigned link ends after seven days at the latest

    @pytest.fixture
    def backend(self, config: dict[str, str]) -> Iterator[Backend[Any]]:
        with requests.Session() as http:
            yield build("s3", "", config, http)

    @pytest.fixture
    def fetch(self) -> Fetch:
        def get(url: str) -> bytes | None:
            answer = requests.get(url, timeout=30)
            return answer.content if answer.ok else None

        return get

    @pytest.fixture
    def count_files(self, config: dict[str, str]) -> Callable[[], int]:
        return lambda: int(client(config["endpoint"]).list_objects_v2(Bucket=config["bucket"])["KeyCount"])

    @pytest.fixture
    def canaries(self) -> list[str]:
        return [SECRET]

    def test_it_is_found_by_its_entry_point(self) -> None:
        (found,) = entry_points(group="simcourier.backends", name="s3")

        assert found.load() is S3

    def test_a_link_ends_after_seven_days_and_says_so(self, backend: Backend[Any], archive: Make, store: Store) -> None:
        now = datetime.now(UTC)
        stored = store(archive())

        long, short = (backend.link(stored, now + timedelta(days=days)).expires for days in (30, 2))

        assert long is not None
        assert short is not None
        assert abs(long - now - timedelta(days=7)) < timedelta(minutes=1)
        assert abs(short - now - timedelta(days=2)) < timedelta(minutes=1)

    @pytest.mark.parametrize("grows", [False, True], ids=["size known", "still growing"])
    def test_after_a_cut_at_most_one_part_is_sent_again(
        self, config: dict[str, str], backend: Backend[Any], archive: Make, store: Store, fetch: Fetch, grows: bool
    ) -> None:
        size, broken = 4 * SMALLEST_PART + 7, SampleProgress()
        sample = archive(size, grows=grows, fails_after=2 * SMALLEST_PART + 1000)
        with pytest.raises(TransientError):
            store(sample, broken)
        assert broken.saved[-1] == 2 * SMALLEST_PART

        resumed = SampleProgress(broken.checkpoint)
        with requests.Session() as http:
            stored = build("s3", "", config, http).store(archive(size, grows=grows, key=sample.key), resumed)

        assert resumed.saved[0] == 2 * SMALLEST_PART
        assert fetch(backend.link(stored, None).url) == sample.content()

    def test_a_lost_last_answer_sends_nothing_again(
        self, backend: S3, archive: Make, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sample, broken = archive(3 * SMALLEST_PART), SampleProgress()
        s3 = backend._s3  # noqa: SLF001 - where answers can be lost
        complete = s3.complete_multipart_upload

        def unheard(**arguments: Any) -> None:
            complete(**arguments)
            raise ReadTimeoutError(endpoint_url="s3")

        with monkeypatch.context() as patched:
            patched.setattr(s3, "complete_multipart_upload", unheard)
            with pytest.raises(TransientError):
                backend.store(sample, broken)
        monkeypatch.setattr(s3, "upload_part", lambda **_: pytest.fail("a part is sent again"))
        again = SampleProgress(broken.checkpoint)
        stored = backend.store(archive(3 * SMALLEST_PART, key=sample.key), again)

        assert again.saved == []
        assert fetch(backend.link(stored, None).url) == sample.content()

    def test_an_upload_that_the_service_has_forgotten_is_begun_again(
        self, config: dict[str, str], archive: Make, store: Store, count_files: Callable[[], int]
    ) -> None:
        broken = SampleProgress()
        sample = archive(3 * SMALLEST_PART, fails_after=2 * SMALLEST_PART)
        with pytest.raises(TransientError):
            store(sample, broken)
        s3 = client(config["endpoint"])
        for upload in s3.list_multipart_uploads(Bucket=config["bucket"])["Uploads"]:
            s3.abort_multipart_upload(Bucket=config["bucket"], Key=upload["Key"], UploadId=upload["UploadId"])

        store(archive(3 * SMALLEST_PART, key=sample.key), SampleProgress(broken.checkpoint))

        assert count_files() == 1

    def test_a_bucket_that_is_not_there_is_the_definition_s_fault(self, config: dict[str, str]) -> None:
        with requests.Session() as http, pytest.raises(PermanentError) as caught:
            build("s3", "", config | {"bucket": "nowhere-at-all"}, http).check()

        assert caught.value.scope == "backend"

    def test_a_service_that_is_away_may_come_back(self, config: dict[str, str]) -> None:
        with requests.Session() as http, pytest.raises(TransientError, match="cannot be reached"):
            build("s3", "", config | {"endpoint": "http://127.0.0.1:9"}, http).check()

    def test_deleting_leaves_no_parts_behind(
        self, config: dict[str, str], backend: Backend[Any], archive: Make
    ) -> None:
        with pytest.raises(TransientError):
            backend.store(sample := archive(3 * SMALLEST_PART, fails_after=2 * SMALLEST_PART), SampleProgress())
        stored = backend.store(archive(key=sample.key), SampleProgress())

        backend.delete(stored)

        assert "Uploads" not in client(config["endpoint"]).list_multipart_uploads(Bucket=config["bucket"])
