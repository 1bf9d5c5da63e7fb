"""Time and memory of the page behind a link, and of single files from inside a large archive.

    python benchmarks/page.py [--gigabytes 5] [--files 100000]

Makes one archive of that size (zip64: random data stored, half compressible data deflated, one small table at its end)
and one of that many small files, uploads both to a storage server of its own, and prints for each request the time and
the server's memory. Needs twice the size on disk.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil

from benchmarks.memory import peak
from tests.support.local_cloud import BROWSER, MIB, LocalCloud


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=5)
    parser.add_argument("--files", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, LocalCloud(lean=True) as server:
        print(f"{'':<44}{'bytes':>14}{'ms':>10}{'MiB now':>10}{'peak':>8}")
        large, many = Path(name) / "large.zip", Path(name) / "many.zip"
        make_large(large, int(arguments.gigabytes * 1024))
        link = upload(server, large)
        ask(server, "page of the large archive, first time", link)
        ask(server, "again", link)
        ask(server, "small file from its end", f"{link}?file=summary.csv")
        ask(server, "the same as a table in the page", f"{link}?show=summary.csv")
        ask(server, "half of it, deflated", f"{link}?file=deflated.bin")
        ask(server, "half of it, stored", f"{link}?file=stored.bin")
        make_many(many, arguments.files)
        link = upload(server, many)
        ask(server, f"page of {arguments.files:,} files, first time", link)
        ask(server, "again", link)
        ask(server, "page of a folder of them", f"{link}?folder=study/run-0000/")
        ask(server, "one of them", f"{link}?file=study/run-0000/file-50.csv")


def make_large(path: Path, mebibytes: int) -> None:
    """Half stored, half deflated (to half of its size)."""
    random = os.urandom(MIB)
    with zipfile.ZipFile(path, "w") as archive:
        for name, method, block, count in (
            ("stored.bin", zipfile.ZIP_STORED, random, mebibytes // 2),
            ("deflated.bin", zipfile.ZIP_DEFLATED, random[: MIB // 2] + bytes(MIB // 2), mebibytes),
        ):
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            with archive.open(info, "w", force_zip64=True) as stream:
                for _ in range(count):
                    stream.write(block)
        archive.writestr("summary.csv", "n,square\n" + "".join(f"{n},{n * n}\n" for n in range(20_000)))


def make_many(path: Path, files: int) -> None:
    """A hundred to a folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(files):
            archive.writestr(f"study/run-{number // 100:04}/file-{number}.csv", f"a,b\n{number},2\n")


def upload(server: LocalCloud, path: Path) -> str:
    """The link of a file that is removed here."""
    with path.open("rb") as stream:
        server.put(path.name, stream)
    path.unlink()
    return server.link(path.name)


def ask(server: LocalCloud, what: str, url: str) -> None:
    """One line of the table."""
    started, size = time.perf_counter(), 0
    with server.http.get(url, headers={"Accept": BROWSER}, stream=True, timeout=3600) as answer:
        answer.raise_for_status()
        for piece in answer.iter_content(MIB):
            size += len(piece)
    seconds = time.perf_counter() - started
    now = psutil.Process(server.pid).memory_info().rss / MIB
    print(f"{what:<44}{size:>14,}{seconds * 1000:>10.1f}{now:>10.0f}{peak(server.pid):>8.0f}")


if __name__ == "__main__":
    main()
