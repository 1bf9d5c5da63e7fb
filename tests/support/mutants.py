"""Puts deliberate bugs into a copy of this checkout, one after the other, and sees that the named test fails.

    scripts/mutants [--only WORD]

``tests/mutants/bugs.toml`` holds the bugs. Ends with 1 if one survives, which is a hole in the suite.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUGS = ROOT / "tests" / "mutants" / "bugs.toml"
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "node_modules", "*.egg-info", "dist", "build")
TIMEOUT = 300.0


class Rotten(Exception):
    """A bug cannot be put in any more: the code has changed under it."""


@dataclass(frozen=True, slots=True)
class Bug:
    """One deliberate bug (see `tests/mutants/bugs.toml`)."""

    what: str
    file: str
    search: str
    replace: str
    caught_by: str

    def put_into(self, root: Path) -> str:
        """Change the file below ``root``; what it was before.

        Raises:
            Rotten: there is no such file, or the text to be replaced does not stand there exactly once.
        """
        path = root / self.file
        before = path.read_text("utf-8") if path.exists() else ""
        if before.count(self.search) != 1:
            raise Rotten(f"{self.what}: its search text stands {before.count(self.search)} times in {self.file}")
        path.write_text(before.replace(self.search, self.replace), "utf-8")
        return before


def bugs() -> list[Bug]:
    """All of them."""
    return [Bug(**entry) for entry in tomllib.loads(BUGS.read_text("utf-8"))["bug"]]


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of the checkout in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="simcourier-mutants-") as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED, symlinks=True)
        yield copy


def verdict(copy: Path, tests: list[str]) -> str:
    """What pytest says of these tests, run on the copy: ``passed``, ``failed``, ``skipped``, or what went wrong."""
    environ = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "CI": ""}
    words = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "--full", "-x", *tests]
    try:
        done = subprocess.run(
            words, cwd=copy, env=environ, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return "failed"  # it hangs, which a person notices
    marks = set(re.findall(r"(?m)^(PASSED|FAILED|SKIPPED|ERROR)\b", done.stdout))
    match done.returncode:
        case 0:
            return "skipped" if "SKIPPED" in marks else "passed"
        case 1 if "FAILED" in marks:
            return "failed"
    return f"did not run:\n{done.stdout[-3000:]}{done.stderr[-1000:]}"


def main(words: list[str] | None = None) -> int:
    """Run the bugs and print a table; 1 if one survived, or could not be tried, or the tests fail without any."""
    parser = argparse.ArgumentParser(description="Put deliberate bugs in and see that the suite notices.")
    parser.add_argument("--only", default="", help="those whose description or file holds this word")
    only = parser.parse_args(words).only
    chosen = [bug for bug in bugs() if only in bug.what or only in bug.file]
    counts = {"caught": 0, "SURVIVED": 0, "not tried": 0}
    with copied() as copy:
        sound = verdict(copy, sorted({bug.caught_by for bug in chosen}))
        print(f"without a bug: {sound}", flush=True)
        if sound not in {"passed", "skipped"}:  # else everything would be caught
            return 1
        for bug in chosen:
            begun = time.monotonic()
            before = bug.put_into(copy)
            said = verdict(copy, [bug.caught_by])
            (copy / bug.file).write_text(before, "utf-8")
            outcome = {"failed": "caught", "passed": "SURVIVED"}.get(said, "not tried")
            counts[outcome] += 1
            print(f"{outcome:<9} {time.monotonic() - begun:5.1f} s  {bug.file}: {bug.what}")
            print(f"{'':<19} {bug.caught_by if outcome != 'not tried' else said}", flush=True)
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return 0 if counts["caught"] == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
