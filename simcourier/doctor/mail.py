"""Whether mails can be sent, without sending one."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from consumer.mail.transports import MailTransient, transport
from messaging.settings import Settings, load
from simcourier.doctor.findings import Finding, Mark

PATIENCE_SECONDS = 5.0
LOCAL = {"localhost", "127.0.0.1", "::1"}


def mail(settings: Settings) -> Iterator[Finding]:
    """The mail server, or the folder of the mails; the sender's address."""
    parts = urlsplit(settings.email_url.get_secret_value())
    as_files = parts.scheme == "file"
    place = f"Mails become files in {parts.path}" if as_files else f"{parts.hostname} accepts us ({parts.scheme})"
    try:
        transport(settings.email_url.get_secret_value(), PATIENCE_SECONDS).check()
    except MailTransient as error:
        yield Finding("mail", Mark.TROUBLE, str(error), "Check SIMCOURIER_EMAIL_URL; until then mails wait.")
    else:
        yield Finding("mail", Mark.OK, f"{place}.")
    if parts.scheme == "smtp" and parts.password and parts.hostname not in LOCAL:
        yield Finding(
            "mail",
            Mark.WARNING,
            f"The password travels to {parts.hostname} for everybody to read.",
            "Use smtp+tls:// or smtps:// in SIMCOURIER_EMAIL_URL.",
        )
    if not as_files and settings.email_from == load({}).email_from:
        yield Finding(
            "mail",
            Mark.WARNING,
            f"Mails come from {settings.email_from}, which most mail servers refuse.",
            "Set SIMCOURIER_EMAIL_FROM to an address of yours.",
        )
