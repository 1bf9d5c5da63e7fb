"""Cells of the admin's lists: a state with its colour, a time and a reason that are short and tell more when asked."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join

from ledger.models import Delivery, Notification
from ledger.simulation import HOW, simulation_of, why
from ledger.states import NoticeState, State

GOOD, BAD, LATER = "good", "bad", "later"
TONES = {
    State.DELIVERED: GOOD,
    State.FAILED: BAD,
    State.WAITING: LATER,
    NoticeState.SENT: GOOD,
    NoticeState.FAILED: BAD,
}
NOTHING = "-"
UNCERTAIN = "sent again, not knowing whether it had arrived"


def badge(words: str, tone: str = "") -> str:
    """A few words with a colour."""
    return format_html('<span class="badge {}">{}</span>', tone, words)


def state(delivery: Delivery) -> str:
    """Where it is, whether its simulation went well, and, on a phone, the time and the reason too."""
    at = State(delivery.state)
    badges = [badge(at.label, TONES.get(at, ""))]
    simulation = simulation_of(delivery)
    if simulation and simulation.told:
        badges.append(badge(f"simulation {HOW[simulation.outcome]}", BAD))
    doing = delivery.stage if at in {State.WORKING, State.WAITING, State.FAILED} else ""
    return format_html(
        '{}{}<div class="on-phone">{}{}</div>',
        format_html_join(" ", "{}", ((one,) for one in badges)),
        quiet(doing),
        moment(delivery.received_at),
        clamped(delivery.reason) if delivery.reason else "",
    )


def mail_state(mail: Notification) -> str:
    """Where a mail is, and, on a phone, the time and the reason too."""
    at = NoticeState(mail.state)
    return format_html(
        '{}{}<div class="on-phone">{}, {}{}</div>',
        badge(at.label, TONES.get(at, "")),
        quiet(UNCERTAIN if mail.uncertain else ""),
        mail.get_kind_display(),
        moment(mail.sent_at or mail.created_at),
        clamped(mail.reason) if mail.reason else "",
    )


def reason(delivery: Delivery) -> str:
    """What went wrong, in two lines; all of it where the mouse rests."""
    return clamped(why(delivery))


def quiet(text: str) -> str:
    """A line of less weight."""
    return format_html('<div class="quiet">{}</div>', text) if text else ""


def clamped(text: str) -> str:
    """A text of which a list shows two lines."""
    return format_html('<div class="two-lines" title="{}">{}</div>', text, text) if text else NOTHING


def moment(at: datetime | None) -> str:
    """Day and time, with the year only of another one."""
    if at is None:
        return NOTHING
    short = "j M H:i" if at.year == timezone.now().year else "j M Y"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.isoformat(),
        date_format(at, "DATETIME_FORMAT"),
        date_format(at, short),
    )
