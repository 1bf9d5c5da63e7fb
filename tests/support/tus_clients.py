"""The official tus clients, unchanged, each upload in a process of its own: tuspy and tus-js-client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.support.node import ROOT, script


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be uploaded, and how.

    Args:
        endpoint: where uploads are created.
        chunk: bytes per request; 0: all in one.
        storage: the file in which the client remembers addresses of its uploads; empty: nowhere. What it knows there
            is resumed.
        retries: how often the client tries again by itself.
        deferred: the length is told at the end only (tus-js-client).
        with_creation: the first bytes come with the request that creates the upload (tus-js-client).
        checksum: each request tells its digest (tuspy).
        terminate_after: give the upload up once so many bytes are there (tus-js-client); 0: never.
    """

    endpoint: str
    file: str
    headers: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    chunk: int = 0
    storage: str = ""
    retries: int = 0
    deferred: bool = False
    with_creation: bool = False
    checksum: bool = False
    terminate_after: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """What came of it.

    Args:
        url: of the upload.
        resumed: the offset of the first request with bytes; None: there was none.
        status: of the answer that ended it; None: there was no answer, or it went well.
        error: what the client said; None: it went well.
    """

    url: str | None
    resumed: int | None
    status: int | None
    error: str | None


Upload = Callable[[Order], Told]


def tuspy(order: Order) -> Told:
    """By tuspy."""
    return _run([sys.executable, "-m", "tests.support.tuspy_upload"], order)


def tus_js_client(order: Order) -> Told:
    """By tus-js-client.

    Raises:
        NoNode: it cannot run here.
    """
    return _run(script("upload.mjs"), order)


def _run(command: list[str], order: Order) -> Told:
    # Neither client may send what it sends to a server of ours through a proxy of the machine.
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [*command, json.dumps(asdict(order))],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"the client ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    told: dict[str, Any] = json.loads(done.stdout)
    return Told(**told)


def remembered(storage: Path) -> str:
    """The address of the one upload that a client remembers in its file.

    tuspy keeps a TinyDB table, tus-js-client a JSON object of uploads.
    """
    kept = json.loads(storage.read_text())
    if "_default" in kept:
        return next(str(row["url"]) for row in kept["_default"].values())
    return next(str(upload["uploadUrl"]) for upload in kept.values())
