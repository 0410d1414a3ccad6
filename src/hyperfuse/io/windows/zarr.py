"""Windows of Zarr folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cf import axes_of
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.damage import damage_reported
from hyperfuse.io.encoding.options import ReadOptions, parse_axes
from hyperfuse.io.encoding.variables import choose_variable
from hyperfuse.io.formats.cf_files import Stored, plain_attributes, read_stored
from hyperfuse.io.formats.zarr import is_zarr, stored_array, zarr_package
from hyperfuse.io.windows.source import FileSource


class ZarrSource(FileSource):
    """An array in a Zarr folder, format 2 or 3."""

    def __init__(self, path: Path, options: ReadOptions, variable: str | None = None) -> None:
        zarr = zarr_package()
        if not is_zarr(path):
            raise InputError("is not a Zarr folder")
        self.path = path
        with damage_reported("is a damaged Zarr folder"):
            root = zarr.open(path, mode="r")
            self._arrays = dict(root.arrays()) if isinstance(root, zarr.Group) else {path.stem: root}
            self._attrs = plain_attributes(dict(root.attrs))
        self._stored = {name: stored_array(array) for name, array in self._arrays.items()}
        many = {key: (item.shape, item.dtype) for key, item in self._stored.items() if item.dims != (key,)}
        self._name = choose_variable(many, variable)
        self._options = options
        item = self._stored[self._name]
        axes = parse_axes(options.axes) if options.axes is not None else axes_of(item.dims)
        if len(item.shape) not in (2, 3):
            raise InputError(f"the variable {self._name} has the shape {item.shape}; a cube needs two or three axes")
        axes = axes or "brc"[3 - len(item.shape) :]
        self._axes = axes.replace("b", "") if len(item.shape) == 2 else axes
        rows, cols = (item.shape[self._axes.index(letter)] for letter in "rc")
        # Two pixels along each axis give the pixel size where only coordinates state it.
        self.header = self._read_header(rows, cols, 2)

    def _load(self, window: Window) -> Cube:
        item = self._stored[self._name]
        along = {"r": (window.row, window.rows), "c": (window.col, window.cols)}
        cuts = {
            item.dims[axis]: slice(along[letter][0], sum(along[letter]))
            for axis, letter in enumerate(self._axes)
            if letter in along
        }
        cut = {name: other for name, other in self._stored.items() if len(other.shape) <= 1}
        for name, other in list(cut.items()):
            if len(other.dims) == 1 and other.dims[0] and other.dims[0] in cuts:
                cut[name] = _cut_out(other, (cuts[other.dims[0]],), self._arrays[name])
        slices = tuple(
            slice(along[letter][0], sum(along[letter])) if letter in along else slice(None) for letter in self._axes
        )
        cut[self._name] = _cut_out(item, slices, self._arrays[self._name])
        return read_stored(cut, self._attrs, self._options, self._name, self.path.name)

    def close(self) -> None:
        """Forget the arrays."""
        self._arrays = {}


def _cut_out(item: Stored, slices: tuple[slice, ...], array: Any) -> Stored:
    """Return a variable as if it held only the values that the slices select."""
    shape = tuple(len(range(size)[part]) for size, part in zip(item.shape, slices, strict=True))

    def load(axis: int | None, index: NDArray[np.intp] | None) -> NDArray[Any]:
        with damage_reported(f"the array {array.basename} is damaged"):
            chosen: list[Any] = list(slices)
            if index is None or axis is None:
                return np.asarray(array[tuple(chosen)])
            chosen[axis] = index
            return np.asarray(array.oindex[tuple(chosen)])

    return replace(item, shape=shape, load=load)
