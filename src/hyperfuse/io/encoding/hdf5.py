"""HDF5 from any source: what is read lies in the file itself, and fits into memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hyperfuse.errors import InputError
from hyperfuse.io.encoding.damage import damage_reported
from hyperfuse.io.encoding.sizes import check_size

_MOST_LINKS = 16


def find(file: h5py.Group, name: str) -> Any:
    """Return a group or dataset by its path, or None where there is none; links that leave the file are refused.

    Raises:
        InputError: an external link, on the path itself or behind a soft link.
    """
    waiting = [part for part in name.split("/") if part]
    group: Any = file["/"] if name.startswith("/") else file
    links = 0
    while waiting:
        part = waiting.pop(0)
        if not isinstance(group, h5py.Group):
            return None
        if part == ".":
            continue
        link = group.get(part, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise InputError(
                f"{name} is a link to another file, which is not followed; copy what it names into this one"
            )
        if isinstance(link, h5py.SoftLink):
            links += 1
            if links > _MOST_LINKS:
                return None
            group = file["/"] if link.path.startswith("/") else group
            waiting = [one for one in link.path.split("/") if one] + waiting
            continue
        group = group.get(part) if link is not None else None
    return group


def read_values(item: h5py.Dataset, selection: Any = (), *, damaged: str) -> NDArray[Any]:
    """Return a part of a dataset; ``damaged`` is what an error says where HDF5 cannot read it.

    Raises:
        InputError: values that lie in other files, are damaged, or were never written although they fill memory.
        HyperfuseError: values that do not fit into memory.
    """
    with damage_reported(damaged):
        outside = not is_inside(item)
        file_bytes = Path(item.file.filename).stat().st_size
        text = h5py.check_string_dtype(item.dtype) is not None
    if outside:
        raise InputError(
            f"{item.name} keeps its values in other files, which are not read; copy them into it (h5repack)"
        )
    check_size(str(item.name), _shape(item.shape, selection), item.dtype, file_bytes)
    with damage_reported(damaged):
        return np.asarray(item.asstr()[selection] if text else item[selection])


def is_inside(item: h5py.Dataset) -> bool:
    """Return whether the values of a dataset are in its file, not in others that it names."""
    if item.is_virtual:
        return all(source.file_name == "." for source in item.virtual_sources())
    return not item.external


def _shape(shape: Sequence[int], selection: Any) -> list[int]:
    """Return the shape of a part, of which lists and masks count as their entries."""
    parts = selection if isinstance(selection, tuple) else (selection,)
    parts = (*parts, *[slice(None)] * (len(shape) - len(parts)))
    sizes = []
    for size, part in zip(shape, parts, strict=False):
        if isinstance(part, slice):
            sizes.append(len(range(*part.indices(size))))
        else:
            sizes.append(np.size(part) if part is not Ellipsis else size)
    return sizes
