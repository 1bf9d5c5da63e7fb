"""What a mail says: text and HTML of a notification."""

from __future__ import annotations

from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from consumer.report.digits import with_unit
from ledger.api import NEXT_STEP_AFTER_FAILURE, Compared, DeliveryNotice, Kind, Notice, OperatorNotice

SUBJECTS = {
    (Kind.DELIVERED, "succeeded"): "Results ready: {title}",
    (Kind.DELIVERED, "failed"): "Simulation failed: {title}",
    (Kind.DELIVERED, "aborted"): "Simulation aborted: {title}",
}
FAILED_SUBJECT = "Results not delivered: {title}"
WARNINGS_SHOWN = 20


class Renderer:
    """Renders notifications.

    Args:
        sender: address that the mails come from.
    """

    def __init__(self, sender: str) -> None:
        self._sender = sender
        self._templates = Environment(
            loader=PackageLoader("consumer.mail"),
            autoescape=select_autoescape(enabled_extensions=("html.j2",)),
            undefined=StrictUndefined,
            keep_trailing_newline=True,
        )

    def render(self, notice: Notice, now: datetime) -> EmailMessage:
        """The mail; the same notice gives the same Message-ID, so that a mail sent twice can be told as one.

        Raises:
            ValueError, MessageError: the recipient's address, or a text, cannot be put into a mail.
        """
        mail = EmailMessage()
        mail["From"] = _address(self._sender)
        mail["To"] = Address(addr_spec=notice.recipient)
        mail["Date"] = format_datetime(now)
        mail["Message-ID"] = f"<{notice.id}@{parseaddr(self._sender)[1].rpartition('@')[2] or 'simcourier'}>"
        mail["Auto-Submitted"] = "auto-generated"
        match notice:
            case DeliveryNotice():
                values = _about_delivery(notice)
            case OperatorNotice():
                values = {"subject": f"SimCourier: {notice.about}", "text": notice.text, "log_tail": ""}
            case _:
                raise TypeError(notice)
        mail["Subject"] = values["subject"]
        mail.set_content(self._templates.get_template(f"{notice.kind}.txt.j2").render(values))
        mail.add_alternative(self._templates.get_template(f"{notice.kind}.html.j2").render(values), subtype="html")
        return mail


def _about_delivery(notice: DeliveryNotice) -> dict[str, Any]:
    event = notice.event
    title = event.title or event.simulation_id
    subject = SUBJECTS.get((notice.kind, event.outcome), FAILED_SUBJECT).format(title=title)
    return {
        "archive": notice.archive_name,
        "delivery_id": notice.delivery_id,
        "exit": f" (exit code {event.exit_code})" if event.exit_code is not None else "",
        "link": notice.link,
        "log_tail": event.log_tail.strip() if event.outcome != "succeeded" or notice.kind == Kind.FAILED else "",
        "next_step": NEXT_STEP_AFTER_FAILURE,
        "outcome": event.outcome.value,
        "reason": notice.reason,
        "sha256": notice.archive_sha256,
        "simulation_id": event.simulation_id,
        "size": readable_size(notice.archive_size),
        "subject": subject,
        "title": title,
        "until": _until(notice),
        "notes": _shortened(notice.notes),
        "statistics": [_compared(one) for one in notice.statistics],
        "warnings": _shortened(notice.warnings),
    }


def readable_size(size: int) -> str:
    """A size for people, in the binary units of IEC 80000-13."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:  # noqa: PLR2004
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def _until(notice: DeliveryNotice) -> str:
    """Until when, in words: the promised date, or the service's earlier one."""
    promised = notice.keep_until
    ends = notice.link_expires.astimezone(UTC) if notice.link_expires else None
    if ends is not None and (promised is None or ends.date() < promised):
        return f"until {ends:%d %B %Y, %H:%M} UTC"
    return f"until {promised:%d %B %Y}" if promised else "without an end date"


def _compared(one: Compared) -> dict[str, str]:
    """A key statistic, and what the same study's earlier runs had."""
    if not one.runs:
        earlier = ""
    elif one.runs == 1:
        earlier = f"the run before: {with_unit(one.mean, one.unit)}"
    else:
        low, mean, high = (with_unit(value, one.unit) for value in (one.low, one.mean, one.high))
        earlier = f"{one.runs} earlier runs: {low} to {high}, mean {mean}"
    return {"label": one.label, "value": one.value, "earlier": earlier}


def _shortened(warnings: tuple[str, ...]) -> list[str]:
    if len(warnings) <= WARNINGS_SHOWN:
        return list(warnings)
    return [*warnings[:WARNINGS_SHOWN], f"and {len(warnings) - WARNINGS_SHOWN} more"]


def _address(text: str) -> Address:
    name, spec = parseaddr(text)
    return Address(display_name=name, addr_spec=spec)
