"""kill -9 in the middle of packing and of sending: another worker goes on, the archive is whole, little goes twice."""

from __future__ import annotations

import os
import signal
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections

from tests.support.installation import KEY, Installation, fetch, files_below, link_in, stored_archives
from tests.support.relay import Relay
from tests.support.scratch import wait_until

MIB = 1024 * 1024
NOTED_EVERY = 8 * MIB  # by the plugin `local`


@pytest.fixture
def relay(installation: Installation) -> Iterator[Relay]:
    """Between the workers and the local cloud; it counts."""
    from ledger.definitions import define

    with Relay(installation.cloud_port) as relay:
        relay.open()
        define("local", name="Local cloud", token=f"127.0.0.1:{relay.port}", config={"key": KEY})
        connections.close_all()
        yield relay


@pytest.fixture
def large(results: Path) -> Path:
    """Results whose archive takes many checkpoints."""
    (results / "noise.bin").write_bytes(os.urandom(64 * MIB))
    (results / "General.sca").write_text("version 3\nrun r\n" + "scalar net.queue length:mean 1.25\n" * 100)
    return results


@pytest.mark.full
@pytest.mark.parametrize(
    "point",
    [
        pytest.param("delivery.packing:20", id="packing"),
        # Nobody reads the results for the summary, so the archive is not complete when the worker dies.
        pytest.param("delivery.checkpointed:5/delivery.reading", id="sending"),
    ],
)
def test_a_worker_killed_midway_is_replaced_by_another_and_the_archive_is_whole(
    installation: Installation, relay: Relay, large: Path, tmp_path: Path, point: str
) -> None:
    installation.start_cloud()
    dying = installation.start("worker", "--no-recorder", "--no-sweep", dies_at=point)
    installation.wait_ready()
    event_id = installation.publish(large)
    wait_until(lambda: (installation.where(event_id) or {}).get("state") == "WORKING", "the first worker has it")
    installation.start("worker")
    installation.start("email-sender")
    assert dying.wait(120) == -signal.SIGKILL
    died_with = installation.where(event_id)
    mail = installation.wait_for_mail(event_id)

    assert died_with is not None
    if "checkpointed" in point:
        assert died_with["archive_size"] is None, "it was still being packed"
        assert died_with["sent_bytes"] >= 4 * NOTED_EVERY
    archive = tmp_path / "x.zip"
    archive.write_bytes(fetch(link_in(mail)))
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "out")
    command = ["sha256sum", "--strict", "--quiet", "-c", "MANIFEST.sha256"]
    assert not subprocess.check_output(command, cwd=tmp_path / "out")
    assert files_below(large).items() <= files_below(tmp_path / "out").items()
    assert relay.sent < archive.stat().st_size + NOTED_EVERY
    assert len(stored_archives(installation)) == 1
    installation.wait_until_quiet()
    assert len(installation.mails()) == 1
