"""What becomes of a delivery after a try: one pure function."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from backends.errors import PermanentError, Superseded, TransientError
from consumer.errors import Interrupted, NotNow, Undeliverable

HOUR = 3600.0
DAY = 24 * HOUR
CRASH_LIMIT = 5
FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True)
class Attempt:
    """The try that has just ended.

    Args:
        number: counted failures before it.
        failing_seconds: since when it has been failing in a row; 0: this is the first failure.
        trouble_seconds: since when it has been failing or waiting for whatever reason.
    """

    number: int
    failing_seconds: float
    trouble_seconds: float


@dataclass(frozen=True, slots=True)
class Policy:
    """How long is waited between tries, and until when (https://aws.amazon.com/builders-library, full jitter).

    Args:
        first: seconds before the second try.
        longest: seconds at most between two tries.
        patience: seconds for which failures are tried again; over a day, so that nobody has to get up at night.
        limit: seconds after which also what waits uncounted has failed.
        random: a number in [0, 1).
    """

    first: float = 5.0
    longest: float = HOUR
    patience: float = 26 * HOUR
    limit: float = 14 * DAY
    random: Callable[[], float] = field(default=random.random)

    def delay(self, attempt: Attempt) -> float:
        """Seconds until the next try: doubling, between half and the whole of it."""
        ceiling = min(self.longest, self.first * 2.0 ** min(attempt.number, 30))
        return ceiling * (0.5 + self.random() / 2)


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Another worker goes on; not counted."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """Somebody else has taken over; write nothing."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Try again in ``delay`` seconds."""

    delay: float
    reason: str
    counted: bool


@dataclass(frozen=True, slots=True)
class Fail:
    """It has failed; a person is told."""

    reason: str


Verdict = GiveBack | Abandon | Wait | Fail


def decide(error: BaseException, attempt: Attempt, policy: Policy) -> Verdict:
    """What is to be done after ``error``."""
    match error:
        case Interrupted():
            return GiveBack()
        case Superseded():
            return Abandon()
        case Undeliverable():
            return Fail(str(error))
        case PermanentError(scope="item"):
            return Fail(error.reason)
        case NotNow() if attempt.trouble_seconds < policy.limit:
            return Wait(error.seconds, str(error), counted=False)
        case NotNow():
            return Fail(f"{error} It has been waiting for {_days(attempt.trouble_seconds)}.")
        case _ if attempt.failing_seconds < policy.patience:
            asked = error.retry_after if isinstance(error, TransientError) else None
            # A service may ask for a long time, but not for more than what is left to wait at all.
            delay = min(max(asked or 0.0, policy.delay(attempt)), DAY)
            return Wait(delay, sentence(error), counted=True)
        case _:
            return Fail(f"It was tried for {_days(attempt.failing_seconds)} without success. Last: {sentence(error)}")


def is_ours(error: BaseException) -> bool:
    """True for an error that nothing here expects: our own bug, to be logged as one."""
    return not isinstance(
        error, TransientError | PermanentError | Superseded | Interrupted | Undeliverable | NotNow | OSError
    )


def sentence(error: BaseException) -> str:
    """The error for a researcher: a sentence, without the names of our classes."""
    match error:
        case TransientError() | PermanentError():
            return error.reason
        case OSError(errno=int() as code) if code in FULL:
            return "The worker's disk is full."
        case OSError():
            return f"{error.strerror or 'Reading or writing failed'}{f': {error.filename}' if error.filename else ''}."
        case _:
            return "An error inside SimCourier; the operator finds it in the worker's log."


def _days(seconds: float) -> str:
    return f"{seconds / DAY:.0f} days" if seconds >= 2 * DAY else f"{seconds / HOUR:.0f} hours"
