"""What a plugin may raise: an error says what to do about it, not where it came from."""

from __future__ import annotations

from typing import Literal

Scope = Literal["item", "backend"]


class BackendError(Exception):
    """Root of what plugins raise; the text is a sentence that may be shown, so it never holds a secret."""


class TransientError(BackendError):
    """It may work later.

    Args:
        reason: one sentence.
        retry_after: seconds the service asked us to wait, where it did.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class PermanentError(BackendError):
    """It will not work by trying again.

    Args:
        reason: one sentence.
        scope: ``item``, this archive cannot be stored; ``backend``, nothing can be stored with this definition
            until somebody mends it (bad token, full account, library gone).
    """

    def __init__(self, reason: str, scope: Scope = "item") -> None:
        super().__init__(reason)
        self.reason = reason
        self.scope = scope


def unexpected(error: Exception) -> TransientError:
    """What a plugin raised that is no error of the contract; its type alone is shown: its text may hold secrets."""
    return TransientError(f"The storage service, or its plugin, did something unexpected ({type(error).__name__}).")


class Superseded(Exception):
    """Raised by `Progress`: another worker has taken over; stop at once and commit nothing."""
