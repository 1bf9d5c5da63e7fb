"""A private installation of real processes, on which faults are played."""

from __future__ import annotations

import itertools
import os
import random
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from ledger import make_data_dir
from ledger import prepare as prepare_ledger
from messaging.cli import engine_of
from messaging.engine import BrokerError, Outgoing
from messaging.errors import UserError
from messaging.settings import Settings, load
from producer.event import completed_event
from producer.publisher import Producer
from simcourier import installation
from simcourier.drill import role
from simcourier.drill.checks import Checker, Sent
from simcourier.drill.mailbox import Mailbox, mail_server
from simcourier.drill.orders import Orders
from simcourier.drill.relay import Relay
from simcourier.drill.services import Services
from simcourier.roles import Role, Roles, Start, start_process

LEASE_SECONDS = 2.0
KEY_NAME = "drill"
LOOK_SECONDS = 0.05
RESULTS = "General-#0.sca"


start_role = partial(start_process, module=role.__name__)


class NotInTime(UserError):
    """Something did not happen that had to."""


class Stage:
    """Broker, ledger, local cloud, mail server, workers and email senders; all gone when the block ends.

    Whoever is killed is started again at once.

    Args:
        folder: for everything.
        services: broker and database.
        workers, senders: how many processes of each.
        seed: of the results' bytes.
        prepare: makes the ledger's tables, and starts Django.
        start: starts `simcourier.drill.role`.
        changes: settings, by their lower-case names.
    """

    def __init__(
        self,
        folder: Path,
        services: Services,
        *,
        workers: int = 2,
        senders: int = 1,
        seed: int = 1,
        prepare: Callable[[Settings], None] = lambda settings: prepare_ledger(settings, "drill"),
        start: Start = start_role,
        changes: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.services = services
        self.orders = Orders(folder / "orders")
        self.sent: list[Sent] = []
        """Everything that was published."""
        self.restarts = 0
        """How often a process was started again."""
        self._counts = {"worker": workers, "email sender": senders}
        self._random = random.Random(seed)  # noqa: S311 - bytes to pack
        self._prepare = prepare
        self._start = start
        self._changes = changes or {}
        self._numbers = itertools.count(1)
        self._stack = ExitStack()
        self._ending = threading.Event()

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _set_up(self) -> None:
        stack = self._stack
        self.mailbox: Mailbox = stack.enter_context(mail_server())
        cloud_port = installation.free_port()
        self.relay = stack.enter_context(Relay(cloud_port))
        self.settings = self._settings(cloud_port)
        self.engine = engine_of(self.settings)
        make_data_dir(self.settings.data_dir)
        self._prepare(self.settings)
        installation.upload_key(self.settings.data_dir)
        self.give_key()
        self.relay.open()
        environ = installation.environment(self.settings, os.environ) | {role.VARIABLE: str(self.folder / "orders")}
        roles = Roles(environ, self.folder / "logs", self._told, 10.0, start=self._start, pauses=(0.0,))
        self._roles = stack.enter_context(roles)
        self._launch()
        self.producer = stack.enter_context(Producer(self.settings))
        self.checker = Checker(self.mailbox, self._uncertain)
        tending = threading.Thread(target=self._roles.tend, args=(self._ending,), name="tend")
        tending.start()
        stack.callback(tending.join)
        stack.callback(self._ending.set)

    def _settings(self, cloud_port: int) -> Settings:
        services = self.services
        given = {
            "data_dir": str(self.folder / "data"),
            "broker_url": services.broker_url,
            "broker_prefix": services.prefix,
            "database_url": services.database_url,
            "secret_key": secrets.token_urlsafe(40),
            "email_url": f"smtp://127.0.0.1:{self.mailbox.port}",
            "email_from": "SimCourier drill <drill@example.org>",
            "results_roots": str(self.folder / "results"),
            "local_cloud_port": str(cloud_port),
            "local_cloud_public_url": f"http://127.0.0.1:{self.relay.port}",
            "lease_seconds": str(LEASE_SECONDS),
            "overdue_seconds": "2",
            "sweep_seconds": "1",
            "grace_seconds": "3",
            **self._changes,
        }
        return load({f"SIMCOURIER_{name.upper()}": value for name, value in given.items() if value is not None})

    def _launch(self) -> None:
        cloud = installation.local_cloud(self.settings)
        started = [cloud]
        for kind, count in self._counts.items():
            make = installation.worker(self.settings) if kind == "worker" else installation.email_sender()
            started += [Role(f"{kind} {number + 1}", make.arguments, make.ready) for number in range(count)]
        for one in started:
            self._roles.launch(one)
        for one in started:
            self._roles.wait_ready(one, self._ending)

    def _told(self, line: str) -> None:
        del line
        self.restarts += 1

    # --- what goes in

    def give_key(self) -> None:
        """Give the storage backend a key with which uploads are allowed."""
        from ledger.api import define
        from local_cloud import keys

        key = keys.add(self._cloud_folder, KEY_NAME, max_file=None, quota=None, rate=None)
        assert key is not None
        define("local", name="Local cloud", token=f"127.0.0.1:{self.relay.port}", config={"key": key})

    def revoke_key(self) -> None:
        """Take it away."""
        from local_cloud import keys

        keys.revoke(self._cloud_folder, KEY_NAME)

    @property
    def _cloud_folder(self) -> Path:
        return self.settings.data_dir / "local-cloud"

    def publish(
        self, *, to: Sequence[str] = (), refused: Sequence[str] = (), size: int = 100, link: bool = True
    ) -> Sent:
        """Publish a run as a simulator does; the broker, or the spool, has it when this returns.

        Args:
            to: recipients; none: one of its own.
            refused: recipients whom the mail server will refuse, so that they get nothing.
            size: bytes of its results, apart from a small file.
            link: False: it names a storage backend that does not exist, so that a failure is to be told.
        """
        number = next(self._numbers)
        recipients = tuple(to) or (f"run{number}@example.org",)
        event = completed_event(
            self._results(number, size),
            to=[*refused, *recipients],
            backend="local" if link else "nowhere",
            simulation_id=f"drill-{number}",
            title=f"Drill, run {number}",
            now=datetime.now(UTC),
            max_bytes=self.settings.topology.max_bytes,
        )
        self.producer.send(self.producer.spool.put(event))
        results = self.folder / "results" / str(number)
        sent = Sent(str(event.id), event.routing_key, event.to_bytes(), results, recipients, link)
        self.sent.append(sent)
        return sent

    def publish_again(self, sent: Sent) -> None:
        """Publish the same message once more, as a client does that has not heard the confirmation."""
        with self.engine.publisher() as publisher:
            publisher.publish(Outgoing(sent.routing_key, sent.body, sent.event_id))

    def _results(self, number: int, size: int) -> Path:
        folder = self.folder / "results" / str(number)
        folder.mkdir(parents=True)
        (folder / RESULTS).write_text(f"version 3\nrun drill-{number}\nscalar queue length {number}\n")
        (folder / "noise.bin").write_bytes(self._random.randbytes(size))
        return folder

    # --- what comes out

    def wait_for(self, what: str, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something has happened.

        Raises:
            NotInTime: it has not.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise NotInTime(f"Not within {seconds:.0f} s: {what}.")
            time.sleep(LOOK_SECONDS)

    def wait_for_mails(self, sent: Iterable[Sent], seconds: float) -> bool:
        """Wait until everybody has heard of these events; False: not within so many seconds without any mail."""
        left = list(sent)
        heard = time.monotonic()
        while left := self.checker.missing(left):
            before = len(self.mailbox)
            self.flush()
            time.sleep(LOOK_SECONDS + len(left) / 10_000)  # looking at thousands costs time that they need
            if len(self.mailbox) > before:
                heard = time.monotonic()
            if time.monotonic() - heard > seconds:
                return False
        return True

    def wait_until_quiet(self, seconds: float) -> tuple[int, int]:
        """Wait until no message is left; what is left nevertheless: to be worked on, and in the wait ladder."""
        with suppress(NotInTime):
            self.wait_for("empty queues", lambda: self.left() == (0, 0), seconds)
        return self.left() or (1, 0)

    def left(self) -> tuple[int, int] | None:
        """Messages to be worked on, and in the wait ladder; None: the broker is away."""
        try:
            depths = self.engine.depths().values()
        except BrokerError:
            return None
        return sum(one.ready + one.held for one in depths), sum(one.waiting for one in depths)

    def flush(self) -> None:
        """Send what could only be spooled."""
        if self.producer.spool.entries():
            self.producer.flush()

    @staticmethod
    def _uncertain(event_id: str) -> Mapping[str, int]:
        from ledger.api import find

        return {notice.recipient: notice.uncertain for view in find(event_id) for notice in view.notices}

    # --- who is killed

    def pids(self, kind: str = "") -> list[int]:
        """Process ids of the workers and email senders that run, or of those of one kind."""
        return [
            one.process.pid
            for one in self._roles.roles
            if one.process is not None
            and one.process.poll() is None
            and one.name.startswith(kind or ("worker", "email sender"))
        ]

    def kill(self, pids: Iterable[int]) -> int:
        """End processes as a crash does; how many there were."""
        done = 0
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                done += 1
        return done

    def calm(self) -> None:
        """Let nothing more go wrong, and wait until every worker and email sender runs again."""
        self.orders.withdraw_all()
        self.mailbox.obliging()
        wanted = sum(self._counts.values())
        self.wait_for("all processes run again", lambda: len(self.pids()) == wanted)
