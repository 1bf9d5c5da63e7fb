"""What a service says of a folder's files: one page or folder at a time, since there may be many."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from typing import Any, NamedTuple
from urllib.parse import unquote

from fsspec import AbstractFileSystem

from consumer.collect import LONGEST_NAME, too_long
from consumer.errors import Undeliverable
from consumer.remote_errors import in_words
from messaging.locations import Location

ASKED_AT_ONCE = 8  # files whose sizes a listing does not tell
FILE, FOLDER = "file", "directory"
# What implementations of fsspec call the time of the last change, and what changes with every change.
STAMPS = ("mtime", "LastModified", "last_modified", "Last-Modified", "modify", "modified", "updated", "last_write_time")
VERSIONS = ("ETag", "etag", "md5Hash", "Content-MD5", "generation")
MLSD_STAMP = "%Y%m%d%H%M%S"  # RFC 3659, section 2.3, in UTC


class Entry(NamedTuple):
    """A file.

    Args:
        name: within the folder, with ``/``.
        place: as the service names it.
        size: bytes; None: the service does not tell it.
        mtime_ns: in whole seconds, since services tell them with different precision from one request to the next;
            0: the service does not tell it.
        version: 16 bytes that change with the file; zeros: the service does not tell it.
    """

    name: str
    place: str
    size: int | None
    mtime_ns: int
    version: bytes


def entries(fs: AbstractFileSystem, path: str, location: Location, left_out: list[str]) -> Iterator[Entry]:
    """All files below a folder, with a sentence in ``left_out`` for each that cannot be one.

    Args:
        path: ``location`` as ``fs`` names it.

    Raises:
        what `consumer.remote_errors.in_words` raises.
    """
    if "s3" in _protocols(fs):
        yield from _of_bucket(fs, path, location, left_out)
    else:
        yield from _of_folders(fs, path, location, left_out)


def _protocols(fs: AbstractFileSystem) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _of_bucket(fs: AbstractFileSystem, path: str, location: Location, left_out: list[str]) -> Iterator[Entry]:
    """By pages of 1000 keys, whatever folders they seem to be in: `ls` would collect them all first.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
    """
    bucket, _, folder = path.partition("/")
    prefix = f"{folder}/" if folder else ""
    more: dict[str, str] = {}
    while True:
        with in_words(location):
            page = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **fs.req_kw, **more)
        for found in page.get("Contents", ()):
            name = found["Key"].removeprefix(prefix)
            if found["Key"].endswith("/") and not found["Size"]:  # how some tools mark a folder
                continue
            if problem := _problem(name):
                left_out.append(problem)
                continue
            yield _entry(name, f"{bucket}/{found['Key']}", found["Size"], found)
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def _of_folders(fs: AbstractFileSystem, path: str, location: Location, left_out: list[str]) -> Iterator[Entry]:
    pages = _Pages(fs)
    waiting = [(path, "")]
    while waiting:
        place, prefix = waiting.pop()
        try:
            with in_words(location, prefix and f"The folder {prefix.rstrip('/')}"):
                found = pages.read(place)
        except Undeliverable as error:
            if not prefix:
                raise
            left_out.append(f"{prefix}: the folder cannot be read ({str(error).rstrip('.')}).")
            continue
        if not prefix and [one["name"] for one in found] == [path]:
            raise Undeliverable(f"The results' location {location} is not a folder.")
        files = []
        for last, one in pages.children(place, found):
            name = prefix + last
            if problem := _problem(name):
                left_out.append(problem)
            elif one["type"] == FOLDER:
                waiting.append((one["name"].rstrip("/"), f"{name}/"))
            elif one["type"] == FILE:
                files.append((name, one))
            else:
                left_out.append(f"{name}: not a regular file.")
        yield from _sized(fs, location, files, left_out)


class _Pages:
    """How one folder is listed."""

    def __init__(self, fs: AbstractFileSystem) -> None:
        self._fs = fs
        self._html = "http" in _protocols(fs)

    def read(self, place: str) -> list[Mapping[str, Any]]:
        # A web server's index has a slash at its end, or would send us there.
        return list(self._fs.ls(f"{place}/" if self._html else place or "/", detail=True))

    def children(self, place: str, found: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The last part of each entry's name; what is no entry of the folder, such as other links, is passed over."""
        seen = set()
        for one in found:
            path = html.unescape(one["name"]) if self._html else one["name"]
            last = path.rstrip("/").removeprefix(f"{place}/")
            if last == path.rstrip("/") or "/" in last:
                continue
            if self._html:
                if "?" in last or "#" in last:
                    continue
                last = unquote(last)
            if last not in seen:
                seen.add(last)
                yield last, {**one, "name": path}


def _sized(
    fs: AbstractFileSystem, location: Location, files: Sequence[tuple[str, Mapping[str, Any]]], left_out: list[str]
) -> Iterator[Entry]:
    """Ask for each file where the listing tells names alone."""

    def asked(file: tuple[str, Mapping[str, Any]]) -> Entry | str:
        name, info = file
        if info.get("size") is None:
            try:
                with in_words(location, f"The file {name}"):
                    info = {**fs.info(info["name"]), "name": info["name"]}
            except Undeliverable as error:
                return f"{name}: cannot be read ({str(error).rstrip('.')})."
        if info.get("size") is None:
            return f"{name}: cannot be read (the server does not tell its size)."
        return _entry(name, info["name"], int(info["size"]), info)

    with ThreadPoolExecutor(ASKED_AT_ONCE, "sizes") as pool:
        told = map(asked, files) if all(info.get("size") is not None for _, info in files) else pool.map(asked, files)
        for one in told:
            if isinstance(one, str):
                left_out.append(one)
            else:
                yield one


def _entry(name: str, place: str, size: int, info: Mapping[str, Any]) -> Entry:
    versions = [f"{key}={info[key]}" for key in VERSIONS if info.get(key)]
    version = blake2b("\n".join(versions).encode(), digest_size=16).digest() if versions else bytes(16)
    stamp = next((info[key] for key in STAMPS if info.get(key)), None)
    return Entry(name, place, size, _seconds(stamp) * 1_000_000_000, version)


def _seconds(stamp: object) -> int:
    """Since the epoch, whatever form it has; 0: none that is known."""
    try:
        match stamp:
            case datetime():
                moment = stamp
            case int() | float():
                return max(0, int(stamp))
            case str() if stamp[:14].isdigit():
                moment = datetime.strptime(stamp[:14], MLSD_STAMP)  # noqa: DTZ007, the zone comes below
            case str() if stamp[:4].isdigit():
                moment = datetime.fromisoformat(stamp)
            case str():
                moment = parsedate_to_datetime(stamp)
            case _:
                return 0
        return max(0, int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))
    except (ValueError, OverflowError):
        return 0


def _problem(name: str) -> str | None:
    """Why a name cannot be one in an archive."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return f"{name.encode(errors='replace').decode()}: the name is not UTF-8."
    if size > LONGEST_NAME:
        return too_long(name)
    if "\0" in name or any(part in {"", ".", ".."} for part in name.split("/")):
        return f"{name}: no name that a file on a disk could have."
    return None
