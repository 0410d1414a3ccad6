"""Between the numbers a file stores and the values a cube holds: scale, offset and the marking of gaps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import Coding, CubeHeader
from hyperfuse.errors import InputError, warn
from hyperfuse.io.encoding.options import ReadOptions, WriteOptions, check_real

_LARGEST_EXACT_FLOAT32 = 2**24
_COARSEST_CODE = 10.0


@dataclass(frozen=True)
class BandCoding:
    """What a file states about its numbers: value = scale * stored + offset, and the stored values that mark gaps.

    Attributes:
        scale, offset, nodata: one per band, or a single one for all; nodata is None where the file names none.
        masked: bool, shape (bands, rows, cols) or (rows, cols): True where a mask in the file marks a gap, or None.
        more_nodata: further values that mark gaps in every band.
        valid_range: lowest and highest stored value that is no gap.
    """

    scale: Sequence[float] = (1.0,)
    offset: Sequence[float] = (0.0,)
    nodata: Sequence[float | None] = (None,)
    masked: NDArray[np.bool_] | None = None
    more_nodata: Sequence[float] = ()
    valid_range: tuple[float, float] = (-math.inf, math.inf)

    def with_options(self, options: ReadOptions, bands: int, where: str) -> BandCoding:
        """Return the coding of each band that is read; the caller's scale and offset replace the file's.

        The caller's nodata is one more. A warning names the file as ``where`` if the caller contradicts it.
        """
        scale = [float(value) for value in _spread(self.scale, bands)]
        offset = [float(value) for value in _spread(self.offset, bands)]
        if options.scale is not None or options.offset is not None:
            new = (options.scale if options.scale is not None else 1.0, options.offset or 0.0)
            if (set(scale), set(offset)) not in (({1.0}, {0.0}), ({new[0]}, {new[1]})):
                warn(
                    f"{where}: the file states scale {scale[0]:g} and offset {offset[0]:g}; "
                    f"scale {new[0]:g} and offset {new[1]:g} of the call are used instead"
                )
            scale, offset = [float(new[0])] * bands, [float(new[1])] * bands
        more = self.more_nodata if options.nodata is None else (*self.more_nodata, float(options.nodata))
        return BandCoding(scale, offset, _spread(self.nodata, bands), self.masked, more, self.valid_range)

    def common(self, options: ReadOptions) -> Coding:
        """Return the coding of all bands: scale 1 and offset 0 where they differ, and the caller's or first nodata."""
        declared = next((value for value in self.nodata if value is not None), None)
        mark = declared if options.nodata is None else float(options.nodata)
        uniform = len(set(self.scale)) == 1 and len(set(self.offset)) == 1
        return Coding(self.scale[0], self.offset[0], mark) if uniform else Coding(nodata=mark)


def decode_cube(header: CubeHeader, stored: NDArray[Any], coding: BandCoding, options: ReadOptions, where: str) -> Cube:
    """Return the cube of stored numbers; ``header`` is that of the bands that are read."""
    coding = coding.with_options(options, len(stored), where)
    return Cube.from_header(coded_header(header, coding, options), *decode_values(stored, coding))


def coded_header(header: CubeHeader, coding: BandCoding, options: ReadOptions) -> CubeHeader:
    """Return a header with the coding that its file has for the caller, see :meth:`BandCoding.with_options`."""
    common = coding.common(options)
    # Floats are stored as they are; how integers were coded before them is in our own record.
    linear = header.coding if common.is_identity else common
    return header.replace(scale=linear.scale, offset=linear.offset, nodata=common.nodata)


def decode_values(stored: NDArray[Any], coding: BandCoding) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return values, NaN in gaps, and where they are no gaps (None: everywhere), both (bands, rows, cols).

    ``stored`` is what the file holds, real numbers of any type; ``coding`` that of each band, with options.

    Raises:
        InputError: NaN or infinity that nothing declares as a gap; numbers that are not real.
    """
    check_real(stored.dtype)
    valid = _valid(stored, coding)
    kind = _value_type(stored)
    if set(coding.scale) == {1.0} and set(coding.offset) == {0.0}:
        data = np.ascontiguousarray(stored, dtype=kind)
    else:
        data = np.empty(stored.shape, kind)
        for band, (scale, offset) in enumerate(zip(coding.scale, coding.offset, strict=True)):
            with np.errstate(over="ignore", invalid="ignore"):
                data[band] = stored[band] * np.float64(scale) + offset
            if max(abs(scale), abs(offset)) > 1 and (np.isinf(data[band]) & np.isfinite(stored[band])).any():
                raise InputError(f"values at scale {scale:g} and offset {offset:g} exceed {np.dtype(kind).name}")
    if valid is None or valid.all():
        return data, None
    return np.where(valid, data, np.array(np.nan, kind)), valid


def _spread(values: Sequence[Any], bands: int) -> list[Any]:
    return list(values) if len(values) == bands else [values[0]] * bands


def _valid(stored: NDArray[Any], coding: BandCoding) -> NDArray[np.bool_] | None:
    """Return where values are no gaps, or None if they all are; refuse NaN and infinity that are not declared."""
    marks = [{value for value in (own, *coding.more_nodata) if value is not None} for own in coding.nodata]
    floating = stored.dtype.kind == "f"
    low, high = coding.valid_range
    if not floating and not any(marks) and coding.masked is None and (low, high) == (-math.inf, math.inf):
        return None
    valid = np.ones(stored.shape, np.bool_)
    if (low, high) != (-math.inf, math.inf):
        valid &= (stored >= low) & (stored <= high)  # NaN is in no range
    if coding.masked is not None:
        valid &= ~coding.masked
    undeclared = 0
    for band, values in enumerate(marks):
        for value in values:
            if not math.isnan(value) and _holds(stored.dtype, value):
                valid[band] &= stored[band] != stored.dtype.type(value)
        if floating:
            finite = np.isfinite(stored[band])
            if any(math.isnan(value) for value in values):
                valid[band] &= finite
            else:
                undeclared += int(np.count_nonzero(valid[band] & ~finite))
    if undeclared:
        raise InputError(
            f"{undeclared} values are NaN or infinite and not declared as gaps; declare them with nodata=nan"
        )
    return valid


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    if dtype.kind == "f":
        return True
    if dtype.kind == "b":
        return value in (0.0, 1.0)
    limits = np.iinfo(dtype)
    return math.isfinite(value) and value == round(value) and limits.min <= value <= limits.max


def _value_type(stored: NDArray[Any]) -> type[np.float32 | np.float64]:
    if stored.dtype.kind == "f":
        return np.float64 if stored.dtype.itemsize > 4 else np.float32
    wide = stored.dtype.itemsize > 2 and max(-int(stored.min()), int(stored.max())) > _LARGEST_EXACT_FLOAT32
    return np.float64 if wide else np.float32


class Encoded(NamedTuple):
    """What to store: numbers of shape (bands, rows, cols) and their coding."""

    stored: NDArray[Any]
    coding: Coding


def encode(cube: Cube, options: WriteOptions) -> Encoded:
    """Turn a cube into numbers of the dtype to write, as :class:`WriteOptions` states.

    Floating-point dtypes store the values themselves (scale 1), integers ``round((value - offset) / scale)``. A value
    that equals the mark of gaps is moved to the nearest number next to it, with a warning.

    Raises:
        InputError: values or a nodata value that do not fit the dtype, or integers too coarse for the values.
    """
    coding = stored_coding(cube.header, options, has_gaps=cube.valid is not None)
    return Encoded(encode_values(cube, coding, options.dtype), coding)


def encode_values(cube: Cube, coding: Coding, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the numbers to store for a given coding, shape (bands, rows, cols); see :func:`encode`."""
    stored = _floats(cube, dtype) if dtype.kind == "f" else _integers(cube, coding, dtype)
    return stored if coding.nodata is None else _with_gaps(stored, cube.valid, coding.nodata)


def stored_coding(header: CubeHeader, options: WriteOptions, *, has_gaps: bool) -> Coding:
    """Return the coding of a file to be written; its ``nodata`` is None only where there are no gaps.

    Raises:
        InputError: a nodata value that does not fit the dtype.
    """
    dtype, own = options.dtype, header.coding.nodata
    nodata = None
    if options.nodata is not None:
        if not _fits(dtype, float(options.nodata)):
            raise InputError(
                f"nodata={options.nodata} does not fit {dtype.name}; give another nodata or dtype", "nodata"
            )
        nodata = float(dtype.type(options.nodata))
    elif own is not None and _fits(dtype, own):
        nodata = float(dtype.type(own))
    elif has_gaps:
        nodata = math.nan if dtype.kind == "f" else float(np.iinfo(dtype).min)
    coding = dataclasses.replace(header.coding, nodata=nodata)
    return dataclasses.replace(coding, scale=1.0, offset=0.0) if dtype.kind == "f" else coding


def _fits(dtype: np.dtype[Any], value: float) -> bool:
    """Return whether a mark of gaps can be written; a stored one may lie beyond the largest float."""
    too_large = dtype.kind == "f" and math.isfinite(value) and abs(value) > float(np.finfo(dtype).max)
    return _holds(dtype, value) and not too_large


def _floats(cube: Cube, dtype: np.dtype[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        stored = cube.data.astype(dtype, copy=False)
    if np.isinf(stored).any():
        raise InputError(f"values do not fit {dtype.name}; write float64")
    return stored


def _integers(cube: Cube, coding: Coding, dtype: np.dtype[Any]) -> NDArray[Any]:
    limits = np.iinfo(dtype)
    stored = np.zeros(cube.data.shape, dtype)
    lowest, highest, rounding = math.inf, -math.inf, 0.0
    for band in range(cube.bands):
        codes = (cube.data[band].astype(np.float64) - coding.offset) / coding.scale
        if cube.valid is not None:
            codes[~cube.valid[band]] = 0.0
        nearest = np.rint(codes)
        inside = nearest if cube.valid is None else nearest[cube.valid[band]]
        if inside.size == 0:
            continue
        lowest, highest = min(lowest, float(inside.min())), max(highest, float(inside.max()))
        rounding = max(rounding, float(np.abs(nearest - codes).max()))
        if lowest < limits.min or highest > limits.max:
            break
        stored[band] = nearest
    coded = f"scale {coding.scale:g} and offset {coding.offset:g}"
    if lowest < limits.min or highest > limits.max:
        raise InputError(
            f"values do not fit {dtype.name} with {coded} (stored numbers from {lowest:.0f} to {highest:.0f}); "
            "write float32, a wider dtype, or set the cube's scale and offset"
        )
    if rounding > 0.01 and max(abs(lowest), abs(highest)) < _COARSEST_CODE:
        raise InputError(
            f"{dtype.name} with {coded} would leave {highest - lowest + 1:.0f} distinct values; "
            "write float32, or set the cube's scale (such as 0.0001 for reflectance)"
        )
    return stored


def _with_gaps(stored: NDArray[Any], valid: NDArray[np.bool_] | None, nodata: float) -> NDArray[Any]:
    mark = stored.dtype.type(nodata)
    taken = stored == mark if valid is None else (stored == mark) & valid
    count = int(np.count_nonzero(taken))
    if valid is not None:
        stored = np.where(valid, stored, mark)
    if count == 0:
        return stored
    if stored.dtype.kind == "f":
        nearest = np.nextafter(mark, stored.dtype.type(0 if mark != 0 else 1))
    else:
        nearest = stored.dtype.type(nodata + 1 if nodata < np.iinfo(stored.dtype).max else nodata - 1)
    warn(f"{count} values equal nodata {nodata:g} and are written as {nearest:g} next to it; give another nodata")
    return np.where(taken, nearest, stored)
