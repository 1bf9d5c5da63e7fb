"""What OMNeT++ prints on the console (Cmdenv): the true end of a run, its events, and how long it took.

No result file tells any of that: a limit in the configuration is all that they know. Source: OMNeT++'s ``cmdenv.cc``
and ``runner.cc``, versions 4 to 6. Models print between these lines whatever they like; it is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, ClassVar

from consumer.formats.contract import Run, Sink

LONGEST_LINE = 64 * 1024  # bytes; of what is longer, the rest is looked at as another line
_TELL_EVERY = 4 * 1024 * 1024  # bytes
_LONGEST_WORDS = 200  # characters of an error that are told
_BANNER = rb"OMNeT\+\+ Discrete Event Simulation"
_STATUS = rb"\*\* Event #\d+ +[tT]=\d"
_KNOWN = re.compile(rb"^(?:%b|%b|Preparing for running configuration )" % (_BANNER, _STATUS), re.MULTILINE)
_TOLD = (b"** Event #", b"<!>", b"Assigned runID=", b"Preparing for running configuration ", b"Version: ")
_EVENT = re.compile(r"\*\* Event #(\d{1,18}) +[tT]=(\S{1,40})(?: +Elapsed: ([0-9.e+-]{1,40})s)?")
_PREPARING = re.compile(r"Preparing for running configuration (.{1,200}?), run #(\d{1,9})\.\.\.")
_VERSION = re.compile(r"Version: (\d+(?:\.\d+)+\w*)[, ]")
_STOPPED_AT = re.compile(r"event #(\d{1,18})")
_STOPPED_TIME = re.compile(r"\bt=(\d[0-9.]{0,40}(?:e[+-]?\d{1,3})?)s?\b")


class OmnetppLog:
    """The console's output, saved under any name."""

    name: ClassVar[str] = "OMNeT++ log"

    def recognises(self, head: bytes) -> bool:
        """By a line that the simulator prints at the beginning."""
        return bool(_KNOWN.search(head))

    def read(self, stream: BinaryIO, sink: Sink) -> None:
        """Tell what is known of each run: one program may run several after each other."""
        reader = _Reader(sink)
        for number, line in _lines(stream, sink):
            if line.startswith(_TOLD):
                reader.take(line.decode("utf-8", "replace").rstrip(), number)
        reader.finish()


def _lines(stream: BinaryIO, sink: Sink) -> Iterator[tuple[int, bytes]]:
    """Number and line; tells how far the file has been read."""
    done = told = 0
    number = 1
    while line := stream.readline(LONGEST_LINE):
        yield number, line
        number += line.endswith(b"\n")
        done += len(line)
        if done - told >= _TELL_EVERY:
            sink.at(done)
            told = done
    sink.at(done)


class _Reader:
    """The run that is being told."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._version = ""
        self._unnamed = False
        self._begin()

    def _begin(self) -> None:
        self._line = 0  # of the latest that tells of this run
        self._id = ""
        self._attributes: dict[str, str] = {}
        self._seen: tuple[int, float | None] | None = None  # event, seconds of real time
        self._events: int | None = None
        self._end: float | None = None
        self._ended = False

    def take(self, line: str, number: int) -> None:
        if line.startswith("Version: "):
            version = _VERSION.match(line)
            self._version = version.group(1) if version else self._version
            return
        if line.startswith("Preparing"):
            self._tell()
            found = _PREPARING.match(line)
            if found:
                self._attributes = {"configname": found.group(1), "runnumber": found.group(2)}
        elif line.startswith("Assigned"):
            if self._id:
                self._tell()
            self._id = line.partition("=")[2].strip()[:_LONGEST_WORDS]
        elif line.startswith("<!>"):
            self._stopped(line, number)
        elif event := _EVENT.match(line):
            elapsed = _number(event.group(3)) if event.group(3) else None
            self._seen = int(event.group(1)), elapsed
        self._line = number

    def finish(self) -> None:
        self._tell()
        if self._unnamed:
            self._sink.warning(
                "The log does not say of which run it is (no line begins with 'Assigned runID='): it was not used."
            )

    def _stopped(self, line: str, number: int) -> None:
        words = line.removeprefix("<!>").strip()
        failed = words.startswith("Error")
        event, time = _STOPPED_AT.search(words), _STOPPED_TIME.search(words)
        if not failed and not (event and time):
            return  # a warning of the model, or of the simulator
        self._ended = True
        self._events = int(event.group(1)) if event else None
        self._end = _number(time.group(1)) if time else None
        self._attributes["termination"] = words.partition(" -- ")[0][:_LONGEST_WORDS]
        if failed:
            self._sink.warning(f"The simulation ended with an error: {words[:_LONGEST_WORDS]}", number)

    def _tell(self) -> None:
        """Tell the run, if it is known which one it is."""
        if self._line and self._id:
            event, elapsed = self._seen or (None, None)
            if self._ended and event != self._events:  # the last report came some time before the end
                event, elapsed = self._events, None
            self._sink.run(
                Run(
                    id=self._id,
                    simulator=f"OMNeT++ {self._version}".strip(),
                    attributes=self._attributes,
                    end=self._end,
                    events=event,
                    elapsed=elapsed,
                )
            )
            if not self._ended:
                self._sink.incomplete("The log ends before the run does: was the simulation killed?", self._line)
        elif self._end is not None or self._seen is not None:
            self._unnamed = True
        self._begin()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
