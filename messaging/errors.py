"""The root of all errors that a user is meant to read."""

from __future__ import annotations


class UserError(Exception):
    """Its text is one sentence that says what to do; the command line prints it and exits with `exit_code`."""

    exit_code = 1
