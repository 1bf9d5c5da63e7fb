"""Addresses to listen on, as settings name them."""

from __future__ import annotations

HIGHEST_PORT = 65535


def listen_address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``, ``[HOST]:PORT`` or ``PORT`` (then this machine only); port 0 takes a free one.

    Raises:
        ValueError: it is none of these.
    """
    host, _, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(text)
    if not (port.isascii() and port.isdecimal()) or int(port) > HIGHEST_PORT or (":" in text and not host):
        raise ValueError(text)
    return host or "127.0.0.1", int(port)
