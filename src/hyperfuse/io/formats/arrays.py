"""NumPy files: .npy, which holds the values alone, and .npz, which holds the metadata too."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.record import encode_record
from hyperfuse.errors import warn
from hyperfuse.io.encoding.coding import encode
from hyperfuse.io.encoding.damage import damage_reported
from hyperfuse.io.encoding.options import ReadOptions, WriteOptions, bands_first
from hyperfuse.io.encoding.sizes import NUMBERS, check_size
from hyperfuse.io.formats.array_files import decode_arrays, encode_arrays, load_arrays, ordered

_DAMAGED = "is not an .{} file of numbers, or it is cut off"


def read_npy(path: Path, options: ReadOptions, _variable: None = None) -> Cube:
    """Read an .npy file of shape (bands, rows, cols) or (rows, cols), or as ``axes`` states; no pickled objects."""
    with damage_reported(_DAMAGED.format("npy"), reason=True):
        with path.open("rb") as file:
            shape, dtype = _header(file)
        check_size("the array", shape, dtype, path.stat().st_size)
        array = np.load(path, allow_pickle=False)
    return decode_arrays(bands_first(array, options.axes_or("brc")), {}, {}, options, path.name)


def read_npz(path: Path, options: ReadOptions, variable: str | None = None) -> Cube:
    """Read an .npz file; ``variable`` names the array where there are several that could be the cube."""

    def load(names: Sequence[str]) -> dict[str, NDArray[Any]]:
        for name in names:
            if shapes[name][1] in NUMBERS:
                check_size(name, *shapes[name], path.stat().st_size)
        with damage_reported(_DAMAGED.format("npz"), reason=True), np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}

    with damage_reported(_DAMAGED.format("npz"), reason=True):
        shapes = _shapes(path)
    array, vectors, tags = load_arrays(shapes, load, variable, path.name)
    return decode_arrays(ordered(array, vectors, options, "brc"), vectors, tags, options, path.name)


def _shapes(path: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shape and type of the arrays of an .npz file from their headers alone."""
    shapes = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as file:
                shape, dtype = _header(file)
            shapes[member.removesuffix(".npy")] = (shape, dtype.name)
    return shapes


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type that the header of an .npy file states."""
    version = npy_format.read_magic(file)
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, _, dtype = read(file)
    return tuple(shape), dtype


def write_npy(path: Path, cube: Cube, options: WriteOptions, _variable: None = None) -> None:
    """Write the values as an .npy file of shape (bands, rows, cols); a warning names the metadata that is lost."""
    options.choice("compress", ("none",), "none")
    encoded = encode(cube, options)
    with path.open("wb") as file:
        # numpy.save writes past Python's file and does not notice when the disk is full at its end.
        stored = np.ascontiguousarray(encoded.stored)
        npy_format.write_array_header_1_0(file, npy_format.header_data_from_array_1_0(stored))
        file.write(stored.data)
    names = ("wavelengths", "fwhm", "good_bands", "band_names", "transform", "crs", "units", "attributes")
    recorded = encode_record(cube.header, names)
    lost = [name.replace("_", " ") for name in names if name in recorded]
    lost += (["history"] if cube.history else []) + ([] if cube.header.coding.is_identity else ["scale", "offset"])
    if encoded.coding.nodata is not None:
        lost.append(f"nodata ({encoded.coding.nodata:g})")
    if lost:
        warn(f"{path.name}: an .npy file cannot hold {', '.join(lost)}; write .npz to keep them")


def write_npz(path: Path, cube: Cube, options: WriteOptions, variable: str | None = None) -> None:
    """Write an .npz file: the values as ``cube``, vectors for wavelengths and bands, the rest as JSON text.

    Compression: "none" (default) or "deflate".
    """
    save = np.savez_compressed if options.choice("compress", ("none", "deflate"), "none") == "deflate" else np.savez
    encoded = encode(cube, options)
    name, vectors, texts = encode_arrays(cube.header, encoded.coding, variable)
    arrays: dict[str, Any] = {name: encoded.stored, **vectors, **{tag: np.array(text) for tag, text in texts.items()}}
    with path.open("wb") as file:
        save(file, **arrays)
