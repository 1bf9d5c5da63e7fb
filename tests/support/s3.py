"""The example plugin from outside, installed by itself, and the S3 server that it is tried against."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.scratch import free_ports

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "plugins" / "simcourier-s3"
BUCKET = "results"


def installed_example(folder: Path) -> Path:
    """A folder for PYTHONPATH with nothing but the example, entry point included."""
    pip = [sys.executable, "-m", "pip", "--quiet", "install", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(folder), str(EXAMPLE)], check=True)
    return folder


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """Moto's server with a bucket; gives a definition's config."""
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    config = {"bucket": BUCKET, "access_key_id": "simcourier", "secret_access_key": "not-secret", "endpoint": address}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(f"{address}/moto-api/", server)
            with urllib.request.urlopen(urllib.request.Request(f"{address}/{BUCKET}", method="PUT"), timeout=120):
                yield config
        finally:
            server.terminate()


def environment(site: Path) -> dict[str, str]:
    """What a process needs to find the example."""
    return {"PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])}


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:  # also one that takes the connection and does not answer in time
            assert server.poll() is None, "moto's server has ended"
            assert time.monotonic() < deadline, "moto's server does not answer"
            time.sleep(0.05)
