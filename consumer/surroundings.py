"""What a worker sees around itself when it is asked, for Prometheus: its broker's queues, its disk, the spool."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from messaging.engine import Engine
from messaging.queue_metrics import queue_metrics


class Surroundings(Collector):
    """Asked anew for each reader.

    Args:
        data_dir: the data folder, where archives are made and events of this machine wait for the broker.
        engine: the broker.
    """

    def __init__(self, data_dir: Path, engine: Engine) -> None:
        self._data_dir = data_dir
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """The numbers as they are now."""
        with suppress(OSError):
            usage = shutil.disk_usage(self._data_dir)
            yield GaugeMetricFamily(
                "simcourier_archives_free_bytes", "Room on the disk where archives are made.", value=usage.free
            )
            yield GaugeMetricFamily("simcourier_archives_disk_bytes", "Size of that disk.", value=usage.total)
        events, size = _spooled(self._data_dir / "spool")
        yield GaugeMetricFamily("simcourier_spool_events", "Events of this data folder not yet sent.", value=events)
        yield GaugeMetricFamily("simcourier_spool_bytes", "Their bytes.", value=size)
        yield from queue_metrics(self._engine)


def _spooled(folder: Path) -> tuple[int, int]:
    events = size = 0
    with suppress(OSError), os.scandir(folder) as entries:  # no event was ever spooled here
        for entry in entries:
            if entry.name.endswith(".json") and not entry.name.startswith("."):
                with suppress(FileNotFoundError):  # sent meanwhile
                    size += entry.stat().st_size
                    events += 1
    return events, size
