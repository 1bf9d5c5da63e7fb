"""Why a delivery does not go on, where it is not a storage service's doing."""

from __future__ import annotations


class Interrupted(Exception):
    """This worker is being stopped."""


class Undeliverable(Exception):
    """Trying again will not help; the text is a sentence for the researcher."""


class NotNow(Exception):
    """Something will pass that is nobody's failure (a root that this worker cannot see, an unhealthy definition).

    Args:
        reason: a sentence.
        seconds: when to look again.
    """

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.seconds = seconds
