"""Signing in to the site: guessing is slowed down, by account, by address, and by both.

Counted in the ledger, so that it holds for all processes and over restarts. What was typed as a name is kept as a keyed
digest only: now and then it is a password.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any

import structlog
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.db.models import F
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac

from ledger.models import SignInTries
from ledger.requests import address_of
from ledger.work import from_now

# Tries in a span. By account alone more are allowed: else anybody could lock everybody else out.
SPAN_SECONDS = 15 * 60
MOST = {"account and address": 5, "address": 30, "account": 60}
TOO_MANY = f"Too many attempts to sign in. Wait {SPAN_SECONDS // 60} minutes and try again."

log = structlog.get_logger()


class SignInForm(AdminAuthenticationForm):
    """The admin's form. A try counts before the password is looked at, so that many at once get no more of them."""

    def clean(self) -> dict[str, Any]:
        """Sign in.

        Raises:
            ValidationError: name or password is wrong, or there were too many tries.
        """
        name = self.cleaned_data.get("username")
        if not name or not self.cleaned_data.get("password") or self.request is None:
            return super().clean()
        address = address_of(self.request)
        keys = _keys(name, address)
        full = _count(keys)
        if full:
            log.warning("sign_in.throttled", address=address, by=full)
            raise ValidationError(TOO_MANY, code="throttled")
        try:
            values = super().clean()
        except ValidationError:
            log.warning("sign_in.refused", address=address)
            raise
        _uncount(keys)
        return values


def _keys(name: str, address: str) -> Mapping[str, str]:
    who, where = name.casefold(), _network(address)
    texts = {"account and address": f"{who}\n{where}", "address": where, "account": who}
    return {kind: salted_hmac(f"sign-in {kind}", text, algorithm="sha256").hexdigest() for kind, text in texts.items()}


def _network(address: str) -> str:
    """A household has 2**64 addresses of version 6."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(int(parsed) >> 64) if isinstance(parsed, IPv6Address) else str(parsed)


def _count(keys: Mapping[str, str]) -> str:
    """Count a try under each key; which of them has had too many, if one has."""
    SignInTries.objects.filter(since__lt=from_now(-SPAN_SECONDS)).delete()
    SignInTries.objects.bulk_create([SignInTries(key=key, since=Now()) for key in keys.values()], ignore_conflicts=True)
    for kind, key in keys.items():
        if not SignInTries.objects.filter(key=key, times__lt=MOST[kind]).update(times=F("times") + 1):
            return kind
    return ""


def _uncount(keys: Mapping[str, str]) -> None:
    """Who knows the password has not guessed."""
    SignInTries.objects.filter(key=keys["account and address"]).delete()
    SignInTries.objects.filter(key__in=keys.values(), times__gt=0).update(times=F("times") - 1)
