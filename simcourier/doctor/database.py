"""The ledger: the key, the database, its tables and its clock, and what is written in it. Needs Django."""

from __future__ import annotations

import stat
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Sum

from ledger import setup
from ledger.errors import LedgerRefused, place, unavailable
from messaging.settings import Settings
from simcourier.doctor.findings import Finding, Mark

if TYPE_CHECKING:
    from ledger.api import Definition

PATIENCE_SECONDS = 5
MOST_SKEW = timedelta(seconds=5)
MAIL_DAYS = 7


def start(settings: Settings) -> Iterator[Finding]:
    """Look at the secret key, and start Django where something is there to be read with it. Yields once.

    Raises:
        WrongSetting: there is no key, or it is too short.
    """
    kept = settings.data_dir / "secret-key"
    name = "secret key"
    if settings.secret_key is not None or not settings.embedded_ledger:
        setup(settings, patience=PATIENCE_SECONDS)
        yield Finding(name, Mark.OK, "Set.")
    elif kept.exists():
        setup(settings, patience=PATIENCE_SECONDS)
        yield Finding(name, Mark.OK, f"{kept}; keep a copy with every backup.")
    elif ledger_file(settings).exists():
        yield Finding(
            name,
            Mark.TROUBLE,
            f"{kept} is missing, and the ledger's definitions are encrypted with it.",
            "Put it back from a backup before anything is started; without it, a new one is made, and the token and "
            "config of every definition must be entered again.",
        )
    else:
        yield Finding(name, Mark.OK, "It is made on the first start.")


def ledger_file(settings: Settings) -> Path:
    """The file of an embedded ledger."""
    return Path(unquote(settings.database_url.get_secret_value().removeprefix("sqlite:///")))


def database(settings: Settings, found: list[Definition]) -> Iterator[Finding]:
    """Everything about the database; definitions that can be read are put into ``found``."""
    if settings.embedded_ledger and not ledger_file(settings).exists():
        yield Finding("database", Mark.OK, "The embedded ledger is made on the first start.")
        return
    try:
        yield from _reachable()
        readable = yield from _tables()
        if readable:
            yield from _users()
            yield from _definitions(found)
            yield _dead_letters()
            yield _mails()
    except (DatabaseError, InterfaceError) as error:
        yield Finding("database", Mark.TROUBLE, str(unavailable(error)))
    finally:
        connection.close()


def _reachable() -> Iterator[Finding]:
    if connection.vendor == "sqlite":
        file = Path(connection.settings_dict["NAME"])
        connection.ensure_connection()
        yield Finding("database", Mark.OK, f"SQLite, {file}.")
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            yield Finding(
                "database", Mark.WARNING, f"Other users may open {file}.", "The next start of any role closes it."
            )
        return
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
        cursor.execute(f"SET statement_timeout = '{PATIENCE_SECONDS}s'")
        cursor.execute("SHOW server_version")
        (version,) = cursor.fetchone()
        before = datetime.now(UTC)
        cursor.execute("SELECT clock_timestamp()")
        (there,) = cursor.fetchone()
        after = datetime.now(UTC)
    yield Finding("database", Mark.OK, f"PostgreSQL {version} at {place()}.")
    skew = max(before - there, there - after, timedelta())
    if skew > MOST_SKEW:
        yield Finding(
            "clocks",
            Mark.WARNING,
            f"This machine's clock and the database's differ by {skew.total_seconds():.0f} s.",
            "Let both machines set their clocks over the network (NTP): the dates in mails and links depend on them.",
        )
    else:
        yield Finding("clocks", Mark.OK, "This machine's clock agrees with the database's.")


def _tables() -> Generator[Finding, None, bool]:
    """Returns whether they can be read."""
    from ledger.tables import unapplied, users

    name = "tables"
    try:
        waiting = unapplied()
    except LedgerRefused as error:
        yield Finding(name, Mark.TROUBLE, str(error))
        return False
    if not waiting:
        yield Finding(name, Mark.OK, "Up to date.")
        return True
    if not connection.introspection.table_names():
        yield Finding(name, Mark.OK, "There are none yet; the first process that starts makes them.")
        return False
    using = ", ".join(sorted(users()))
    yield Finding(
        name,
        Mark.WARNING,
        "They are those of an older SimCourier than this one.",
        "The first process of this one that starts updates them"
        + (f", once these are stopped, which use them: {using}." if using else "; make a backup before."),
    )
    return False


def _users() -> Iterator[Finding]:
    from ledger.tables import users

    using = sorted(users())
    if using:
        yield Finding("processes", Mark.OK, ", ".join(using))
    else:
        yield Finding(
            "processes",
            Mark.NOTE,
            "Nothing runs on this ledger.",
            "Start 'simcourier up', or worker, email-sender and web.",
        )


def _definitions(found: list[Definition]) -> Iterator[Finding]:
    from ledger.api import definition
    from ledger.models import StorageBackend

    closed: list[str] = []
    for identifier in StorageBackend.objects.values_list("storage_backend_id", flat=True):
        try:
            found.append(definition(identifier))
        except ImproperlyConfigured:
            closed.append(identifier)
    if closed:
        yield Finding(
            "definitions",
            Mark.TROUBLE,
            f"The secret key does not decrypt {', '.join(closed)}.",
            "Set SIMCOURIER_SECRET_KEY to the one that was used when they were entered.",
        )
    elif found:
        yield Finding("definitions", Mark.OK, f"{len(found)}, and the secret key decrypts them.")
    if not any(one.active for one in found):
        yield Finding(
            "definitions",
            Mark.WARNING,
            "No storage backend is active, so nothing can be stored.",
            "Add one in the admin, or with 'simcourier backends add'; 'simcourier up' makes one.",
        )


def _dead_letters() -> Finding:
    from ledger.dead_letters import OPEN
    from ledger.models import DeadLetter

    count = DeadLetter.objects.filter(OPEN).count()
    if not count:
        return Finding("dead letters", Mark.OK, "None.")
    return Finding(
        "dead letters",
        Mark.WARNING,
        f"{count} {'message' if count == 1 else 'messages'} could not be understood.",
        "Run 'simcourier dead list'; mend the cause, then 'simcourier dead replay', or 'simcourier dead discard'.",
    )


def _mails() -> Finding:
    from ledger.models import Notification
    from ledger.operators import STARTED_AGAIN
    from ledger.states import NoticeState
    from ledger.work import from_now

    lately = Notification.objects.filter(created_at__gt=from_now(-MAIL_DAYS * 86400.0), digest=None)
    failed = lately.filter(state=NoticeState.FAILED).exclude(reason=STARTED_AGAIN).count()
    waiting = lately.filter(state=NoticeState.PENDING, attempts__gt=0).count()
    again = lately.aggregate(times=Sum("uncertain"))["times"] or 0
    told = (
        f"Of the last {MAIL_DAYS} days, {failed} could not be sent and {waiting} were not taken yet; sent again "
        f"without knowing whether it had arrived: {again}."
    )
    if not failed and not waiting:
        return Finding("mails", Mark.OK, told)
    return Finding(
        "mails", Mark.WARNING, told, "The admin (Notifications) and 'simcourier where ID' show the mail server's words."
    )
