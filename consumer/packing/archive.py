"""Packs files into an archive that grows forward only, while threads read and deflate what comes next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from consumer.packing import sources, space, zipformat
from consumer.packing.ahead import Ahead, cores
from consumer.packing.deflate import BLOCK, Bytes, Compression, worth_deflating
from consumer.packing.members import SAMPLE_BYTES, Block, Whole, block, blocks, sample_offsets, small_files, whole
from consumer.packing.memory import keep_freed_memory
from consumer.packing.output import Output, Sink, Stream
from consumer.packing.zipformat import DEFLATED, STORED, Member
from consumer.snapshot import Source, SourceFile

# Small files go to the threads in handfuls, so that what a call costs is spread over many of them.
HANDFUL_FILES = 64
HANDFUL_BYTES = BLOCK // 2


@dataclass(frozen=True, slots=True)
class Written:
    """A finished archive: its bytes, their SHA-256 (lower-case hex), and how many members it has."""

    size: int
    sha256: str
    members: int


def never() -> None:
    """Does not stop the work."""


def untold(done: int, total: int) -> None:
    """Tells nobody."""
    del done, total


def _given(data: Bytes) -> Bytes:
    return data


class ArchiveWriter:
    """Packs members in the order in which they are added; the bytes depend on them alone, not on ``threads``.

    Use it in a ``with`` block: leaving it early ends the threads and closes the files.

    Args:
        sink: gets the archive's bytes, in order; nothing is ever changed afterwards.
        compression: see `consumer.packing.deflate`.
        threads: how many read and deflate; 0: one for each core.
        ensure: called between blocks; raises when the work is to stop.
        progress: called with the bytes packed and the bytes expected (see `expect`).
    """

    def __init__(
        self,
        sink: Sink,
        compression: Compression = "fast",
        threads: int = 0,
        ensure: Callable[[], None] = never,
        progress: Callable[[int, int], None] = untold,
    ) -> None:
        keep_freed_memory()
        self._output = Output(sink)
        self._compression = compression
        self._progress = progress
        self._ahead = Ahead(threads or cores(), ensure)
        self._open: set[Source] = set()
        self._handful: list[SourceFile] = []
        self._handful_bytes = 0
        self._buffers: list[bytearray] = []  # used again: fresh memory costs a page fault for every 4 KiB
        self._done = self._expected = 0
        self.newest_ns = 0
        """The latest time stamp of what was added: that of members which are made from the others."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ahead.close()  # before the files: a thread may be reading
        for source in self._open:
            source.close()

    def expect(self, size: int) -> None:
        """So many more bytes will be added: for ``progress``."""
        self._expected += size

    def add_file(self, file: SourceFile) -> None:
        """Add a file of a snapshot.

        Raises, here or in a later call:
            TransientError: it changed, grew, shrank, vanished or was replaced since the snapshot.
            OSError: it cannot be read, or the archive cannot be written.
        """
        self.newest_ns = max(self.newest_ns, file.mtime_ns)
        if file.size <= BLOCK:
            self._handful.append(file)
            self._handful_bytes += file.size
            if len(self._handful) >= HANDFUL_FILES or self._handful_bytes >= HANDFUL_BYTES:
                self._hand_over()
            return
        self._hand_over()
        source = sources.source(file)
        self._open.add(source)
        samples = source.samples(sample_offsets(file.size), SAMPLE_BYTES)
        method = DEFLATED if worth_deflating(samples) else STORED
        zip64 = space.of_data(file.size) >= zipformat.MOST_32
        stream = Stream(self._output, Member(file.name.encode(), method, file.mtime_ns, zip64=zip64))
        for number, offset in enumerate(range(0, file.size, BLOCK)):
            size = min(BLOCK, file.size - offset)
            last = offset + size == file.size
            buffer = self._buffers.pop() if self._buffers else bytearray(BLOCK)
            read: Callable[[], Bytes] = partial(source.read, offset, memoryview(buffer)[:size])
            if source.in_order:  # read here, while threads deflate what came before
                read = partial(_given, read())
            work = partial(block, read, method, self._compression, number, last=last)
            end = partial(self._end_file, stream, source) if last else None
            self._ahead.call(work, partial(self._take_block, stream, buffer, end))

    def add_path(self, name: str, path: Path, mtime_ns: int) -> None:
        """Add a file that was made for the archive, under a name and a time stamp of its own."""
        with path.open("rb") as stream:
            self.add_chunks(name, iter(partial(stream.read, BLOCK), b""), mtime_ns)

    def add_chunks(self, name: str, chunks: Iterable[bytes], mtime_ns: int) -> None:
        """Add a member that comes in pieces of any size."""
        self.newest_ns = max(self.newest_ns, mtime_ns)
        self._hand_over()
        raw = name.encode()
        source = blocks(chunks)
        data, following = next(source, b""), next(source, None)
        if following is None:
            self._ahead.call(lambda: [whole(raw, mtime_ns, data, self._compression)], self._take_whole)
            return
        stream = Stream(self._output, Member(raw, DEFLATED, mtime_ns, zip64=True))
        for number in count():
            last = following is None
            work = partial(block, partial(bytes, data), DEFLATED, self._compression, number, last=last)
            self._ahead.call(work, partial(self._take_block, stream, None, stream.end if last else None))
            if following is None:
                break
            data, following = following, next(source, None)

    def flush(self) -> None:
        """Write all that was added so far; waits for it."""
        self._hand_over()
        self._ahead.drain()

    def digests(self) -> Iterator[tuple[str, str]]:
        """Name and SHA-256 (lower-case hex) of all members added so far, in their order; waits for them."""
        self.flush()
        return self._output.digests()

    def prefix_sha256(self, reader: BinaryIO, size: int) -> str:
        """Digest of the archive's first ``size`` bytes; see `consumer.packing.output.Output.prefix_sha256`."""
        return self._output.prefix_sha256(reader, size)

    def close(self) -> Written:
        """Write the central directory; nothing can be added any more."""
        self.flush()
        members = self._output.members
        self._output.finish()
        return Written(self._output.size, self._output.sha256, members)

    def _hand_over(self) -> None:
        """Let a thread pack the small files that were gathered."""
        if self._handful:
            files, self._handful, self._handful_bytes = self._handful, [], 0
            self._ahead.call(partial(small_files, files, self._compression), self._take_whole)

    def _take_whole(self, complete: list[Whole]) -> None:
        self._output.write_whole(complete)
        self._tell(sum(one.member.size for one in complete))

    def _take_block(self, stream: Stream, buffer: bytearray | None, end: Callable[[], None] | None, one: Block) -> None:
        stream.add(one)
        self._tell(len(one.raw))
        if buffer is not None:
            self._buffers.append(buffer)
        if end is not None:
            end()

    def _end_file(self, stream: Stream, source: Source) -> None:
        source.ensure_unchanged()  # only now has every thread read its block
        self._open.discard(source)
        source.close()
        stream.end()

    def _tell(self, size: int) -> None:
        self._done += size
        self._progress(self._done, self._expected)
