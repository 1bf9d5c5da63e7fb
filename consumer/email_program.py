"""Puts an email sender together from settings. Import it after `ledger.prepare`."""

from __future__ import annotations

import structlog

from consumer.decide import Policy
from consumer.email_sender import EmailSender
from consumer.loop import Loop
from consumer.mail.render import Renderer
from consumer.mail.transports import transport
from consumer.pulse import FOLDER, Pulse
from consumer.stop import Stop
from consumer.watching import listener
from ledger.api import MAIL_PATIENCE_SECONDS, Notices
from messaging.engine import Engine
from messaging.settings import Settings

log = structlog.get_logger()

# A mail's claim outlives a ledger that is away for a while.
MAIL_LEASES = 5


def run_email_sender(settings: Settings, engine: Engine) -> None:
    """The email sender, until SIGTERM or SIGINT."""
    stop = Stop(settings.grace_seconds)
    stop.on_signals()
    notices = Notices(
        lease=MAIL_LEASES * settings.lease_seconds,
        overdue=settings.overdue_seconds,
        operator=settings.operator_email,
    )
    sender = EmailSender(
        notices,
        Renderer(settings.email_from, settings.told_url, keep_longer_days=settings.keep_longer_days),
        transport(settings.email_url.get_secret_value(), timeout=settings.lease_seconds),
        Policy(patience=MAIL_PATIENCE_SECONDS),
        stop,
    )
    log.info("email_sender.started", broker=engine.description)
    queues = (engine.topology.notifications,)
    with (
        Pulse(settings.data_dir / FOLDER, "email-sender") as pulse,
        listener(settings, "email_sender_listen", engine, pulse),
    ):
        Loop("email-sender", engine, queues, sender.handle, stop, alive=pulse.part("mails")).run()
    log.info("email_sender.stopped")
