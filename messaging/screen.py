"""A line on a terminal that is written over and over, and goes in the end."""

from __future__ import annotations

from typing import TextIO

CLEAR = "\r\x1b[K"


class ScreenLine:
    """Shows how something goes on.

    Args:
        stream: nothing is written where it is no terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = False
        self.on = stream.isatty()
        """Whether anybody sees it."""

    def show(self, text: str) -> None:
        """Take the place of what the line shows; ``text`` fits into a line."""
        if self.on:
            self._stream.write(f"{CLEAR}{text}")
            self._stream.flush()
            self._shown = True

    def clear(self) -> None:
        """Remove it; what is written next stands in its place."""
        if self._shown:
            self._stream.write(CLEAR)
            self._stream.flush()
            self._shown = False
