"""The rehearsal's mail server: real SMTP, whose answers are chosen, and which keeps what it has accepted."""

from __future__ import annotations

import email
import email.policy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller

HANG_UP = "hang up"


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that the server has accepted.

    Args:
        recipient: of the envelope.
        text: its text part.
    """

    recipient: str
    message_id: str
    text: str

    @property
    def links(self) -> tuple[str, ...]:
        """What the text leads to."""
        return tuple(line for line in self.text.splitlines() if line.startswith(("http://", "https://")))


@dataclass
class Mailbox:
    """The server's side.

    Args:
        answer_rcpt: the reply to RCPT for a recipient; empty: accept.
        answer_data: the reply once a mail is there completely; empty: accept; `HANG_UP`: keep it and hang up without a
            word, so that the client cannot know.
    """

    answer_rcpt: Callable[[str], str] = lambda _: ""
    answer_data: Callable[[], str] = lambda: ""
    refused: int = 0
    """How often it has not accepted."""
    port: int = 0
    _mails: list[Mail] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        """Called by the server."""
        del server, session, options
        answer = self.answer_rcpt(address)
        if answer:
            self.refused += 1
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Called by the server."""
        del session
        answer = self.answer_data()
        if answer and answer != HANG_UP:
            self.refused += 1
            return answer
        for recipient in envelope.rcpt_tos:
            self.keep(_mail(recipient, envelope.content))
        if answer == HANG_UP:
            self.refused += 1
            server.transport.abort()
        return "250 OK"

    def keep(self, mail: Mail) -> None:
        """Add one."""
        with self._lock:
            self._mails.append(mail)

    def since(self, number: int) -> list[Mail]:
        """What was accepted, in order, without the first ``number``."""
        with self._lock:
            return self._mails[number:]

    def __len__(self) -> int:
        with self._lock:
            return len(self._mails)

    def obliging(self) -> None:
        """Accept everything from now on."""
        self.answer_rcpt, self.answer_data = lambda _: "", lambda: ""


@contextmanager
def mail_server() -> Iterator[Mailbox]:
    """A server on a free port of the loopback interface."""
    from simcourier.installation import free_port

    mailbox = Mailbox(port=free_port())
    controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


def _mail(recipient: str, content: bytes) -> Mail:
    mail = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    body = mail.get_body(("plain",))
    return Mail(recipient, str(mail["Message-ID"]), str(body.get_content()) if body is not None else "")
