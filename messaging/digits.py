"""Numbers for people: sensible digits, SI prefixes, and "no value" for NaN."""

from __future__ import annotations

import math

from messaging.visible import shortened

NO_VALUE = "no value"
SIGNIFICANT = 4
SPACE = "\u202f"  # between groups of three digits, as ISO 80000-1 has it: neither comma nor point is clear everywhere
MINUS = "\u2212"

LONGEST_UNIT = 24  # characters

_TIMES = "\u00d7"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_LARGEST_WHOLE = 1e12  # beyond, powers of ten
_LARGEST_FRACTION = 1e9
_SMALLEST = 1e-3
_PREFIXES = {-12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
_LOWEST_POWER = -300  # 10 to a lower power is no normal number any more
# Units that take prefixes, as simulators spell them, and the lowest and highest prefix that people use with them.
_PREFIXED = {
    "s": (-12, 0),
    "bps": (0, 12),
    "bit/s": (0, 12),
    "b/s": (0, 12),
    "B/s": (0, 12),
    "B": (0, 12),
    "Hz": (0, 12),
    "W": (-12, 9),
    "J": (-12, 9),
}


def amount(value: float, significant: int = SIGNIFICANT) -> str:
    """A number with at most ``significant`` digits after the first that is not 0; whole numbers are whole."""
    if math.isnan(value):
        return NO_VALUE
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    size = abs(value)
    if size == 0:
        return "0"
    if size == math.floor(size) and size < _LARGEST_WHOLE:
        return _signed(_grouped(f"{size:.0f}"), value)
    mantissa, exponent = f"{size:.{significant - 1}e}".split("e")
    power = int(exponent)
    if _SMALLEST <= size < _LARGEST_FRACTION:
        return _signed(_grouped(_trimmed(f"{size:.{max(0, significant - 1 - power)}f}")), value)
    return _signed(f"{_trimmed(mantissa)}{times_power_of_ten(power)}", value)


def with_unit(value: float, unit: str, significant: int = 4) -> str:
    """A number with its unit, scaled where the unit takes prefixes: 0.02372 s is ``23.72 ms``."""
    if not math.isfinite(value) or not unit:
        return amount(value, significant)
    factor, scaled_unit = prefixed(abs(value), shortened(unit, LONGEST_UNIT))
    return f"{amount(value / factor, significant)}{'' if unit == '%' else ' '}{scaled_unit}"


def prefixed(size: float, unit: str) -> tuple[float, str]:
    """By what to divide values up to ``size``, and the unit that they then have."""
    if unit not in _PREFIXED or size == 0:
        return 1.0, unit
    lowest, highest = _PREFIXED[unit]
    power = min(max(thousands(size), lowest), highest)
    return 10.0**power, f"{_PREFIXES[power]}{unit}"


def thousands(size: float) -> int:
    """The power of ten, a multiple of 3, that brings a finite number above 0 to between 1 and 1000."""
    return max(3 * math.floor(math.log10(size) / 3 + 1e-12), _LOWEST_POWER)


def times_power_of_ten(power: int) -> str:
    """Times a power of ten, with the exponent raised."""
    return f"{_TIMES}10{str(power).translate(_SUPERSCRIPTS)}"


def share(value: float) -> str:
    """A share of 1 in per cent; what is not nothing does not show as 0."""
    if math.isnan(value):
        return NO_VALUE
    per_cent = 100 * value
    if 0 < per_cent < 0.1:  # noqa: PLR2004  below what one decimal shows
        return f"{amount(per_cent, 2)}{SPACE}%"
    return f"{per_cent:.1f}{SPACE}%"


def count(number: int, one: str, many: str = "") -> str:
    """Such as ``1 run``, ``3 runs``."""
    return f"{amount(number)} {one if number == 1 else many or one + 's'}"


def _trimmed(digits: str) -> str:
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _grouped(digits: str) -> str:
    whole, point, rest = digits.partition(".")
    if len(whole) > 4:  # noqa: PLR2004  ISO 80000-1: four digits may stand together
        whole = f"{int(whole):,}".replace(",", SPACE)
    return f"{whole}{point}{rest}"


def _signed(text: str, value: float) -> str:
    return f"{MINUS}{text}" if value < 0 else text
