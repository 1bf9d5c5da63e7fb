"""What a run of the M/M/1 queue records, named and titled as an OMNeT++ model would."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from producer.mm1.omnetpp import PICOSECONDS, RunHeader, ScalarFile, VectorFile, number, seconds
from producer.mm1.tally import Histogram, Tally, TimeAverage

if TYPE_CHECKING:
    from producer.mm1.queue import Queue

NETWORK = "MM1"
SOURCE, QUEUE, SINK = f"{NETWORK}.source", f"{NETWORK}.queue", f"{NETWORK}.sink"
HOLD = "sample-hold"


class Results:
    """Observes a run, writes vectors as they come, and scalars when it has ended.

    Args:
        folder: where the files go.
        queue: the model's parameters.
        repetition: number of this run among those with the same rates.
        date: when the run began.
        process: id of the process.
    """

    def __init__(self, folder: Path, queue: Queue, repetition: int, date: datetime, process: int) -> None:
        self._queue = queue
        self._header = _header(queue, repetition, date, process, folder)
        stem = f"{NETWORK}-{self._header.attributes['iterationvarsf']}#{repetition}"
        self._scalars = folder / f"{stem}.sca"
        self._scalars.unlink(missing_ok=True)  # of an earlier run; an unfinished run has none
        self._vectors = vectors = VectorFile(folder / f"{stem}.vec", self._header)
        self._length_vector = vectors.vector(
            QUEUE, "queueLength:vector", title="queue length", interpolationmode=HOLD, recordingmode="vector"
        )
        self._population_vector = vectors.vector(
            QUEUE, "population:vector", title="number in system", interpolationmode=HOLD, recordingmode="vector"
        )
        self._waiting_vector = vectors.vector(
            QUEUE,
            "queueingTime:vector",
            title="queueing time",
            unit="s",
            interpolationmode="none",
            recordingmode="vector",
        )
        self._life_vector = vectors.vector(
            SINK, "lifeTime:vector", title="time in system", unit="s", interpolationmode="none", recordingmode="vector"
        )
        self._length, self._population, self._busy = TimeAverage(), TimeAverage(), TimeAverage()
        self._waiting, self._life = Tally(), Tally()
        self._histogram = Histogram(width=0.125 / queue.service_rate)
        self._arrivals = 0
        for vector in (self._length_vector, self._population_vector):
            vectors.record(vector, 0, 0, 0)

    def arrived(self, event: int, now: int, population: int) -> None:
        """See `producer.mm1.queue.Observer`."""
        self._arrivals += 1
        self._changed(event, now, population)

    def served(self, event: int, now: int, population: int, life_time: int) -> None:
        """See `producer.mm1.queue.Observer`."""
        self._changed(event, now, population)
        value = life_time / PICOSECONDS
        self._life.add(value)
        self._histogram.add(value)
        self._vectors.record(self._life_vector, event, now, value)

    def began(self, event: int, now: int, waited: int) -> None:
        """See `producer.mm1.queue.Observer`."""
        value = waited / PICOSECONDS
        self._waiting.add(value)
        self._vectors.record(self._waiting_vector, event, now, value)

    def ended(self, now: int) -> None:
        """Write the scalar file; the run ended at ``now`` picoseconds."""
        file = ScalarFile(self._header)
        self._write_parameters(file)
        self._write_queue(file, now)
        self._write_sink(file, now)
        file.scalar(NETWORK, "simulatedTime", now / PICOSECONDS, title="simulated time", unit="s")
        file.par(NETWORK, "typename", f'"{NETWORK}"')
        self._vectors.close()
        file.write(self._scalars)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._vectors.close(finished=False)

    def _changed(self, event: int, now: int, population: int) -> None:
        self._population.change(now, population)
        self._vectors.record(self._population_vector, event, now, population)
        self._busy.change(now, min(population, 1))
        length = max(population - 1, 0)
        if length != self._length.value:
            self._length.change(now, length)
            self._vectors.record(self._length_vector, event, now, length)

    def _write_parameters(self, file: ScalarFile) -> None:
        queue = self._queue
        file.par(SOURCE, "typename", '"Source"')
        file.par(SOURCE, "interarrivalTime", _exponential(queue.arrival_rate), unit="s")
        file.scalar(SOURCE, "customers:count", self._arrivals, title="customers, count", recordingmode="count")
        file.par(QUEUE, "typename", '"Queue"')
        file.par(QUEUE, "serviceTime", _exponential(queue.service_rate), unit="s")

    def _write_queue(self, file: ScalarFile, now: int) -> None:
        averages = (
            ("queueLength", "queue length", self._length),
            ("population", "number in system", self._population),
            ("busy", "utilisation", self._busy),
        )
        for name, title, average in averages:
            for mode, value in (("timeavg", average.mean(now)), ("max", average.max)):
                file.scalar(
                    QUEUE,
                    f"{name}:{mode}",
                    value,
                    title=f"{title}, {mode}",
                    interpolationmode=HOLD,
                    recordingmode=mode,
                )
        _write_tally(file, QUEUE, "queueingTime", "queueing time", self._waiting)

    def _write_sink(self, file: ScalarFile, now: int) -> None:
        life = self._life
        file.par(SINK, "typename", '"Sink"')
        file.scalar(SINK, "customers:count", life.count, title="customers served, count", recordingmode="count")
        throughput = life.count * PICOSECONDS / now if now else float("nan")
        file.scalar(SINK, "throughput", throughput, title="customers served per second", unit="Hz")
        _write_tally(file, SINK, "lifeTime", "time in system", life)
        fields = {name: getattr(life, name) for name in ("count", "mean", "stddev", "min", "max", "sum", "sqrsum")}
        file.statistic(
            SINK,
            "lifeTime:histogram",
            fields,
            self._histogram.bins(),
            title="time in system, histogram",
            unit="s",
            interpolationmode="none",
            recordingmode="histogram",
        )


def _write_tally(file: ScalarFile, module: str, name: str, title: str, tally: Tally) -> None:
    for mode, value in (("mean", tally.mean), ("max", tally.max)):
        file.scalar(
            module,
            f"{name}:{mode}",
            value,
            title=f"{title}, {mode}",
            unit="s",
            interpolationmode="none",
            recordingmode=mode,
        )


def _header(queue: Queue, repetition: int, date: datetime, process: int, folder: Path) -> RunHeader:
    iteration = {"arrivalRate": number(queue.arrival_rate), "serviceRate": number(queue.service_rate)}
    pairs = [f"{name}={value}" for name, value in iteration.items()]
    stamp = f"{date:%Y%m%d-%H:%M:%S}"
    dollars = ", ".join(f"${pair}" for pair in pairs)
    attributes = {
        "configname": NETWORK,
        "datetime": stamp,
        "datetimef": stamp.replace(":", ""),
        "experiment": NETWORK,
        "inifile": "",
        "iterationvars": dollars,
        "iterationvarsd": "/".join(pairs),
        "iterationvarsf": ",".join(pairs) + "-",
        "measurement": dollars,
        "network": NETWORK,
        "processid": str(process),
        "repetition": str(repetition),
        "replication": f"#{repetition}",
        "resultdir": folder.name,
        "runnumber": str(repetition),
        "seedset": str(queue.seed_set),
    }
    config = [
        ("network", NETWORK),
        ("seed-set", str(queue.seed_set)),
        (f"{SOURCE}.interarrivalTime", _exponential(queue.arrival_rate)),
        (f"{QUEUE}.serviceTime", _exponential(queue.service_rate)),
    ]
    if queue.until is not None:
        config.append(("sim-time-limit", f"{seconds(queue.until)}s"))
    if queue.customers is not None:
        config.append((f"{SINK}.customers", str(queue.customers)))
    return RunHeader(f"{NETWORK}-{repetition}-{stamp}-{process}", attributes, iteration, config)


def _exponential(rate: float) -> str:
    return f"exponential({number(1 / rate)}s)"
