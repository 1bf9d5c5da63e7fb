"""Deliveries in a storm: is anything lost, does anything come twice?

    python benchmarks/chaos.py [--deliveries 10000] [--embedded]

Four workers and two email senders, real processes; one of them is killed every two seconds on average, and started
again.
A RabbitMQ node and a PostgreSQL server of our own are killed and restarted five times each; the mail server refuses one
mail in ten for now. Counted is what arrives: mails at the mail server, and the bytes behind the links in them.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simcourier.drill.services import embedded, private_nodes
from simcourier.drill.storm import Report, Weather, storm
from tests.support.stage import new_stage

# Between the drill's and the defaults: with a dead process every two seconds, somebody has to come for what it left.
SETTINGS = {"lease_seconds": "5", "overdue_seconds": "20", "sweep_seconds": "2"}
HEAD = ("deliveries", "kills", "restarts", "refused", "links", "mails", "lost", "twice", "uncertain", "left", "seconds")


def main() -> None:
    """Run it and print a table; exit code 1 if a promise broke."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deliveries", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--senders", type=int, default=2)
    parser.add_argument("--kill-every", type=float, default=2.0, metavar="SECONDS")
    parser.add_argument("--restarts", type=int, default=5, help="of the broker and of the database, each")
    parser.add_argument("--refuse", type=float, default=0.1, help="part of the mails that is refused for now")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--embedded", action="store_true", help="on SQLite instead of RabbitMQ and PostgreSQL")
    parser.add_argument("--keep", type=Path, help="folder for logs and data; else one that goes unless a promise broke")
    given = parser.parse_args()
    weather = Weather(given.deliveries, given.kill_every, given.restarts, given.refuse, given.seed)
    started = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - started:7.1f} s  {text}", file=sys.stderr, flush=True)

    folder = given.keep or Path(tempfile.mkdtemp(prefix="simcourier-chaos-"))
    kept = False
    try:
        with (
            embedded() if given.embedded else private_nodes() as services,
            new_stage(
                folder, services, workers=given.workers, senders=given.senders, seed=given.seed, changes=SETTINGS
            ) as stage,
        ):
            tell(f"{weather} on {services.description}, in {folder}")
            report = storm(stage, weather, tell)
        kept = report.count.kept and not report.left
    finally:
        if kept and not given.keep:
            shutil.rmtree(folder)
        else:  # whoever asks why needs the logs
            tell(f"Logs and data are in {folder}.")
    show(report)
    sys.exit(0 if kept else 1)


def show(report: Report) -> None:
    """The table, and what broke."""
    count = report.count
    cells = (
        count.deliveries, report.kills, report.restarts, report.refused, count.links, count.mails, count.lost,
        count.twice, count.uncertain, report.left, round(report.seconds),
    )  # fmt: skip
    print("| " + " | ".join(HEAD) + " |")
    print("|" + "---|" * len(HEAD))
    print("| " + " | ".join(f"{cell:,}" for cell in cells) + " |")
    for fault in count.faults:
        print(fault)


if __name__ == "__main__":
    main()
