"""`simcourier pack` beside zip and 7z: wall time of the whole process, size of the archive, peak memory.

    python benchmarks/packing.py [--rounds 3] [--share 1.0] [--with-7z]

Packs a folder of about 1.1 GB like those of OMNeT++ (see results_folder.py), round after round, each program in turn
and in turned order; `zip -r -6` is what all are compared with. Needs 4 GB in the folder for temporary files (TMPDIR).
Printed are medians, and what the processor did in the meantime: on a machine that others use, the seconds of CPU tell
more than those of the clock.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ZIP = "zip -r -6"
FAST = "simcourier pack"
SMALL = "simcourier pack, small"
MIB = 1024 * 1024
MEMORY_GOAL = 64


@dataclass
class Program:
    """A program that packs a folder, and what was measured of it."""

    name: str
    command: Sequence[str]
    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    size: int = 0

    def run(self, folder: Path) -> None:
        """Pack ``folder/results`` into ``folder/x.zip``, once."""
        archive = folder / "x.zip"
        archive.unlink(missing_ok=True)
        os.sync()
        started = time.perf_counter()
        process = subprocess.Popen(self.command, cwd=folder, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        self.walls.append(time.perf_counter() - started)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{self.name} has failed")
        self.cpus.append(used.ru_utime + used.ru_stime)
        self.peaks.append(used.ru_maxrss / 1024)
        self.size = archive.stat().st_size
        archive.unlink()

    @property
    def wall(self) -> float:
        """Seconds."""
        return statistics.median(self.walls)


def programs(*, with_7z: bool) -> list[Program]:
    """What is to be compared, as far as it is installed."""
    ours = [sys.executable, "-m", "simcourier", "pack", "results", "-o", "x.zip"]
    if (ROOT / ".venv/bin/simcourier").exists():
        ours[:3] = [str(ROOT / ".venv/bin/simcourier")]
    found = [
        Program(ZIP, ["zip", "-q", "-r", "-6", "x.zip", "results"]),
        Program(FAST, [*ours, "--compression", "fast"]),
        Program(SMALL, [*ours, "--compression", "small"]),
        Program("zip -r -1", ["zip", "-q", "-r", "-1", "x.zip", "results"]),
    ]
    if with_7z:
        found.append(Program("7z -tzip -mx=1", ["7z", "a", "-tzip", "-mx=1", "-bd", "x.zip", "results"]))
        found.append(Program("7z -tzip -mx=5", ["7z", "a", "-tzip", "-mx=5", "-bd", "x.zip", "results"]))
    for program in found:
        if shutil.which(program.command[0]) is None:
            print(f"not measured: {program.command[0]} is not installed")
    return [program for program in found if shutil.which(program.command[0])]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="of the 1.1 GB")
    parser.add_argument("--with-7z", action="store_true", help="also 7z, which takes about as long as zip -6")
    arguments = parser.parse_args()
    compared = programs(with_7z=arguments.with_7z)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Not in this process: a program's peak memory is counted from when it was forked off it.
        maker = [sys.executable, str(ROOT / "benchmarks/results_folder.py"), "results", f"--share={arguments.share}"]
        size = int(subprocess.run(maker, cwd=folder, stdout=subprocess.PIPE, check=True).stdout)
        count = sum(path.is_file() for path in (folder / "results").rglob("*"))
        print(f"{size / 1e6:.0f} MB in {count} files; {os.cpu_count()} cores")
        for number in range(arguments.rounds):
            turn = number % len(compared)
            for program in compared[turn:] + compared[:turn]:
                program.run(folder)
            load = os.getloadavg()[0]
            print(f"round {number + 1} done; tasks that run or wait to run, mean of the last minute: {load:.1f}")
    table(compared, size)


def table(compared: list[Program], size: int) -> None:
    """One line for each program; ratios to `zip -r -6`."""
    reference = compared[0]
    print(f"\n{'':<26}{'s':>7}{'from':>7}{'to':>7}{'MB/s':>7}{'x':>7}{'CPU s':>8}{'size':>9}{'peak MiB':>10}")
    for program in compared:
        print(
            f"{program.name:<26}{program.wall:>7.1f}{min(program.walls):>7.1f}{max(program.walls):>7.1f}"
            f"{size / 1e6 / program.wall:>7.0f}{reference.wall / program.wall:>7.1f}"
            f"{statistics.median(program.cpus):>8.1f}{program.size / reference.size - 1:>+9.2%}"
            f"{max(program.peaks):>10.0f}"
        )
    if reference.name != ZIP:
        return
    for program in compared:
        if program.name == FAST:
            goals(program, reference, faster=25, larger=0.035)
        if program.name == SMALL:
            goals(program, reference, faster=5, larger=0.005)


def goals(program: Program, reference: Program, *, faster: float, larger: float) -> None:
    """What we want to reach, and whether we do: in the median, and in the quietest runs of both."""
    ratio = reference.wall / program.wall
    best = min(reference.walls) / min(program.walls)
    grown = program.size / reference.size - 1
    print(
        f"\n{program.name}: {ratio:.1f} times, quietest runs {best:.1f} times; goal {faster}: {reached(best >= faster)}"
    )
    print(f"{program.name}: {grown:+.2%}; goal at most {larger:+.1%}: {reached(grown <= larger)}")
    if program.name == FAST:
        peak = max(program.peaks)
        print(f"{program.name}: {peak:.0f} MiB; goal at most {MEMORY_GOAL}: {reached(peak <= MEMORY_GOAL)}")


def reached(yes: bool) -> str:
    """In a word."""
    return "reached" if yes else "MISSED"


if __name__ == "__main__":
    main()
