"""What a mail says: text and HTML of a notification.

The HTML is tables with their styles inline, and a plot that travels with the mail: what mail clients agree on. It asks
nobody for anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Any

from css_inline import CSSInliner
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from consumer.mail import attachment, words
from consumer.mail.digest import digest, reminder
from ledger.api import (
    NEXT_STEP_AFTER_FAILURE,
    DeliveryNotice,
    DigestNotice,
    Drawn,
    Kind,
    Notice,
    OperatorNotice,
    until_when,
)
from messaging.amounts import file_size
from messaging.digits import count
from messaging.mailboxes import one_form, why_not

SUBJECTS = {
    (Kind.DELIVERED, "succeeded"): "Results ready: {title}",
    (Kind.DELIVERED, "failed"): "Simulation failed: {title}",
    (Kind.DELIVERED, "aborted"): "Simulation aborted: {title}",
}
FAILED_SUBJECT = "Results not delivered: {title}"
REMINDER_SUBJECT = "Available {until}: {title}"
WARNINGS_SHOWN = 20


class NoAddress(Exception):
    """The recipient's address cannot be put into a mail."""


class Renderer:
    """Renders notifications.

    Args:
        sender: address that the mails come from.
        site: address of the site; empty: mails name no page.
        keep_longer_days: until how many days after its end a delivery's page lets its archive be kept.
    """

    def __init__(self, sender: str, site: str = "", *, keep_longer_days: int = 90) -> None:
        self._sender = sender
        self._site = site
        self._keep_longer = timedelta(days=keep_longer_days)
        self._templates = Environment(
            loader=PackageLoader("consumer.mail"),
            autoescape=select_autoescape(enabled_extensions=("html.j2",)),
            undefined=StrictUndefined,
            keep_trailing_newline=True,
        )
        self._templates.filters["breakable"] = words.breakable
        loader = self._templates.loader
        assert loader is not None
        styles = loader.get_source(self._templates, "mail.css")[0]
        self._inliner = CSSInliner(extra_css=styles, load_remote_stylesheets=False)

    def render(self, notice: Notice, now: datetime) -> EmailMessage:
        """The mail; the same notice gives the same Message-ID, so that a mail sent twice can be told as one.

        Raises:
            NoAddress: the recipient's address cannot be put into a mail.
        """
        mail = EmailMessage()
        domain = parseaddr(self._sender)[1].rpartition("@")[2] or "simcourier"
        mail["From"] = _address(self._sender)
        recipient = one_form(notice.recipient)
        if why := why_not(recipient):
            raise NoAddress(why)
        try:
            mail["To"] = Address(addr_spec=recipient)
        except (ValueError, MessageError) as error:
            raise NoAddress("it is none that mail servers take, such as anna@example.org") from error
        mail["Date"] = format_datetime(now)
        mail["Message-ID"] = f"<{notice.id}@{domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        picture: Drawn | None = None
        template = str(notice.kind)
        match notice:
            case DeliveryNotice():
                values = self._about_delivery(notice)
                picture = notice.picture if notice.kind == Kind.DELIVERED else None
            case DigestNotice() if notice.kind == Kind.REMINDER:
                values, template = reminder(notice, self._site), "reminders"
            case DigestNotice():
                values = digest(notice, self._site)
            case OperatorNotice():
                values = _to_operator(notice)
            case _:
                raise TypeError(notice)
        values |= {"picture": picture, "picture_id": f"plot.{notice.id}@{domain}"}
        mail["Subject"] = _literal(values["subject"])
        mail.set_content(self._templates.get_template(f"{template}.txt.j2").render(values))
        html = self._inliner.inline(self._templates.get_template(f"{template}.html.j2").render(values))
        mail.add_alternative(html, subtype="html")
        if picture is not None:
            _embed(mail, picture.png, values["picture_id"])
        if isinstance(notice, DigestNotice):
            runs = attachment.runs_csv(notice.outcomes, self._site)
            mail.add_attachment(
                runs, maintype="text", subtype="csv", filename=attachment.NAME, params={"charset": "utf-8"}
            )
        return mail

    def _about_delivery(self, notice: DeliveryNotice) -> dict[str, Any]:
        event = notice.event
        title = event.title or event.simulation_id
        until = until_when(notice.keep_until, notice.link_expires)
        subject = REMINDER_SUBJECT if notice.kind == Kind.REMINDER else FAILED_SUBJECT
        subject = SUBJECTS.get((notice.kind, event.outcome), subject).format(title=title, until=until)
        outcome = _outcome(notice)
        at_a_glance = [outcome.kicker, *(f"{one.label}: {one.value}" for one in notice.statistics[:3])]
        return {
            "archive": notice.archive_name,
            "delivery_id": notice.delivery_id,
            "exit": words.exit_code(event),
            "glance": ". ".join(at_a_glance if notice.kind != Kind.FAILED else [outcome.kicker, notice.reason]),
            "inside": words.inside(notice.contents, numbers=bool(notice.statistics)),
            "kicker": outcome.kicker,
            "link": notice.link,
            "log_tail": event.log_tail.strip() if outcome.with_log else "",
            "next_step": NEXT_STEP_AFTER_FAILURE,
            "notes": _shortened(notice.notes),
            "outcome": event.outcome.value,
            "page": f"{self._site}{notice.page}" if self._site and notice.page else "",
            "page_offers": self._page_offers(notice),
            "ran": words.ran(event),
            "reason": notice.reason,
            "sha256": notice.archive_sha256,
            "simulation_id": event.simulation_id,
            "size": file_size(notice.archive_size),
            "stage": words.STAGES.get(notice.stage, ""),
            "statistics": notice.statistics,
            "subject": subject,
            "title": title,
            "tone": outcome.tone,
            "until": until,
            "warnings": _shortened(notice.warnings),
        }

    def _page_offers(self, notice: DeliveryNotice) -> str:
        offers = ["shows each step with its time"]
        bound = (notice.ended_at + self._keep_longer).date() if notice.ended_at else date.min
        if notice.kind != Kind.FAILED and notice.keep_until and notice.keep_until < bound:
            offers.append("keeps the file longer")
        if notice.kind != Kind.REMINDER:
            offers.append("sends this mail again")
        return " and ".join(filter(None, [", ".join(offers[:-1]), offers[-1]]))


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What the first line says; ``tone`` is good, warn or bad."""

    kicker: str
    tone: str
    with_log: bool


def _outcome(notice: DeliveryNotice) -> _Outcome:
    event = notice.event
    if notice.kind == Kind.REMINDER:
        return _Outcome("About to be removed", "warn", with_log=False)
    if notice.kind == Kind.FAILED:
        return _Outcome("Results could not be delivered", "bad", with_log=True)
    if event.outcome != "succeeded":
        how = "was aborted" if event.outcome == "aborted" else "failed"
        return _Outcome(f"Simulation {how}{words.exit_code(event)}", "bad", with_log=True)
    known = [count(len(notice.notes), "thing") + " to know"] if notice.notes else []
    known += [count(len(notice.warnings), "file") + " left out"] if notice.warnings else []
    return _Outcome(", ".join(["Simulation succeeded", *known]), "warn" if known else "good", with_log=False)


def _to_operator(notice: OperatorNotice) -> dict[str, Any]:
    return {
        "about": notice.about,
        "blocks": words.blocks(notice.text),
        "glance": notice.text.partition("\n")[0],
        "kicker": "For the operator",
        "log_tail": "",
        "page": "",
        "subject": f"SimCourier: {notice.about}",
        "text": notice.text,
        "tone": "warn",
    }


def _embed(mail: EmailMessage, png: bytes, picture_id: str) -> None:
    """Put the picture beside the HTML, which names it by its id."""
    html = mail.get_body(("html",))
    assert isinstance(html, EmailMessage)
    html.add_related(
        png, maintype="image", subtype="png", cid=f"<{picture_id}>", filename="plot.png", disposition="inline"
    )


def _shortened(warnings: tuple[str, ...]) -> list[str]:
    if len(warnings) <= WARNINGS_SHOWN:
        return list(warnings)
    return [*warnings[:WARNINGS_SHOWN], f"and {len(warnings) - WARNINGS_SHOWN} more"]


def _literal(text: str) -> str:
    """A text for a header in which nothing is an encoded word (RFC 2047), which may hold line ends: other headers."""
    return text.replace("=?", "=\u200b?")


def _address(text: str) -> Address:
    name, spec = parseaddr(text)
    return Address(display_name=name, addr_spec=spec)
