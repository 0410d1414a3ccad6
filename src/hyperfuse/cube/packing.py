"""What the attributes of a variable state about its stored numbers: unsigned, packed, out of range, marks of gaps.

Source: CF Metadata Conventions 1.11, sections 2.5.1 and 8.1; NetCDF Users Guide, appendix A, for ``_Unsigned`` and for
ranges of packed data. Other spellings (``Scale_Factor``, ``Data_Ignore_Value``) are those of HDF5 files without a
convention, such as the reflectance of NEON.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.errors import InputError, warn
from hyperfuse.text import shortened

# The numbers of values that were never written (NC_FILL_FLOAT, NC_FILL_SHORT and so on), by type. Those of unsigned
# types are the largest ones, which may be values.
NEVER_WRITTEN = {
    **dict.fromkeys(("float32", "float64"), 9.969209968386869e36),
    **{"int16": -32767.0, "int32": -2147483647.0},
}

_MARKS = ("fillvalue", "missingvalue", "dataignorevalue", "ignorevalue", "nodata", "nodatavalue")
_SCALES = ("scalefactor", "scalingfactor", "reflectancescalefactor", "scale", "gain", "slope", "multiplier")
_OFFSETS = ("addoffset", "offsets", "offset", "intercept")

# A scale_factor of this or more is rather what a writer who does not know CF divides by.
_LARGE = 100


@dataclass(frozen=True)
class Packing:
    """value = scale * stored + offset, of the stored numbers that are in range and no mark of gaps.

    Attributes:
        scale, offset: one for all, or one per band.
        marks: stored numbers that mark gaps.
        valid_range: lowest and highest stored number that is no gap.
        dtype: of the stored numbers, signed or unsigned as stated.
    """

    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    marks: tuple[float, ...] = ()
    valid_range: tuple[float, float] = (-math.inf, math.inf)
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))

    @property
    def is_identity(self) -> bool:
        """Whether stored numbers are the values."""
        return set(self.scale) == {1.0} and set(self.offset) == {0.0}

    def signed(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return stored numbers as signed or unsigned as stated."""
        if stored.dtype.kind == self.dtype.kind or stored.dtype.kind not in "iu":
            return stored
        return np.ascontiguousarray(stored).view(stored.dtype.str.replace(stored.dtype.kind, self.dtype.kind))

    def unpacked(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return the values of stored numbers, float64 where they are packed; gaps stay as they are."""
        stored = self.signed(stored)
        return stored if self.is_identity else stored * np.float64(self.scale[0]) + np.float64(self.offset[0])


def decode_packing(attrs: Mapping[str, Any], dtype: Any, where: str, *, scaled: bool = False) -> Packing:
    """Return what the attributes of a variable state about numbers that are stored as ``dtype``.

    Args:
        attrs: of the variable: numbers, texts, or arrays of them.
        dtype: numpy's, or its name.
        where: name of the file, for warnings; empty for a coordinate.
        scaled: the caller states the scale, so that one which can be understood in two ways is no obstacle.

    Raises:
        InputError: a scale or offset that is no number, or a scale that may multiply or divide.
    """
    kind = _as_stated(np.dtype(dtype), next((str(v) for k, v in attrs.items() if k.lower() == "_unsigned"), ""))
    named = {_letters(key): key for key in attrs if not key.lower().startswith("_unsigned")}
    scale = _scale(attrs, named, where, scaled)
    offset = _required(attrs, next((named[name] for name in _OFFSETS if name in named), None), (0.0,))
    marks: list[float] = []
    for key in (named[name] for name in _MARKS if name in named):
        found = as_numbers(attrs[key])
        if found is None:
            warn(f"{where}: the attribute {key} {shortened(attrs[key])!r} is no number and marks no gaps")
        marks += [_wrapped(value, kind) for value in found or ()]
    limits = _limits(attrs, named, where)
    if kind.kind in "iu" and len(scale) == len(offset) == 1 and (scale, offset) != ((1.0,), (0.0,)):
        ends = [_packed(value, whole, scale[0], offset[0]) for value, whole in limits]
        if scale[0] < 0 and not all(whole for _, whole in limits):
            ends = [-end if math.isinf(end) else end for end in reversed(ends)]
    else:
        ends = [value for value, _ in limits]
    low, high = (_wrapped(value, kind) for value in ends)
    return Packing(scale, offset, tuple(dict.fromkeys(marks)), (low, high), kind)


def as_numbers(value: Any) -> tuple[float, ...] | None:
    """Return the numbers of an attribute: a number, a list, or their text (``{450, 550}``); None for anything else.

    Example:
        >>> as_numbers("450.5, 550"), as_numbers("red")
        ((450.5, 550.0), None)
    """
    parts = (
        [part for part in re.split(r"[,\s]+", value.strip("{}[]() \t\n")) if part] if isinstance(value, str) else value
    )
    try:
        found = np.asarray(parts).astype(np.float64).ravel()
    except (TypeError, ValueError, OverflowError):
        return None
    return tuple(found.tolist()) or None


def _letters(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower())


def _as_stated(dtype: np.dtype[Any], unsigned: str) -> np.dtype[Any]:
    kind = {"true": "u", "false": "i"}.get(unsigned.strip().lower())
    return dtype if kind is None or dtype.kind not in "iu" else np.dtype(f"{kind}{dtype.itemsize}")


def _wrapped(value: float, kind: np.dtype[Any]) -> float:
    """Return a stored number that is stated in the signed form of an unsigned type, or the other way round."""
    if kind.kind not in "iu" or not math.isfinite(value) or value != round(value):
        return value
    span, limits = 2 ** (8 * kind.itemsize), np.iinfo(kind)
    other = value + span if value < limits.min else value - span if value > limits.max else value
    return other if limits.min <= other <= limits.max else value


def _required(attrs: Mapping[str, Any], key: str | None, default: tuple[float, ...]) -> tuple[float, ...]:
    if key is None:
        return default
    found = as_numbers(attrs[key])
    if found is None or not np.isfinite(found).all():
        raise InputError(f"its attribute {key} {shortened(attrs[key])!r} is no number")
    return found


def _scale(attrs: Mapping[str, Any], named: Mapping[str, str], where: str, scaled: bool) -> tuple[float, ...]:
    for key in ("scale_factor", "scales"):
        found = _required(attrs, key if key in attrs else None, (1.0,))
        if 0 in found:
            raise InputError(f"its attribute {key} is 0, which makes every value the same; state scale=", "scale")
        if set(found) != {1.0}:
            if where and _may_divide(found) and found[0] >= _LARGE and not scaled:
                warn(f"{where}: {key} {found[0]:g} multiplies the stored numbers, as CF has it; state scale= if not")
            return found
    named = {name: key for name, key in named.items() if key != "scale_factor"}
    other = next((named[name] for name in _SCALES if name in named), None)
    if other is None or scaled:
        return (1.0,)
    found = _required(attrs, other, (1.0,))
    if _letters(other) == "reflectancescalefactor" and 0 not in found:  # of ENVI, which divides
        return tuple(1.0 / value for value in found)
    if _may_divide(found):
        warn(f"{where}: {other} {found[0]:g} is taken as the divisor of the stored numbers; state scale= if it is not")
        return (1.0 / found[0],)
    if not all(0 < value <= 1 for value in found):
        shown = ", ".join(f"{value:g}" for value in found[:3])
        raise InputError(f"its attribute {other} {shown} may multiply or divide the numbers; state scale=", "scale")
    return found


def _may_divide(scale: tuple[float, ...]) -> bool:
    return len(scale) == 1 and scale[0] > 1 and math.log10(scale[0]).is_integer()


def _limits(attrs: Mapping[str, Any], named: Mapping[str, str], where: str) -> list[tuple[float, bool]]:
    """Return the lowest and highest valid number, and whether each is stated as a whole number."""
    limits = [(-math.inf, True), (math.inf, True)]
    for name, ends in (("validmin", (0,)), ("validmax", (1,)), ("validrange", (0, 1))):
        if name not in named:
            continue
        stated = attrs[named[name]]
        found = as_numbers(stated)
        if found is None or len(found) != len(ends):
            warn(f"{where}: the attribute {named[name]} {shortened(stated)!r} is no range and is left out")
            continue
        whole = "." not in str(stated) and "e" not in str(stated).lower()
        for end, value in zip(ends, found, strict=True):
            limits[end] = (value, whole)
    return limits


def _packed(value: float, whole: bool, scale: float, offset: float) -> float:
    """Return a limit in stored numbers: a whole number states one, a number with a point states a value."""
    if whole or not math.isfinite(value):
        return value
    number = (value - offset) / scale
    return round(number) if abs(number - round(number)) < 1e-6 * max(abs(number), 1) else number
