"""Coordinates, names and attributes of a result, from the arrays that it was made of."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import xarray

from hyperfuse.cube import cf
from hyperfuse.cube.dataarray import image_dimensions

# Of an HSI, what states how its values were stored, and not what they are.
_STORED = ("scale_factor", "add_offset", "_FillValue", "missing_value", "nodata", "_Unsigned", "grid_mapping")


def with_coordinates(
    result: xarray.DataArray, hsi: xarray.DataArray | None, grid: xarray.DataArray | None
) -> xarray.DataArray:
    """Return a result (band, y, x) with the dimensions, coordinates and attributes of what it was made of.

    Args:
        result: with what a header states.
        hsi: its bands, name and attributes; None: it has them.
        grid: its rows and columns, where it has as many; None: it has them.
    """
    if hsi is not None:
        band = image_dimensions(hsi)[0]
        if band is not None:
            result = _renamed(result, "band", band, hsi)
            result = _along(result, hsi, {band})
        for key, value in hsi.attrs.items():
            if key not in result.attrs and key not in _STORED and not _of_storage(str(key), value):
                result.attrs[key] = value
        result.name = hsi.name
    if grid is None:
        return result
    _, *along = image_dimensions(grid)
    for own, other in zip(("y", "x"), along, strict=True):
        result = _renamed(result, own, other, grid)
    if any(result.sizes[dim] != grid.sizes[dim] for dim in along):
        return result
    result = _along(result, grid, set(along))
    mapping = grid.attrs.get("grid_mapping", grid.encoding.get("grid_mapping"))
    if mapping is not None and mapping in result.coords:
        stale = result.attrs.get("grid_mapping")
        result.attrs["grid_mapping"] = mapping
        if stale not in (None, mapping) and stale in result.coords:
            result = result.drop_vars([stale])
    return result


def _renamed(result: xarray.DataArray, own: Hashable, other: Hashable, like: xarray.DataArray) -> xarray.DataArray:
    """Return a result with a dimension renamed as that of another array, with that one's index or none."""
    if own != other:
        result = result.swap_dims({own: other}) if other in result.coords else result.rename({own: other})
        if own in result.coords and own not in like.coords:
            result = result.drop_vars([own])
    elif other in result.coords and other not in like.coords:
        result = result.drop_vars([other])
    return result


def _along(result: xarray.DataArray, like: xarray.DataArray, dims: set[Any]) -> xarray.DataArray:
    """Return a result with the coordinates that another array has along some dimensions, or along none."""
    found = {name: item.variable for name, item in like.coords.items() if set(item.dims) <= dims}
    return result.assign_coords(found)


def _of_storage(key: str, value: Any) -> bool:
    """Return whether an attribute states something of bands, which coordinates do, or of stored numbers."""
    # rioxarray gives what a file states of each band as that of the first, or names as a tuple.
    of_bands = cf.per_band(key, value) is not None or (key == "long_name" and not isinstance(value, str))
    return of_bands or key.startswith("valid_")
