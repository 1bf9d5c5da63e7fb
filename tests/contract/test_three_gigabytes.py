"""An archive of 3 GB through the local cloud and through the example plugin; the others have theirs beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from backends.suite_doubles import SampleArchive
from tests.support.local_cloud import LocalCloud
from tests.support.local_cloud import session as http_session
from tests.support.s3 import environment, installed_example, s3_server
from tests.support.stores import Order, store

GIB = 1024**3
MIB = 1024**2

pytestmark = pytest.mark.full


def stores_in_little_memory(order: Order, extra: Mapping[str, str], most: int) -> None:
    done = store(order, extra)

    assert done.code == 0, done.errors
    taken = (done.told["peak_kib"] - done.told["before_kib"]) / 1024
    print(f"peak: {done.told['peak_kib'] / 1024:.0f} MiB, of which {taken:.0f} MiB while storing")
    assert taken < most
    digest = hashlib.sha256()
    with http_session() as http, http.get(done.told["url"], stream=True, timeout=120) as answer:
        answer.raise_for_status()
        for piece in answer.iter_content(MIB):
            digest.update(piece)
    assert digest.hexdigest() == SampleArchive(order.size, key=order.key, name="large.zip").sha256


def test_through_the_local_cloud(tmp_path: Path) -> None:
    with LocalCloud() as server:
        config = {"server": server.url, "key": server.key}
        order = Order("local", config, "d/1/large.zip", 3 * GIB, str(tmp_path / "checkpoint"), link=True)

        stores_in_little_memory(order, {}, 32)


@pytest.mark.parametrize("grows", [False, True], ids=["size known", "still growing"])
def test_through_the_example_plugin(tmp_path: Path, grows: bool) -> None:
    site = installed_example(tmp_path / "site")
    with s3_server() as config:
        order = Order("s3", config, "d/1/large.zip", 3 * GIB, str(tmp_path / "checkpoint"), grows=grows, link=True)

        stores_in_little_memory(order, environment(site), 96)
