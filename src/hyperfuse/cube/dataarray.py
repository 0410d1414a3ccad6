"""Cubes as ``xarray.DataArray`` and back; reached through ``Cube.to_xarray`` and ``Cube.from_xarray``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hyperfuse.cube.cf import DIMENSIONS, GRID_MAPPING, Variable, attributes, axes_of, coordinates, fields_from
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    import xarray


def cube_to_xarray(cube: Cube) -> xarray.DataArray:
    """Return the cube as an array with the dimensions (band, y, x), coordinates, and attributes that rioxarray reads.

    Gaps are NaN, and the encoding names the value that marks them in files (``_FillValue``).

    Raises:
        MissingDependencyError: xarray is not installed.

    Example:
        >>> import numpy as np
        >>> cube_to_xarray(Cube(data=np.zeros((3, 4, 5)), wavelengths=[450, 550, 650])).wavelength.values.tolist()
        [450.0, 550.0, 650.0]
    """
    try:
        import xarray
    except ImportError as error:
        raise MissingDependencyError("xarray", "xarray", "Cube.to_xarray") from error
    coords = {name: (item.dims, item.values, dict(item.attrs)) for name, item in coordinates(cube).items()}
    attrs: dict[str, Any] = attributes(cube, ("scale", "offset", "nodata"))
    if cube.units is not None:
        attrs["units"] = cube.units
    if GRID_MAPPING in coords:
        attrs["grid_mapping"] = GRID_MAPPING
    array = xarray.DataArray(cube.data, coords=coords, dims=DIMENSIONS, name="cube", attrs=attrs)
    if cube.valid is not None or cube.nodata is not None:
        array.encoding["_FillValue"] = math.nan if cube.nodata is None else cube.nodata
    return array


def cube_from_xarray(array: xarray.DataArray) -> Cube:
    """Return a cube from an array with a band (or wavelength) dimension and two spatial ones, in any order.

    Dimensions are told by their names (band, wavelength; y, lat, row; x, lon, col, ...), else (bands, rows, cols). NaN
    is a gap where the array declares it: ``_FillValue``, ``missing_value`` or ``nodata`` in its attributes or encoding.

    Raises:
        InputError: other than two or three dimensions, values that are no real numbers, or NaN without a declaration.

    Example:
        >>> import numpy as np
        >>> cube = Cube(data=np.ones((3, 4, 5)), crs="EPSG:32633", transform=(30, 0, 0, 0, -30, 0))
        >>> cube_from_xarray(cube_to_xarray(cube)).crs
        'EPSG:32633'
    """
    name = str(array.name or "the DataArray")
    if array.ndim not in (2, 3):
        raise InputError(f"{name} has the dimensions {array.dims}; a cube needs a band dimension and two spatial ones")
    values = np.asarray(array.values)
    if values.dtype.kind not in "fiub":
        raise InputError(f"{name} holds {values.dtype}; a cube needs real numbers")
    dims = [str(dim) for dim in array.dims]
    axes = axes_of(dims) or "brc"[3 - array.ndim :]
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
        str(key): Variable(tuple(map(str, item.dims)), np.asarray(item.values), dict(item.attrs))
        for key, item in array.coords.items()
        if item.ndim <= 1
    }
    texts = {str(key): value for key, value in array.attrs.items() if isinstance(value, str)}
    named: dict[str, str | None] = dict(zip(axes, dims, strict=True))
    mapping_name = array.attrs.get("grid_mapping", array.encoding.get("grid_mapping", GRID_MAPPING))
    told = {**array.attrs, "grid_mapping": mapping_name}
    fields = fields_from(variables, texts, told, named, (data.shape[0], data.shape[1], data.shape[2]), name)
    if declared:
        fields.setdefault("nodata", declared[0])
    return Cube(**{**fields, "data": np.ascontiguousarray(data), "valid": ~gaps if gaps.any() else None})
