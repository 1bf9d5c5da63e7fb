"""Properties of messages that any client may have written: what pika cannot read must not end who takes them.

pika gives up on a whole connection at a header that Python cannot hold (a time in the year 36812, a list
in a list a thousand times), and whoever took the message would meet it again and again. Its headers are dropped then.
"""

from __future__ import annotations

import struct
from typing import Any

import pika
from pika import spec


class TolerantProperties(pika.BasicProperties):  # type: ignore[misc] # pika has no types
    """Those of pika, without headers where these cannot be read."""

    def decode(self, encoded: bytes, offset: int = 0) -> Any:
        """Read them from the broker's bytes."""
        try:
            return super().decode(encoded, offset)
        except Exception:  # noqa: BLE001 - of many kinds, none of pika's own
            return super().decode(_without_headers(encoded[offset:]))


def use_tolerant_properties() -> None:
    """Let pika read the properties of messages by this class, in this process."""
    spec.props[pika.BasicProperties.INDEX] = TolerantProperties


def _without_headers(encoded: bytes) -> bytes:
    """AMQP 0-9-1, section 4.2.6.1: flags, then the properties in order; two short strings stand before the headers."""
    (flags,) = struct.unpack_from(">H", encoded)
    at = 2
    for flag in (pika.BasicProperties.FLAG_CONTENT_TYPE, pika.BasicProperties.FLAG_CONTENT_ENCODING):
        if flags & flag:
            at += 1 + encoded[at]
    (length,) = struct.unpack_from(">I", encoded, at)
    flags &= ~pika.BasicProperties.FLAG_HEADERS
    return struct.pack(">H", flags) + encoded[2:at] + encoded[at + 4 + length :]
