"""Amounts for people: bytes, times, and how far something is."""

from __future__ import annotations

STEP = 1000


def amount(size: float) -> str:
    """Bytes for people.

    >>> amount(999), amount(1_234_567), amount(56_789_000_000)
    ('999 bytes', '1.2 MB', '57 GB')
    """
    if size < STEP:
        return f"{size:.0f} bytes"
    for unit in ("kB", "MB", "GB", "TB"):
        size /= STEP
        if size < STEP - 0.5 or unit == "TB":
            break
    return f"{size:.1f} {unit}" if size < 9.95 else f"{size:.0f} {unit}"  # noqa: PLR2004 - two digits at least


def file_size(octets: int) -> str:
    """A file's size, in the binary units of IEC 80000-13, as file managers show it.

    >>> file_size(999), file_size(3 * 1024**2)
    ('999 bytes', '3.0 MiB')
    """
    value = float(octets)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:  # noqa: PLR2004
            return f"{octets} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def duration(seconds: float) -> str:
    """Time for people.

    >>> duration(0.3), duration(75), duration(7260)
    ('1 s', '1 min 15 s', '2 h 1 min')
    """
    minutes, rest = divmod(max(1, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def how_far(done: float, total: float, rate: float | None, verb: str = "") -> str:
    """Bytes, bytes a second, and time left ``verb``, such as "to read"; a total of 0 and a rate of None are not known.

    >>> how_far(2_000_000, 8_000_000, 500_000), how_far(2_000_000, 0, 500_000), how_far(2_000_000, 8_000_000, None)
    ('2.0 MB of 8.0 MB, 500 kB/s, 12 s left', '2.0 MB, 500 kB/s', '2.0 MB of 8.0 MB')
    """
    of = f" of {amount(max(total, done))}" if total else ""
    speed = f", {amount(rate)}/s" if rate is not None else ""
    left = f", {duration((total - done) / rate)} left{f' {verb}' if verb else ''}" if rate and total > done else ""
    return f"{amount(done)}{of}{speed}{left}"
