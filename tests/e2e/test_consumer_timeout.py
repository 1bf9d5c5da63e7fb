"""A delivery that takes longer than the broker lets anybody hold a message."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installation import KEY, Installation, fetch, link_in, stored_archives, unpacked
from tests.support.nodes import MissingBinary, RabbitNode
from tests.support.relay import Relay

pytestmark = [pytest.mark.full, pytest.mark.rabbitmq, pytest.mark.postgresql]

HOLD_SECONDS = 60  # the broker looks once a minute, so that it takes a message back after one to two of them
UPLOAD_SECONDS = 150


class SlowLine(Relay):
    """A line that takes its time for what goes up."""

    def __init__(self, target: int, *, rate: float) -> None:
        super().__init__(target)
        self._rate = rate

    def _pass(self, size: int) -> tuple[int, bool]:
        time.sleep(size / self._rate)
        return super()._pass(size)


@pytest.fixture
def impatient_node() -> Iterator[RabbitNode]:
    try:
        node = RabbitNode(f"consumer_timeout = {HOLD_SECONDS * 1000}\n")
    except MissingBinary as missing:
        pytest.skip(str(missing))
    with node:
        yield node


def test_a_delivery_of_minutes_on_a_broker_of_one_minute_is_one_link_and_one_mail_and_leaves_no_message(
    impatient_node: RabbitNode, database_url: str, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    results.mkdir()
    pieces = [hashlib.sha512(str(number).encode()).digest() for number in range(16_000)]
    (results / "noise.bin").write_bytes(b"".join(pieces))  # a megabyte that no packing makes smaller
    rate = (results / "noise.bin").stat().st_size / UPLOAD_SECONDS
    with Installation(
        tmp_path / "data", broker_url=impatient_node.url, database_url=database_url, lease_seconds="10"
    ) as one:
        from ledger.api import dead_letters, define

        with SlowLine(one.cloud_port, rate=rate) as line:
            line.open()
            define("local", token=f"127.0.0.1:{line.port}", config={"key": KEY})
            one.start_cloud()
            one.start("worker")
            one.start("worker")
            one.start("email-sender")
            one.wait_ready()
            begun = time.monotonic()
            event_id = one.publish(results)
            mail = one.wait_for_mail(event_id, timeout=UPLOAD_SECONDS + 120)

            assert time.monotonic() - begun > UPLOAD_SECONDS - 10, "the upload was as slow as it should be"
            assert unpacked(fetch(link_in(mail))).keys() == {"noise.bin"}
        logs = "".join(log.read_text() for log in one.folder.glob("*-worker.log"))
        assert "delivery acknowledgement on channel 1 timed out" in logs, "the broker took the message back meanwhile"

        one.wait_until_quiet()
        assert len(one.mails()) == 1
        assert len(stored_archives(one)) == 1
        assert dead_letters() == []
