"""A results folder of about 1.1 GB like those of OMNeT++: the same bytes for the same seed.

Large vector files (a few kinds of vectors, written in blocks as the simulator does), their index, thousands of small
scalar files, and 9 % that cannot be compressed (recordings that are packed already). The text repeats itself only at
distances of tens of megabytes, where deflate, with its window of 32 KiB, sees nothing of it.

    python benchmarks/results_folder.py FOLDER [--share 1.0]
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
TEXT_BYTES = 48 * MB
SCALARS = 8000


def make(folder: Path, *, seed: int = 6, share: float = 1.0) -> int:
    """Fill a new folder; ``share`` of the 1.1 GB. The number of bytes."""
    chance = random.Random(seed)
    folder.mkdir(parents=True)
    text = vectors(chance, TEXT_BYTES)
    index = vector_index(chance, 8 * MB)
    for number in range(6):
        repeat(folder / f"General-{number}.vec", text, number * 7 * MB, int(140 * MB * share))
        repeat(folder / f"General-{number}.vci", index, number * MB, int(9 * MB * share))
    for number in range(int(SCALARS * share)):
        small = folder / f"replications-{number // 500:02}" / f"General-numHosts={number % 40},rho=0.{number}-#0.sca"
        small.parent.mkdir(exist_ok=True)
        small.write_bytes(b"".join(scalars(chance, number)))
    (folder / "recording.pcap.gz").write_bytes(chance.randbytes(int(60 * MB * share)))
    for number in range(int(40 * share)):
        (folder / f"frame-{number:03}.png").write_bytes(chance.randbytes(MB))
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def repeat(path: Path, text: bytes, start: int, size: int) -> None:
    """``size`` bytes of ``text``, from ``start`` on, again and again."""
    with path.open("wb") as stream:
        while size:
            piece = text[start : start + size]
            stream.write(piece)
            size -= len(piece)
            start = 0


def vectors(chance: random.Random, size: int) -> bytes:
    """Lines ``vector, event number, time, value``, of queue lengths, counters, delays, positions and states.

    As in a simulation, the blocks of all vectors cover the same stretch of simulated time, one after the other.
    """
    now, event, counts, made = 0.0, 0, [0] * VECTORS, 0
    blocks: list[bytes] = []
    while made < size:
        vector = chance.randrange(VECTORS)
        kind = KINDS[vector % len(KINDS)]
        time, number = now, event
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
        now += chance.expovariate(20)
        event += chance.randrange(1, 40)
        block = "".join(lines).encode()
        blocks.append(block)
        made += len(block)
    return b"".join(blocks)[:size]


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
    return b"".join(lines)[:size]


def scalars(chance: random.Random, number: int) -> Iterator[bytes]:
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
    arguments = parser.parse_args()
    print(make(arguments.folder, share=arguments.share))


if __name__ == "__main__":
    main()
