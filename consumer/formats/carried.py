"""Files of simulators that are known and not read: carried in the archive as they are, and named in the summary."""

from __future__ import annotations

import re

from consumer.formats.contract import BYTE_ORDER
from consumer.formats.sqlite_file import MAGIC as SQLITE
from consumer.formats.xml_elements import root_of

_MAGIC = {
    b"\xd4\xc3\xb2\xa1": "packet capture (pcap)",
    b"\xa1\xb2\xc3\xd4": "packet capture (pcap)",
    b"\x4d\x3c\xb2\xa1": "packet capture (pcap)",
    b"\xa1\xb2\x3c\x4d": "packet capture (pcap)",
    b"\x0a\x0d\x0d\x0a": "packet capture (pcapng)",
    b"PAR1": "Parquet table",
    SQLITE: "SQLite database",
}
_TRACE = re.compile(rb"[-+drt] \d+(?:\.\d+)?(?:e[-+]?\d+)? /NodeList/\d+/")
_EVENT_LOG = re.compile(rb"(?:SB (?:\S+ \S+ )+|E # \d+ t )")
_ROOTS = {
    "anim": "NetAnim trace",
    "analysis": "OMNeT++ analysis",
    "scave:Analysis": "OMNeT++ analysis",
    "fcd-export": "SUMO positions of every vehicle",
    "emission-export": "SUMO emissions of every vehicle",
    "netstate": "SUMO network state",
    "sumo-netstate": "SUMO network state",
    "full-export": "SUMO full output",
    "queue-export": "SUMO queues",
    "meandata": "SUMO edge or lane data",
    "detector": "SUMO detector",
    "routes": "SUMO routes",
}


def carried(head: bytes) -> str:
    """What a file is that begins with ``head`` and that no format reads; empty: not known."""
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    start = head.lstrip()[:500]
    if _TRACE.match(start):
        return "ns-3 ASCII trace"
    if _EVENT_LOG.match(start):
        return "OMNeT++ event log"
    return _ROOTS.get(root_of(head)[0], "") if start.startswith((b"<", BYTE_ORDER)) else ""
