"""Reading of a cube from named variables with dimensions and attributes, as netCDF, HDF5 and Zarr hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cf import Variable, axes_of, decode_header
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.coding import BandCoding, decode_cube
from hyperfuse.io.encoding.options import ReadOptions, bands_first, parse_axes
from hyperfuse.io.encoding.variables import choose_variable

_LARGEST_COORDINATE = 1_000_000


@dataclass(frozen=True)
class Stored:
    """A variable of a file: ``load`` takes an axis and sorted indices along it, or None twice for all of it."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    attrs: Mapping[str, Any]
    load: Callable[[int | None, NDArray[np.intp] | None], NDArray[Any]]


def read_stored(
    stored: Mapping[str, Stored], attrs: Mapping[str, Any], options: ReadOptions, variable: str | None, where: str
) -> Cube:
    """Build a cube from the variables of a file.

    The order of axes is the caller's, else what the names of the dimensions tell, else (bands, rows, cols).

    Args:
        stored: the variables of the file, by name.
        attrs: attributes of the file.
        options: what the caller specifies.
        variable: the one to read, or None for the only one that could be a cube.
        where: name of the file, for warnings.

    Raises:
        InputError: no variable that could be a cube, several, or one with other than two or three dimensions.
    """
    choice = {key: (item.shape, item.dtype) for key, item in stored.items() if item.dims != (key,) or key == variable}
    name = choose_variable(choice, variable)
    item = stored[name]
    axes = parse_axes(options.axes) if options.axes is not None else axes_of(item.dims)
    if len(item.shape) not in (2, 3) or 0 in item.shape:
        raise InputError(
            f"the variable {name} has the shape {item.shape}; a cube needs three axes, or two for one band"
        )
    axes = axes or "brc"[3 - len(item.shape) :]
    axes = axes.replace("b", "") if len(item.shape) == 2 else axes
    whole, index = _load(item, axes, options)
    count = item.shape[axes.index("b")] if "b" in axes else 1
    coordinates = {
        key: Variable(other.dims, other.load(None, None), other.attrs)
        for key, other in stored.items()
        if len(other.shape) <= 1 and np.prod(other.shape, dtype=int) <= _LARGEST_COORDINATE
    }
    group = name.rpartition("/")[0]
    mapping = str(item.attrs.get("grid_mapping", "spatial_ref"))
    in_group = f"{group}/{mapping}".lstrip("/")
    about = {**item.attrs, "grid_mapping": in_group if in_group in coordinates else mapping}
    texts = {key: value for key, value in attrs.items() if isinstance(value, str)}
    dims: dict[str, str | None] = dict(zip(axes, item.dims, strict=False))
    header = decode_header(coordinates, texts, about, dims, (count, whole.shape[1], whole.shape[2]), where)
    header = header if index is None else header.select_bands(index)
    return decode_cube(header, whole, _coding(item.attrs, whole), options, where)


def _load(item: Stored, axes: str, options: ReadOptions) -> tuple[NDArray[Any], list[int] | None]:
    axis = axes.index("b") if "b" in axes else None
    index = options.band_index(1 if axis is None else item.shape[axis])
    if index is None or axis is None:
        return bands_first(item.load(None, None), axes), index
    chosen, order = np.unique(index, return_inverse=True)
    return bands_first(item.load(axis, chosen), axes)[order], index


def _coding(attrs: Mapping[str, Any], stored: NDArray[Any]) -> BandCoding:
    marks = [attrs[key] for key in ("_FillValue", "missing_value") if isinstance(attrs.get(key), int | float)]
    masked = stored == marks[1] if len(marks) == 2 and marks[0] != marks[1] else None
    return BandCoding(
        (float(attrs.get("scale_factor", 1.0)),),
        (float(attrs.get("add_offset", 0.0)),),
        (float(marks[0]) if marks else None,),
        masked,
    )


def plain_attributes(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as text, int or float; arrays of one entry as that entry, longer ones as text."""
    return {str(key): plain(value) for key, value in attrs.items()}


def plain(value: Any) -> Any:
    """Return an attribute as text, int or float."""
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size == 1 else ", ".join(str(plain(entry)) for entry in value.ravel())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, int | float) else str(value)
