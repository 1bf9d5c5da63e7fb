"""Dropbox, through its official SDK (docs/backends/dropbox.md is for the operator)."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import dropbox
import requests
from dropbox.content_hash import DropboxContentHasher
from dropbox.exceptions import HttpError, InternalServerError
from dropbox.files import CommitInfo, FileMetadata, UploadSessionCursor, WriteMode
from dropbox.sharing import LinkAudience, SharedLinkSettings
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from backends.contract import Archive, Backend, Link, Progress, Status, Stored
from backends.dropbox_errors import FAILURES, Absent, LinkExists, Misplaced, NotAuthorized, SessionGone, error_of
from backends.errors import BackendError, PermanentError, TransientError
from backends.http import retry_after

MIB = 1024 * 1024
CHUNK = 8 * MIB  # a multiple of 4 MiB, as Dropbox advises; in memory as a whole, since the SDK takes nothing but bytes
PIECE = MIB
# Seconds. The first is also how long Dropbox may take no bytes at all; the second, how long it may think of an answer.
TIMEOUT = (30.0, 120.0)
# Exceptions whose text may repeat a secret: of an answer, of a header.
TELLTALES = (HttpError, requests.exceptions.InvalidHeader)

# Names that Dropbox refuses, and what it or the recipient's system cannot have in one.
IGNORED = {"desktop.ini", "thumbs.db", ".ds_store", ".dropbox", ".dropbox.attr"}
UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\ud800-\udfff\U00010000-\U0010ffff]')
NAME_LENGTH = 255


class Config(BaseModel):
    """An app at Dropbox, and the leave that an account's owner gave it (``dropbox-authorize`` prints both)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    app_key: str
    app_secret: SecretStr | None = None
    refresh_token: SecretStr

    @field_validator("app_key")
    @classmethod
    def _key(cls, value: str) -> str:
        return _word(value)

    @field_validator("app_secret")
    @classmethod
    def _app_secret(cls, value: SecretStr | None) -> SecretStr | None:
        secret = value.get_secret_value().strip() if value is not None else ""
        return SecretStr(_word(secret)) if secret else None

    @field_validator("refresh_token")
    @classmethod
    def _refresh_token(cls, value: SecretStr) -> SecretStr:
        return SecretStr(_word(value.get_secret_value()))


def _word(value: str) -> str:
    word = value.strip()
    if not re.fullmatch("[!-~]+", word):
        raise ValueError("one word of visible ASCII characters is expected")
    return word


class Dropbox(Backend[Config]):
    """Stores each archive in a folder of its own, named after its key."""

    identifier = "dropbox"
    Config = Config
    token_field = "refresh_token"  # noqa: S105 - the name of a field
    chunk: ClassVar[int] = CHUNK

    @cached_property
    def _client(self) -> _Client:
        secret = self.config.app_secret
        return _Client(
            app_key=self.config.app_key,
            app_secret=secret.get_secret_value() if secret else None,
            oauth2_refresh_token=self.config.refresh_token.get_secret_value(),
            session=self.http,
            timeout=TIMEOUT,
            user_agent="SimCourier",
            # Whoever calls a plugin decides about trying again; the SDK would sleep, after 429 without end.
            max_retries_on_error=0,
            max_retries_on_rate_limit=0,
        )

    def check(self) -> Status:
        """Ask whose account it is, and for its free space."""
        account = self._call(self._client.users_get_current_account)
        return Status(account=f"Dropbox of {account.name.display_name} ({account.email})", free_bytes=self._free())

    def store(self, archive: Archive, progress: Progress) -> Stored:
        """Send it: what fits into one chunk in one request, else by an upload session.

        A session is continued where Dropbox says that it stands, if its bytes are those of this archive. The archive
        is checked before the request that makes the file visible, and Dropbox's content hash after it.
        """
        path = path_of(archive.key)
        there = self._find(path)
        with _Source(archive, self.chunk) as source:
            if there is None or not source.is_held_by(there, progress):
                self._ensure_room(archive.size)
                held = self._send(source, path, progress)
                if (held.size, held.content_hash) != (source.sent, source.content_hash):
                    self._remove(path)
                    raise TransientError("Dropbox holds other bytes than were sent.")
            return Stored(key=archive.key, size=source.sent, reference={"path": path})

    def link(self, stored: Stored, expires: AwareDatetime | None) -> Link:
        """The file's one link, fetching it at once; it ends at ``expires`` where the account's plan allows that."""
        path = _path(stored)
        refused: BackendError | None = None
        for settings in _settings(expires):
            try:
                return _as_link(self._call(self._client.sharing_create_shared_link_with_settings, path, settings))
            except LinkExists as error:
                refused = error  # also said where the plan does not allow these settings
                if (found := next(self._links(path), None)) is not None:
                    return _as_link(self._with_end(found, expires))
            except NotAuthorized as error:
                refused = error
        assert refused is not None
        raise refused

    def delete(self, stored: Stored) -> None:
        """Remove link, file, and the folder that held it."""
        path = _path(stored)
        for found in list(self._links(path)):
            self._unless_absent(self._client.sharing_revoke_shared_link, found.url)
        self._remove(path)

    # Sending

    def _send(self, source: _Source, path: str, progress: Progress) -> Any:
        """Returns what Dropbox says of the file that it now shows."""
        session = self._resume(source, progress)
        if session is None:
            first = source.part()
            if len(first) < self.chunk:
                source.verify()
                progress.save({}, 0)
                progress.ensure()
                return self._call(
                    self._client.files_upload,
                    first,
                    path,
                    mode=WriteMode.overwrite,
                    mute=True,
                    content_hash=source.part_hash,
                )
            start = self._client.files_upload_session_start
            session = self._call(start, first, content_hash=source.part_hash).session_id
            first = b""  # out of memory before the next part is read
            source.keep(session, progress)
        while part := source.part():
            self._append(session, source.sent - len(part), part, source.part_hash)
            part = b""
            source.keep(session, progress)
        source.verify()
        progress.ensure()
        cursor = UploadSessionCursor(session, source.sent)
        commit = CommitInfo(path, mode=WriteMode.overwrite, mute=True)
        return self._call(self._client.files_upload_session_finish, b"", cursor, commit)

    def _append(self, session: str, offset: int, part: bytes, part_hash: str | None = None) -> None:
        append = self._client.files_upload_session_append_v2
        try:
            self._call(append, part, UploadSessionCursor(session, offset), content_hash=part_hash)
        except Misplaced as error:
            has = error.correct_offset - offset
            if not 0 < has <= len(part):
                raise  # the next try asks where the session stands
            if rest := part[has:]:
                self._call(append, rest, UploadSessionCursor(session, offset + has))

    def _resume(self, source: _Source, progress: Progress) -> str | None:
        """The session of an earlier try, with ``source`` where that stands; None: a new one is needed."""
        try:
            kept = _Checkpoint.model_validate(progress.checkpoint)
        except ValidationError:
            return None
        offset = self._offset_of(kept)
        if (
            offset is not None
            and offset >= kept.offset
            and source.skip_to(kept.offset, progress)
            and source.sha256 == kept.sha256
            and source.skip_to(offset, progress)
        ):
            return kept.session
        source.rewind()
        return None

    def _offset_of(self, kept: _Checkpoint) -> int | None:
        """How many bytes Dropbox has; None: it no longer knows the session."""
        try:
            self._append(kept.session, kept.offset, b"")
        except Misplaced as error:
            return error.correct_offset
        except SessionGone:
            return None
        except PermanentError as error:
            if error.scope == "backend":
                raise
            # It is written nowhere that no bytes may be appended. The next part is refused if it does not fit.
        return kept.offset

    # Looking

    def _find(self, path: str) -> Any:
        found = self._unless_absent(self._client.files_get_metadata, path)
        return found if isinstance(found, FileMetadata) else None

    def _free(self) -> int | None:
        usage = self._call(self._client.users_get_space_usage)
        allocation = usage.allocation
        if allocation.is_individual():
            return max(0, int(allocation.get_individual().allocated - usage.used))
        if not allocation.is_team():
            return None
        team = allocation.get_team()
        free = team.allocated - team.used
        if team.user_within_team_space_allocated and team.user_within_team_space_limit_type.is_stop_sync():
            free = min(free, team.user_within_team_space_allocated - team.user_within_team_space_used_cached)
        return max(0, int(free))

    def _ensure_room(self, size: int | None) -> None:
        free = self._free()
        if free is None or (free >= size if size is not None else free):
            return
        needed = "" if size is None else f": {size / MIB:.1f} MiB are needed, {free / MIB:.1f} MiB are free"
        raise PermanentError(f"The Dropbox account has no room left{needed}.", scope="backend")

    # Links and leftovers

    def _links(self, path: str) -> Iterator[Any]:
        cursor = None
        while True:
            try:
                page = self._call(self._client.sharing_list_shared_links, path=path, cursor=cursor, direct_only=True)
            except Absent:
                return
            yield from page.links
            if not page.has_more:
                return
            cursor = page.cursor

    def _with_end(self, found: Any, expires: datetime | None) -> Any:
        """The link ending at ``expires``, or as it is where that may not be changed."""
        wanted = _second(expires)
        if found.expires == wanted:
            return found
        settings = SharedLinkSettings(expires=wanted)
        try:
            return self._call(
                self._client.sharing_modify_shared_link_settings, found.url, settings, remove_expiration=wanted is None
            )
        except NotAuthorized:
            return found

    def _remove(self, path: str) -> None:
        self._unless_absent(self._client.files_delete_v2, path)
        folder = path.rpartition("/")[0]
        page = self._unless_absent(self._client.files_list_folder, folder) if folder else None
        while page is not None and not page.entries:
            if not page.has_more:
                self._unless_absent(self._client.files_delete_v2, folder)
                return
            page = self._unless_absent(self._client.files_list_folder_continue, page.cursor)

    # Speaking

    def _unless_absent(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """None if what is asked for is not there."""
        try:
            return self._call(method, *arguments)
        except Absent:
            return None

    def _call(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            return method(*arguments, **named)
        except FAILURES as error:
            meant = error_of(error, self._client.secrets())
            meant.__cause__ = None if isinstance(error, TELLTALES) else error
        raise meant  # out here, so that a telltale is not kept as its context either


class _Client(dropbox.Dropbox):  # type: ignore[misc] # the SDK ships no types
    """Hands on what a 5xx answer says of waiting, which the SDK drops."""

    def raise_dropbox_error_for_resp(self, res: requests.Response) -> None:
        try:
            super().raise_dropbox_error_for_resp(res)
        except InternalServerError as error:
            error.backoff = retry_after(res)
            raise

    def secrets(self) -> list[str]:
        return [one for one in (self._oauth2_refresh_token, self._oauth2_access_token, self._app_secret) if one]


class _Checkpoint(BaseModel):
    """An upload session: Dropbox has so many bytes, which have this digest."""

    model_config = ConfigDict(frozen=True)

    session: str = Field(min_length=1)
    offset: int = Field(ge=0)
    sha256: str


class _Source:
    """The archive in parts; what has been read is counted and digested."""

    def __init__(self, archive: Archive, chunk: int) -> None:
        self._archive = archive
        self._chunk = chunk
        self._open()

    def _open(self) -> None:
        self.sent = 0
        self.part_hash = ""
        self._sha256 = hashlib.sha256()
        self._content = DropboxContentHasher()
        try:
            self._stream = self._archive.open()
        except OSError as error:
            raise _unreadable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def rewind(self) -> None:
        """Begin again."""
        self._stream.close()
        self._open()

    def part(self, limit: int | None = None) -> bytes:
        """The next bytes: as many as asked for, or all that are left."""
        limit = limit or self._chunk
        part, part_hash = io.BytesIO(), DropboxContentHasher()
        try:
            while (room := limit - part.tell()) and (piece := self._stream.read(min(room, PIECE))):
                part.write(piece)
                for digest in (self._sha256, self._content, part_hash):
                    digest.update(piece)
        except OSError as error:
            raise _unreadable(error) from error
        content = part.getvalue()
        self.sent += len(content)
        self.part_hash = str(part_hash.hexdigest())
        announced = self._archive.size
        if announced is not None and self.sent > announced:
            raise TransientError(f"The archive is longer than the {announced} bytes it was said to have.")
        return content

    def skip_to(self, offset: int, progress: Progress) -> bool:
        """Read without sending; False: the archive ends before."""
        while self.sent < offset:
            progress.ensure()
            if not self.part(min(self._chunk, offset - self.sent)):
                return False
        return True

    def verify(self) -> None:
        """Raise unless all has been read and is what it was said to be."""
        size = self._archive.size
        if size is not None and self.sent != size:
            raise TransientError(f"The archive ended after {self.sent} of {size} bytes.")
        if self.sha256 != self._archive.sha256:
            raise TransientError("The archive's bytes are not those of its digest.")

    def is_held_by(self, there: Any, progress: Progress) -> bool:
        """Whether Dropbox's file is this archive, as after a last answer that was lost."""
        if self._archive.size in {None, there.size}:
            while True:
                progress.ensure()
                if not self.part():
                    break
            self.verify()
            if (there.size, there.content_hash) == (self.sent, self.content_hash):
                return True
            self.rewind()
        return False

    def keep(self, session: str, progress: Progress) -> None:
        """Save that Dropbox has all that was read."""
        progress.save(_Checkpoint(session=session, offset=self.sent, sha256=self.sha256).model_dump(), self.sent)

    @property
    def sha256(self) -> str:
        """Of what has been read."""
        return self._sha256.hexdigest()

    @property
    def content_hash(self) -> str:
        """Of what has been read, as Dropbox computes it."""
        return str(self._content.copy().hexdigest())


def _unreadable(error: OSError) -> TransientError:
    return TransientError(f"The archive cannot be read: {error.strerror or error}.")


# Names and links


def path_of(key: str) -> str:
    """Where an archive lies: in a folder that no other key has, under a name that Dropbox takes.

    Dropbox ignores case and has characters and names of its own that it refuses, some of them after the last byte only.
    """
    before, _, last = key.rpartition("/")
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    label = re.sub(r"[^a-z0-9]+", "-", before.lower())[:80].strip("-") or "archive"
    name = UNSAFE.sub("_", last).lstrip(" ")
    if len(name) > NAME_LENGTH:
        stem, dot, ending = name[NAME_LENGTH // 2 :].rpartition(".")
        name = f"{name[: NAME_LENGTH - len(dot + ending)]}{dot}{ending}" if stem else name[:NAME_LENGTH]
    name = name.rstrip(". ") or "results"
    if name.lower() in IGNORED:
        name = f"_{name}"
    return f"/{label}-{digest}/{name}"


def _path(stored: Stored) -> str:
    """Where it was put, which a later version of `path_of` may see otherwise."""
    return str(stored.reference.get("path") or path_of(stored.key))


def _settings(expires: datetime | None) -> list[Any]:
    """What a link is to be, the best first: some plans know no end, some no settings at all."""
    public = SharedLinkSettings(audience=LinkAudience.public)
    plain: list[Any] = [public, None]
    if expires is None:
        return plain
    return [SharedLinkSettings(audience=LinkAudience.public, expires=_second(expires)), *plain]


def _second(expires: datetime | None) -> datetime | None:
    """Dropbox's way of writing a time: UTC without saying so, in whole seconds; rounded up."""
    if expires is None:
        return None
    return (expires.astimezone(UTC) + timedelta(microseconds=999_999)).replace(microsecond=0, tzinfo=None)


def _as_link(found: Any) -> Link:
    parts = urlsplit(found.url)
    query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "dl"]
    url = parts._replace(query=urlencode([*query, ("dl", "1")])).geturl()
    return Link(url=url, expires=found.expires.replace(tzinfo=UTC) if found.expires else None)
