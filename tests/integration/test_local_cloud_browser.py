"""The page behind a link in a real browser: its own script runs, and no other."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.archives import zipped
from tests.support.local_cloud import LocalCloud, watched

server = pytest.fixture(scope="module")(watched)

SCRIPT = "document.documentElement.setAttribute('data-ran', 'yes')"
SVG = f"<svg xmlns='http://www.w3.org/2000/svg' onload=\"{SCRIPT}\"><title>drawn</title><script>{SCRIPT}</script></svg>"
HTML = f'<title>drawn</title><body onload="{SCRIPT}"><script>{SCRIPT}</script>'
FILES = {"a.svg": SVG.encode(), "a.html": HTML.encode(), f"<img src=x onerror={SCRIPT}>.txt": HTML.encode()}

Look = Callable[[str], str]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """The document as the browser has it once scripts have run, for a reader in Tokyo."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("chromium is not installed")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
    ]
    command = [program, *options, f"--user-data-dir={tmp_path}", "--virtual-time-budget=2000", "--dump-dom"]

    def dump(address: str) -> str:
        done = subprocess.run(
            [*command, address],
            env=os.environ | {"TZ": "Asia/Tokyo"},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return done.stdout

    return dump


def test_times_are_told_in_the_readers_own_zone_and_names_run_nothing(server: LocalCloud, look: Look) -> None:
    server.put("browsed.zip", zipped(FILES))
    link = server.link("browsed.zip", "2099-12-31T23:00:00+00:00")
    assert "31 December 2099, 23:00 UTC" in server.browse(link).text

    document = look(f"{link}?show=a.html")

    assert "1 January 2100 at 08:00 GMT+9" in document
    assert "&lt;title&gt;drawn" in document
    assert "data-ran=" not in document


def test_no_script_of_a_picture_runs_when_it_is_opened_alone(server: LocalCloud, look: Look) -> None:
    server.put("browsed.zip", zipped(FILES))

    document = look(f"{server.link('browsed.zip')}?file=a.svg&inline")

    assert "<title>drawn</title>" in document
    assert "data-ran=" not in document
