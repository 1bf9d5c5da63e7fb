"""The first account of the site."""

from __future__ import annotations

import os
import secrets
import shlex
from pathlib import Path

from django.contrib.auth.models import User

ADMIN = "admin"


def first_account(file: Path) -> str:
    """Make the account ``admin`` if the site has no administrator, its password in ``file``; how to sign in, in words.

    The password itself is told once, when it is made: what a service prints at each start ends in some log.
    """
    there = User.objects.filter(is_superuser=True).order_by("pk")
    if not there:
        password = secrets.token_urlsafe(12)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(password + "\n")
        User.objects.create_superuser(ADMIN, password=password)
        return f"{ADMIN}, password {password}"
    for user in there:
        if user.username == ADMIN and file.is_file() and user.check_password(file.read_text(encoding="utf-8").strip()):
            return f"{ADMIN}, password in {file}"
    name = there[0].username
    return f"{name}; to give it another password: simcourier manage changepassword {shlex.quote(name)}"
