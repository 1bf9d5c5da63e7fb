"""The first account of the site."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from django.contrib.auth.models import User

ADMIN = "admin"


def first_account(file: Path) -> str | None:
    """Make the account ``admin`` if the site has no administrator, its password in ``file``; returns the password.

    None: the site has administrators and ``file`` is not there (any more), so the password is theirs alone.
    """
    if not User.objects.filter(is_superuser=True).exists():
        password = secrets.token_urlsafe(12)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(password + "\n")
        User.objects.create_superuser(ADMIN, password=password)
        return password
    return file.read_text(encoding="ascii").strip() if file.is_file() else None
