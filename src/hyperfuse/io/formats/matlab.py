"""MATLAB files: version 5 through scipy, version 7.3 through h5py; cubes are (rows, cols, bands) there."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
from hyperfuse.io.encoding.options import ReadOptions, WriteOptions, bands_first, parse_axes
from hyperfuse.io.encoding.variables import choose_variable
from hyperfuse.io.formats.array_files import TAGS, decode_arrays, encode_arrays, is_vector, recorded_variable
from hyperfuse.io.formats.hdf5_output import hdf5_output

_CLASSES = {"double": "float64", "single": "float32", "logical": "bool"}
_DAMAGED_73 = "is a MATLAB 7.3 file that is cut off or damaged"
_VERSIONS = ("5", "7.3")
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
    array, vectors, tags = (_read_73 if is_version_73(path) else _read_5)(path, variable)
    axes = "rcb" if options.axes is None else parse_axes(options.axes)
    return decode_arrays(bands_first(array, axes), vectors, tags, options, path.name)


def is_version_73(path: Path) -> bool:
    """Return whether a MATLAB file is HDF5, behind MATLAB's own block or, from other programs, without it."""
    with path.open("rb") as file:
        start = file.read(_USER_BLOCK + 4)
    return b"\x89HDF" in (start[:4], start[_USER_BLOCK:])


_Content = tuple[NDArray[Any], dict[str, NDArray[Any]], dict[str, str]]


def _read_5(path: Path, variable: str | None) -> _Content:
    shapes = {name: (shape, _CLASSES.get(kind, kind)) for name, shape, kind in _load(path, None)}
    tags = {tag: _text(value) for tag, value in _load(path, [tag for tag in TAGS if tag in shapes]).items()}
    name = _choose(shapes, variable, recorded_variable(tags, path.name))
    parts = re.split(r"[./]", name)
    small = [key for key, (shape, kind) in shapes.items() if _is_vector(shape, kind) and key not in TAGS]
    content = _load(path, [parts[0], *small])
    value = content[parts[0]]
    for part in parts[1:]:
        names = getattr(value, "dtype", np.dtype(float)).names or ()
        if part not in names or value.size != 1:
            raise InputError(f"has no field {part!r} in {name!r}; there are {', '.join(names) or 'none'}")
        value = value.ravel()[0][part]
    if not isinstance(value, np.ndarray) or value.dtype.names:
        raise InputError(f"the variable {name!r} is not an array of numbers")
    return value, {key: content[key] for key in small if key != parts[0]}, tags


def _load(path: Path, names: list[str] | None) -> Any:
    """Return the listing of the file, or the named variables."""
    if names is not None and not names:
        return {}
    with damage_reported("is not a MATLAB file, or it is cut off or damaged"):
        with path.open("rb") as file:
            if names is None:
                return scipy.io.whosmat(file)
            content = scipy.io.loadmat(file, variable_names=names)
        return {key: content[key] for key in names}


def _read_73(path: Path, variable: str | None) -> _Content:
    with ExitStack() as stack:
        with damage_reported(_DAMAGED_73):
            file = stack.enter_context(h5py.File(path, "r"))
            # A name that is not UTF-8 comes as bytes and cannot be requested.
            found = {key: item for key, item in file.items() if isinstance(item, h5py.Dataset) and isinstance(key, str)}
            sets = {key: item for key, item in found.items() if item.shape and "MATLAB_empty" not in item.attrs}
            shapes = {key: (item.shape[::-1], _class(item)) for key, item in sets.items()}
            tags = {tag: _text(_array(sets[tag])) for tag in TAGS if tag in sets}
        name = _choose(shapes, variable, recorded_variable(tags, path.name))
        with damage_reported(_DAMAGED_73):
            chosen = file.get(name.replace(".", "/"))
            if not isinstance(chosen, h5py.Dataset):
                raise InputError(f"has no array {name!r}")
            small = [key for key, what in shapes.items() if _is_vector(*what) and key not in (name, *TAGS)]
            return _array(chosen), {key: _array(sets[key]) for key in small}, tags


def _choose(shapes: Mapping[str, tuple[tuple[int, ...], str]], named: str | None, own: str | None) -> str:
    # Fields of structures are not listed; reading shows whether it exists.
    if named is not None and re.split(r"[./]", named)[0] != named:
        return named
    return choose_variable(shapes, named, own)


def _class(item: h5py.Dataset) -> str:
    kind = item.attrs.get("MATLAB_class", b"")
    text = kind.decode() if isinstance(kind, bytes) else str(kind)
    return text if text in ("char", "cell", "struct") else _CLASSES.get(text, item.dtype.name)


def _array(item: h5py.Dataset) -> NDArray[Any]:
    array = np.asarray(item[()]).T
    return array.astype(np.bool_) if _class(item) == "bool" else array


def _is_vector(shape: tuple[int, ...], kind: str) -> bool:
    numeric = kind not in ("char", "cell", "struct", "sparse", "object", "function", "opaque", "unknown")
    return numeric and is_vector(shape)


def _text(value: NDArray[Any]) -> str:
    """Return the text of a char array: one string in version 5, numbers of UTF-16 units in 7.3."""
    flat = np.ravel(value)
    return "".join(map(chr, flat)) if flat.dtype.kind in "ui" else "".join(map(str, flat))


def write_matlab(path: Path, cube: Cube, options: WriteOptions, variable: str | None = None) -> None:
    """Write the cube as a variable ``cube`` (rows, cols, bands), with ``wavelengths``, ``fwhm``, ``good_bands``.

    The rest of the metadata is JSON in the texts ``HYPERFUSE`` and ``HYPERFUSE_HISTORY`` (``jsondecode`` reads them).
    Option ``version``: "5", "7.3", or unset for 5 where the values fit its 2 GiB.
    """
    encoded = encode(cube, options)
    large = encoded.stored.nbytes > _LARGEST_5
    version = str(options.version or ("7.3" if large else "5"))
    if version not in _VERSIONS:
        raise InputError(f"version={version!r} is not one of {', '.join(_VERSIONS)}", "version")
    if version == "5" and large:
        raise InputError("a variable of MATLAB version 5 ends at 2 GiB; write version 7.3", "version")
    deflate = options.compression(("none", "deflate"), "none") == "deflate"
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
