"""Results on a service go the whole way: from the event, by a real worker, to a mail whose link gives them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import boto3
import pytest

from tests.support.installation import Installation, fetch, files_below, link_in, unpacked
from tests.support.remote import ftp_server
from tests.support.s3 import BUCKET, s3_server


class Place(NamedTuple):
    """Where results lie, below which prefix, and what a worker's environment needs to read them."""

    url: str
    root: str
    environ: dict[str, str]


@pytest.fixture
def on_ftp(results: Path) -> Iterator[Place]:
    with ftp_server(results.parent) as url:
        yield Place(f"{url}/{results.name}", url, {})


@pytest.fixture
def on_s3(results: Path) -> Iterator[Place]:
    with s3_server() as config:
        client = boto3.client("s3", "us-east-1", endpoint_url=config["endpoint"], aws_access_key_id="a",
                              aws_secret_access_key="b")  # fmt: skip
        for name, data in files_below(results).items():
            client.put_object(Bucket=BUCKET, Key=f"study/run-7/{name}", Body=data)
        environ = {
            "AWS_ENDPOINT_URL": config["endpoint"],
            "AWS_ACCESS_KEY_ID": "simcourier",
            "AWS_SECRET_ACCESS_KEY": "canary-51d0",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        yield Place(f"s3://{BUCKET}/study/run-7", f"s3://{BUCKET}/study", environ)


@pytest.mark.full
@pytest.mark.parametrize("service", ["on_s3", "on_ftp"])
def test_results_on_a_service_arrive_whole_with_their_summary(
    service: str, request: pytest.FixtureRequest, results: Path, tmp_path: Path, ledger_template: Path
) -> None:
    (results / "large.vec").write_bytes(vectors(3_000_000))
    place: Place = request.getfixturevalue(service)
    with Installation(tmp_path / "data", template=ledger_template, results_roots=place.root) as one:
        one.environ |= place.environ
        one.start_cloud()
        one.start("worker")
        one.start("email-sender")
        one.wait_ready()
        event_id = one.publish(place.url)
        mail = one.wait_for_mail(event_id)

        assert unpacked(fetch(link_in(mail))) == files_below(results)
        told = one.where(event_id)
        assert told is not None
        assert any("queue" in label for label, _ in told["statistics"])
        assert "canary" not in "".join(log.read_text() for log in one.folder.glob("*.log"))


def vectors(size: int) -> bytes:
    """A vector file of about that many bytes."""
    head = "version 2\nrun r\nvector 0 net.queue length:vector ETV\n"
    lines = (f"0\t{number}\t{number / 100}\t{number % 7}\n" for number in range(size // 16))
    return (head + "".join(lines)).encode()
