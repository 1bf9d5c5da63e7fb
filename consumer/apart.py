"""Results are read for their summary in a process of their own, where they are many.

Packing and reading keep two cores busy only if they do not share an interpreter. What reads other people's files may
also take the memory it needs with it when it ends, and if it crashes it costs the summary and not the worker.
"""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

import structlog

from consumer.analyse import Findings
from consumer.python import environment
from consumer.snapshot import Snapshot, SourceFiles

log = structlog.get_logger()

MODULE = "consumer.apart_main"
FROM_BYTES = 128 * 1024 * 1024  # fewer are soon read, and another Python with numpy takes a while to start
LOOK_SECONDS = 1.0
TOLD_TO_ALL = {signal.SIGINT, signal.SIGTERM}  # by a terminal or a service manager: the worker decides when to stop


@dataclass(frozen=True, slots=True)
class Task:
    """What the process is told: as for `consumer.analyse.analyse`."""

    files: SourceFiles
    left_out: tuple[str, ...]
    folder: Path


@dataclass(frozen=True, slots=True)
class Logged:
    """A line for our log, from there."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Bug:
    """The traceback of an exception that is nobody's but ours."""

    traceback: str


class ReadingFailed(Exception):
    """The other process ended without findings; the text says how."""


class ReaderKilled(ReadingFailed):
    """It did not end by itself: out of memory, say."""


Told = int | Logged | Bug | Findings | Exception  # int: bytes that are read by now


def worth_it(snapshot: Snapshot) -> bool:
    """Whether the other process is done before this one would be; what is on a service is read by whoever knows it."""
    return snapshot.files.size >= FROM_BYTES and snapshot.files.service is None


def analyse_apart(snapshot: Snapshot, folder: Path, *, progress: Callable[[int], None]) -> Findings:
    """As `consumer.analyse.analyse`, but ``progress`` is called at least once a second, whatever happens there.

    Raises:
        as `consumer.analyse.analyse`, and:
        ReadingFailed: the process had a bug, or was killed twice.
    """
    try:
        return _analysed(snapshot, folder, progress)
    except ReaderKilled as error:
        log.warning("results.read_again", reason=str(error))
        shutil.rmtree(folder, ignore_errors=True)
        return _analysed(snapshot, folder, progress)


def _analysed(snapshot: Snapshot, folder: Path, progress: Callable[[int], None]) -> Findings:
    read = 0
    with _process() as (process, connection):
        try:
            connection.send(Task(snapshot.files, snapshot.left_out, folder))
            while True:
                told: Told = connection.recv() if connection.poll(LOOK_SECONDS) else read
                match told:
                    case int():
                        read = told
                        progress(read)
                    case Logged():
                        logging.getLogger(__name__).log(told.level, "%s", told.text)
                    case Findings():
                        return told
                    case Bug():
                        raise ReadingFailed(told.traceback)
                    case _:
                        raise told
        except (EOFError, ConnectionError) as error:
            raise ReaderKilled(f"The process that reads the results {_ended(process)}.") from error


@contextmanager
def _process() -> Iterator[tuple[subprocess.Popen[bytes], Connection]]:
    """The process, and what we talk to it by; it is gone when the block ends."""
    ours, theirs = Pipe()
    with ours:
        with theirs:
            command = [sys.executable, "-P", "-m", MODULE, str(theirs.fileno())]
            before = signal.pthread_sigmask(signal.SIG_BLOCK, TOLD_TO_ALL)  # which a process begins with
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),), env=environment()
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            yield process, ours
        finally:
            process.kill()
            process.wait()


def _ended(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
