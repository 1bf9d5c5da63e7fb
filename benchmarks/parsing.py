"""`simcourier summarise` on large OMNeT++ vector files beside `zip -6` on the same file: wall time, peak memory.

    python benchmarks/parsing.py [--rounds 3] [--megabytes 1000]

Two shapes of 210 vectors each: samples of one vector in blocks, as the simulator writes them, and vectors that change
with every line. The whole process is measured, with complete statistics, percentiles, and all files of the summary.
opp_scavetool is measured too where it is installed; where it is not, 15 times `zip -6` stands for twice its speed.
Processor time is printed beside wall time, for machines that others use as well. Needs twice the megabytes in the
folder for temporary files (TMPDIR). The loops are compiled before, as they are once on a machine.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VECTORS = 210
IN_A_ROW = 300
GOAL = 15.0
GOAL_MEMORY = 256


@dataclass
class Program:
    """A program that reads a file, and what was measured of it."""

    name: str
    command: Sequence[str]
    walls: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)

    def run(self, folder: Path) -> None:
        """Read ``folder/results/x.vec`` once."""
        shutil.rmtree(folder / "summary", ignore_errors=True)
        (folder / "x.zip").unlink(missing_ok=True)
        started = time.perf_counter()
        process = subprocess.Popen(self.command, cwd=folder, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        self.walls.append(time.perf_counter() - started)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{self.name} has failed")
        self.processor.append(used.ru_utime + used.ru_stime)
        self.peaks.append(used.ru_maxrss / 1024)


def programs() -> list[Program]:
    """What is to be compared, as far as it is installed."""
    ours = [sys.executable, "-m", "simcourier"]
    if (ROOT / ".venv/bin/simcourier").exists():
        ours = [str(ROOT / ".venv/bin/simcourier")]
    found = [
        Program("zip -6", ["zip", "-q", "-6", "x.zip", "results/x.vec"]),
        Program("simcourier summarise", [*ours, "summarise", "results", "-o", "summary"]),
    ]
    if shutil.which("opp_scavetool"):
        command = ["opp_scavetool", "query", "-p", "-w", "-g", "results/x.vec"]
        found.append(Program("opp_scavetool", command))
    return found


def samples(*, alternating: bool) -> Iterator[str]:
    """Lines of 210 vectors, without end: whole numbers in one half of them, fractions in the other."""
    chance = random.Random(7)
    clocks = [0.0] * VECTORS
    event = 0
    while True:
        vectors = range(VECTORS) if alternating else [chance.randrange(VECTORS)] * IN_A_ROW
        lines = []
        for vector in vectors:
            clocks[vector] += chance.expovariate(50)
            event += 3
            value = chance.random() * 1000 if vector % 2 else chance.randrange(40)
            lines.append(f"{vector + 5}\t{event}\t{clocks[vector]:.12g}\t{value:.14g}\n")
        yield "".join(lines)


def write(path: Path, size: int, *, alternating: bool) -> None:
    """A vector file of about ``size`` bytes."""
    with path.open("w") as stream:
        stream.write("version 2\nrun General-0-20260101-12:00:00-1\nattr configname General\n")
        for vector in range(VECTORS):
            stream.write(f"vector {vector + 5}  Net.host[{vector}].queue  qlen:vector  ETV\n")
            stream.write("attr interpolationmode sample-hold\n")
        for lines in samples(alternating=alternating):
            stream.write(lines)
            if stream.tell() >= size:
                return


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--shape", choices=["blocks", "alternating"], help="one of the two only")
    arguments = parser.parse_args()
    compile_before = [sys.executable, "-c", "from consumer.compiled.load import loops; loops()"]
    subprocess.run(compile_before, cwd=ROOT, check=True)
    for alternating in (False, True):
        if arguments.shape == ("blocks" if alternating else "alternating"):
            continue
        compared = programs()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "results").mkdir()
            path = folder / "results" / "x.vec"
            # Not in this process: a program's peak memory is counted from when it was forked off it.
            if not os.fork():
                write(path, arguments.megabytes * 1_000_000, alternating=alternating)
                os._exit(0)
            os.wait()
            size = path.stat().st_size
            for number in range(arguments.rounds):
                turn = number % len(compared)
                for program in compared[turn:] + compared[:turn]:
                    program.run(folder)
        shape = "vectors that change with every line" if alternating else "samples in blocks"
        print(f"\n{shape}, {size / 1e6:.0f} MB; load {os.getloadavg()[0]:.1f}")
        table(compared, size)


def table(compared: list[Program], size: int) -> None:
    """One line for each program; ratios to `zip -6`."""
    reference = statistics.median(compared[0].walls)
    print(f"{'':<24}{'s':>7}{'from':>7}{'to':>7}{'CPU s':>7}{'MB/s':>7}{'x':>7}{'peak MiB':>10}")
    for program in compared:
        wall = statistics.median(program.walls)
        print(
            f"{program.name:<24}{wall:>7.1f}{min(program.walls):>7.1f}{max(program.walls):>7.1f}"
            f"{statistics.median(program.processor):>7.1f}{size / 1e6 / wall:>7.0f}{reference / wall:>7.1f}"
            f"{max(program.peaks):>10.0f}"
        )
    ours = compared[1]
    ratio, peak = reference / statistics.median(ours.walls), max(ours.peaks)
    print(f"{ratio:.1f} times zip -6; goal {GOAL:.0f}: {'reached' if ratio >= GOAL else 'MISSED'}")
    print(f"{peak:.0f} MiB; goal at most {GOAL_MEMORY}: {'reached' if peak <= GOAL_MEMORY else 'MISSED'}")


if __name__ == "__main__":
    main()
