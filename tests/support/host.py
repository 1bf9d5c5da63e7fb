"""A simulator host: the command line as processes, on the real embedded broker."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from messaging.connect import connect
from messaging.engine import Engine
from messaging.messages import Lane, SimulationCompleted, parse_event
from messaging.topology import Topology
from producer.spool import Spool
from tests.support import forked

ROOT = Path(__file__).resolve().parents[2]


class Host:
    """A simulator host with a data folder, results and, once it is started, a broker."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.results = folder / "mm1 rho=0.8"
        self.results.mkdir()
        self.spool = Spool(self.data / "spool")
        self.engine: Engine = connect(f"sqlite:///{self.data}/broker.db", Topology())
        self.environ = {**os.environ, "SIMCOURIER_DATA_DIR": str(self.data)}

    def start_broker(self) -> None:
        """What a worker does: declare the queues."""
        with self.engine.consumer(self.engine.topology.queues):
            pass

    def command(self, *arguments: str, kill_at: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        """Run ``simcourier``."""
        module, *words = ["tests.support.dies", kill_at, *arguments] if kill_at else ["simcourier", *arguments]
        return forked.run(words, self.environ | environ, module=module)

    def publish(self, name: str, *more: str, kill_at: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        """Run ``simcourier publish`` for a run called ``name``."""
        arguments = ["publish", str(self.results), "--to", "anna@example.org", "--backend", "local"]
        return self.command(*arguments, "--simulation-id", name, *more, kill_at=kill_at, **environ)

    def queued(self, lane: Lane = Lane.SINGLE) -> list[SimulationCompleted]:
        """Take everything out of a lane."""
        with self.engine.consumer([self.engine.topology.lane(lane)]) as consumer:
            events = []
            while (taken := consumer.take(0)) is not None:
                events.append(parse_event(taken.body))
                consumer.ack(taken)
            return events

    def names(self) -> list[str]:
        """The runs in the lane of single runs."""
        return [event.data.simulation_id for event in self.queued()]
