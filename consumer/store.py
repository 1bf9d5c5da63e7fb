"""Between a delivery and a storage backend's plugin: what the plugin is given, and what it may raise."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import requests
import structlog

from backends.contract import Archive, Backend
from backends.errors import BackendError, PermanentError, Superseded, unexpected
from backends.registry import WrongConfig, build, secret_values
from consumer.errors import Interrupted
from consumer.lease import Hold
from ledger.api import Definition, Deliveries, Far, LedgerUnavailable
from messaging import faults
from messaging.pace import Pace
from messaging.secrecy import hide

log = structlog.get_logger()


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
        far: how far the stage is, from the bytes of the archive that are sent and their rate; None: as these tell.
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
        far: Callable[[int, float | None], Far] | None = None,
        looked: Callable[[], None] = _nothing,
        committing: Callable[[], None] = _nothing,
    ) -> None:
        self._deliveries = deliveries
        self._hold = hold
        self._checkpoint = checkpoint
        self._archive = archive
        self._digest = digest
        self._far = far or self._of_all
        self._pace = Pace(None if checkpoint else 0)
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
        far = self._far(sent, self._pace(sent))
        self._deliveries.checkpoint(self._hold.claim, checkpoint, sent, far=far, sha256=sha256)
        self._checkpoint = checkpoint
        faults.point("delivery.checkpointed")
        self._looked()

    def ensure(self) -> None:
        """Ask the ledger itself: this is called right before committing."""
        self._committing()
        self._hold.ensure()
        self._deliveries.ensure(self._hold.claim)

    def _of_all(self, sent: int, rate: float | None) -> Far:
        return Far(sent, self._archive.size or 0, rate)


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
