"""One file out of a zip archive, unpacked piece by piece and never further than the archive says."""

from __future__ import annotations

import os
import zlib

from local_cloud.zip_format import LOCAL, STORED, Broken, Directory, Entry

PIECE = 64 * 1024  # hundreds of slow readers hold one each
READ = 16 * 1024
MOST_PER_BYTE = 1032  # deflate cannot do more: a length of 258 takes at least two bits
DIFFERENT = "The archive is damaged: what is said of this file in its two places differs."
SHORT = "The archive is damaged: this file ends early."
WRONG = "The archive is damaged: this file is not what was packed."


def data_offset(handle: int, entry: Entry, directory: Directory) -> int:
    """Where a file's bytes begin.

    Raises:
        Broken: it cannot be taken out, or what its own header says does not agree with the list.
    """
    if entry.refused:
        raise Broken(entry.refused)
    header = os.pread(handle, LOCAL.size + len(entry.raw_name), entry.begin) if entry.begin < directory.offset else b""
    if len(header) < LOCAL.size + len(entry.raw_name) or not header.startswith(b"PK\x03\x04"):
        raise Broken("The archive is damaged: this file is not where it should be.")
    name_length: int
    extra_length: int
    _, _, flags, method, _, _, _, _, _, name_length, extra_length = LOCAL.unpack_from(header)
    if header[LOCAL.size :] != entry.raw_name or name_length != len(entry.raw_name) or method != entry.method:
        raise Broken(DIFFERENT)
    if (flags ^ entry.flags) & 1:
        raise Broken(DIFFERENT)
    begin = entry.begin + LOCAL.size + name_length + extra_length
    if begin + entry.packed > directory.offset:
        raise Broken(SHORT)
    if entry.size > entry.packed * MOST_PER_BYTE or (entry.method == STORED and entry.size != entry.packed):
        raise Broken("The archive is damaged: this file cannot be as large as it says.")
    return begin


class Unpacking:
    """Reads a file; hands out at most as many bytes as the list says, and the last ones only if the digest is right.

    Args:
        handle: of the open archive, which must stay open.

    Raises:
        Broken: as `data_offset`.
    """

    def __init__(self, handle: int, entry: Entry, directory: Directory) -> None:
        self._handle = handle
        self._entry = entry
        self._at = data_offset(handle, entry, directory)
        self._end = self._at + entry.packed
        self._inflate = None if entry.method == STORED else zlib.decompressobj(-zlib.MAX_WBITS)
        self._held = b""
        self._crc = 0
        self._left = entry.size

    def read(self) -> bytes:
        """The next piece, at most `PIECE` bytes; nothing after the last one.

        Raises:
            Broken: the bytes are not what was packed.
        """
        if not self._left and self._entry.size:
            return b""
        try:
            piece = self._stored() if self._inflate is None else self._inflated(self._inflate)
        except zlib.error as error:
            raise Broken(WRONG) from error
        self._crc = zlib.crc32(piece, self._crc)
        self._left -= len(piece)
        if self._left < 0:
            raise Broken("The archive is damaged: this file is larger than it says.")
        if self._left and not piece:
            raise Broken(SHORT)
        if not self._left and (self._crc != self._entry.crc or self._more()):
            raise Broken(WRONG)
        return piece

    def _stored(self) -> bytes:
        piece = os.pread(self._handle, min(PIECE, self._end - self._at), self._at)
        self._at += len(piece)
        return piece

    def _inflated(self, inflate: zlib._Decompress) -> bytes:
        pieces, room = [], PIECE
        while room and not inflate.eof:
            if not self._held:
                self._held = os.pread(self._handle, min(READ, self._end - self._at), self._at)
                self._at += len(self._held)
                ended = not self._held
            else:
                ended = False
            piece = inflate.decompress(self._held, room)
            self._held = inflate.unconsumed_tail
            pieces.append(piece)
            room -= len(piece)
            if ended and not piece:
                break
        return b"".join(pieces)

    def _more(self) -> bool:
        """True if there would be bytes behind the last one."""
        return self._inflate is not None and not self._inflate.eof and bool(self._inflated(self._inflate))
