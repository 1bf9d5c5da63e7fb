"""What a result format is, and what it hands on.

A format is one small class in one file. It recognises a file by its first bytes, reads it once from the beginning to
the end in flat memory, and tells a `Sink` what it found. It computes nothing, keeps nothing, and drops nothing
silently: what it cannot read it reports with the line number and goes on with the next line. Third parties add formats
through the entry-point group ``simcourier.formats``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

BYTE_ORDER = b"\xef\xbb\xbf"  # which editors put before UTF-8: it says nothing
HEAD = 65_536  # bytes that `Format.recognises` is shown, fewer where the file is smaller

Floats = NDArray[np.float64]
Numbers = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a simulation, as its result files describe it.

    The parts of a parallel simulation, and the .sca and .vec file of one run, carry the same id: such runs are one.

    Args:
        id: opaque and unique for a run; empty where the format knows none: then the file is the run.
        simulator: its name, with the version where the file tells it, such as ``OMNeT++`` or ``ns-3``.
        attributes: name to value, such as ``configname``, ``network``, ``seedset``, ``datetime``.
        itervars: iteration variables, name to value as written.
        config: configuration entries in the file's order; keys repeat, and the first that matches wins.
        warmup: seconds at the beginning that the simulator did not record; None: not told.
        end: simulated seconds at which the run ended; None: not told.
        end_is_bound: ``end`` is a limit that was configured: the run may have ended before.
        events: that were simulated; None: not told.
        elapsed: seconds of real time that this took; None: not told.
    """

    id: str
    simulator: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    itervars: Mapping[str, str] = field(default_factory=dict)
    config: Sequence[tuple[str, str]] = ()
    warmup: float | None = None
    end: float | None = None
    end_is_bound: bool = False
    events: int | None = None
    elapsed: float | None = None


@dataclass(frozen=True, slots=True)
class Statistic:
    """What the simulator computed over many observations, perhaps with a histogram.

    Args:
        module: where in the model; ``name``: what was observed.
        fields: the numbers that were written, under OMNeT++'s names: ``count``, ``mean``, ``stddev`` (n - 1), ``min``,
            ``max``, ``sum``, ``sqrsum``; weighted: ``weights``, ``weightedSum``, ``sqrSumWeights``,
            ``weightedSqrSum``. NaN is "no value".
        bins: (lower edge, count or sum of weights), edges rising. The first edge may be -inf: the underflow; the last
            bin is open above: the overflow.
        attributes: such as ``unit`` and ``title``.
    """

    module: str
    name: str
    fields: Mapping[str, float]
    bins: Sequence[tuple[float, float]] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)


class Sink(Protocol):
    """Takes what a format finds. What follows a `run` belongs to that run.

    Every method may raise to stop the reading: a format lets such an exception pass.
    """

    def run(self, run: Run) -> None:
        """A run begins, or goes on: a run of the same id, from whatever file, is the same run."""

    def scalar(self, module: str, name: str, value: float, attributes: Mapping[str, str]) -> None:
        """One number; NaN is "no value".

        Args:
            module: where in the model.
            name: what it is.
            value: the number.
            attributes: such as ``unit`` and ``title``; ``headline``, whatever its text, for the few that say most.
        """

    def parameter(self, module: str, name: str, text: str) -> None:
        """A parameter of the model, as written."""

    def statistic(self, statistic: Statistic) -> None:
        """A statistic, with its histogram."""

    def vector(self, module: str, name: str, attributes: Mapping[str, str], *, timed: bool = True) -> int:
        """Declare a vector; its number for `samples`. One that never gets a sample counts as an empty vector.

        Args:
            module: where in the model.
            name: what was recorded.
            attributes: such as ``unit``, ``interpolationmode``, ``enum`` (``IDLE=0,BUSY=1``); ``headline``, whatever
                its text, for the few that say most.
            timed: whether its samples have a time; otherwise they are observations in any order, and the times given
                to `samples` only number them.
        """

    def samples(self, vectors: Numbers, times: Floats, values: Floats) -> None:
        """Samples in the order of the file, as three arrays of one length.

        Args:
            vectors: the number of each sample's vector; consecutive samples are often of one vector.
            times: seconds, not falling within a vector.
            values: NaN is "no value".
        """

    def warning(self, text: str, line: int | None = None) -> None:
        """Something that could not be read, or is not as it should be, in a sentence for the researcher."""

    def incomplete(self, text: str, line: int | None = None) -> None:
        """The file ends in the middle, as a killed simulation leaves it; ``text`` says what was not read."""

    def at(self, offset: int) -> None:
        """How far the file has been read, in bytes of the file as it lies on the disk; called at least every 16 MiB."""


class Format(Protocol):
    """A result format.

    It has no state: one object reads many files, perhaps at once.
    """

    @property
    def name(self) -> str:
        """For people, such as ``OMNeT++ text``; a class variable will do."""

    def recognises(self, head: bytes) -> bool:
        """Whether a file that begins with ``head`` is of this format. It never raises."""

    def read(self, stream: BinaryIO, sink: Sink) -> None:
        """Read the whole file, from wherever it is not damaged, and tell the sink.

        Args:
            stream: seekable, at its beginning; for a file on this machine ``fileno()`` works.
            sink: takes what is found.

        Raises:
            OSError: the file cannot be read. Nothing else: whatever the bytes are, they are only ever worth a warning.
        """
