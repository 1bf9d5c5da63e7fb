"""What a finished archive is, and what it is called."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

LONGEST_NAME = 120  # characters, well below the 255 bytes that most file systems allow


@dataclass(frozen=True, slots=True)
class Packed:
    """A finished archive on this machine's disk."""

    path: Path
    name: str
    size: int
    sha256: str


def archive_name(title: str, simulation_id: str) -> str:
    """A file name for people, from the event alone: any Unicode text, no slash, no control character."""
    text = unicodedata.normalize("NFC", title or simulation_id)
    text = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]+', " ", text)
    text = re.sub(r"\s+", " ", text).strip(" .")[:LONGEST_NAME].strip(" .")
    return f"{text or 'results'}.zip"
