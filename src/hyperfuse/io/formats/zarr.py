"""Zarr folders, in the layout that xarray reads and writes; needs the extra ``xarray`` (package zarr 3)."""

from __future__ import annotations

import base64
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cf import DIMENSIONS, encode_attributes, encode_coordinates, encode_variable
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.damage import damage_reported
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.encoding.sizes import check_size
from hyperfuse.io.encoding.variables import check_name
from hyperfuse.io.formats.cf_files import CubeVariable, Selection, Stored, plain_attributes
from hyperfuse.io.formats.targets import WindowTarget
from hyperfuse.io.formats.zarr_codecs import check_codecs
from hyperfuse.runtime.optional import require

_CHUNK = (16, 256, 256)
# Absent ones take half a millisecond each.
_MOST_CHUNKS = 200_000


def open_zarr(path: Path, options: ReadOptions, variable: str | None) -> CubeVariable:
    """Open a Zarr folder (format 2 or 3), a group of arrays or a single array, to read windows of its cube."""
    zarr = _zarr()
    check_codecs(path)
    with damage_reported("is a damaged Zarr folder"):
        root = zarr.open(path, mode="r")
        arrays = dict(root.arrays()) if isinstance(root, zarr.Group) else {path.stem: root}
        attrs = plain_attributes(dict(root.attrs))
        stored = {name: _stored(array) for name, array in arrays.items()}
    return CubeVariable(path, stored, attrs, options, variable)


def _zarr() -> Any:
    return require("zarr", "reading and writing of Zarr")


def _stored(array: Any) -> Stored:
    attrs = dict(array.attrs)
    dims = getattr(array.metadata, "dimension_names", None) or attrs.pop("_ARRAY_DIMENSIONS", None)
    if "_FillValue" in attrs:
        attrs["_FillValue"] = _decode_fill(attrs["_FillValue"])
    elif array.metadata.zarr_format == 2 and array.fill_value is not None and array.fill_value != 0:
        # xarray keeps _FillValue here in format 2; a plain 0 is only what zarr fills unwritten chunks with.
        attrs["_FillValue"] = array.fill_value

    def load(selection: Selection) -> NDArray[Any]:
        with damage_reported(f"the array {array.basename} states chunks of no size"):
            count = _chunks(array, selection)
        if count > _MOST_CHUNKS:
            raise InputError(f"the array {array.basename} is stored in {count} chunks, too many to read; rechunk it")
        if not selection:
            check_size(array.basename, array.shape, array.dtype)
        with damage_reported(f"the array {array.basename} is damaged"):
            return np.asarray(array.oindex[selection] if selection else array[...])

    names = tuple(str(dim) for dim in dims) if dims else ("",) * array.ndim
    return Stored(names, tuple(array.shape), np.dtype(array.dtype).name, plain_attributes(attrs), load)


def _chunks(array: Any, selection: Selection) -> int:
    """Return the number of chunks that a selection is read from."""
    counts = []
    for axis, (size, chunk) in enumerate(zip(array.shape, array.shards or array.chunks, strict=True)):
        part = selection[axis] if selection else slice(None)
        if isinstance(part, slice):
            first, last, _ = part.indices(size)
            counts.append(max(-(-last // chunk) - first // chunk, 0))
        else:
            counts.append(len(np.unique(part // chunk)))
    return math.prod(counts)


def _decode_fill(value: Any) -> Any:
    """Return a fill value that xarray wrote: in format 3 floats are base64 of a little-endian double."""
    if not isinstance(value, str):
        return value
    try:
        return struct.unpack("<d", base64.standard_b64decode(value))[0]
    except (ValueError, struct.error):
        return math.nan if value.lower() == "nan" else value


class ZarrTarget(WindowTarget):
    """Zarr folder of format 3, in chunks of 16 bands x 256 x 256 pixels; those of gaps only are left out.

    Default compression: zstd.
    """

    def _create(self) -> None:
        header, coding, options = self.header, self.coding, self.options
        zarr = _zarr()
        packed: dict[str, Any] = (
            {"compressors": None} if options.choice("compress", ("none", "zstd"), "zstd") == "none" else {}
        )
        coords = encode_coordinates(header)
        name = check_name(self.variable, (*coords, *DIMENSIONS))
        root = zarr.create_group(self.path, zarr_format=3)
        root.attrs.update(encode_attributes(header, ("scale", "offset") if options.dtype.kind == "f" else ()))
        for key, item in coords.items():
            # Text of any length is the one text that the format specifies.
            values = item.values.astype(np.dtypes.StringDType()) if item.values.dtype.kind == "O" else item.values
            array = root.create_array(key, data=np.asarray(values), dimension_names=item.dims)
            array.attrs.update(item.attrs)
        array = root.create_array(
            name, shape=header.shape, dtype=options.dtype, dimension_names=DIMENSIONS,
            chunks=tuple(min(size, largest) for size, largest in zip(header.shape, _CHUNK, strict=True)),
            fill_value=0 if coding.nodata is None else options.dtype.type(coding.nodata), **packed,
        )  # fmt: skip
        attrs = encode_variable(coords, coding)
        # xarray takes what is not listed here, the grid mapping too, for data.
        attrs["coordinates"] = " ".join(key for key in coords if key not in DIMENSIONS)
        if coding.nodata is not None:
            attrs["_FillValue"] = _encode_fill(coding.nodata, options.dtype)
        array.attrs.update({key: value for key, value in attrs.items() if value != ""})
        self._array = array

    def _store(self, window: Window, stored: NDArray[Any]) -> None:
        self._array[:, *window.slices] = np.ascontiguousarray(stored)

    def finish(self) -> None:
        """Every chunk is a file that was written when it was stored."""


def _encode_fill(nodata: float, dtype: np.dtype[Any]) -> Any:
    """Return a fill value as xarray writes it: floats of format 3 as base64 of a little-endian double."""
    return base64.standard_b64encode(struct.pack("<d", nodata)).decode() if dtype.kind == "f" else int(nodata)
