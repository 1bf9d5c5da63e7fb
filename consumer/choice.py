"""Which storage backend a delivery goes to: the one asked for, or a fallback."""

from __future__ import annotations

from time import monotonic

from consumer.errors import NotNow, Undeliverable
from ledger.api import Definition, UnknownBackend, definition
from messaging.messages import Completed

MOMENT_SECONDS = 1.0


class Choice:
    """The definition that a delivery is stored with; what was chosen a moment ago is not asked for again.

    Args:
        data: of the event: the definition asked for, and the fallbacks.
    """

    def __init__(self, data: Completed) -> None:
        self._data = data
        self._chosen: Definition | None = None
        self._passed_over = ""
        self._at = 0.0

    def first(self, *, accepted: bool) -> None:
        """See that there is one; raises as `choose`."""
        self._chosen, self._passed_over = choose(self._data.backend, self._data.fallback_backends, accepted=accepted)
        self._at = monotonic()

    def now(self) -> Definition:
        """The one to be used now; raises as `choose`."""
        if self._chosen is None or monotonic() - self._at > MOMENT_SECONDS:
            self.first(accepted=True)
        assert self._chosen is not None
        return self._chosen

    @property
    def passed_over(self) -> str:
        """Why the last one that was chosen is not the one asked for; empty: it is."""
        return self._passed_over

    def forget(self) -> None:
        """It cannot be used: look anew."""
        self._chosen = None


def choose(wanted: str, fallbacks: tuple[str, ...], *, accepted: bool = False) -> tuple[Definition, str]:
    """The definition to store with: the one asked for, or the first fallback that can be used, and why not the others.

    Args:
        wanted: its identifier; ``fallbacks`` likewise, in order.
        accepted: the delivery was begun before: it may end where it was promised to, active or not.

    Raises:
        Undeliverable: none of them exists and is active.
        NotNow: those that exist are marked unhealthy.
    """
    problems: list[str] = []
    unhealthy: list[Definition] = []
    for identifier in (wanted, *fallbacks):
        try:
            candidate = definition(identifier)
        except UnknownBackend as error:
            problems.append(str(error))
            continue
        if not (candidate.active or accepted):
            problems.append(f"The storage backend '{identifier}' is not active.")
        elif candidate.unhealthy_seconds > 0:
            unhealthy.append(candidate)
            problems.append(_unhealthy(candidate))
        else:
            return candidate, " ".join(problems)
    if unhealthy:
        first = min(unhealthy, key=lambda one: one.unhealthy_seconds)
        raise NotNow(_unhealthy(first), first.unhealthy_seconds)
    raise Undeliverable(" ".join(problems))


def _unhealthy(one: Definition) -> str:
    return f"The storage backend '{one.identifier}' cannot be used at present: {one.unhealthy_reason}"
