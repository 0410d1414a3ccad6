"""netCDF, and reading of other HDF5 files; through h5py, so that no extra package is needed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cf import DIMENSIONS, encode_attributes, encode_coordinates, encode_variable, per_band
from hyperfuse.cube.cf_grid import Variable
from hyperfuse.cube.cube import Cube
from hyperfuse.io.encoding.coding import encode
from hyperfuse.io.encoding.damage import damage_reported
from hyperfuse.io.encoding.hdf5 import read_values
from hyperfuse.io.encoding.options import ReadOptions, WriteOptions, default_compression
from hyperfuse.io.encoding.variables import check_name
from hyperfuse.io.formats.cf_files import CubeVariable, Selection, Stored, plain, plain_attributes
from hyperfuse.io.formats.hdf5_output import hdf5_output

_CHUNK = 256
_NOT_A_VARIABLE = "This is a netCDF dimension but not a netCDF variable"
_LONGEST_FIXED_TEXT = 4000
_STRUCTURE = ("CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST", "_Netcdf4Dimid", "_Netcdf4Coordinates")
_DAMAGED = "is neither netCDF nor HDF5, or it is cut off or damaged"


def read_netcdf(path: Path, options: ReadOptions, variable: str | None = None) -> Cube:
    """Read a netCDF file (netCDF-4 or classic) or another HDF5 file; ``variable`` may name ``group/variable``."""
    with path.open("rb") as file:
        classic = file.read(3) == b"CDF"
    if classic:
        return _read_classic(path, options, variable)
    with ExitStack() as stack:
        found: dict[str, Stored] = {}
        with damage_reported(_DAMAGED):
            source = stack.enter_context(h5py.File(path, "r"))
            attrs = plain_attributes(dict(source.attrs))
            source.visititems(lambda name, item: _collect(found, attrs, _text_of(name), item))
        return CubeVariable(path, found, attrs, options, variable).read()


def _collect(found: dict[str, Stored], attrs: dict[str, Any], name: str, item: Any) -> None:
    if isinstance(item, h5py.Group):
        # Wavelengths of bands may be attributes of any group.
        spectral = {key: value for key, value in plain_attributes(dict(item.attrs)).items() if per_band(key, value)}
        attrs.update({key: value for key, value in spectral.items() if key not in attrs})
    if not isinstance(item, h5py.Dataset) or item.shape is None:
        return
    if plain(item.attrs.get("NAME", "")).startswith(_NOT_A_VARIABLE):
        return
    own = {key: value for key, value in item.attrs.items() if key not in _STRUCTURE}

    def load(selection: Selection) -> NDArray[Any]:
        return read_values(item, selection, damaged=_DAMAGED)

    found[name] = Stored(_dims(item, name), item.shape, item.dtype.name, plain_attributes(own), load)


def _text_of(name: str | bytes | None) -> str:
    # h5py gives bytes for a name that is not UTF-8.
    return name.decode("latin-1") if isinstance(name, bytes) else name or ""


def _dims(item: h5py.Dataset, name: str) -> tuple[str, ...]:
    if item.attrs.get("CLASS") in (b"DIMENSION_SCALE", "DIMENSION_SCALE") and item.ndim == 1:
        return (name,)
    return tuple(_text_of(dim[0].name).lstrip("/") if len(dim) else "" for dim in item.dims)


def _read_classic(path: Path, options: ReadOptions, variable: str | None) -> Cube:
    from scipy.io import netcdf_file  # the usual netCDF-4 is HDF5, and does without

    with damage_reported("is a classic netCDF file that is cut off or damaged"):
        source = netcdf_file(path, "r", mmap=False)
    found = {}
    for name, item in source.variables.items():

        def load(selection: Selection, values: NDArray[Any] = item.data) -> NDArray[Any]:
            return np.asarray(values[selection])

        shape, kind = tuple(item.data.shape), item.data.dtype.newbyteorder("=").name
        found[name] = Stored(tuple(item.dimensions), shape, kind, plain_attributes(item._attributes), load)
    return CubeVariable(path, found, plain_attributes(source._attributes), options, variable).read()


def write_netcdf(path: Path, cube: Cube, options: WriteOptions, variable: str | None = None) -> None:
    """Write a netCDF-4 file after the CF conventions; default compression: deflate for integers, none for floats."""
    deflate = options.choice("compress", ("none", "deflate"), default_compression(options.dtype)) == "deflate"
    coords = encode_coordinates(cube.header)
    name = check_name(variable, (*coords, *DIMENSIONS))
    encoded = encode(cube, options)
    recorded = ("scale", "offset") if options.dtype.kind == "f" else ()
    with hdf5_output(path) as target:
        for key, text in {"Conventions": "CF-1.11", **encode_attributes(cube.header, recorded)}.items():
            target.attrs[key] = _text(text)
        sizes = dict(zip(DIMENSIONS, encoded.stored.shape, strict=True))
        for dim, size in sizes.items():
            if dim in coords:
                _put(target, dim, coords[dim]).make_scale(dim)
            else:
                target.create_dataset(dim, (size,), ">f4").make_scale(f"{_NOT_A_VARIABLE}{size:10d}")
        for key, item in coords.items():
            if key not in sizes:
                dataset = _put(target, key, item)
                for axis, dim in enumerate(item.dims):
                    dataset.dims[axis].attach_scale(target[dim])
        chunks = (1, min(cube.rows, _CHUNK), min(cube.cols, _CHUNK))
        packed: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if deflate else {}
        values = target.create_dataset(
            name, data=encoded.stored, chunks=chunks, fillvalue=encoded.coding.nodata, **packed
        )
        for axis, dim in enumerate(DIMENSIONS):
            values.dims[axis].attach_scale(target[dim])
        for key, value in encode_variable(coords, encoded.coding).items():
            values.attrs[key] = _text(value) if isinstance(value, str) else value
        if encoded.coding.nodata is not None:
            values.attrs["_FillValue"] = np.array([encoded.coding.nodata], options.dtype)


def _put(target: h5py.File, name: str, item: Variable) -> h5py.Dataset:
    kind = h5py.string_dtype() if item.values.dtype.kind == "O" else item.values.dtype
    dataset = target.create_dataset(name, data=item.values, dtype=kind)
    for key, value in item.attrs.items():
        dataset.attrs[key] = _text(str(value))
    return dataset


def _text(text: str) -> Any:
    # Fixed-length text is NC_CHAR, which every netCDF reader knows; HDF5 keeps an attribute of that kind below 64 kB.
    return np.bytes_(text) if text and text.isascii() and len(text) < _LONGEST_FIXED_TEXT else text
