"""How a mail is sent: by SMTP, or as a file for a machine without a mail server."""

from __future__ import annotations

import os
import smtplib
import socket
import ssl
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import UUID

from messaging import faults
from messaging.secrecy import hide

TEMPORARY = range(400, 500)
# For the answer to a mail, since a server that scans mails answers late: RFC 5321, section 4.5.3.2.6.
ANSWER_SECONDS = 600.0


class MailTransient(Exception):
    """The mail server did not take it now; nothing was sent."""


class MailRefused(Exception):
    """The mail server will never take it for this recipient."""


class Transport(ABC):
    """Sends one mail to one recipient."""

    @abstractmethod
    def send(self, notification_id: UUID, mail: EmailMessage, data_starts: Callable[[], None]) -> None:
        """Send it.

        Args:
            notification_id: what it is for; a mail sent again for the same one may replace the first.
            mail: From and To are taken from its headers.
            data_starts: called right before the moment after which a crash leaves it unknown whether it was sent.

        Raises:
            MailTransient: it was not sent; it may work later.
            MailRefused: it was not sent and will not be.
        """

    @abstractmethod
    def cut(self) -> None:
        """Have `send`, in another thread, wait no longer for an answer to its mail: it ends as if that were lost."""

    @abstractmethod
    def check(self) -> None:
        """See whether mails can be sent, without sending one.

        Raises:
            MailTransient: they cannot.
        """


def transport(url: str, timeout: float) -> Transport:
    """The transport that ``SIMCOURIER_EMAIL_URL`` names (see `messaging.settings`); ``timeout``: seconds per answer."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return FileTransport(Path(unquote(parts.path)))
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    # As servers may repeat it from what they were sent: RFC 4616, section 2, and the two lines of AUTH LOGIN.
    hide(password, *(b64encode(text.encode()).decode() for text in (f"\0{user}\0{password}", password) if password))
    return SmtpTransport(
        host=parts.hostname or "localhost",
        port=parts.port or {"smtp": 25, "smtp+tls": 587, "smtps": 465}[parts.scheme],
        security=parts.scheme,
        user=user,
        password=password,
        timeout=timeout,
    )


class FileTransport(Transport):
    """Writes each mail to a file named after its notification: sent again, it replaces itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, notification_id: UUID, mail: EmailMessage, data_starts: Callable[[], None]) -> None:
        """Write the mail, durably."""
        data_starts()
        faults.point("mail.data")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = self._folder / f".{notification_id}.part"
            with part.open("wb") as stream:
                stream.write(mail.as_bytes(policy=SMTP_POLICY))
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(self._folder / f"{notification_id}.eml")
        except OSError as error:
            raise MailTransient(f"The mail cannot be written to {self._folder} ({error.strerror}).") from error

    def cut(self) -> None:
        """Nothing is waited for."""

    def check(self) -> None:
        """See that the folder, or the nearest one above it that exists, can be written."""
        nearest = next(folder for folder in (self._folder, *self._folder.absolute().parents) if folder.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            raise MailTransient(f"Mails cannot be written to {self._folder}.")


class SmtpTransport(Transport):
    """Speaks SMTP (RFC 5321), a connection per mail."""

    def __init__(self, *, host: str, port: int, security: str, user: str, password: str, timeout: float) -> None:
        self._host = host
        self._port = port
        self._security = security
        self._user = user
        self._password = password
        self._timeout = timeout
        self._answering: socket.socket | None = None  # where an answer to a mail is waited for

    def __repr__(self) -> str:
        return f"SmtpTransport({self._security}://{self._host}:{self._port})"

    def send(self, notification_id: UUID, mail: EmailMessage, data_starts: Callable[[], None]) -> None:
        """Send it. An answer of 4xx, or none before DATA, is transient; 5xx refuses this mail, but for one to our name.

        Raises:
            MailTransient, MailRefused: as the contract says.
            OSError, smtplib.SMTPException: the connection was lost after DATA had begun, so nobody knows.
        """
        del notification_id
        try:
            server = self._connect()
        except (OSError, smtplib.SMTPException) as error:
            raise MailTransient(f"The mail server {self._host} cannot be used ({_short(error)}).") from error
        try:
            content = mail.as_bytes(policy=SMTP_POLICY)
            self._envelope(server, str(mail["From"].addresses[0].addr_spec), str(mail["To"].addresses[0].addr_spec))
            data_starts()
            faults.point("mail.data")
            code, answer = self._data(server, content)
            faults.point("mail.accepted")
            _expect(code, answer, "the mail")
        except ValueError as error:  # an address or a text that SMTP cannot carry
            raise MailRefused(f"The mail cannot be sent to this address ({error}).") from error
        finally:
            _goodbye(server)

    def cut(self) -> None:
        """Close the connection under it."""
        if (link := self._answering) is not None:
            with suppress(OSError):  # the answer has just come
                link.shutdown(socket.SHUT_RDWR)

    def check(self) -> None:
        """Sign in and leave."""
        try:
            server = self._connect()
            try:
                server.ehlo_or_helo_if_needed()
                _expect(*server.noop(), "NOOP")
            finally:
                _goodbye(server)
        except (OSError, smtplib.SMTPException, MailRefused) as error:
            raise MailTransient(f"The mail server {self._host} cannot be used ({_short(error)}).") from error

    def _connect(self) -> smtplib.SMTP:
        tls = ssl.create_default_context()
        if self._security == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port, timeout=self._timeout, context=tls)
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=self._timeout)
            if self._security == "smtp+tls":
                server.starttls(context=tls)
        if self._user:
            server.login(self._user, self._password)
        return server

    def _data(self, server: smtplib.SMTP, content: bytes) -> tuple[int, bytes]:
        self._answering = server.sock
        if server.sock is not None:
            server.sock.settimeout(ANSWER_SECONDS)
        try:
            return server.data(content)
        except smtplib.SMTPDataError as error:  # it said no to DATA itself, so it has nothing
            text = error.smtp_error
            return error.smtp_code, text if isinstance(text, bytes) else text.encode()
        finally:
            self._answering = None

    def _envelope(self, server: smtplib.SMTP, sender: str, recipient: str) -> None:
        try:
            server.ehlo_or_helo_if_needed()
            try:
                _expect(*server.mail(sender), f"{sender} as the sender")
            except MailRefused as error:  # no fault of the recipient's: an operator can mend it
                raise MailTransient(str(error)) from error
            _expect(*server.rcpt(recipient), "the recipient")
        except (OSError, smtplib.SMTPException) as error:
            raise MailTransient(f"The mail server {self._host} was lost ({_short(error)}).") from error


def _goodbye(server: smtplib.SMTP) -> None:
    """What a server answers to QUIT says nothing about the mail any more."""
    try:
        server.quit()
    except (OSError, smtplib.SMTPException):
        server.close()


def _expect(code: int, answer: bytes, what: str) -> None:
    if 200 <= code < 300:  # noqa: PLR2004 - a positive completion reply, RFC 5321 section 4.2.1
        return
    text = f"The mail server did not accept {what}: {code} {answer.decode(errors='replace')}"
    if code in TEMPORARY:
        raise MailTransient(text)
    raise MailRefused(text)


def _short(error: Exception) -> str:
    """What went wrong, without the server's repetition of what we sent it."""
    if isinstance(error, smtplib.SMTPResponseException):
        answer = error.smtp_error
        return f"{error.smtp_code} {answer.decode(errors='replace') if isinstance(answer, bytes) else answer}"
    return str(error) or type(error).__name__
