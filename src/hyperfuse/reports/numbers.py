"""Numbers as a reader expects them: significant digits, units, counts with their nouns, times and sizes."""

from __future__ import annotations

import math

_THIN = "\u202f"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, digits: int = 4, unit: str = "") -> str:
    """Return a measured number with this number of significant digits and its unit; undefined values are a dash.

    Example:
        >>> number(12.3456, 3, "dB"), number(0.00001234, 3), number(float("nan")), number(float("inf"), unit="dB")
        ('12.3 dB', '1.23 × 10⁻⁵', '–', '∞ dB')
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        shown = "∞" if value > 0 else "−∞"
    elif value == 0 or 1e-3 <= abs(value) < 1e6:
        decimals = max(digits - 1 - (math.floor(math.log10(abs(value))) if value else 0), 0)
        shown = f"{value:,.{decimals}f}".replace(",", _THIN)
    else:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        shown = f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    return _with_unit(shown.replace("-", "−"), unit)


def exact(value: float, unit: str = "", digits: int = 6) -> str:
    """Return a specified, not measured, number without trailing zeros.

    Example:
        >>> exact(3.0), exact(30.0, "m"), exact(3.2)
        ('3', '30 m', '3.2')
    """
    return _with_unit(f"{value:.{digits}g}".replace("-", "−"), unit)


def _with_unit(shown: str, unit: str) -> str:
    return f"{shown}{unit}" if unit == "°" else f"{shown} {unit}" if unit else shown


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """Return a count with its noun.

    Example:
        >>> counted(1, "band"), counted(3, "band")
        ('1 band', '3 bands')
    """
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}".replace(",", _THIN)


def memory(size: int) -> str:
    """Return a number of bytes in the largest unit that fits.

    Example:
        >>> memory(1_500_000)
        '1.5 MB'
    """
    for unit, bytes_of in (("GB", 1e9), ("MB", 1e6)):
        if size >= bytes_of:
            return f"{size / bytes_of:.3g} {unit}"
    return f"{size / 1e3:.3g} kB"


def duration(seconds: float) -> str:
    """Return a time in seconds, minutes or hours, by its length.

    Example:
        >>> duration(4.21), duration(75), duration(7320)
        ('4.2 s', '1 min 15 s', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if seconds < 3600:
        whole = round(seconds)
        return f"{whole // 60} min {whole % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"
