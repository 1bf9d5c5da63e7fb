"""A simulation's standard output and error, passed on unchanged while their end is kept.

A stream that goes to a file stays as it is: the end is read from that file. A pipe or terminal is replaced by one of
our own, and a small process copies from it. That process survives whoever started it, so that a simulation whose
``simcourier run`` is killed neither waits for a reader nor gets SIGPIPE.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import stat
import termios
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from producer.runs.tail import Ring, Source

NAMES = {1: "standard output", 2: "standard error"}
CHUNK_BYTES = 256 * 1024
# After the simulation's end, silence that counts as the end of what it has written: something that it left in the
# background may hold the stream open, and what terminals hand over comes a moment late.
QUIET_MILLISECONDS = 200
NULL_DEVICE = os.makedev(1, 3)


@dataclass(slots=True)
class Copier:
    """A process that copies one stream.

    Args:
        entrance: where the simulation writes; a terminal's ``name``, if it is one.
        control: held open by us while the simulation runs. ``drained`` has something to read, or is closed, once all
            is copied.
    """

    ring: Ring
    entrance: int
    name: str
    control: int
    drained: int


class Streams:
    """What becomes of standard output and error.

    Args:
        ring_file: where to keep the end of the stream with this number; None: in memory.

    Signals that end processes must be blocked: the copiers inherit that.
    """

    def __init__(self, ring_file: Callable[[int], Path | None]) -> None:
        self.targets: dict[int, int] = {}
        self._copiers: dict[int, Copier] = {}
        self._logs: dict[int, Source] = {}
        known = [number for number in NAMES if _status(number) is not None]
        shared = known == [1, 2] and _same(_status(1), _status(2))
        for number in known[:1] if shared else known:
            status = _status(number)
            assert status is not None
            if stat.S_ISREG(status.st_mode):
                self._logs[number] = _log(number, status)
            elif status.st_rdev != NULL_DEVICE or not stat.S_ISCHR(status.st_mode):
                try:
                    copier = self._copiers[number] = _start_copier(number, Ring(ring_file(number)))
                except (OSError, termios.error):  # no terminals or processes are left: the stream stays as it is
                    continue
                self.targets[number] = copier.entrance
                if shared:
                    self.targets[2] = copier.entrance

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where others find the ends of the streams."""
        rings = {
            number: Source(name=NAMES[number], path=str(copier.ring.path))
            for number, copier in self._copiers.items()
            if copier.ring.path
        }
        return tuple((self._logs | rings)[number] for number in NAMES if number in self._logs | rings)

    def tails(self) -> list[tuple[str, bytes]]:
        """The ends of the streams, with their names."""
        ours = {number: copier.ring.read() for number, copier in self._copiers.items()}
        # By its number, a log is found also after it was renamed or removed.
        logs = {number: log.model_copy(update={"path": f"/dev/fd/{number}"}) for number, log in self._logs.items()}
        ours |= {number: log.read() for number, log in logs.items()}
        return [(name, ours[number]) for number, name in NAMES.items() if number in ours]

    def handed_over(self) -> None:
        """The simulation has its ends now: let go of ours, or nobody would ever see the end of a stream."""
        for copier in self._copiers.values():
            os.close(copier.entrance)
        if 1 in self._copiers:  # we write to standard error only
            with open(os.devnull, "wb") as null:  # noqa: PTH123
                os.dup2(null.fileno(), 1)

    def ended(self) -> None:
        """The simulation has ended."""
        for copier in self._copiers.values():
            os.close(copier.control)

    def wait(self, seconds: float | None) -> bool:
        """Wait until all is copied that was written before `ended`; True if it is."""
        waiting = [copier.drained for copier in self._copiers.values()]
        while waiting:
            ready, _, _ = select.select(waiting, [], [], seconds)
            if not ready:
                return False
            waiting = [one for one in waiting if one not in ready]
        return True

    def resize(self) -> None:
        """Give the terminals that we have put in between the size of the real one."""
        for number, copier in self._copiers.items():
            if copier.name:
                with contextlib.suppress(OSError):  # its copier has gone, with the real terminal
                    terminal = os.open(copier.name, os.O_RDWR | os.O_NOCTTY)
                    try:
                        _copy_size(2 if number == 1 and not os.isatty(1) else number, terminal)
                    finally:
                        os.close(terminal)


def _start_copier(number: int, ring: Ring) -> Copier:
    source, entrance, name = _terminal(number) if os.isatty(number) else _pipe()
    watched, control = os.pipe()
    drained, tell = os.pipe()
    if os.fork() == 0:
        try:
            os.setsid()
            _keep_only({source, number, watched, tell})
            _copy(source, number, watched, tell, ring)
        finally:
            os._exit(0)
    for ours in (source, watched, tell):
        os.close(ours)
    return Copier(ring, entrance, name, control, drained)


def _copy(source: int, target: int, watched: int, tell: int, ring: Ring) -> None:
    """Copy until the stream ends, or until whoever reads it goes away: then the simulation's next write fails, too."""
    poller = select.poll()
    poller.register(source, select.POLLIN)
    poller.register(target, 0)  # errors only: the reader has gone
    poller.register(watched, 0)
    buffer = memoryview(bytearray(CHUNK_BYTES))
    timeout: int | None = None
    while True:
        ready = dict(poller.poll(timeout))
        if not ready:
            _tell_drained(tell)
            timeout = None
        if watched in ready:  # the simulation has ended, or whoever started it has
            poller.unregister(watched)
            timeout = QUIET_MILLISECONDS
        if target in ready:
            return
        if source in ready:
            try:
                length = os.readv(source, [buffer])
            except OSError:  # Linux says so at the end of a terminal
                return
            if not length:
                return
            ring.add(buffer[:length])
            if not _write(target, buffer[:length]):
                return


def _tell_drained(tell: int) -> None:
    with contextlib.suppress(OSError):  # nobody asks any more
        os.write(tell, b".")


def _write(target: int, data: memoryview) -> bool:
    while data:
        try:
            data = data[os.write(target, data) :]
        except BlockingIOError:  # somebody else who has it open made it so
            select.select([], [target], [])
        except OSError:
            return False
    return True


def _pipe() -> tuple[int, int, str]:
    source, entrance = os.pipe()
    with contextlib.suppress(OSError, AttributeError):  # the user has many pipes; the usual size does
        fcntl.fcntl(source, fcntl.F_SETPIPE_SZ, CHUNK_BYTES)  # type: ignore[attr-defined,unused-ignore]
    return source, entrance, ""


def _terminal(number: int) -> tuple[int, int, str]:
    """A terminal that looks like the real one, but leaves the conversion of line ends to that."""
    source, entrance = os.openpty()
    modes = termios.tcgetattr(number)
    modes[1] &= ~termios.OPOST
    modes[3] &= ~termios.ECHO
    termios.tcsetattr(entrance, termios.TCSANOW, modes)
    _copy_size(number, entrance)
    return source, entrance, os.ttyname(entrance)


def _copy_size(real: int, ours: int) -> None:
    with contextlib.suppress(OSError):
        size = fcntl.ioctl(real, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(ours, termios.TIOCSWINSZ, size)


def _log(number: int, status: os.stat_result) -> Source:
    appended = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_APPEND
    offset = status.st_size if appended else os.lseek(number, 0, os.SEEK_CUR)
    path = Path(f"/proc/self/fd/{number}").readlink()
    return Source(name=NAMES[number], path=str(path), offset=offset, device=status.st_dev, inode=status.st_ino)


def _status(number: int) -> os.stat_result | None:
    try:
        return os.fstat(number)
    except OSError:  # closed
        return None


def _same(one: os.stat_result | None, other: os.stat_result | None) -> bool:
    assert one is not None
    assert other is not None
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def _keep_only(kept: set[int]) -> None:
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - numbers, no paths
        if int(name) not in kept:
            with contextlib.suppress(OSError):
                os.close(int(name))
