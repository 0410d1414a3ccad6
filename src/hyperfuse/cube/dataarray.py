"""Headers and values as ``xarray.DataArray`` and back; see ``Cube.to_xarray`` and ``Cube.from_xarray``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube import cf
from hyperfuse.cube.cf_grid import GRID_MAPPING, Variable
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.packing import Packing, as_numbers, decode_packing
from hyperfuse.errors import InputError, warn
from hyperfuse.runtime.optional import require

if TYPE_CHECKING:
    import xarray

# Of a variable's encoding, what was applied to its values when it was read.
_CODING = ("scale_factor", "add_offset", "_FillValue", "missing_value", "nodata", "_Unsigned")


def encode_dataarray(header: CubeHeader, data: NDArray[Any], *, has_gaps: bool) -> xarray.DataArray:
    """Return values (bands, rows, cols), NaN in gaps, with their header; see :meth:`Cube.to_xarray`."""
    package = require("xarray", "Cube.to_xarray")
    coords = {name: (item.dims, item.values, dict(item.attrs)) for name, item in cf.encode_coordinates(header).items()}
    attrs: dict[str, Any] = cf.encode_attributes(header, ("scale", "offset", "nodata"))
    if header.coding.units is not None:
        attrs["units"] = header.coding.units
    if GRID_MAPPING in coords:
        attrs["grid_mapping"] = GRID_MAPPING
    array: xarray.DataArray = package.DataArray(data, coords=coords, dims=cf.DIMENSIONS, name="cube", attrs=attrs)
    nodata = header.coding.nodata
    if has_gaps or nodata is not None:
        array.encoding["_FillValue"] = math.nan if nodata is None else nodata
    return array


def decode_dataarray(array: xarray.DataArray) -> tuple[CubeHeader, NDArray[Any], NDArray[np.bool_] | None]:
    """Return header, values (bands, rows, cols) and validity of an array; see :meth:`Cube.from_xarray`.

    What its attributes state about stored numbers (``scale_factor``, ``_FillValue``) has still to be applied; what its
    encoding states has been.
    """
    array, axes = _image(array)
    return _decoded(array, axes, _bands_first(np.asarray(array.values), axes))


def decode_dataarray_header(array: xarray.DataArray) -> CubeHeader:
    """Return the header of an array, whose values are neither needed nor computed; see :meth:`Cube.from_xarray`."""
    array, axes = _image(array)
    blank = _bands_first(np.broadcast_to(np.zeros((), array.dtype), array.shape), axes)
    attrs = _of_bands(array, len(blank))
    # What is decided by values is decided for one pixel; what is stated of bands is checked for all of them.
    _, _, packing, applied = _unpacked(array, attrs, blank[:, :1, :1], _name(array))
    return _header(array, axes, attrs, blank.shape, (packing, applied))


def image_dimensions(array: xarray.DataArray) -> tuple[Any | None, Any, Any]:
    """Return the names of the dimensions of bands (None: there is one band without a dimension), rows and columns.

    Raises:
        InputError: no image, see :meth:`Cube.from_xarray`.
    """
    array, axes = _image(array)
    named = dict(zip(axes, array.dims, strict=True))
    return named.get("b"), named["r"], named["c"]


def _image(array: xarray.DataArray) -> tuple[xarray.DataArray, str]:
    """Return an array without further dimensions of one entry, and the order of its axes as letters b, r, c."""
    # Of its class: to ask an array itself for its values would compute those of dask.
    if not all(hasattr(type(array), name) for name in ("dims", "attrs", "values", "ndim")):
        raise InputError(f"a {type(array).__name__} is no DataArray; pass one variable of it, or Cube(array)", "array")
    name = _name(array)
    single = [dim for dim in array.dims if array.sizes[dim] == 1 and not cf.is_axis(str(dim))]
    array = array.isel(dict.fromkeys(single[: max(array.ndim - 3, 0)], 0))
    if array.ndim not in (2, 3):
        raise InputError(f"{name} has the dimensions {array.dims}; a cube needs a band dimension and two spatial ones")
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} holds {array.dtype}; a cube needs real numbers")
    dims = [str(dim) for dim in array.dims]
    return array, cf.axes_of(dims) or cf.orient(array.shape, _counts(array), "brc"[3 - array.ndim :])


def _name(array: xarray.DataArray) -> str:
    return str(array.name or "the DataArray")


def _bands_first(values: NDArray[Any], axes: str) -> NDArray[Any]:
    data = values.transpose([axes.index(letter) for letter in "brc"[3 - values.ndim :]])
    return data[None] if data.ndim == 2 else data


def _decoded(
    array: xarray.DataArray, axes: str, data: NDArray[Any]
) -> tuple[CubeHeader, NDArray[Any], NDArray[np.bool_] | None]:
    attrs = _of_bands(array, len(data))
    data, valid, packing, applied = _unpacked(array, attrs, data, _name(array))
    header = _header(array, axes, attrs, data.shape, (packing, applied))
    return header, np.ascontiguousarray(data), valid


def _header(
    array: xarray.DataArray,
    axes: str,
    attrs: Mapping[str, Any],
    shape: tuple[int, ...],
    codings: tuple[Packing, Packing],
) -> CubeHeader:
    """Return the header of an array of ``shape`` (bands, rows, cols); ``codings``: as attributes and encoding state."""
    packing, applied = codings
    variables = {
        str(key): Variable(tuple(map(str, item.dims)), np.asarray(item.values), dict(item.attrs))
        for key, item in array.coords.items()
        if item.ndim <= 1
    }
    texts = {key: value for key, value in attrs.items() if isinstance(value, str)}
    named: dict[str, str | None] = dict(zip(axes, map(str, array.dims), strict=True))
    about = {
        **attrs,
        "grid_mapping": attrs.get("grid_mapping", array.encoding.get("grid_mapping")),
        "coordinates": " ".join(str(key) for key, item in array.coords.items() if item.ndim == 2),
    }
    header = cf.decode_header(variables, texts, about, named, (shape[0], shape[1], shape[2]), _name(array))
    marks = (*applied.marks, *packing.marks)
    if marks and header.coding.nodata is None:
        header = header.replace(nodata=marks[0])
    linear = next((one for one in (packing, applied) if not one.is_identity), packing)
    if header.coding.is_identity and len(linear.scale) == len(linear.offset) == 1:
        header = header.replace(scale=linear.scale[0], offset=linear.offset[0])
    return header


def _unpacked(
    array: xarray.DataArray, attrs: Mapping[str, Any], data: NDArray[Any], name: str
) -> tuple[NDArray[Any], NDArray[np.bool_] | None, Packing, Packing]:
    """Return values, validity, and what attributes and encoding state about stored numbers."""
    stored_as = array.encoding.get("dtype", data.dtype)
    coded = {key: array.encoding[key] for key in _CODING if array.encoding.get(key) is not None}
    ranges = {key: value for key, value in attrs.items() if key.startswith("valid_")}
    applied = decode_packing({**ranges, **coded}, stored_as, name)
    packing = decode_packing(attrs, data.dtype, name)
    data = packing.signed(data)
    gaps = np.isin(data, [mark for mark in (*packing.marks, *applied.marks) if math.isfinite(mark)])
    if packing.marks or applied.marks:
        gaps |= ~np.isfinite(data)
    elif data.dtype.kind == "f" and not np.isfinite(data).all():
        raise InputError(f"{name} holds NaN that is not declared; set attrs['_FillValue'] = nan to declare it as gaps")
    low, high = packing.valid_range
    if not applied.is_identity:
        # xarray leaves the range of the packed numbers next to the values.
        ends = sorted(end * applied.scale[0] + applied.offset[0] for end in applied.valid_range)
        low, high = ends[0] - 1e-3 * abs(applied.scale[0]), ends[1] + 1e-3 * abs(applied.scale[0])
    if (low, high) != (-math.inf, math.inf):
        gaps |= ~((data >= low) & (data <= high))
    if not packing.is_identity:
        scale, offset = (_per_band(of, len(data), name) for of in (packing.scale, packing.offset))
        kind = np.float64 if data.dtype.itemsize > (4 if data.dtype.kind == "f" else 2) else np.float32
        data = (data * scale + offset).astype(kind)
    return data, ~gaps if gaps.any() else None, packing, applied


def _per_band(values: tuple[float, ...], bands: int, name: str) -> NDArray[np.float64]:
    if len(values) not in (1, bands):
        raise InputError(f"{name} states {len(values)} scales or offsets for {bands} bands")
    return np.asarray(values)[:, None, None]


def _counts(array: xarray.DataArray) -> set[int]:
    """Return the numbers of wavelengths that an array states."""
    coords = {item.size for key, item in array.coords.items() if item.ndim == 1 and cf.is_wavelengths(str(key))}
    texts = [as_numbers(value) or () for key, value in array.attrs.items() if cf.is_wavelengths(str(key))]
    return {count for count in (*coords, *map(len, texts)) if count > 1}


def _of_bands(array: xarray.DataArray, bands: int) -> dict[str, Any]:
    """Return the attributes, of lists with an entry per band of the file those of the bands that are left.

    rioxarray numbers the bands of a file from 1 in the coordinate ``band``; as attributes of the array it gives lists
    of all, and those that it found at the first band alone.
    """
    attrs = {str(key): value for key, value in array.attrs.items()}
    if "long_name" in attrs and not isinstance(attrs["long_name"], str):
        attrs.setdefault("band_names", attrs.pop("long_name"))
    numbers = np.atleast_1d(array.coords["band"].values) if "band" in array.coords else np.arange(1, bands + 1)
    if numbers.dtype.kind not in "iu" or numbers.size != bands or numbers.min() < 1:
        return attrs
    lost = []
    for key, value in list(attrs.items()):
        entries = cf.per_band(key, value)
        if entries is None or (len(entries) == bands and np.array_equal(numbers, np.arange(1, bands + 1))):
            continue
        if len(entries) > 1 and numbers.max() <= len(entries):
            attrs[key] = [entries[int(number) - 1] for number in numbers]
        elif len(entries) != bands or bands == 1:
            lost += [] if key in array.coords else [key]
            del attrs[key]
    if lost:
        name = array.name or "the DataArray"
        warn(f"{name}: its attributes {', '.join(lost)} are of other bands, or of the first alone, and are left out")
    return attrs
