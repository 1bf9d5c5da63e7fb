"""A text column that is encrypted at rest."""

from __future__ import annotations

import base64
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models

_PURPOSE = b"simcourier storage backend secrets v1"


class EncryptedTextField(models.TextField):
    """Text, kept as a Fernet token (https://github.com/fernet/spec) under keys derived from Django's secret keys.

    The first key encrypts; ``SECRET_KEY_FALLBACKS`` still decrypt, so that a key can be replaced by listing the old
    one there. Cannot be searched.
    """

    def get_prep_value(self, value: Any) -> Any:
        """Encrypt on the way into the database; the empty text stays empty."""
        text = super().get_prep_value(value)
        return _fernet().encrypt(text.encode()).decode("ascii") if text else text

    def from_db_value(self, value: str | None, *_: object) -> str | None:
        """Decrypt on the way out.

        Raises:
            ImproperlyConfigured: none of the keys fits.
        """
        if not value:
            return value
        try:
            return _fernet().decrypt(value.encode("ascii")).decode()
        except InvalidToken as error:
            raise ImproperlyConfigured(
                "A stored secret cannot be decrypted: SIMCOURIER_SECRET_KEY is not the one it was encrypted with; set "
                "that one, or list it in SIMCOURIER_SECRET_KEY_FALLBACKS."
            ) from error


def _fernet() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(_derive(key)) for key in keys])


def _derive(key: str | bytes) -> bytes:
    secret = key.encode() if isinstance(key, str) else key
    return base64.urlsafe_b64encode(HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret))
