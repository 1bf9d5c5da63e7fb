"""A real SMTP server that keeps what it accepts, and refuses what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.controller import Controller


@dataclass
class Mailbox:
    """The server's side.

    Args:
        accepted: recipient and message, in order.
        answer_rcpt: the reply to RCPT for a recipient; empty: accept.
        answer_data: the reply to DATA; empty: accept.
        blocking_data: the same, in a thread of its own, where it may ask a database.
        lost_after_data: the mail is accepted, and the connection lost before the client hears of it.
        answer_mail: the reply to MAIL; empty: accept.
    """

    accepted: list[tuple[str, bytes]] = field(default_factory=list)
    answer_rcpt: Callable[[str], str] = lambda _: ""
    answer_data: Callable[[], str] = lambda: ""
    blocking_data: Callable[[], str] = lambda: ""
    lost_after_data: bool = False
    answer_mail: str = ""
    answer_quit: str = ""
    port: int = 0

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        del server, session, envelope
        return self.answer_quit or "221 Bye"

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        del server, session, options
        if not self.answer_mail:
            envelope.mail_from = address
        return self.answer_mail or "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        del server, session, options
        answer = self.answer_rcpt(address)
        if answer:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        del session
        answer = self.answer_data() or await asyncio.to_thread(self.blocking_data)
        if answer:
            return answer
        self.accepted.extend((recipient, envelope.content) for recipient in envelope.rcpt_tos)
        if self.lost_after_data:
            server.transport.abort()
        return "250 OK"

    @property
    def url(self) -> str:
        """For ``SIMCOURIER_EMAIL_URL``."""
        return f"smtp://127.0.0.1:{self.port}"


@contextmanager
def smtp_server(port: int) -> Iterator[Mailbox]:
    """A server on ``port`` of the loopback interface."""
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    mailbox.port = port
    try:
        yield mailbox
    finally:
        controller.stop()
