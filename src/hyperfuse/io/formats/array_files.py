"""Cubes in files of bare named arrays (.npz, .mat): some vectors next to the values, the rest as JSON text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cf import Variable, decode_header
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import Coding, CubeHeader
from hyperfuse.cube.record import HISTORY_TAG, RECORD_TAG, encode_record, encode_tags, finite_or_text, load_record
from hyperfuse.io.encoding.coding import BandCoding, decode_cube
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.encoding.variables import check_name

VECTORS = ("wavelengths", "fwhm", "good_bands")
TAGS = (RECORD_TAG, HISTORY_TAG)
_LONGEST_VECTOR = 100_000


def encode_arrays(
    header: CubeHeader, coding: Coding, variable: str | None
) -> tuple[str, dict[str, NDArray[Any]], dict[str, str]]:
    """Return the name of the values, which are stored as ``coding``, and the vectors and texts to write next to them.

    Raises:
        InputError: a name that is not valid or that one of them has.
    """
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


def is_vector(shape: tuple[int, ...]) -> bool:
    """Return whether an array is one that may go along the bands, and is small enough to be read in case."""
    return max(shape, default=1) == math.prod(shape) <= _LONGEST_VECTOR


def recorded_variable(tags: Mapping[str, str], where: str) -> str | None:
    """Return the name of the variable that a file of this package says holds the cube, or None."""
    name = load_record(tags, where).get("variable")
    return None if name is None else str(name)


def decode_arrays(
    stored: NDArray[Any], vectors: Mapping[str, NDArray[Any]], tags: Mapping[str, str], options: ReadOptions, where: str
) -> Cube:
    """Build a cube from its values (bands, rows, cols), all bands, and the vectors and our own texts next to them.

    Vectors named ``wavelengths``, ``fwhm``, ``good_bands`` or the like count where they have one entry per band.
    """
    bands, rows, cols = stored.shape
    variables = {name: Variable((name,), np.ravel(values)) for name, values in vectors.items()}
    header = decode_header(variables, tags, {}, {}, (bands, rows, cols), where)
    scale, offset = load_record(tags, where).get("coding", (1.0, 0.0))
    coding = BandCoding((float(scale),), (float(offset),), (header.coding.nodata,))
    index = options.band_index(bands)
    if index is not None:
        stored, header = stored[index], header.select_bands(index)
    return decode_cube(header, stored, coding, options, where)
