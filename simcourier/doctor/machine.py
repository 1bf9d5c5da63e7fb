"""What can be seen on this machine alone: the data folder, results roots, the spool."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from messaging.amounts import file_size
from messaging.errors import UserError
from messaging.roots import seen_by_all
from messaging.settings import Settings, require_roots
from messaging.sqlite_files import NetworkFolder, refuse_network
from producer.spool import Spool
from simcourier.doctor.findings import Finding, Mark

LITTLE_BYTES, SCARCE_BYTES = 100 * 1024**2, 1024**3


def data_folder(settings: Settings) -> Iterator[Finding]:
    """There, ours, closed to others, with room, on a disk of this machine."""
    name, folder = "data folder", settings.data_dir
    elsewhere = "Set SIMCOURIER_DATA_DIR to another folder."
    nearest = next(one for one in (folder, *folder.parents) if one.exists())
    if not nearest.is_dir():
        yield Finding(name, Mark.TROUBLE, f"{nearest} is a file.", elsewhere)
        return
    if not os.access(nearest, os.W_OK | os.X_OK):
        what = "" if nearest == folder else f"{folder} cannot be made: "
        yield Finding(name, Mark.TROUBLE, f"{what}{nearest} may not be written by this user.", elsewhere)
        return
    if nearest != folder:
        yield Finding(name, Mark.OK, f"{folder} is made on the first start.")
    else:
        status = folder.stat()
        if status.st_uid != os.geteuid():
            yield Finding(
                name,
                Mark.TROUBLE,
                f"{folder} belongs to another user (number {status.st_uid}; this is {os.geteuid()}).",
                f"Run SimCourier as that user. {elsewhere}",
            )
        elif stat.S_IMODE(status.st_mode) & 0o077:
            yield Finding(name, Mark.WARNING, f"{folder} is open to other users.", f"Run: chmod 700 {folder}")
        else:
            yield Finding(name, Mark.OK, str(folder))
    yield from _files_here(settings, folder)
    yield from _rooms(settings, nearest)


def results_roots(settings: Settings) -> Iterator[Finding]:
    """Set where they must be; each one is there and can be read."""
    name = "results roots"
    try:
        require_roots(settings)
    except UserError as error:
        yield Finding(name, Mark.TROUBLE, str(error))
        return
    if not settings.results_roots:
        yield Finding(name, Mark.OK, "None set: results may come from wherever this user can read.")
    for root in settings.results_roots:
        yield _root(name, seen_by_all(root))


def spool(settings: Settings) -> Iterator[Finding]:
    """Events that were published on this machine and have not left it."""
    own = Spool(settings.data_dir / "spool")
    events, broken = len(own.entries()), len(own.damaged())
    if events:
        wait = "1 event waits" if events == 1 else f"{events} events wait"
        yield Finding("spool", Mark.WARNING, f"{wait} on this machine.", "Run: simcourier spool flush")
    if broken:
        yield Finding("spool", Mark.WARNING, f"Files that hold no event: {broken}.", "Run: simcourier spool list")
    if not events and not broken:
        yield Finding("spool", Mark.OK, "No event waits on this machine.")


def _files_here(settings: Settings, folder: Path) -> Iterator[Finding]:
    if not (settings.embedded_broker or settings.embedded_ledger):
        return
    try:
        refuse_network(folder)
    except NetworkFolder as error:
        yield Finding("data folder", Mark.TROUBLE, str(error))


def _rooms(settings: Settings, data_folder: Path) -> Iterator[Finding]:
    """Room on every disk that something of ours is written to."""
    more = "Archives are made in the data folder before they are sent: make room for the largest, and more."
    seen = {data_folder.stat().st_dev}
    yield _room("free space", data_folder, more)
    for name, url, scheme in (
        ("ledger", settings.database_url, "sqlite://"),
        ("broker", settings.broker_url, "sqlite://"),
        ("mails", settings.email_url, "file://"),
    ):
        address = url.get_secret_value()
        folder = Path(address.removeprefix(f"{scheme}/" if scheme == "sqlite://" else scheme))
        folder = folder.parent if scheme == "sqlite://" else folder
        if address.startswith(scheme) and folder.is_dir() and (device := folder.stat().st_dev) not in seen:
            seen.add(device)
            yield _room(f"free space ({name})", folder, "Make room there: without it nothing is written down any more.")


def _room(name: str, folder: Path, more: str) -> Finding:
    free = shutil.disk_usage(folder).free
    told = f"{file_size(free)} are free at {folder}."
    if free < LITTLE_BYTES:
        return Finding(name, Mark.TROUBLE, told, more)
    if free < SCARCE_BYTES:
        return Finding(name, Mark.WARNING, told, more)
    return Finding(name, Mark.OK, told)


def _root(name: str, root: str) -> Finding:
    if "://" in root:
        return Finding(name, Mark.NOTE, f"{root} is not looked at from here.")
    mend = "Mount it here, or correct SIMCOURIER_RESULTS_ROOTS; until then its deliveries wait for another worker."
    try:
        with os.scandir(root) as entries:
            empty = not any(True for _ in entries)
    except OSError as error:
        return Finding(name, Mark.TROUBLE, f"{root} cannot be read ({error.strerror}).", mend)
    if not Path(root).is_absolute():
        return Finding(name, Mark.TROUBLE, f"{root} is no absolute path.", "Correct SIMCOURIER_RESULTS_ROOTS.")
    if empty:
        return Finding(name, Mark.TROUBLE, f"{root} is empty, as a mount point is with nothing mounted.", mend)
    return Finding(name, Mark.OK, root)
