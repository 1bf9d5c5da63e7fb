"""A results folder of about 1.1 GB like those of OMNeT++: the same bytes for the same seed.

Large vector files (a few kinds of vectors, written in blocks as the simulator does), their index, thousands of small
scalar files, and 9 % that cannot be compressed (recordings that are packed already). Every file is a whole one that
parsers read without a warning. The vector files are stretches of one simulation that begin at different times.

    python benchmarks/results_folder.py FOLDER [--share 1.0] [--scalars 8000]
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

MB = 1_000_000
VECTORS = 420  # recorded in turn, so many lines of each at a time
BLOCK_LINES = 150
KINDS = ("queue", "counter", "queue", "delay", "counter", "position", "queue", "state")
SCALARS = 8000
COLUMNS = {"queue": "queueLength", "counter": "received", "delay": "delay", "position": "position", "state": "state"}


def make(folder: Path, *, seed: int = 6, share: float = 1.0, scalars: int = SCALARS) -> int:
    """Fill a new folder; ``share`` of the 1.1 GB, with so many small files in it. The number of bytes."""
    chance = random.Random(seed)
    folder.mkdir(parents=True)
    size = int(140 * MB * share)
    text = vectors(chance, size * 5 // 4)
    index = vector_index(chance, int(12 * MB * share))
    for number in range(6):
        stretch(folder / f"General-{number}.vec", vector_header(number), text, number * size // 20, size)
        first = f"file {size} 1763892000".ljust(63).encode() + b"\n"
        stretch(folder / f"General-{number}.vci", first + vector_header(number), index, 0, int(9 * MB * share))
    for number in range(int(scalars * share)):
        small = folder / f"replications-{number // 500:02}" / f"General-numHosts={number % 40},rho=0.{number}-#0.sca"
        small.parent.mkdir(exist_ok=True)
        small.write_bytes(b"".join(scalar_file(chance, number)))
    (folder / "recording.pcap.gz").write_bytes(chance.randbytes(int(60 * MB * share)))
    for number in range(int(40 * share)):
        (folder / f"frame-{number:03}.png").write_bytes(chance.randbytes(MB))
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def stretch(path: Path, header: bytes, text: bytes, start: int, size: int) -> None:
    """About ``size`` bytes: ``header``, and the lines of ``text`` that follow ``start``."""
    start = text.index(b"\n", start) + 1
    end = text.index(b"\n", start + size - len(header)) + 1
    with path.open("wb") as stream:
        stream.write(header)
        stream.write(memoryview(text)[start:end])


def vector_header(number: int) -> bytes:
    """Who ran what, and the vectors."""
    head = (
        f"version 3\nrun General-{number}-20261123-10:00:00-{3000 + number}\nattr configname General\n"
        f"attr network Network\nattr repetition {number}\nattr seedset {number}\nitervar numHosts 40\n"
        "config sim-time-limit 1000s\n\n"
    )
    lines = [head]
    for vector in range(VECTORS):
        name = COLUMNS[KINDS[vector % len(KINDS)]]
        lines.append(
            f"vector {vector} Network.host[{vector // len(KINDS)}].part[{vector % len(KINDS)}] {name}:vector ETV\n"
        )
        if name in {"queueLength", "state"}:
            lines.append("attr interpolationmode sample-hold\n")
    return "".join(lines).encode()


def vectors(chance: random.Random, size: int) -> bytes:
    """Lines ``vector, event number, time, value``, of queue lengths, counters, delays, positions and states.

    As in a simulation, the blocks of all vectors cover the same stretch of simulated time, one after the other.
    """
    now, event, counts, made = 0.0, 0, [0] * VECTORS, 0
    ends = [(0.0, 0)] * VECTORS
    blocks: list[bytes] = []
    while made < size:
        vector = chance.randrange(VECTORS)
        kind = KINDS[vector % len(KINDS)]
        time, number = max(ends[vector], (now, event))
        lines: list[str] = []
        for _ in range(BLOCK_LINES):
            number += chance.randrange(1, 40)
            time += 0.01 if kind == "state" else chance.expovariate(20)
            match kind:
                case "queue":
                    counts[vector] = max(0, counts[vector] + chance.choice((-1, 1)))
                case "counter":
                    counts[vector] += chance.randrange(2)
                case "state":
                    counts[vector] += not chance.randrange(50)
            value = str(counts[vector])
            if kind == "delay":
                value = f"{chance.expovariate(300):.12f}"
            elif kind == "position":
                value = f"{chance.gauss(400, 120):.10g}"
            lines.append(f"{vector}\t{number}\t{time:.12f}\t{value}\n")
        ends[vector] = time, number
        now += chance.expovariate(20)
        event += chance.randrange(1, 40)
        block = "".join(lines).encode()
        blocks.append(block)
        made += len(block)
    return b"".join(blocks)


def vector_index(chance: random.Random, size: int) -> bytes:
    """Lines of an index: where a block of a vector lies, and what is in it."""
    offset, event, made = 0, 0, 0
    lines: list[bytes] = []
    while made < size:
        length, first = chance.randrange(5000, 9000), event
        event += chance.randrange(1000, 9000)
        line = (
            f"{chance.randrange(VECTORS)}\t{offset} {length} {first} {event} {first / 300:.12f} {event / 300:.12f} "
            f"{BLOCK_LINES} {chance.random():.12g} {chance.random() * 9:.12g} {chance.random() * 900:.12g} "
            f"{chance.random() * 9000:.12g}\n"
        ).encode()
        offset += length
        lines.append(line)
        made += len(line)
    return b"".join(lines)


def scalar_file(chance: random.Random, number: int) -> Iterator[bytes]:
    """A small file: who ran what, and some tens of scalars with their attributes."""
    yield (
        f"version 3\nrun General-{number}-20261123-10:00:00-{4000 + number}\nattr configname General\n"
        f"attr datetime 20261123-10:00:00\nattr inifile omnetpp.ini\nattr network Network\nattr repetition 0\n"
        f"attr seedset {number}\nitervar numHosts {number % 40}\nconfig sim-time-limit 1000s\n\n"
    ).encode()
    for host in range(chance.randrange(8, 110)):
        yield (
            f"scalar Network.host[{host}].queue queueLength:timeavg {chance.random() * 20:.12g}\n"
            "attr interpolationmode sample-hold\nattr source queueLength\n"
            f'attr title "queue length, time average"\nscalar Network.host[{host}].app received:count '
            f"{chance.randrange(10**6)}\n"
        ).encode()


def main() -> None:
    """Make the folder and print how many bytes are in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=float, default=1.0, help="of the 1.1 GB")
    parser.add_argument("--scalars", type=int, default=SCALARS, help="small files in the 1.1 GB")
    arguments = parser.parse_args()
    print(make(arguments.folder, share=arguments.share, scalars=arguments.scalars))


if __name__ == "__main__":
    main()
