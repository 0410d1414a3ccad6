"""Zarr folders, in the layout that xarray reads and writes; needs the extra ``xarray`` (package zarr 3)."""

from __future__ import annotations

import base64
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cf import DIMENSIONS, GRID_MAPPING, attributes, coordinates
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError, MissingDependencyError
from hyperfuse.io.encoding.coding import encode
from hyperfuse.io.encoding.damage import damage_told
from hyperfuse.io.encoding.options import ReadOptions, WriteOptions
from hyperfuse.io.encoding.variables import check_name
from hyperfuse.io.formats.cf_files import Stored, plain_attributes, read_stored

CHUNK = (16, 256, 256)
_MARKERS = ("zarr.json", ".zgroup", ".zarray")


def is_zarr(path: Path) -> bool:
    """Return whether a path is a Zarr folder."""
    return any((path / marker).is_file() for marker in _MARKERS)


def zarr_package() -> Any:
    """Return the package zarr.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise MissingDependencyError("zarr", "xarray", "reading and writing of Zarr") from error
    return zarr


def read_zarr(path: Path, options: ReadOptions) -> Cube:
    """Read a Zarr folder (format 2 or 3): a group of arrays, or a single array.

    Raises:
        MissingDependencyError: the package zarr is not installed.
        InputError: no Zarr folder, a damaged one, or no variable that could be the cube.
    """
    zarr = zarr_package()
    if not is_zarr(path):
        raise InputError(f"is not a Zarr folder (it holds none of {', '.join(_MARKERS)})")
    with damage_told("is a damaged Zarr folder"):
        root = zarr.open(path, mode="r")
        arrays = dict(root.arrays()) if isinstance(root, zarr.Group) else {path.stem: root}
        attrs = dict(root.attrs)
    return read_stored(
        {name: stored_array(array) for name, array in arrays.items()}, plain_attributes(attrs), options, path.name
    )


def stored_array(array: Any) -> Stored:
    """Return an array of a Zarr group as the CF reader takes it, its values not read yet."""
    attrs = dict(array.attrs)
    dims = getattr(array.metadata, "dimension_names", None) or attrs.pop("_ARRAY_DIMENSIONS", None)
    if "_FillValue" in attrs:
        attrs["_FillValue"] = _decode_fill(attrs["_FillValue"])
    elif array.metadata.zarr_format == 2 and array.fill_value is not None and array.fill_value != 0:
        # xarray keeps _FillValue here in format 2; a plain 0 is only what zarr fills unwritten chunks with.
        attrs["_FillValue"] = array.fill_value

    def load(axis: int | None, index: NDArray[np.intp] | None) -> NDArray[Any]:
        with damage_told(f"the array {array.basename} is damaged"):
            return np.asarray(array[...] if index is None else array.oindex[(slice(None),) * (axis or 0) + (index,)])

    names = tuple(str(dim) for dim in dims) if dims else ("",) * array.ndim
    return Stored(names, tuple(array.shape), np.dtype(array.dtype).name, plain_attributes(attrs), load)


def _decode_fill(value: Any) -> Any:
    """Return a fill value that xarray wrote: in format 3 floats are base64 of a little-endian double."""
    if not isinstance(value, str):
        return value
    try:
        return struct.unpack("<d", base64.standard_b64decode(value))[0]
    except (ValueError, struct.error):
        return math.nan if value.lower() == "nan" else value


def write_zarr(path: Path, cube: Cube, options: WriteOptions) -> None:
    """Write a Zarr folder of format 3, in chunks of 16 bands x 256 x 256 pixels, with zstd unless ``compress="none"``.

    Raises:
        MissingDependencyError: the package zarr is not installed.
        InputError: values that do not fit the dtype, or another compression.
    """
    zarr = zarr_package()
    packed = {"compressors": None} if options.compression(("none", "zstd"), "zstd") == "none" else {}
    name = check_name(options.variable)
    encoded = encode(cube, options)
    coords = coordinates(cube)
    if name in coords or name in DIMENSIONS:
        raise InputError(f"{name!r} is the name of a coordinate; give the variable another")
    root = zarr.create_group(path, zarr_format=3)
    root.attrs.update(attributes(cube, ("scale", "offset") if options.dtype.kind == "f" else ()))
    for key, item in coords.items():
        text = item.values.dtype.kind == "O"
        # Text of any length is the one text that the format specifies.
        values = item.values.astype(np.dtypes.StringDType()) if text else item.values
        array = root.create_array(key, data=np.asarray(values), dimension_names=item.dims)
        array.attrs.update(item.attrs)
    chunks = tuple(min(size, most) for size, most in zip(cube.data.shape, CHUNK, strict=True))
    data = np.ascontiguousarray(encoded.stored)
    target = root.create_array(name, data=data, chunks=chunks, dimension_names=DIMENSIONS, **packed)
    about: dict[str, Any] = {"coordinates": " ".join(key for key in coords if key not in DIMENSIONS)}
    if GRID_MAPPING in coords:
        about["grid_mapping"] = GRID_MAPPING
    if cube.units is not None:
        about["units"] = cube.units
    if encoded.nodata is not None:
        about["_FillValue"] = encode_fill(encoded.nodata, options.dtype)
    if (encoded.scale, encoded.offset) != (1.0, 0.0):
        about.update(scale_factor=encoded.scale, add_offset=encoded.offset)
    target.attrs.update({key: value for key, value in about.items() if value != ""})


def encode_fill(nodata: float, dtype: np.dtype[Any]) -> Any:
    """Return a fill value as xarray writes it: floats of format 3 as base64 of a little-endian double."""
    return base64.standard_b64encode(struct.pack("<d", nodata)).decode() if dtype.kind == "f" else int(nodata)
