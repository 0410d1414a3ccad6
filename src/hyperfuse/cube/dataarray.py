"""Headers and values as ``xarray.DataArray`` and back; see ``Cube.to_xarray`` and ``Cube.from_xarray``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube import cf
from hyperfuse.cube.header import CubeHeader
from hyperfuse.errors import InputError
from hyperfuse.runtime.optional import require

if TYPE_CHECKING:
    import xarray


def encode_dataarray(header: CubeHeader, data: NDArray[Any], *, has_gaps: bool) -> xarray.DataArray:
    """Return values (bands, rows, cols), NaN in gaps, with their header; see :meth:`Cube.to_xarray`."""
    package = require("xarray", "Cube.to_xarray")
    coords = {name: (item.dims, item.values, dict(item.attrs)) for name, item in cf.encode_coordinates(header).items()}
    attrs: dict[str, Any] = cf.encode_attributes(header, ("scale", "offset", "nodata"))
    if header.coding.units is not None:
        attrs["units"] = header.coding.units
    if cf.GRID_MAPPING in coords:
        attrs["grid_mapping"] = cf.GRID_MAPPING
    array: xarray.DataArray = package.DataArray(data, coords=coords, dims=cf.DIMENSIONS, name="cube", attrs=attrs)
    nodata = header.coding.nodata
    if has_gaps or nodata is not None:
        array.encoding["_FillValue"] = math.nan if nodata is None else nodata
    return array


def decode_dataarray(array: xarray.DataArray) -> tuple[CubeHeader, NDArray[Any], NDArray[np.bool_] | None]:
    """Return header, values (bands, rows, cols) and validity of an array; see :meth:`Cube.from_xarray`."""
    name = str(array.name or "the DataArray")
    if array.ndim not in (2, 3):
        raise InputError(f"{name} has the dimensions {array.dims}; a cube needs a band dimension and two spatial ones")
    values = np.asarray(array.values)
    if values.dtype.kind not in "fiub":
        raise InputError(f"{name} holds {values.dtype}; a cube needs real numbers")
    dims = [str(dim) for dim in array.dims]
    axes = cf.axes_of(dims) or "brc"[3 - array.ndim :]
    data = values.transpose([axes.index(letter) for letter in "brc"[3 - array.ndim :]])
    data = data[None] if data.ndim == 2 else data
    declared = [
        float(mapping[key])
        for mapping in (array.encoding, array.attrs)
        for key in ("_FillValue", "missing_value", "nodata")
        if mapping.get(key) is not None
    ]
    gaps = np.isin(data, [value for value in declared if math.isfinite(value)])
    if declared and data.dtype.kind == "f":
        gaps |= ~np.isfinite(data)
    elif data.dtype.kind == "f" and not np.isfinite(data).all():
        raise InputError(f"{name} holds NaN that is not declared; set attrs['_FillValue'] = nan to declare it as gaps")
    variables = {
        str(key): cf.Variable(tuple(map(str, item.dims)), np.asarray(item.values), dict(item.attrs))
        for key, item in array.coords.items()
        if item.ndim <= 1
    }
    texts = {str(key): value for key, value in array.attrs.items() if isinstance(value, str)}
    named: dict[str, str | None] = dict(zip(axes, dims, strict=True))
    mapping_name = array.attrs.get("grid_mapping", array.encoding.get("grid_mapping", cf.GRID_MAPPING))
    about = {**array.attrs, "grid_mapping": mapping_name}
    header = cf.decode_header(variables, texts, about, named, (data.shape[0], data.shape[1], data.shape[2]), name)
    if declared and header.coding.nodata is None:
        header = header.replace(nodata=declared[0])
    return header, np.ascontiguousarray(data), ~gaps if gaps.any() else None
