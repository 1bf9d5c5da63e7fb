"""A sink in front of another: for files within files, and for formats that are not ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from consumer.formats.contract import Floats, Numbers, Run, Sink, Statistic


class Relay:
    """Hands everything on to ``sink``.

    Args:
        sink: takes what is told.
        place: where the file on the disk has been read to, whatever the format says; None: as it says.

    Attributes:
        raised: the exception by which the sink stopped the reading: it must pass, unlike the format's own.
        incomplete_told: the format has told that the file is cut off.
        begun: a run has been told.
    """

    def __init__(self, sink: Sink, place: Callable[[], int] | None = None) -> None:
        self._sink = sink
        self._place = place
        self.raised: BaseException | None = None
        self.incomplete_told = False
        self.begun = False

    def run(self, run: Run) -> None:
        self.begun = True
        with self._noting():
            self._sink.run(run)

    def scalar(self, module: str, name: str, value: float, attributes: Mapping[str, str]) -> None:
        with self._noting():
            self._sink.scalar(module, name, value, attributes)

    def parameter(self, module: str, name: str, text: str) -> None:
        with self._noting():
            self._sink.parameter(module, name, text)

    def statistic(self, statistic: Statistic) -> None:
        with self._noting():
            self._sink.statistic(statistic)

    def vector(self, module: str, name: str, attributes: Mapping[str, str], *, timed: bool = True) -> int:
        with self._noting():
            return self._sink.vector(module, name, attributes, timed=timed)

    def samples(self, vectors: Numbers, times: Floats, values: Floats) -> None:
        with self._noting():
            self._sink.samples(vectors, times, values)

    def warning(self, text: str, line: int | None = None) -> None:
        with self._noting():
            self._sink.warning(text, line)

    def incomplete(self, text: str, line: int | None = None) -> None:
        if not self.incomplete_told:
            self.incomplete_told = True
            with self._noting():
                self._sink.incomplete(text, line)

    def at(self, offset: int) -> None:
        with self._noting():
            self._sink.at(self._place() if self._place else offset)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.raised = error
            raise
