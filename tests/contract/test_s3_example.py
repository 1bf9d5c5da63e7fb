"""The example of a plugin from outside: installed as a package of its own, it passes the contract suite we ship."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.s3 import EXAMPLE, installed_example

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.full
def test_the_example_plugin_is_found_by_its_entry_point_and_passes_the_contract_suite(tmp_path: Path) -> None:
    site = installed_example(tmp_path / "site")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--show-capture=no", f"--rootdir={EXAMPLE}",
         str(EXAMPLE / "tests")],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{site}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
