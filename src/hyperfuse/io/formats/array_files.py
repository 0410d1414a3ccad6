"""Cubes in files of bare named arrays (.npz, .mat): some vectors beside the values, the rest as JSON text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cf import Variable, fields_from
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.record import HISTORY_TAG, RECORD_TAG, from_tags, record_fields, to_tags
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.coding import Coding, Encoded, decode
from hyperfuse.io.encoding.options import ReadOptions

VECTORS = ("wavelengths", "fwhm", "good_bands")
TAGS = (RECORD_TAG, HISTORY_TAG)
_LONGEST_VECTOR = 100_000


def arrays_of(cube: Cube, encoded: Encoded, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the vectors and the texts to write beside the values, which go under ``name``.

    Raises:
        InputError: a name that one of them has.
    """
    if name in (*VECTORS, *TAGS):
        raise InputError(f"{name!r} is the name of another variable of the file; give the cube another")
    vectors = {key: getattr(cube, key) for key in VECTORS if getattr(cube, key) is not None}
    fields = ["crs", "transform", "units", "band_names", "attributes"]
    if encoded.stored.dtype.kind == "f":
        fields += ["scale", "offset"]
    record = record_fields(cube, fields)
    record["variable"] = name
    if (encoded.scale, encoded.offset) != (1.0, 0.0):
        record["coding"] = [encoded.scale, encoded.offset]
    if encoded.nodata is not None:
        # As text where it is NaN, which JSON does not have.
        record["nodata"] = encoded.nodata if np.isfinite(encoded.nodata) else str(encoded.nodata)
    return vectors, to_tags(cube, record)


def is_vector(shape: tuple[int, ...]) -> bool:
    """Return whether an array is one that may go along the bands, and small enough to be read on the chance."""
    return max(shape, default=1) == math.prod(shape) <= _LONGEST_VECTOR


def own_variable(tags: Mapping[str, str], where: str) -> str | None:
    """Return the name of the variable that a file of this package says holds the cube, or None."""
    name = from_tags(tags, where)[0].get("variable")
    return None if name is None else str(name)


def cube_from_arrays(
    stored: NDArray[Any], vectors: Mapping[str, NDArray[Any]], tags: Mapping[str, str], options: ReadOptions, where: str
) -> Cube:
    """Build a cube from its values and what is beside them.

    Args:
        stored: all bands as the file holds them, shape (bands, rows, cols).
        vectors: the vectors of the file by name; those named ``wavelengths``, ``fwhm``, ``good_bands`` or the like
            count where they have one entry a band.
        tags: our own texts.
        options: what the caller says.
        where: name of the file, for warnings.
    """
    bands, rows, cols = stored.shape
    beside = {name: Variable((name,), np.ravel(values)) for name, values in vectors.items()}
    fields = fields_from(beside, tags, {}, {}, (bands, rows, cols), where)
    record = from_tags(tags, where)[0]
    scale, offset = record.get("coding", (1.0, 0.0))
    coding = Coding((float(scale),), (float(offset),), (fields.pop("nodata", None),))
    index = options.band_index(bands)
    if index is not None:
        stored = stored[index]
        for key in (*VECTORS, "band_names"):
            values = fields.get(key)
            if values is not None:
                fields[key] = tuple(values[i] for i in index) if isinstance(values, tuple) else values[index]
    values = decode(stored, coding, options, where)
    if values["scale"] == 1.0 and values["offset"] == 0.0:
        values.update({key: fields[key] for key in ("scale", "offset") if key in fields})
    return Cube(**{**fields, **values})
