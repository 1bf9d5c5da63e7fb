"""Zip archives: as they should be, and as somebody makes them who means harm."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
import zlib

LOCAL, CENTRAL, END = "<4s5H3L2H", "<4s6H3L5H2L", "<4s4H2LH"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)


def zipped(files: dict[str, bytes] | list[tuple[str, bytes]], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive as Python's own module makes it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        for name, content in files.items() if isinstance(files, dict) else files:
            archive.writestr(zipfile.ZipInfo(name, (2026, 3, 1, 12, 0, 0)), content, method)
    return buffer.getvalue()


class Forged:
    """An archive that is put together by hand, and may say anything of itself."""

    def __init__(self) -> None:
        self.body = b""
        self.list = b""
        self.count = 0

    def add(
        self,
        name: bytes,
        content: bytes = b"",
        *,
        packed: bytes | None = None,
        method: int = 8,
        flags: int = 0,
        size: int | None = None,
        crc: int | None = None,
        begin: int | None = None,
        local_name: bytes | None = None,
        stated: int | None = None,
        mode: int = 0,
    ) -> Forged:
        """A file; each argument is what is said of it, where that is to differ from the truth."""
        if packed is None:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed = packer.compress(content) + packer.flush() if method == 8 else content
        size = len(content) if size is None else size
        crc = zlib.crc32(content) if crc is None else crc
        stated = len(packed) if stated is None else stated
        offset = len(self.body) if begin is None else begin
        said = (method, 0, 0x5C61, crc, stated, size)
        inner = name if local_name is None else local_name
        self.body += struct.pack(LOCAL, b"PK\x03\x04", 20, flags, *said, len(inner), 0) + inner + packed
        self.list += struct.pack(
            CENTRAL, b"PK\x01\x02", 3 << 8, 20, flags, *said, len(name), 0, 0, 0, 0, mode << 16, offset
        )
        self.list += name
        self.count += 1
        return self

    def whole(self, *, count: int | None = None, length: int | None = None, offset: int | None = None) -> bytes:
        """The bytes."""
        count = self.count if count is None else count
        end = struct.pack(
            END,
            b"PK\x05\x06",
            0,
            0,
            count,
            count,
            len(self.list) if length is None else length,
            len(self.body) if offset is None else offset,
            0,
        )
        return self.body + self.list + end


def of_overlapping_files(copies: int = 50) -> bytes:
    """A bomb: many files in the list that are the same bytes."""
    content = bytes(1024 * 1024)
    forged = Forged().add(b"file-0", content)
    for number in range(1, copies):
        name = f"file-{number}".encode()
        packed = forged.body[30 + 6 :]
        said = (8, 0, 0x5C61, zlib.crc32(content), len(packed), len(content))
        forged.list += struct.pack(CENTRAL, b"PK\x01\x02", 0, 20, 0, *said, len(name), 0, 0, 0, 0, 0, 0) + name
        forged.count += 1
    return forged.whole()
