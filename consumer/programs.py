"""Puts the consumer programs together from settings. Import it after `ledger.prepare`."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from datetime import timedelta
from uuid import UUID

import structlog

from consumer.decide import DAY, Policy
from consumer.deliver import Workshop
from consumer.email_sender import MAIL_PATIENCE_SECONDS, EmailSender
from consumer.lease import LeaseKeeper
from consumer.loop import Loop, in_thread
from consumer.mail.render import Renderer
from consumer.mail.transports import transport
from consumer.recorder import Recorder
from consumer.results import ResultsWorker
from consumer.stop import Stop
from consumer.sweeper import Sweeper
from ledger.api import Deliveries, Notices, find
from messaging.engine import Engine
from messaging.errors import UserError
from messaging.settings import Settings

log = structlog.get_logger()

# A mail's claim outlives several answers of a slow mail server.
MAIL_LEASES = 5


class LoopEnded(UserError):
    """A part of the process could not go on."""


def run_worker(settings: Settings, engine: Engine, *, results: bool, recorder: bool, sweep: bool) -> None:
    """Results worker, recorder and sweep in one process, until SIGTERM or SIGINT."""
    stop = Stop(settings.grace_seconds)
    stop.on_signals()
    worker = f"{socket.gethostname()}:{os.getpid()}"
    deliveries = Deliveries(worker, lease=settings.lease_seconds, overdue=settings.overdue_seconds)
    threads: list[threading.Thread] = []
    broken = threading.Event()

    def recorder_ended() -> None:
        broken.set()
        stop.request()

    if recorder:
        queues = (engine.topology.recorder, engine.topology.dead)
        handler = Recorder(deliveries, engine.topology.dead).handle
        threads.append(in_thread(Loop("recorder", engine, queues, handler, stop), "recorder", recorder_ended))
    if sweep:
        threads.append(Sweeper(engine, worker, stop, settings.sweep_seconds).start())
    log.info(
        "worker.started", worker=worker, broker=engine.description, results=results, recorder=recorder, sweep=sweep
    )
    try:
        if results:
            _run_results(settings, engine, deliveries, stop)
        for thread in threads:
            thread.join()
    finally:
        stop.request()  # so that no thread outlives a loop that could not start
    if broken.is_set():  # so that whoever supervises this process starts it again
        raise LoopEnded("The recorder ended by an error; the log above says why.")
    log.info("worker.stopped", worker=worker)


def run_email_sender(settings: Settings, engine: Engine) -> None:
    """The email sender, until SIGTERM or SIGINT."""
    stop = Stop(settings.grace_seconds)
    stop.on_signals()
    notices = Notices(lease=MAIL_LEASES * settings.lease_seconds, overdue=settings.overdue_seconds)
    sender = EmailSender(
        notices,
        Renderer(settings.email_from),
        transport(settings.email_url.get_secret_value(), timeout=settings.lease_seconds),
        Policy(patience=MAIL_PATIENCE_SECONDS),
    )
    log.info("email_sender.started", broker=engine.description)
    Loop("email-sender", engine, (engine.topology.notifications,), sender.handle, stop).run()
    log.info("email_sender.stopped")


def _run_results(settings: Settings, engine: Engine, deliveries: Deliveries, stop: Stop) -> None:
    workshop = Workshop(
        deliveries=deliveries,
        archives=settings.data_dir / "archives",
        roots=settings.results_roots,
        site={},
        mail_patience=timedelta(seconds=MAIL_PATIENCE_SECONDS),
    )
    _clear_leftovers(workshop)
    keeper = LeaseKeeper(deliveries, stop)
    keeper.start()
    handler = ResultsWorker(workshop, keeper, Policy(limit=settings.max_wait_days * DAY)).handle
    try:
        Loop("results", engine, engine.topology.lanes, handler, stop, concurrency=settings.concurrency).run()
    finally:
        keeper.close()


def _clear_leftovers(workshop: Workshop) -> None:
    """Archives of deliveries that ended while this machine's worker was dead are not needed any more."""
    if not workshop.archives.is_dir():
        return
    for folder in workshop.archives.iterdir():
        try:
            known = find(str(UUID(folder.name)))
        except ValueError:
            continue
        if known and known[0].ended:
            shutil.rmtree(folder, ignore_errors=True)
