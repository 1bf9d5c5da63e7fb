"""What can be wrong between us and the database, in sentences for the person who can mend it."""

from __future__ import annotations

import re

from django.db import InterfaceError, OperationalError, connection

from messaging.errors import UserError

# PostgreSQL gives no code for a connection that it refuses, so its words must do; those of a server that speaks another
# language count as trouble that may pass.
REFUSALS = (
    "password authentication failed",
    "no password supplied",
    "does not exist",
    "pg_hba.conf",
    "is not permitted to log in",
    "permission denied",
)


class LedgerUnavailable(UserError):
    """The database cannot be used; the text says what to do."""


class LedgerRefused(LedgerUnavailable):
    """The same, and trying again will not help before somebody has mended it."""


def unavailable(error: Exception) -> LedgerUnavailable:
    """The sentence for an error of Django's; never with the password."""
    reason = _reason(error)
    if connection.vendor == "sqlite":
        file = connection.settings_dict["NAME"]
        return LedgerRefused(f"The ledger's file {file} cannot be used: {reason}.")
    if not isinstance(error, OperationalError | InterfaceError):
        return LedgerRefused(f"The ledger at {place()} cannot be used: {reason}; check the rights of its user there.")
    if any(words in reason for words in REFUSALS):
        return LedgerRefused(
            f"The ledger at {place()} does not let us in: {reason}; check SIMCOURIER_DATABASE_URL, and the database "
            "and its user there."
        )
    return LedgerUnavailable(
        f"The ledger at {place()} cannot be reached: {reason}; check that PostgreSQL runs there, and "
        "SIMCOURIER_DATABASE_URL."
    )


def place() -> str:
    """Where a PostgreSQL ledger is, without credentials."""
    configured = connection.settings_dict
    return f"{configured['HOST'] or 'localhost'}:{configured['PORT'] or 5432}, database {configured['NAME']}"


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # libpq repeats the address before each reason.
    told = re.search(r"connection to server .*? failed: (?:FATAL: +)?(.*)", lines[0])
    return (told.group(1) if told else lines[0]).rstrip(".")
