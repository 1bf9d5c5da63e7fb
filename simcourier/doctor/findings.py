"""What a check has found, and checks that run side by side, none for longer than it may."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from messaging.errors import UserError


class Mark(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    """Neither good nor bad, or not to be told from here."""
    WARNING = "warning"
    TROUBLE = "trouble"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line.

    Args:
        check: what was looked at.
        mark: how bad it is.
        text: what was seen; never a secret.
        next: what to do; empty where it is well, or the text says so already.
    """

    check: str
    mark: Mark
    text: str
    next: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at.

    Args:
        name: of its findings, should it end without one of its own.
        run: yields findings as it goes.
        seconds: how long it may take.
    """

    name: str
    run: Callable[[], Iterable[Finding]]
    seconds: float = 15.0


def examine(checks: Sequence[Check]) -> list[Finding]:
    """Run all checks at once, and return what they found in the order of the checks."""
    begun = time.monotonic()
    running = [(check, *_start(check)) for check in checks]
    found: list[Finding] = []
    for check, thread, own in running:
        thread.join(max(0.0, begun + check.seconds - time.monotonic()))
        late = thread.is_alive()
        found += list(own)
        if late:
            found.append(
                Finding(
                    check.name,
                    Mark.TROUBLE,
                    f"No answer within {check.seconds:g} s.",
                    "See whether the service is overloaded, or a firewall drops what is sent to it.",
                )
            )
    return found


def _start(check: Check) -> tuple[threading.Thread, list[Finding]]:
    own: list[Finding] = []

    def run() -> None:
        try:
            own.extend(check.run())
        except UserError as error:
            own.append(Finding(check.name, Mark.TROUBLE, str(error)))
        except Exception as error:  # noqa: BLE001 - one check that fails must not hide what the others find
            # Its text is not shown: nobody has made sure that it holds no secret.
            own.append(Finding(check.name, Mark.TROUBLE, f"This could not be looked at ({type(error).__name__})."))

    thread = threading.Thread(target=run, name=f"doctor {check.name}", daemon=True)
    thread.start()
    return thread, own
