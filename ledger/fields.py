"""A text column that is encrypted at rest, and what a text must be to be stored at all."""

from __future__ import annotations

import base64
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import models

DUMPED = "encrypted:"  # stands before the Fernet token in what `dumpdata` writes
_PURPOSE = b"simcourier storage backend secrets v1"


def storable(text: str) -> None:
    """Both databases take it.

    Raises:
        ValidationError: it holds a NUL character or half of a surrogate pair.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValidationError("NUL characters and halves of surrogate pairs cannot be stored.")


def one_line(text: str) -> None:
    """It can stand in a heading.

    Raises:
        ValidationError: it holds a line break or another control character.
    """
    if not text.isprintable():
        raise ValidationError("One line without control characters is expected.")


class EncryptedTextField(models.TextField):
    """Text, kept as a Fernet token (https://github.com/fernet/spec) under keys derived from Django's secret keys.

    The first key encrypts; ``SECRET_KEY_FALLBACKS`` still decrypt, so that a key can be replaced by listing the old
    one there. In somebody else's site ``SIMCOURIER_SECRET_KEY`` and ``SIMCOURIER_SECRET_KEY_FALLBACKS`` come before
    the site's own, which our processes need not know. Cannot be searched.
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
        return _decrypted(value) if value else value

    def value_to_string(self, obj: models.Model) -> str:
        """What ``dumpdata`` writes: encrypted, as in the database."""
        secret = self.get_prep_value(self.value_from_object(obj))
        return f"{DUMPED}{secret}" if secret else ""

    def to_python(self, value: Any) -> Any:
        """What ``loaddata`` reads, and a form: the encrypted text of a dump becomes plain again.

        Raises:
            ImproperlyConfigured: none of the keys fits the dump.
        """
        text = super().to_python(value)
        return _decrypted(text.removeprefix(DUMPED)) if isinstance(text, str) and text.startswith(DUMPED) else text

    def clean(self, value: Any, model_instance: models.Model | None) -> Any:
        """What somebody has typed.

        Raises:
            ValidationError: it cannot be stored, or looks like a dump that none of the keys fits.
        """
        try:
            return super().clean(value, model_instance)
        except ImproperlyConfigured as error:
            raise ValidationError(
                f"What begins with '{DUMPED}' comes from a dump; this one was encrypted with another secret key."
            ) from error


def _decrypted(token: str) -> str:
    try:
        return _fernet().decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise ImproperlyConfigured(
            "A stored secret cannot be decrypted: SIMCOURIER_SECRET_KEY is not the one it was encrypted with; set "
            "that one, or list it in SIMCOURIER_SECRET_KEY_FALLBACKS."
        ) from error


def _fernet() -> MultiFernet:
    own = getattr(settings, "SIMCOURIER_SECRET_KEY", None)
    if own:
        keys = [own, *getattr(settings, "SIMCOURIER_SECRET_KEY_FALLBACKS", [])]
    else:
        keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(_derive(key)) for key in keys])


def _derive(key: str | bytes) -> bytes:
    secret = key.encode() if isinstance(key, str) else key
    return base64.urlsafe_b64encode(HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret))
