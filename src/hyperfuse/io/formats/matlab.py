"""MATLAB files: version 5 through scipy, version 7.3 through h5py; cubes are (rows, cols, bands) there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.coding import encode
from hyperfuse.io.encoding.damage import damage_reported
from hyperfuse.io.encoding.hdf5 import find, is_inside, read_values
from hyperfuse.io.encoding.options import ReadOptions, WriteOptions
from hyperfuse.io.encoding.sizes import NUMBERS, check_size
from hyperfuse.io.formats.array_files import decode_arrays, encode_arrays, load_arrays, ordered
from hyperfuse.io.formats.hdf5_output import hdf5_output

_CLASSES = {"double": "float64", "single": "float32", "logical": "bool"}
_DAMAGED_5 = "is not a MATLAB file, or it is cut off or damaged"
_DAMAGED_73 = "is a MATLAB 7.3 file that is cut off or damaged"
# A variable of version 5 ends at 2 GiB.
_LARGEST_5 = 2**31 - 2**20
_USER_BLOCK = 512
_DEFLATED = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


def read_matlab(path: Path, options: ReadOptions, variable: str | None = None) -> Cube:
    """Read a MATLAB file of any version; ``variable`` may name a field of a structure, ``S.cube``.

    The order of axes is (rows, cols, bands) or as ``options.axes`` states; in both versions it is the order
    that MATLAB shows, although version 7.3 stores it reversed. A vector ``wavelengths`` (also ``fwhm``,
    ``good_bands``) with one entry per band is read with it.
    """
    with ExitStack() as stack:
        shapes, load = _list_73(path, stack) if is_version_73(path) else _list_5(path)
        if variable is not None and re.search(r"[./]", variable):
            # Fields of structures are not listed; loading shows whether it exists.
            shapes[variable] = ((), "field")
        array, vectors, tags = load_arrays(shapes, load, variable, path.name)
    return decode_arrays(ordered(array, vectors, options, "rcb"), vectors, tags, options, path.name)


def read_tables(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of numbers in a MATLAB file that have one or two dimensions other than 1, by name."""
    with ExitStack() as stack:
        shapes, load = _list_73(path, stack) if is_version_73(path) else _list_5(path)
        known = {name: sum(size != 1 for size in shape) for name, (shape, kind) in shapes.items() if kind in NUMBERS}
        arrays = load([name for name, dimensions in known.items() if dimensions in (1, 2)])
    return {name: np.squeeze(array) for name, array in arrays.items() if array.size}


def is_version_73(path: Path) -> bool:
    """Return whether a MATLAB file is HDF5, behind MATLAB's own block or, from other programs, without it."""
    with path.open("rb") as file:
        start = file.read(_USER_BLOCK + 4)
    return b"\x89HDF" in (start[:4], start[_USER_BLOCK:])


_Content = tuple[dict[str, tuple[tuple[int, ...], str]], Callable[[Sequence[str]], dict[str, NDArray[Any]]]]


def _list_5(path: Path) -> _Content:
    def load(names: Sequence[str]) -> dict[str, NDArray[Any]]:
        if not names:
            return {}
        parts = {name: re.split(r"[./]", name) for name in names}
        for name in set(names) & set(shapes):
            if shapes[name][1] in NUMBERS:
                check_size(name, shapes[name][0], shapes[name][1], path.stat().st_size)
        with damage_reported(_DAMAGED_5), path.open("rb") as file:
            content = scipy.io.loadmat(file, variable_names=[first for first, *_ in parts.values()])
            values = {name: content[first] for name, (first, *_) in parts.items()}
        return {name: _field(name, parts[name][1:], value) for name, value in values.items()}

    with damage_reported(_DAMAGED_5), path.open("rb") as file:
        shapes = {name: (shape, _CLASSES.get(kind, kind)) for name, shape, kind in scipy.io.whosmat(file)}
    return shapes, load


def _field(name: str, parts: Sequence[str], value: Any) -> NDArray[Any]:
    for part in parts:
        names = getattr(value, "dtype", np.dtype(float)).names or ()
        if part not in names or value.size != 1:
            raise InputError(f"has no field {part!r} in {name!r}; there are {', '.join(names) or 'none'}")
        value = value.ravel()[0][part]
    if not isinstance(value, np.ndarray) or value.dtype.names:
        raise InputError(f"the variable {name!r} is not an array of numbers")
    return value


def _list_73(path: Path, stack: ExitStack) -> _Content:
    def load(names: Sequence[str]) -> dict[str, NDArray[Any]]:
        with damage_reported(_DAMAGED_73):
            items = {name: find(file, name.replace(".", "/")) for name in names}
            absent = next((name for name, item in items.items() if not isinstance(item, h5py.Dataset)), None)
            if absent is not None:
                raise InputError(f"has no array {absent!r}")
            return {name: _array(item) for name, item in items.items()}

    with damage_reported(_DAMAGED_73):
        file = stack.enter_context(h5py.File(path, "r"))
        # A name that is not UTF-8 comes as bytes and cannot be requested.
        names = [key for key in file if isinstance(key, str) and isinstance(file.get(key, getlink=True), h5py.HardLink)]
        found = {key: item for key in names if isinstance(item := file[key], h5py.Dataset)}
        sets = {key: item for key, item in found.items() if item.shape and "MATLAB_empty" not in item.attrs}
        inside = {key: is_inside(item) for key, item in sets.items()}
        kinds = {key: _class(item) if inside[key] else "in another file" for key, item in sets.items()}
        return {key: (item.shape[::-1], kinds[key]) for key, item in sets.items()}, load


def _class(item: h5py.Dataset) -> str:
    kind = item.attrs.get("MATLAB_class", b"")
    text = kind.decode() if isinstance(kind, bytes) else str(kind)
    return text if text in ("char", "cell", "struct") else _CLASSES.get(text, item.dtype.name)


def _array(item: h5py.Dataset) -> NDArray[Any]:
    array = read_values(item, damaged=_DAMAGED_73).T
    return array.astype(np.bool_) if _class(item) == "bool" else array


def write_matlab(path: Path, cube: Cube, options: WriteOptions, variable: str | None = None) -> None:
    """Write the cube as a variable ``cube`` (rows, cols, bands), with ``wavelengths``, ``fwhm``, ``good_bands``.

    The rest of the metadata is JSON in the texts ``HYPERFUSE`` and ``HYPERFUSE_HISTORY`` (``jsondecode`` reads them).
    Option ``version``: "5", "7.3", or unset for 5 where the values fit its 2 GiB.
    """
    encoded = encode(cube, options)
    large = encoded.stored.nbytes > _LARGEST_5
    version = options.choice("version", ("5", "7.3"), "7.3" if large else "5")
    if version == "5" and large:
        raise InputError("a variable of MATLAB version 5 ends at 2 GiB; write version 7.3", "version")
    deflate = options.choice("compress", ("none", "deflate"), "none") == "deflate"
    name, vectors, texts = encode_arrays(cube.header, encoded.coding, variable)
    rows = {key: values[None] for key, values in vectors.items()}
    if version == "5":
        with path.open("wb") as file:
            content = {name: encoded.stored.transpose(1, 2, 0), **rows, **texts}
            scipy.io.savemat(file, content, do_compression=deflate, long_field_names=True)
    else:
        _write_73(path, {name: encoded.stored.transpose(1, 2, 0), **rows}, texts, deflate)


def _write_73(path: Path, arrays: Mapping[str, NDArray[Any]], texts: Mapping[str, str], deflate: bool) -> None:
    classes = {"float64": "double", "float32": "single", "bool": "logical"}
    # MATLAB recognises its files by the block in front: text, then version 2.0 and the byte order.
    block = b"MATLAB 7.3 MAT-file, Platform: hyperfuse, Created on: unknown HDF5 schema 1.00 ."
    with hdf5_output(path, block.ljust(116) + bytes(8) + b"\x00\x02IM") as file:
        for key, array in arrays.items():
            kind = classes.get(array.dtype.name, array.dtype.name)
            data = np.ascontiguousarray((array.astype(np.uint8) if kind == "logical" else array).T)
            packed = _DEFLATED if deflate and data.ndim == 3 else {}
            chunks = (1, *data.shape[1:]) if packed else None
            item = file.create_dataset(key, data=data, chunks=chunks, **packed)
            item.attrs["MATLAB_class"] = np.bytes_(kind)
            if kind == "logical":
                item.attrs["MATLAB_int_decode"] = np.int32(1)
        for key, text in texts.items():
            item = file.create_dataset(key, data=np.frombuffer(text.encode("utf-16-le"), np.uint16)[:, None])
            item.attrs["MATLAB_class"] = np.bytes_("char")
            item.attrs["MATLAB_int_decode"] = np.int32(2)
