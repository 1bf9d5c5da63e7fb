"""Peak memory of a worker while it delivers one large result.

    python benchmarks/memory.py [--gigabytes 2]

Makes a folder of half compressible, half random data, delivers it on the embedded engine through the local cloud and
prints the peak resident size (VmHWM) of worker and storage server, and the time from event to mail.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.installation import Installation, link_in

MIB = 1024 * 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2)
    size = int(parser.parse_args().gigabytes * 1024)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_results(folder / "results", size)
        with Installation(folder / "data", lease_seconds="60", overdue_seconds="60") as one:
            cloud = one.start_cloud()
            worker = one.start("worker")
            one.start("email-sender")
            one.wait_ready()
            before = peak(worker.pid)
            started = time.monotonic()
            mail = one.wait_for_mail(one.publish(folder / "results"), timeout=3600)
            seconds = time.monotonic() - started
            print(f"results {size} MiB, event to mail {seconds:.0f} s, {link_in(mail)[:40]}...")
            print(f"worker      peak {peak(worker.pid):6.0f} MiB (before the delivery {before:.0f} MiB)")
            print(f"local cloud peak {peak(cloud.pid):6.0f} MiB")


def make_results(folder: Path, mebibytes: int) -> None:
    """Files of 256 MiB: random ones and text in turn."""
    folder.mkdir()
    text = b"".join(b"%d\t%d.%06d\t%d\n" % (n % 7, n // 100, n * 7919 % 1_000_000, n % 31) for n in range(60_000))[:MIB]
    for number in range(0, mebibytes, 256):
        with (folder / f"{number:06}.vec").open("wb") as stream:
            for _ in range(min(256, mebibytes - number)):
                stream.write(os.urandom(MIB) if number // 256 % 2 else text)


def peak(pid: int) -> float:
    """MiB, as the kernel counts."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError


if __name__ == "__main__":
    main()
