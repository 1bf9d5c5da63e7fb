"""What a simulator host uses: the library, ``publish``, ``run``, the spool, and an example simulator."""

from producer.event import InvalidEvent
from producer.publisher import Producer, Published, publish
from producer.runs.block import run
from producer.spool import SpoolError

__all__ = ["InvalidEvent", "Producer", "Published", "SpoolError", "publish", "run"]
