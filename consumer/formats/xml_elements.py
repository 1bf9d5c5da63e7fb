"""Elements of an XML file, one after the other, in flat memory and whatever the file is.

Expat is used directly. A tree that is built and cleared (``iterparse``) still keeps what it has not cleared, gives no
line numbers and needs another package to be safe; here nothing is built, and four limits hold instead:

- A document type with declarations of its own is refused: entities ("billion laughs") and default attributes are what
  makes a small file a large one. Nothing outside the file is ever fetched.
- A single tag or comment of more than 4 MiB ends the reading. Expat starts a tag again with every piece of the file
  that it is given, which costs time in the square of its length.
- Elements nested deeper than 64 end it, and so do more than 10,000 different names, or 4 MiB of them: expat keeps
  both.

A file that stops in the middle keeps what came before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import BinaryIO, NamedTuple, Protocol
from xml.parsers import expat

from consumer.formats.contract import BYTE_ORDER, Sink

PIECE = 65_536  # bytes that are parsed at once
LONGEST_TAG = 4 * 1024 * 1024  # bytes
DEEPEST = 64  # elements within each other
MOST_NAMES = 10_000  # of elements and attributes
_TELL_EVERY = 4 * 1024 * 1024  # bytes
_ROOT = re.compile(rb"\s*<([^\s/>!?<\"'=]{1,100})(?=[\s/>])")
_BEFORE_ROOT = re.compile(rb"\s*<(?:!--.*?--|\?.*?\?|!DOCTYPE[^<>\[]*)>", re.DOTALL)
_WIDE_BYTE_ORDERS = (b"\xff\xfe", b"\xfe\xff")


class Handler(Protocol):
    """Takes the elements of a file."""

    def start(self, path: tuple[str, ...], attributes: Mapping[str, str], line: int) -> None:
        """An element begins; ``path`` are the names from the root to it."""

    def end(self, path: tuple[str, ...]) -> None:
        """An element ends. Those that a cut-off file leaves open never do."""

    def comment(self, text: str) -> None:
        """A comment before the root element."""


def root_of(head: bytes) -> tuple[str, str]:
    """Name of the root element and the comments before it, each empty where ``head`` does not show it."""
    if head.startswith(_WIDE_BYTE_ORDERS):
        head = head.decode("utf-16", "replace").encode()
    place = len(BYTE_ORDER) if head.startswith(BYTE_ORDER) else 0
    begin = place
    while before := _BEFORE_ROOT.match(head, place):
        place = before.end()
    root = _ROOT.match(head, place)
    end = root.start() if root else len(head)
    return root.group(1).decode("utf-8", "replace") if root else "", head[begin:end].decode("utf-8", "replace")


class Stopped(NamedTuple):
    """Why the rest of a file could not be read.

    Args:
        text: a sentence.
        line: where.
        cut_off: the file ends in the middle.
    """

    text: str
    line: int
    cut_off: bool = False

    def tell(self, sink: Sink) -> None:
        """Tell it the sink."""
        (sink.incomplete if self.cut_off else sink.warning)(self.text, self.line)


def read_elements(stream: BinaryIO, handler: Handler, at: Callable[[int], None]) -> Stopped | None:
    """Hand every element to ``handler``.

    Args:
        stream: at its beginning.
        handler: its exceptions pass.
        at: told how many bytes have been read, every 4 MiB and at the end.

    Returns:
        why the file was not read to its end; None: it was.

    Raises:
        OSError: the file cannot be read.
    """
    document, fed, told = _Document(), 0, 0
    while True:
        piece = stream.read(PIECE)
        fed += len(piece)
        stopped = document.parse(piece, fed)
        for event in document.taken():
            if event.kind == "start":
                handler.start(event.path, event.attributes, event.line)
            elif event.kind == "end":
                handler.end(event.path)
            else:
                handler.comment(event.text)
        ended = stopped is not None or not piece
        if ended or fed - told >= _TELL_EVERY:
            at(fed)
            told = fed
        if ended:
            return stopped


class _Event(NamedTuple):
    kind: str  # start, end, comment
    path: tuple[str, ...] = ()
    attributes: Mapping[str, str] = {}
    line: int = 0
    text: str = ""


class _TooMuchError(Exception):
    """The file is not one that a simulator writes."""


class _Document:
    """Collects what expat finds, so that errors of the file and those of a handler stay apart."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._parser = parser = expat.ParserCreate(intern=self._names)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CommentHandler = self._comment
        parser.StartDoctypeDeclHandler = self._doctype
        self._path: tuple[str, ...] = ()
        self._begun = False
        self._events: list[_Event] = []

    def parse(self, piece: bytes, fed: int) -> Stopped | None:
        """Parse the next piece, an empty one being the end; why nothing more can be read, if so.

        Args:
            piece: of the file.
            fed: bytes of the file up to its end.
        """
        try:
            self._parser.Parse(piece, not piece)
            self._hold_to_limits(fed)
        except _TooMuchError as error:
            return self._stopped(f"{error}: the rest of the file was not read.")
        except expat.ExpatError as error:
            if not piece:
                return self._cut_off()
            reason = expat.ErrorString(error.code) or "damaged"
            return self._stopped(f"The XML is damaged here ({reason}): the rest of the file was not read.")
        except (LookupError, ValueError):  # an encoding that does not exist, or is none for text
            return self._stopped("The file's encoding is not known: it was not read.")
        return None

    def _hold_to_limits(self, fed: int) -> None:
        if fed - self._parser.CurrentByteIndex > LONGEST_TAG + PIECE:
            raise _TooMuchError("A tag or comment is longer than 4 MiB")
        if len(self._names) > MOST_NAMES or sum(len(name) for name in self._names if name) > LONGEST_TAG:
            raise _TooMuchError(f"The file has more than {MOST_NAMES} different names of elements and attributes")

    def taken(self) -> list[_Event]:
        """What was found since the last time."""
        events, self._events = self._events, []
        return events

    def _stopped(self, text: str) -> Stopped:
        return Stopped(text, self._parser.CurrentLineNumber)

    def _cut_off(self) -> Stopped:
        read = "what stands before it was read" if self._begun else "no result stands before it"
        text = f"The file ends in the middle; {read}."
        return Stopped(text, self._parser.CurrentLineNumber, cut_off=True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._path) >= DEEPEST:
            raise _TooMuchError(f"Elements are nested deeper than {DEEPEST}")
        self._begun = True
        self._path = (*self._path, name)
        self._events.append(_Event("start", self._path, attributes, self._parser.CurrentLineNumber))

    def _end(self, _: str) -> None:
        self._events.append(_Event("end", self._path))
        self._path = self._path[:-1]

    def _comment(self, text: str) -> None:
        if not self._begun:
            self._events.append(_Event("comment", text=text))

    def _doctype(self, _name: str, _system: str | None, _public: str | None, declares: int) -> None:
        if declares:
            raise _TooMuchError("The file declares a document type of its own, which no simulator does")
