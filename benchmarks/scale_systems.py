"""What benchmarks/scale.py measures: SimCourier, and the same delivery as tasks of Celery and of Dramatiq."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from uuid import UUID

import psutil
from django.db import connections

from producer import Producer
from producer.event import completed_event
from tests.support.installation import KEY, ROOT, Installation
from tests.support.ledger import use_database
from tests.support.scratch import wait_until
from tests.support.throttle import Throttle

FAST, SLOW = "local", "local-slow"
START_SECONDS = 120.0


class System(ABC):
    """Its own data folder, database and local cloud; workers are started and ended as often as one likes.

    Args:
        folder: for everything.
        broker_url, database_url: both None: files.
        rate: bytes a second of one upload to the backend `SLOW`.
    """

    name: ClassVar[str]

    def __init__(self, folder: Path, broker_url: str | None, database_url: str | None, rate: float) -> None:
        self.installation = Installation(
            folder,
            broker_url=broker_url,
            database_url=database_url,
            prefix="scale",
            lease_seconds="60",
            overdue_seconds="60",
            sweep_seconds="10",
        )
        self.installation.environ["SCALE_BROKER_URL"] = broker_url or ""
        self._throttle = Throttle(self.installation.cloud_port, rate)
        self._workers: list[tuple[subprocess.Popen[bytes], Path]] = []

    def __enter__(self) -> Self:
        self.installation.__enter__()
        from ledger.definitions import define

        define(SLOW, name="Slow local cloud", token=f"127.0.0.1:{self._throttle.port}", config={"key": KEY})
        connections.close_all()
        self._throttle.__enter__()
        self.installation.start_cloud()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._throttle.__exit__(kind, error, trace)
        self.installation.__exit__(kind, error, trace)

    def start(self, workers: int) -> None:
        """Start so many, each for one delivery at a time, and one process for the mails."""
        for number in range(workers):
            self._spawn(self.worker_command(number), "worker")
        self._spawn(self.mail_command(), "mail")
        for process, log in self._workers:
            wait_until(partial(self._is_ready, process, log), f"a process of {self.name} is ready", START_SECONDS)

    def stop(self) -> None:
        """End them."""
        for process, _ in self._workers:
            process.send_signal(signal.SIGTERM)
        for process, _ in self._workers:
            process.wait(60)
        self._workers.clear()

    @property
    @abstractmethod
    def ready(self) -> bytes:
        """What a process writes into its log when it begins to take."""

    @abstractmethod
    def worker_command(self, number: int) -> list[str]:
        """Starts the ``number``-th worker."""

    @abstractmethod
    def mail_command(self) -> list[str]:
        """Starts what sends mails."""

    @abstractmethod
    def publisher(self) -> Callable[[Path, str], UUID]:
        """Publishes an event about results that are to go to a backend, confirmed; its id."""

    @property
    def mails(self) -> int:
        """How many are written."""
        folder = self.installation.mail_folder
        return sum(entry.name.endswith(".eml") for entry in os.scandir(folder)) if folder.is_dir() else 0

    def mailed_at(self) -> Mapping[UUID, float]:
        """Delivery to when its mail was written, in seconds since 1970."""
        use_database(self.installation.settings)
        from ledger.models import Notification

        rows = list(Notification.objects.exclude(delivery=None).values_list("delivery_id", "id"))
        connections.close_all()
        folder = self.installation.mail_folder
        return {one: (folder / f"{mail}.eml").stat().st_mtime for one, mail in rows}

    def digests(self, deliveries: list[UUID]) -> set[str]:
        """Of the archives of these deliveries."""
        use_database(self.installation.settings)
        from ledger.models import Delivery

        rows = Delivery.objects.filter(id__in=deliveries, state="DELIVERED").values_list("archive_sha256", flat=True)
        found = list(rows)
        connections.close_all()
        assert len(found) == len(deliveries), f"{self.name} has not delivered all"
        return set(found)

    def cpu_seconds(self) -> float:
        """Spent so far by workers and mail process."""
        return float(sum(sum(one.cpu_times()[:2]) for process, _ in self._workers for one in _family(process.pid)))

    def _spawn(self, command: list[str], what: str) -> None:
        installation = self.installation
        log = installation.folder / f"{len(installation.processes):03}-{what}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=installation.environ,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        installation.processes.append(process)
        self._workers.append((process, log))

    def _is_ready(self, process: subprocess.Popen[bytes], log: Path) -> bool:
        told = log.read_bytes()
        if process.poll() is not None:
            raise RuntimeError(f"{self.name} ended on start:\n{told.decode(errors='replace')[-3000:]}")
        return self.ready in told


class SimCourier(System):
    """Worker (with recorder and sweep) and email sender, as an operator starts them."""

    name = "SimCourier"
    ready = b".started"

    def start(self, workers: int) -> None:
        """Likewise; without queues nothing can be published."""
        super().start(workers)
        self.installation.wait_ready()

    def worker_command(self, number: int) -> list[str]:
        del number
        return ["simcourier", "worker", "--concurrency", "1"]

    def mail_command(self) -> list[str]:
        return ["simcourier", "email-sender"]

    def publisher(self) -> Callable[[Path, str], UUID]:
        def publish(results: Path, backend: str) -> UUID:
            published = self._producer.publish(results, to="anna@example.org", backend=backend)
            assert published.state == "sent", published.reason
            return published.event_id

        return publish

    @cached_property
    def _producer(self) -> Producer:
        return Producer(self.installation.settings)


class OnFiles(SimCourier):
    """The same on SQLite, broker and ledger."""

    name = "on SQLite"


class TaskQueue(System):
    """Tasks of `benchmarks.scale_steps`."""

    module: ClassVar[str]

    def publisher(self) -> Callable[[Path, str], UUID]:
        os.environ["SCALE_BROKER_URL"] = self.installation.environ["SCALE_BROKER_URL"]
        send = self.sender(import_module(self.module))
        now, max_bytes = _now, self.installation.settings.topology.max_bytes

        def publish(results: Path, backend: str) -> UUID:
            event = completed_event(results, to="anna@example.org", backend=backend, now=now(), max_bytes=max_bytes)
            send(event.to_bytes().decode())
            return event.id

        return publish

    @abstractmethod
    def sender(self, module: Any) -> Callable[[str], object]:
        """Sends the first task of a delivery."""


class Celery(TaskQueue):
    """A worker is a process with Celery's default pool of one."""

    name = "Celery"
    module = "benchmarks.scale_celery"
    ready = b" ready."

    def worker_command(self, number: int) -> list[str]:
        return self._command("celery.deliveries", f"w{number}@localhost")

    def mail_command(self) -> list[str]:
        return self._command("celery.mails", "mails@localhost")

    def sender(self, module: Any) -> Callable[[str], object]:
        return module.deliver.delay  # type: ignore[no-any-return]

    def _command(self, queue: str, name: str) -> list[str]:
        quiet = ["--without-gossip", "--without-mingle", "--loglevel", "INFO"]
        return ["celery", "-A", self.module, "worker", "--concurrency", "1", "-Q", queue, "-n", name, *quiet]


class Dramatiq(TaskQueue):
    """A worker is a process with one thread."""

    name = "Dramatiq"
    module = "benchmarks.scale_dramatiq"
    ready = b"ready for action"

    def worker_command(self, number: int) -> list[str]:
        del number
        return self._command("dramatiq.deliveries")

    def mail_command(self) -> list[str]:
        return self._command("dramatiq.mails")

    def sender(self, module: Any) -> Callable[[str], object]:
        return module.deliver.send  # type: ignore[no-any-return]

    def _command(self, queue: str) -> list[str]:
        return ["dramatiq", self.module, "--processes", "1", "--threads", "1", "--queues", queue]


def _family(process: int) -> list[psutil.Process]:
    first = psutil.Process(process)
    return [first, *first.children(recursive=True)]


def _now() -> datetime:
    return datetime.now(UTC)
