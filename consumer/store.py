"""Sends an archive through a storage backend's plugin and gets its link."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

import requests
import structlog

from backends.contract import Archive, Backend
from backends.errors import BackendError, PermanentError, Superseded, unexpected
from backends.registry import WrongConfig, build, secret_values
from consumer.errors import Interrupted, NotNow, Undeliverable
from consumer.lease import Hold
from ledger.api import Definition, Deliveries, LedgerUnavailable, UnknownBackend, definition
from messaging import faults
from messaging.messages import Completed
from messaging.secrecy import hide

log = structlog.get_logger()

MOMENT_SECONDS = 1.0


def _nothing() -> None:
    """Nobody wants anything stopped."""


@dataclass(frozen=True, slots=True)
class FileArchive:
    """An archive that lies complete on this machine's disk (see `backends.contract.Archive`).

    Args:
        reading: called before bytes are read; raises when the work is to stop.
    """

    path: Path
    name: str
    key: str
    size: int
    sha256: str
    reading: Callable[[], None] = _nothing

    def open(self, offset: int = 0) -> BinaryIO:
        """A reader from byte ``offset`` on."""
        stream = io.BufferedReader(_Reader(self.path, self.reading))
        stream.seek(offset)
        return stream

    def wait(self, size: int, seconds: float) -> bool:
        """All bytes are there."""
        del size, seconds
        return True


class _Reader(io.FileIO):
    """Asks before it reads: a plugin may send for a long time before it notes how far it is."""

    def __init__(self, path: Path, reading: Callable[[], None]) -> None:
        super().__init__(path)
        self._reading = reading

    def readinto(self, buffer: bytearray | memoryview, /) -> int | None:  # type: ignore[override] # as in `growing`
        self._reading()
        return super().readinto(buffer)

    def readall(self) -> bytes:
        self._reading()
        return super().readall()


class LedgerProgress:
    """Keeps a plugin's checkpoint in the ledger, on the claim's fence (see `backends.contract.Progress`).

    Args:
        archive: what is being sent.
        digest: the digest of its first bytes, while it is still growing.
        far: how far the work on it is meanwhile, done and in all.
        looked: called at every checkpoint, after it has been kept.
        committing: called when the service is about to make the file visible.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        hold: Hold,
        checkpoint: Mapping[str, Any] | None,
        archive: Archive,
        *,
        digest: Callable[[int], str] | None = None,
        far: Callable[[], tuple[int, int]] | None = None,
        looked: Callable[[], None] = _nothing,
        committing: Callable[[], None] = _nothing,
    ) -> None:
        self._deliveries = deliveries
        self._hold = hold
        self._checkpoint = checkpoint
        self._archive = archive
        self._digest = digest
        self._far = far
        self._looked = looked
        self._committing = committing

    @property
    def checkpoint(self) -> Mapping[str, Any] | None:
        """What was saved last."""
        return self._checkpoint

    def save(self, checkpoint: Mapping[str, Any], sent: int) -> None:
        """Keep ``checkpoint``; raises `Superseded`, or `Interrupted` when this worker is being stopped."""
        self._hold.ensure()
        sha256 = self._digest(sent) if self._digest else None
        size = self._archive.size
        far = (sent, size) if size is not None else self._far() if self._far else None
        self._deliveries.checkpoint(self._hold.claim, checkpoint, sent, far=far, sha256=sha256)
        self._checkpoint = checkpoint
        faults.point("delivery.checkpointed")
        self._looked()

    def ensure(self) -> None:
        """Ask the ledger itself: this is called right before committing."""
        self._committing()
        self._hold.ensure()
        self._deliveries.ensure(self._hold.claim)


class Choice:
    """The definition that a delivery is stored with; what was chosen a moment ago is not asked for again.

    Args:
        data: of the event: the definition asked for, and the fallbacks.
    """

    def __init__(self, data: Completed) -> None:
        self._data = data
        self._chosen: Definition | None = None
        self._at = 0.0

    def first(self, *, accepted: bool) -> None:
        """See that there is one; raises as `choose`."""
        self._chosen, self._at = (
            choose(self._data.backend, self._data.fallback_backends, accepted=accepted),
            monotonic(),
        )

    def now(self) -> Definition:
        """The one to be used now; raises as `choose`."""
        if self._chosen is None or monotonic() - self._at > MOMENT_SECONDS:
            self.first(accepted=True)
        assert self._chosen is not None
        return self._chosen

    def forget(self) -> None:
        """It cannot be used: look anew."""
        self._chosen = None


def choose(wanted: str, fallbacks: tuple[str, ...], *, accepted: bool = False) -> Definition:
    """The definition to store with: the one asked for, or the first fallback that can be used.

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
        else:
            return candidate
    if unhealthy:
        first = min(unhealthy, key=lambda one: one.unhealthy_seconds)
        raise NotNow(
            f"The storage backend '{first.identifier}' cannot be used at present: {first.unhealthy_reason}",
            first.unhealthy_seconds,
        )
    raise Undeliverable(" ".join(problems))


def open_backend(chosen: Definition, http: requests.Session, site: Mapping[str, Any]) -> Backend[Any]:
    """The plugin's instance for a definition.

    Raises:
        PermanentError: the definition is wrong; whoever wrote it must mend it.
    """
    try:
        hide(*secret_values(chosen.identifier, chosen.token.get_secret_value(), chosen.config_values()))
        return build(chosen.identifier, chosen.token.get_secret_value(), chosen.config_values(), http, site)
    except WrongConfig as error:
        raise PermanentError(str(error), scope="backend") from error
    except Exception as error:  # a plugin of anybody's
        log.exception("backend.bug")
        raise unexpected(error) from error


def translate(call: Callable[[], Any]) -> Any:
    """Run a plugin's method; what it raises that is no error of the contract is a fault of the plugin's."""
    try:
        return call()
    except (BackendError, Superseded, Interrupted, LedgerUnavailable):
        raise
    except requests.RequestException as error:
        raise unexpected(error) from error
    except OSError:
        raise  # reading the archive
    except Exception as error:
        log.exception("backend.bug")
        raise unexpected(error) from error
