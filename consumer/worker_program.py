"""Puts a worker together from settings. Import it after `ledger.prepare`."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial

import structlog

from consumer.decide import DAY, HOUR, Policy
from consumer.expirer import expire_round
from consumer.lease import LeaseKeeper
from consumer.leftovers import clear_leftovers
from consumer.loop import Loop, in_thread
from consumer.pulse import FOLDER, Pulse
from consumer.recorder import Recorder
from consumer.results import ResultsWorker
from consumer.rounds import in_rounds
from consumer.stop import Stop
from consumer.sweeper import Sweeper
from consumer.watching import listener
from consumer.workshop import Workshop
from ledger.api import MAIL_PATIENCE_SECONDS, Deliveries, Digests, Keep, remind, this_process
from messaging.engine import Engine
from messaging.errors import UserError
from messaging.settings import Settings

log = structlog.get_logger()

MINUTE = 60.0


class LoopEnded(UserError):
    """A part of the process could not go on."""


def run_worker(settings: Settings, engine: Engine, *, results: bool, recorder: bool, sweep: bool) -> None:
    """Results worker, recorder and sweep in one process, until SIGTERM or SIGINT."""
    stop = Stop(settings.grace_seconds)
    stop.on_signals()
    with Pulse(settings.data_dir / FOLDER, "worker") as pulse, listener(settings, "worker_listen", engine, pulse):
        _run_parts(settings, engine, stop, pulse, results=results, recorder=recorder, sweep=sweep)


def _run_parts(
    settings: Settings, engine: Engine, stop: Stop, pulse: Pulse, *, results: bool, recorder: bool, sweep: bool
) -> None:
    worker = this_process()
    gather = settings.digest_quiet_minutes > 0
    deliveries = Deliveries(worker, lease=settings.lease_seconds, overdue=settings.overdue_seconds, digests=gather)
    digests = Digests(quiet=settings.digest_quiet_minutes * MINUTE, overdue=settings.overdue_seconds)
    threads: list[threading.Thread] = []
    broken = threading.Event()

    def recorder_ended() -> None:
        broken.set()
        stop.request()

    if recorder:
        queues = (engine.topology.recorder, engine.topology.dead)
        handler = Recorder(deliveries, engine.topology.dead, settings.operator_email).handle
        loop = Loop("recorder", engine, queues, handler, stop, alive=pulse.part("recorder"))
        threads.append(in_thread(loop, "recorder", recorder_ended))
    if sweep:
        keep = Keep(settings.keep_recipients_days, settings.keep_deliveries_days)
        sweeper = Sweeper(engine, worker, settings.sweep_seconds, keep, digests)
        reminders = partial(remind, settings.remind_days, digests=gather) if settings.remind_days else None
        remove = partial(expire_round, worker, settings.site, settings.operator_email, reminders, stop)
        threads.append(in_rounds("sweep", sweeper.round, stop, settings.sweep_seconds))
        threads.append(in_rounds("expiry", remove, stop, settings.sweep_seconds))  # apart: services may be slow
    log.info(
        "worker.started", worker=worker, broker=engine.description, results=results, recorder=recorder, sweep=sweep
    )
    try:
        if results:
            _run_results(settings, engine, deliveries, digests if gather else None, stop, pulse)
        for thread in threads:
            thread.join()
    finally:
        stop.request()  # so that no thread outlives a loop that could not start
    if broken.is_set():  # so that whoever supervises this process starts it again
        raise LoopEnded("The recorder ended by an error; the log above says why.")
    log.info("worker.stopped", worker=worker)


def _run_results(
    settings: Settings, engine: Engine, deliveries: Deliveries, digests: Digests | None, stop: Stop, pulse: Pulse
) -> None:
    workshop = Workshop(
        deliveries=deliveries,
        archives=settings.data_dir / "archives",
        roots=settings.results_roots,
        site=settings.site,
        operator=settings.operator_email,
        mail_patience=timedelta(seconds=MAIL_PATIENCE_SECONDS),
        compression=settings.compression,
        settle_seconds=settings.settle_seconds,
    )
    in_rounds("leftovers", partial(clear_leftovers, workshop), stop, HOUR, at_once=True)
    keeper = LeaseKeeper(deliveries, stop)
    keeper.start()
    handler = ResultsWorker(workshop, keeper, Policy(limit=settings.max_wait_days * DAY), digests).handle
    loop = Loop(
        "results",
        engine,
        engine.topology.lanes,
        handler,
        stop,
        concurrency=settings.concurrency,
        alive=pulse.part("results"),
    )
    try:
        loop.run()
    finally:
        keeper.close()
