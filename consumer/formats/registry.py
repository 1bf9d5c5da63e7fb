"""From the beginning of a file to the format that reads it.

Formats are found by entry point (group ``simcourier.formats``), ours as well as those of third parties. Ours are asked
first, because they recognise nothing that is not theirs, but for the plain table, which is asked last. A third party's
format that cannot be imported, or that raises, is a warning and nothing more.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import BinaryIO

from consumer.formats.carried import carried
from consumer.formats.contract import Format, Run, Sink
from consumer.formats.gzipped import MAGIC as GZIP
from consumer.formats.gzipped import Gzipped, head_within
from consumer.formats.relay import Relay

GROUP = "simcourier.formats"
FIRST = ("omnetpp_index", "omnetpp_text", "omnetpp_sqlite", "omnetpp_log", "flowmonitor", "sumo")
LAST = "csv"


class Formats:
    """The formats of some entry points, each imported and made when the first file is to be recognised.

    Args:
        entries: name to class.
    """

    def __init__(self, entries: list[EntryPoint]) -> None:
        self._entries = entries
        self._formats: list[Format] | None = None
        self._plain: Format | None = None  # recognises what looks like a table
        self._troubles: dict[str, str] = {}  # a format's entry point to what is wrong with it

    def recognise(self, head: bytes) -> Format | None:
        """The format that reads a file beginning with ``head``, packed by gzip or not; None: no format does.

        Args:
            head: the first `consumer.formats.contract.HEAD` bytes, or the whole of a smaller file.
        """
        if not head.startswith(GZIP):
            return self._recognised(head)
        found = self._recognised(head_within(head))
        return Gzipped(found) if found else None

    def troubles(self) -> list[str]:
        """A sentence for each third-party format that cannot be used."""
        self._loaded()
        return list(self._troubles.values())

    def _recognised(self, head: bytes) -> Format | None:
        for form in self._loaded():
            if form.recognises(head):
                return form
        if self._plain and not carried(head) and self._plain.recognises(head):
            return self._plain
        return None

    def _loaded(self) -> list[Format]:
        if self._formats is None:
            ours = {entry.name: entry for entry in self._entries if entry.value.startswith("consumer.formats.")}
            others = [entry for entry in self._entries if entry not in ours.values()]
            formats: list[Format] = [ours[name].load()() for name in FIRST if name in ours]
            for entry in sorted(others, key=lambda entry: entry.name):
                form = self._foreign(entry)
                formats += [form] if form else []
            self._plain = ours[LAST].load()() if LAST in ours else None
            self._formats = formats  # at last: several threads may be here
        return self._formats

    def _foreign(self, entry: EntryPoint) -> Format | None:
        try:
            made = entry.load()()
            sound = isinstance(made.name, str) and callable(made.recognises) and callable(made.read)
        except Exception as error:  # noqa: BLE001, whatever somebody else's code raises
            self._troubles[entry.name] = f"The result format '{entry.name}' cannot be used: {_sentence(error)}"
            return None
        if not sound:
            self._troubles[entry.name] = f"The result format '{entry.name}' is no Format: it is not used."
            return None
        return Foreign(entry.name, made, self._troubles)


class Foreign:
    """A format that is not ours: what goes wrong in it costs one file's numbers and no more.

    Args:
        entry: its entry point's name.
        inner: the format.
        troubles: takes a sentence when it cannot even recognise.
    """

    def __init__(self, entry: str, inner: Format, troubles: dict[str, str]) -> None:
        self._entry = entry
        self._inner = inner
        self._troubles = troubles

    @property
    def name(self) -> str:
        return self._inner.name

    def recognises(self, head: bytes) -> bool:
        """As the format says; False when it raises."""
        try:
            return bool(self._inner.recognises(head))
        except Exception as error:  # noqa: BLE001, whatever somebody else's code raises
            self._troubles[self._entry] = f"The result format '{self._entry}' failed on a file: {_sentence(error)}"
            return False

    def read(self, stream: BinaryIO, sink: Sink) -> None:
        """As the format does; an exception of its own, unlike one of the sink or of the disk, is told as a warning."""
        relay = Relay(sink)
        try:
            self._inner.read(stream, relay)
        except Exception as error:
            if isinstance(error, OSError) or relay.raised is not None:
                raise
            if not relay.begun:
                sink.run(Run(id="", simulator=""))
            sink.warning(f"The result format '{self._entry}' failed, and the rest was not read: {_sentence(error)}")


def _sentence(error: Exception) -> str:
    text = str(error).strip().split("\n")[0][:200].rstrip(".")
    return f"{text or type(error).__name__}."


@cache  # looking through the installed distributions costs some 20 ms
def installed() -> Formats:
    """The formats of all installed distributions."""
    return Formats(list(entry_points(group=GROUP)))


def recognise(head: bytes) -> Format | None:
    """The installed format that reads a file; see `Formats.recognise`."""
    return installed().recognise(head)


def troubles() -> list[str]:
    """See `Formats.troubles`."""
    return installed().troubles()
