"""What the server counts, in the text format of Prometheus (version 0.0.4)."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "local_cloud_"
ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
COUNTED = {
    "requests_total": "Requests that were answered, by method and status.",
    "refusals_total": "Requests that were refused, by code.",
    "received_bytes_total": "Bytes of uploads that arrived.",
    "uploads_total": "Files that were stored.",
    "downloads_total": "Downloads, by whether the client took all that it had asked for.",
    "sent_bytes_total": "Bytes of downloads that were sent.",
    "expired_total": "Files and unfinished uploads that were removed when their time was over.",
    "deleted_total": "Files and unfinished uploads that were deleted by their owner.",
}
"""Name, without the prefix, and meaning."""

Labels = tuple[tuple[str, str], ...]


class Counters:
    """Numbers that only grow; threads may count as well."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, Counter[Labels]] = {name: Counter() for name in COUNTED}

    def add(self, name: str, count: int = 1, **labels: str) -> None:
        """Count; ``name`` is one of `COUNTED`."""
        with self._lock:
            self._values[name][tuple(sorted(labels.items()))] += count

    def lines(self) -> Iterator[str]:
        """As Prometheus reads them; what was never counted is 0 where it has no labels."""
        with self._lock:
            values = {name: dict(counter) for name, counter in self._values.items()}
        for name, meaning in COUNTED.items():
            yield from _family(name, "counter", meaning, values[name])


COUNTERS = Counters()
"""Those of this process."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """Numbers as they are now.

    Args:
        values: by labels.
    """

    name: str
    meaning: str
    values: Mapping[Labels, float]


def exposition(gauges: list[Gauge], started: float) -> str:
    """All of it.

    Args:
        started: Unix time of the process's start.
    """
    lines = list(COUNTERS.lines())
    for gauge in gauges:
        lines += _family(gauge.name, "gauge", gauge.meaning, gauge.values)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    lines += [
        "# TYPE process_cpu_seconds_total counter",
        f"process_cpu_seconds_total {usage.ru_utime + usage.ru_stime:.2f}",
        "# TYPE process_start_time_seconds gauge",
        f"process_start_time_seconds {started:.3f}",
        "# TYPE process_resident_memory_bytes gauge",
        f"process_resident_memory_bytes {_resident()}",
        "# TYPE process_open_fds gauge",
        f"process_open_fds {len(os.listdir('/proc/self/fd'))}",  # noqa: PTH208 - names are enough
        "# TYPE process_max_fds gauge",
        f"process_max_fds {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}",
    ]
    return "".join(f"{line}\n" for line in lines)


def now() -> float:
    """Unix time."""
    return time.time()


def _family(name: str, kind: str, meaning: str, values: Mapping[Labels, float]) -> Iterator[str]:
    yield f"# HELP {PREFIX}{name} {meaning}"
    yield f"# TYPE {PREFIX}{name} {kind}"
    for labels, value in sorted((values or {(): 0}).items()):
        text = ",".join(f'{label}="{told.translate(ESCAPES)}"' for label, told in labels)
        yield f"{PREFIX}{name}{f'{{{text}}}' if text else ''} {value}"


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as stream:  # noqa: PTH123 - no path of ours
        return int(stream.read().split()[1]) * resource.getpagesize()
