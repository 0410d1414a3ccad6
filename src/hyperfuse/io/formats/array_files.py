"""Cubes in files of bare named arrays (.npz, .mat): some vectors next to the values, the rest as JSON text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cf import decode_header, is_wavelengths, orient
from hyperfuse.cube.cf_grid import Variable
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import Coding, CubeHeader
from hyperfuse.cube.record import (
    HISTORY_TAG,
    RECORD_TAG,
    decode_coding,
    encode_record,
    encode_tags,
    finite_or_text,
    load_record,
)
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.coding import BandCoding, decode_cube
from hyperfuse.io.encoding.options import ReadOptions, bands_first
from hyperfuse.io.encoding.variables import Shapes, check_name, choose_variable

VECTORS = ("wavelengths", "fwhm", "good_bands")
TAGS = (RECORD_TAG, HISTORY_TAG)
_LONGEST_VECTOR = 100_000
_LONGEST_TEXT = 100_000_000
# Names of types of numpy and classes of MATLAB.
_NO_VECTORS = ("object", "char", "cell", "struct", "sparse", "function", "opaque", "unknown")


def encode_arrays(
    header: CubeHeader, coding: Coding, variable: str | None
) -> tuple[str, dict[str, NDArray[Any]], dict[str, str]]:
    """Return the name of the values, stored as ``coding``, and the vectors and texts to write next to them."""
    name = check_name(variable, (*VECTORS, *TAGS))
    vectors = {key: getattr(header, key) for key in VECTORS if getattr(header, key) is not None}
    names = ["crs", "transform", "units", "band_names", "attributes"]
    record = {**encode_record(header, names), "variable": name}
    if coding.is_identity:
        record.update(encode_record(header, ["scale", "offset"]))
    else:
        record["coding"] = [coding.scale, coding.offset]
    if coding.nodata is not None:
        record["nodata"] = finite_or_text(coding.nodata)
    return name, vectors, encode_tags(header, record)


def load_arrays(
    shapes: Shapes, load: Callable[[Sequence[str]], dict[str, NDArray[Any]]], variable: str | None, where: str
) -> tuple[NDArray[Any], dict[str, NDArray[Any]], dict[str, str]]:
    """Return the values, vectors that may go along the bands, and our own texts of a file that ``load`` reads."""
    texts = [tag for tag in TAGS if tag in shapes and math.prod(shapes[tag][0]) <= _LONGEST_TEXT]
    tags = {tag: _text(value) for tag, value in load(texts).items()}
    recorded = load_record(tags).get("variable")
    name = choose_variable(shapes, variable, recorded if isinstance(recorded, str) else None)
    small = [key for key, (shape, kind) in shapes.items() if kind not in _NO_VECTORS and _is_vector(shape)]
    arrays = load([name, *(key for key in small if key not in (name, *TAGS))])
    return arrays.pop(name), arrays, tags


def _is_vector(shape: tuple[int, ...]) -> bool:
    return max(shape, default=1) == math.prod(shape) <= _LONGEST_VECTOR


def _text(value: NDArray[Any]) -> str:
    """Return a text: strings, or numbers of UTF-16 units as in MATLAB 7.3."""
    flat = np.ravel(value)
    if flat.dtype.kind == "u" and flat.dtype.itemsize <= 2:
        return flat.astype("<u2").tobytes().decode("utf-16-le", "replace")
    return "".join(map(str, flat))


def ordered(
    array: NDArray[Any], vectors: Mapping[str, NDArray[Any]], options: ReadOptions, default: str
) -> NDArray[Any]:
    """Return an array as (bands, rows, cols); the axis that has as many entries as there are wavelengths is the bands.

    Without wavelengths, or where they fit it, its order is ``default``.
    """
    counts = {vector.size for name, vector in vectors.items() if is_wavelengths(name) and vector.size > 1}
    return bands_first(array, options.axes_or("") if options.axes else orient(array.shape, counts, default))


def decode_arrays(
    stored: NDArray[Any], vectors: Mapping[str, NDArray[Any]], tags: Mapping[str, str], options: ReadOptions, where: str
) -> Cube:
    """Build a cube from its values (bands, rows, cols), all bands, and the vectors and our own texts next to them.

    Vectors named ``wavelengths``, ``fwhm``, ``good_bands`` or the like count where they have one entry per band.
    """
    bands, rows, cols = stored.shape
    variables = {name: Variable((name,), np.ravel(values)) for name, values in vectors.items()}
    header = decode_header(variables, tags, {}, {}, (bands, rows, cols), where)
    try:
        scale, offset = decode_coding(load_record(tags))
    except InputError:
        if options.scale is None and options.offset is None:
            raise
        scale, offset = 1.0, 0.0
    coding = BandCoding((scale,), (offset,), (header.coding.nodata,))
    index = options.band_index(bands)
    if index is not None:
        stored, header = stored[index], header.select_bands(index)
    return decode_cube(header, stored, coding, options, where)
