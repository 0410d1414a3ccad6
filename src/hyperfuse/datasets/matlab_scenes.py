"""The cube of a MATLAB file, found by its shape and read as it is stored; each dataset interprets its values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io.encoding.damage import damage_reported
from hyperfuse.io.formats.matlab import is_version_73

_DAMAGED = "is not a MATLAB file, or it is cut off or damaged"
_NUMBERS = ("double", "single", "float64", "float32")


@dataclass(frozen=True)
class StoredCube:
    """A cube in a MATLAB file.

    Attributes:
        path: the file.
        name: the variable.
        shape: (rows, cols, bands), as MATLAB shows it.
        kind: MATLAB's class: ``uint8``, ``uint16``, ``double``, ...; a double may still be stored in fewer bytes.
    """

    path: Path
    name: str
    shape: tuple[int, int, int]
    kind: str


def find_cube(path: Path, bands: int, preferred: str | None = None) -> StoredCube:
    """Return the variable of shape (rows, cols, ``bands``), from the headers of a file of version 5 or 7.3 alone.

    Raises:
        InputError: a damaged file, no such variable, or several and none is the ``preferred`` one. Names the file.
        HyperfuseError: the file may not be read.
    """
    listing = _list(path)
    fitting = [name for name, (shape, kind) in listing.items() if _fits(shape, kind, bands)]
    if preferred in fitting:
        fitting = [str(preferred)]
    if len(fitting) != 1:
        shown = ", ".join(f"{name} ({' x '.join(map(str, shape))})" for name, (shape, _) in listing.items())
        what = f"no array of {bands} bands" if not fitting else f"several arrays of {bands} bands"
        raise InputError(f"{path}: holds {what}; one of (rows, cols, {bands}) is needed, it has {shown or 'nothing'}")
    rows, cols, _ = listing[fitting[0]][0]
    return StoredCube(path, fitting[0], (rows, cols, bands), listing[fitting[0]][1])


def read_cube(found: StoredCube, rows: int | None = None, cols: int | None = None) -> NDArray[Any]:
    """Read the top left of a cube, at most ``rows`` x ``cols`` of it, as stored, in the axes (bands, rows, cols).

    Of a version 7.3 file no more than these are read.

    Raises:
        InputError: a damaged file; names it.
        HyperfuseError: the file may not be read, or does not fit into memory.
    """
    try:
        if _is_73(found.path):
            with damage_reported(f"{found.path}: {_DAMAGED}"), h5py.File(found.path, "r") as file:
                # Stored backwards: (bands, cols, rows).
                return np.asarray(file[found.name][:, :cols, :rows]).transpose(0, 2, 1)
        with damage_reported(f"{found.path}: {_DAMAGED}"), found.path.open("rb") as stream:
            stored = scipy.io.loadmat(stream, variable_names=[found.name])[found.name]
        return np.asarray(stored[:rows, :cols]).transpose(2, 0, 1)
    except MemoryError as error:
        raise HyperfuseError(f"{found.path}: does not fit into memory") from error


def _is_73(path: Path) -> bool:
    try:
        return is_version_73(path)
    except OSError as error:
        raise HyperfuseError(f"{path}: cannot be read: {error.strerror or error}") from error


def _list(path: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shape, as MATLAB shows it, and class of each variable."""
    if not _is_73(path):
        with damage_reported(f"{path}: {_DAMAGED}"), path.open("rb") as stream:
            return {name: (tuple(shape), kind) for name, shape, kind in scipy.io.whosmat(stream)}
    with damage_reported(f"{path}: {_DAMAGED}"), h5py.File(path, "r") as file:
        sets = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
        return {str(name): (tuple(item.shape or ())[::-1], _class(item)) for name, item in sets.items()}


def _class(item: h5py.Dataset) -> str:
    kind = item.attrs.get("MATLAB_class", item.dtype.name)
    return kind.decode() if isinstance(kind, bytes) else str(kind)


def _fits(shape: tuple[int, ...], kind: str, bands: int) -> bool:
    numeric = kind in _NUMBERS or kind.startswith(("uint", "int"))
    return numeric and len(shape) == 3 and shape[2] == bands and 0 not in shape
