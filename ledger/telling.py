"""What operators are told of: what only they can mend, and what nobody else hears of. Never in a storm of mails."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from uuid import UUID

from django.db.models import F, TextField, Value
from django.db.models.functions import Concat, Now

from ledger.models import DeadLetter, Notification
from ledger.states import Kind, NoticeState
from ledger.work import from_now, unit_of_work

# A service that comes and goes is told once in a while.
QUIET_SECONDS = 6 * 3600.0
# Of several things of one sort the first is told at once, and what follows within this time in one more mail.
GATHER_SECONDS = 3600.0
LONGEST_TEXT = 20_000
LONGEST_REASON = 500

MAILS = "mails that could not be sent"
LETTERS = "messages that were set aside"
_HEADS = {
    MAILS: (
        "The mail server did not take these mails, and they are not tried again: their recipients do not know how the "
        "delivery ended. Once the cause is mended, send them again by the commands below; where an address is wrong, "
        "put the right one into the command."
    ),
    LETTERS: (
        "These messages were published, and no consumer could make use of them, so nothing was done for them. They "
        "are kept as they came. Look at each, then publish the results anew or send the message back (replay), or let "
        "it go (discard)."
    ),
}
_MORE = {
    MAILS: 'There are more: the admin lists them all under Mails, by the state "failed".',
    LETTERS: "There are more:\n\n    simcourier dead list",
}


@unit_of_work
def notify_operator(about: str, text: str, recipient: str) -> bool:
    """Owe an operator a mail, unless one that says the same was made in the last hours; the sweep sends it off."""
    recent = Notification.objects.filter(
        kind=Kind.OPERATOR, about=about, text=text, created_at__gt=from_now(-QUIET_SECONDS)
    )
    if not recipient or recent.exists():
        return False
    _owe(about, text, recipient, 0.0)
    return True


def tell_of_mail(entry: str, operator: str) -> None:
    """Tell an operator that a mail will never be sent; `mail_entry` makes the words."""
    _tell(MAILS, entry, operator)


def tell_of_letter(letter: DeadLetter, operator: str) -> None:
    """Tell an operator that a message was set aside."""
    _tell(LETTERS, letter_entry(letter.pk, letter.queue, letter.publisher, letter.reason), operator)


def mail_entry(recipient: str, what: str, reason: str, deliveries: Sequence[UUID], runs: int) -> str:
    """Of a mail that will never be sent.

    Args:
        what: which mail.
        reason: why, as a mail server may have said it.
        deliveries: what it was about, or the first of them.
        runs: how many of them there are.
    """
    of = f"delivery {deliveries[0]}" if runs == 1 and deliveries else f"{runs} runs of a campaign"
    commands = "\n".join(f"    simcourier deliveries resend {one} --to {shlex.quote(recipient)}" for one in deliveries)
    rest = f"\n    # and {runs - len(deliveries)} more" if runs > len(deliveries) else ""
    return f"To {recipient}, {what}, of {of}: {_line(reason)}\n\n{commands}{rest}"


def letter_entry(number: int, queue: str, publisher: str, reason: str) -> str:
    """Of a message that was set aside."""
    where = f" from the queue {_line(queue)}" if queue else ""
    who = f", published by {_line(publisher)}" if publisher else ""
    return f"Number {number}{where}{who}: {_line(reason)}\n\n    simcourier dead show {number}"


def text_of(about: str, *entries: str) -> str:
    """What a mail says about some of `MAILS` or `LETTERS`."""
    return "\n\n".join([_HEADS[about], *entries])


def _tell(about: str, entry: str, operator: str) -> None:
    """Put an entry into the mail about such things that has not gone out yet, or owe another one."""
    if not operator:
        return
    last = Notification.objects.filter(kind=Kind.OPERATOR, about=about, recipient=operator).order_by("-created_at")
    newest = last.values_list("id", "state", "fence", "text").first()
    if newest and newest[1] == NoticeState.PENDING:
        number, _, fence, text = newest
        if text.endswith(_MORE[about]):
            return
        more = entry if len(text) + len(entry) < LONGEST_TEXT else _MORE[about]
        waiting = Notification.objects.filter(id=number, state=NoticeState.PENDING, fence=fence)
        if waiting.update(text=Concat(F("text"), Value(f"\n\n{more}"), output_field=TextField())):
            return
    soon = last.filter(created_at__gt=from_now(-GATHER_SECONDS)).exists()
    _owe(about, text_of(about, entry), operator, GATHER_SECONDS if soon else 0.0)


def _owe(about: str, text: str, recipient: str, delay: float) -> None:
    when = from_now(delay) if delay else Now()
    Notification.objects.create(
        kind=Kind.OPERATOR,
        about=about,
        text=text,
        recipient=recipient,
        created_at=Now(),
        due_at=when,
        wake_at=when,
        wake_seconds=60.0,
    )


def _line(text: str) -> str:
    """In one line: what a stranger wrote can not look like a command of ours."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]} ..."
