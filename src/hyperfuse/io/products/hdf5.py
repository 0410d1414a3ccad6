"""Attributes and datasets of HDF5 products, read so that a damaged file is one InputError."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hyperfuse.errors import InputError
from hyperfuse.io.encoding.damage import damage_reported
from hyperfuse.io.encoding.hdf5 import find, read_values

DAMAGED = "is no HDF5 file, or it is cut off or damaged"


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file; another format, or a damaged file, is an InputError."""
    with damage_reported(DAMAGED):
        file = h5py.File(path, "r")
    with file:
        yield file


@contextmanager
def kept_open(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file that stays open after the block, for an image that closes it, unless the block fails."""
    with damage_reported(DAMAGED):
        file = h5py.File(path, "r")
    try:
        yield file
    except BaseException:
        file.close()
        raise


def recognised(path: Path, test: Callable[[h5py.File], bool]) -> bool:
    """Return whether a file is HDF5 and passes a test."""
    with path.open("rb") as stream:
        if stream.read(4) != b"\x89HDF":
            return False
    try:
        with opened(path) as file:
            return test(file)
    except InputError:
        return False


def dataset(file: h5py.File, name: str, dimensions: int) -> h5py.Dataset:
    """Return a dataset of real numbers, which has to be there, of these dimensions and not empty."""
    found = optional(file, name)
    if found is None:
        raise InputError(f"has no {name}; it is cut off or of another format")
    if found.ndim != dimensions or 0 in found.shape or found.dtype.kind not in "fiu":
        raise InputError(f"{name} holds {found.dtype} {found.shape}, not numbers in {dimensions} dimensions")
    return found


def holds(file: h5py.File, *names: str) -> bool:
    """Return whether a file has all the groups or datasets named."""
    with damage_reported(DAMAGED):
        return all(find(file, name) is not None for name in names)


def optional(file: h5py.File, name: str) -> h5py.Dataset | None:
    """Return a dataset, or None where there is none of that name."""
    with damage_reported(DAMAGED):
        found = find(file, name)
    return found if isinstance(found, h5py.Dataset) else None


def stored(item: h5py.Dataset, window: Any = ()) -> NDArray[Any]:
    """Return a part of a dataset."""
    return read_values(item, window, damaged=DAMAGED)


def attribute(item: h5py.File | h5py.Dataset, name: str) -> Any:
    """Return an attribute as h5py gives it, or None where there is none."""
    with damage_reported(DAMAGED):
        return item.attrs.get(name)


def numbers(file: h5py.File, name: str) -> NDArray[np.float64]:
    """Return an attribute of the file as numbers, shape (entries,); it has to be there and finite."""
    found = attribute(file, name)
    if found is None:
        raise InputError(f"has no attribute {name}; it is cut off or of another format")
    try:
        values = np.asarray(found, np.float64).ravel()
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.size == 0 or not np.isfinite(values).all():
        raise InputError(f"its attribute {name} holds no numbers")
    return values


def number(file: h5py.File, name: str) -> float:
    """Return an attribute of the file as one number; see :func:`numbers`."""
    return float(numbers(file, name)[0])


def text(file: h5py.File, name: str) -> str | None:
    """Return an attribute of the file as text, or None where there is none."""
    found = attribute(file, name)
    if isinstance(found, np.ndarray) and found.size == 1:
        found = found.ravel()[0]
    return None if found is None else plain_text(found).strip("\0 \n") or None


def plain_text(value: Any) -> str:
    """Return a stored text, whatever its bytes: h5py gives surrogates for what is no UTF-8."""
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "replace")
