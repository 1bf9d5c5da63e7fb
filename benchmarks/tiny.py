"""Tiny deliveries per second, event to mail, on both engines.

    python benchmarks/tiny.py [--deliveries 200] [--amqp-url URL --database-url URL]

Starts the roles as processes (one worker, one email sender, the local cloud), publishes events whose results are one
file of 100 bytes, and waits until every mail is written. How often the disk makes a small file durable is measured
before each round, in the same run, so that rates of different machines can be compared. Without addresses of RabbitMQ
and PostgreSQL only the embedded engine is measured.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from producer import Producer
from tests.support.installation import Installation
from tests.support.scratch import wait_until

ROUNDS = 3


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deliveries", type=int, default=200)
    parser.add_argument("--amqp-url")
    parser.add_argument("--database-url", help="an empty PostgreSQL database")
    arguments = parser.parse_args()
    engines: list[tuple[str, str | None, str | None]] = [("SQLite", None, None)]
    if arguments.amqp_url and arguments.database_url:
        engines.append(("RabbitMQ + PostgreSQL", arguments.amqp_url, arguments.database_url))
    print(f"{'engine':<24}{'round':>6}{'published/s':>13}{'delivered/s':>13}{'fsyncs/s of the disk':>22}")
    for name, broker, database in engines:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, Path(folder), broker, database, arguments.deliveries)


def measure(name: str, folder: Path, broker: str | None, database: str | None, deliveries: int) -> None:
    """The rounds of one engine."""
    results = folder / "results"
    results.mkdir()
    (results / "a.sca").write_bytes(b"x" * 100)
    with Installation(
        folder / "data",
        broker_url=broker,
        database_url=database,
        prefix="bench",
        lease_seconds="60",
        overdue_seconds="60",
        sweep_seconds="10",
    ) as one:
        one.start_cloud()
        one.start("worker")
        one.start("email-sender")
        one.wait_ready()
        for number in range(ROUNDS):
            disk = fsyncs_per_second(folder)
            started = time.monotonic()
            with Producer(one.settings) as producer:
                for _ in range(deliveries):
                    producer.publish(results, to="anna@example.org", backend="local")
            published = time.monotonic()
            all_mails = (number + 1) * deliveries
            wait_until(partial(enough, one.mail_folder, all_mails), "all mails", 600)
            ended = time.monotonic()
            print(
                f"{name:<24}{number + 1:>6}{deliveries / (published - started):>13.1f}"
                f"{deliveries / (ended - started):>13.1f}{disk:>22.0f}"
            )


def enough(folder: Path, mails: int) -> bool:
    """Whether so many mails are there."""
    return folder.is_dir() and sum(entry.name.endswith(".eml") for entry in os.scandir(folder)) >= mails


def fsyncs_per_second(folder: Path, seconds: float = 1.0) -> float:
    """How often the disk makes a small file durable."""
    made = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        path = folder / "probe"
        with path.open("wb") as stream:
            stream.write(b"x" * 1000)
            stream.flush()
            os.fsync(stream.fileno())
        path.replace(folder / "probe.done")
        made += 1
    return made / seconds


if __name__ == "__main__":
    main()
