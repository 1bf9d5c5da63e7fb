"""The plugin contract: one small class, in one file, per storage service.

A plugin knows no queue, no database and no settings, and never sleeps: it works or raises a
`backends.errors.BackendError`. Whoever calls it decides about trying again.
`backends.suite` is the contract as tests; a plugin that passes it is a good plugin.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, BinaryIO, ClassVar, Generic, Protocol, TypeVar

import requests
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Json = Mapping[str, Any]


class Archive(Protocol):
    """The file to be stored, possibly still growing while it is read."""

    @property
    def name(self) -> str:
        """File name for people, e.g. ``mm1 rho=0.8.zip``: any Unicode text without ``/`` and control characters."""

    @property
    def key(self) -> str:
        """Remote name, ``<delivery id>/<generation>/<archive name>``: the same key always means the same bytes."""

    @property
    def size(self) -> int | None:
        """Bytes; None while it is still being packed."""

    @property
    def sha256(self) -> str:
        """Digest of all bytes, lower-case hex; blocks until packing has ended, raises when it failed."""

    def open(self, offset: int = 0) -> BinaryIO:
        """A reader from byte ``offset`` on; ``read`` blocks until bytes exist and raises when packing failed."""

    def wait(self, size: int, seconds: float) -> bool:
        """Wait until there are ``size`` bytes, or all; False: not within so many seconds. Raises as a reader.

        What is packed may pause for minutes, longer than a service keeps a request open in which nothing comes.
        """


class Progress(Protocol):
    """Where a `Backend.store` is: kept over crashes, so that a new process goes on instead of starting again."""

    @property
    def checkpoint(self) -> Json | None:
        """What was saved last for this key, perhaps by another process; None: nothing yet."""

    def save(self, checkpoint: Json, sent: int) -> None:
        """Keep ``checkpoint`` (JSON); ``sent`` bytes are with the service. Raises `Superseded`."""

    def ensure(self) -> None:
        """Raise `Superseded` if another worker has taken over; call it right before committing."""


class Stored(BaseModel):
    """What the service has confirmed to hold.

    Args:
        key: the archive's key.
        size: bytes.
        reference: the plugin's own handle (JSON, no secrets), from which `link` and `delete` find the file again.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    size: int = Field(ge=0)
    reference: dict[str, Any] = Field(default_factory=dict)


class Link(BaseModel):
    """An address under which whoever has it can fetch the archive.

    Args:
        url: the address.
        expires: when it really ends as the service says, which may be another time than asked for; None: never.
    """

    model_config = ConfigDict(frozen=True)

    url: str
    expires: AwareDatetime | None = None


class Status(BaseModel):
    """What `Backend.check` found.

    Args:
        account: whose account or which place, in a few words for the operator.
        free_bytes: room that is left; None: the service does not say.
    """

    model_config = ConfigDict(frozen=True)

    account: str
    free_bytes: int | None = None


ConfigT = TypeVar("ConfigT", bound=BaseModel)


class Backend(ABC, Generic[ConfigT]):
    """A storage service.

    Args:
        config: the plugin's own validated configuration.
        http: the session to speak HTTP through; the caller closes it.
    """

    identifier: ClassVar[str]
    """The plugin's id: lower-case letters, digits and underscores; no hyphen."""

    Config: ClassVar[type[BaseModel]]
    """Validates the definition's `Backend config`, in the admin form already. Secrets are `SecretStr`."""

    token_field: ClassVar[str] = "token"  # noqa: S105 - the name of a field
    """The field of `Config` that the definition's `Backend token` fills where the config does not."""

    lasting: ClassVar[bool] = True
    """False: what is stored ends with the process; no definition can be made of it."""

    needs_size: ClassVar[bool] = False
    """True if `store` must know ``archive.size`` before it begins."""

    def __init__(self, config: ConfigT, http: requests.Session) -> None:
        self.config = config
        self.http = http

    @abstractmethod
    def check(self) -> Status:
        """Sign in and look: are the credentials good, and how much room is left?"""

    @abstractmethod
    def store(self, archive: Archive, progress: Progress) -> Stored:
        """Send the archive and return only what the service has confirmed, compared with what was sent.

        Again with the same key: one remote file. Fewer bytes than announced: an error, and nothing visible.
        Calls ``progress.save`` at least once per chunk and ``progress.ensure`` right before committing.
        """

    @abstractmethod
    def link(self, stored: Stored, expires: AwareDatetime | None) -> Link:
        """A link that ends at ``expires`` (None: never) as far as the service can. Again: a working link."""

    @abstractmethod
    def delete(self, stored: Stored) -> None:
        """Remove the file and its link. Again, or never stored: fine."""
