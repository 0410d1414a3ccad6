"""Reading of a cube from named variables with dimensions and attributes, as netCDF, HDF5 and Zarr hold them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cf import axes_of, decode_header, is_axis, is_wavelengths, orient
from hyperfuse.cube.cf_grid import Variable
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader, Shape
from hyperfuse.cube.packing import NEVER_WRITTEN, Packing, as_numbers, decode_packing
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.coding import BandCoding, coded_header, decode_values
from hyperfuse.io.encoding.damage import named
from hyperfuse.io.encoding.options import ReadOptions, bands_first
from hyperfuse.io.encoding.sizes import NUMBERS
from hyperfuse.io.encoding.variables import Shapes, choose_variable

_LARGEST_COORDINATE = 1_000_000
# Above these, sizes are damaged metadata.
_MAX_BANDS, _MAX_SIDE = 2**20, 2**31 - 1

# Slices and at most one list of sorted indices, one per axis; () for all.
Selection = tuple[slice | NDArray[np.intp], ...]


@dataclass(frozen=True)
class Stored:
    """A variable of a file, of which ``load`` reads a part."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    attrs: Mapping[str, Any]
    load: Callable[[Selection], NDArray[Any]]


class CubeVariable:
    """The variable of a file that holds a cube: its header, read at once, and its values, whole or by windows.

    The order of axes is the caller's, else that of the names of the dimensions, else (bands, rows, cols). This is a
    source of windows, see :class:`~hyperfuse.io.windows.source.WindowSource`.

    Args:
        path: the file, for messages.
        stored: its variables, by name.
        attrs: its attributes.
        options: of the caller.
        variable: the one to read, or None for the only one that could be a cube.
    """

    def __init__(
        self,
        path: Path,
        stored: Mapping[str, Stored],
        attrs: Mapping[str, Any],
        options: ReadOptions,
        variable: str | None,
    ) -> None:
        where, self._path = path.name, path
        choice = {
            key: (tuple(item.shape[axis] for axis in _kept(item)), item.dtype)
            for key, item in stored.items()
            if item.dims != (key,) or key == variable
        }
        sizes = _wavelength_counts(stored, attrs)
        name = choose_variable(choice, variable, _with_axis(choice, sizes))
        self._item = item = stored[name]
        self._kept = _kept(item)
        self._axes = _axes(name, item, options, sizes, attrs)
        shape = dict(zip(self._axes, (item.shape[axis] for axis in self._kept), strict=True))
        self._shape = (shape.get("b", 1), shape["r"], shape["c"])
        if self._shape[0] > _MAX_BANDS or max(self._shape) > _MAX_SIDE:
            raise InputError(f"{name} has a size of {self._shape} (bands, rows, cols), which no image has")
        self._bands = options.band_index(self._shape[0])
        self._packing = decode_packing(item.attrs, item.dtype, where, scaled=options.scale is not None)
        header = _header(stored, attrs, name, dict(zip(self._axes, self._kept, strict=True)), self._shape, where)
        coding = _coding(self._packing, self._shape[0], self._bands)
        header = header if self._bands is None else header.select_bands(self._bands)
        self._coding = coding.with_options(options, header.bands, where)
        self.header = coded_header(header, self._coding, options)

    def read(self, window: Window | None = None) -> Cube:
        """Return a window, or all, as a cube."""
        parts: dict[str, slice | NDArray[np.intp]] = {}
        order = None
        if self._bands is not None and "b" in self._axes:
            parts["b"], order = np.unique(self._bands, return_inverse=True)
        with named(self._path):
            header = self.header if window is None else self.header.crop(*window)
            if window is not None:
                parts["r"], parts["c"] = window.slices
            chosen: list[slice | NDArray[np.intp]] = [slice(None)] * len(self._item.shape)
            for letter, axis in zip(self._axes, self._kept, strict=True):
                chosen[axis] = parts.get(letter, slice(None))
            values = self._packing.signed(self._item.load(tuple(chosen) if parts else ()))
            values = values.reshape([values.shape[axis] for axis in self._kept])
            stored = bands_first(values, self._axes)
            return Cube.from_header(header, *decode_values(stored if order is None else stored[order], self._coding))

    def may_hold_data(self, window: Window) -> bool:
        """Return True: what a window holds is not known without reading it."""
        return True

    def close(self) -> None:
        """Do nothing: who opened the file closes it."""


def _kept(item: Stored) -> list[int]:
    """Return the axes of a cube: of more than three those that are longer than 1, or have a name of such an axis."""
    axes = list(range(len(item.shape)))
    for known in (False, True):
        for axis in list(axes):
            if len(axes) > 3 and item.shape[axis] == 1 and (known or not is_axis(item.dims[axis])):
                axes.remove(axis)
    return axes


def _axes(name: str, item: Stored, options: ReadOptions, counts: Collection[int], attrs: Mapping[str, Any]) -> str:
    kept = _kept(item)
    shape, dims = tuple(item.shape[axis] for axis in kept), [item.dims[axis] for axis in kept]
    if len(shape) not in (2, 3) or 0 in shape:
        raise InputError(
            f"the variable {name} has the shape {item.shape}; a cube needs three axes, or two for one band"
        )
    labels = str(
        next((value for key, value in item.attrs.items() if key.lower().replace("_", "") == "dimensionlabels"), "")
    )
    labelled = [part.strip() for part in labels.split(",")]
    stated = axes_of(dims) or (axes_of(labelled) if len(labelled) == len(shape) else None)
    known = options.axes or stated
    axes = options.axes_or(known or "brc") if known else orient(shape, counts, "brc"[3 - len(shape) :], usual=False)
    axes = axes.replace("b", "") if len(shape) == 2 else axes
    if len(axes) != len(shape):
        raise InputError(f"the variable {name} has the shape {item.shape}, which axes={options.axes} does not fit")
    return axes


def _wavelength_counts(stored: Mapping[str, Stored], attrs: Mapping[str, Any]) -> set[int]:
    """Return the numbers of wavelengths that a file states, in variables or attributes."""
    vectors = {max(item.shape) for key, item in stored.items() if _is_vector(item.shape) and is_wavelengths(key)}
    texts = [value for item in (attrs, *(item.attrs for item in stored.values())) for key, value in item.items()
             if is_wavelengths(key)]  # fmt: skip
    return {count for count in (*vectors, *(len(as_numbers(text) or ()) for text in texts)) if count > 1}


def _is_vector(shape: tuple[int, ...]) -> bool:
    """Return whether an array may be a coordinate: one axis, or two of which one has one entry."""
    return len(shape) in (1, 2) and 0 < max(shape) == math.prod(shape) <= _LARGEST_COORDINATE


def _with_axis(choice: Shapes, counts: Collection[int]) -> str | None:
    """Return the only 3-D array of numbers that has an axis with as many entries as there are wavelengths."""
    found = [name for name, (shape, kind) in choice.items()
             if len(shape) == 3 and set(shape) & set(counts) and kind in NUMBERS]  # fmt: skip
    return found[0] if len(found) == 1 else None


def _header(
    stored: Mapping[str, Stored], attrs: Mapping[str, Any], name: str, axes: Mapping[str, int], shape: Shape, where: str
) -> CubeHeader:
    item = stored[name]
    coordinates = {
        key: Variable(other.dims, other.load(()), other.attrs)
        for key, other in stored.items()
        if not other.shape or _is_vector(other.shape)
    }
    swath = [key for key, other in stored.items() if other.shape == shape[1:] and key != name]
    about = {**item.attrs, "coordinates": " ".join(swath)}
    texts = {key: value for key, value in attrs.items() if isinstance(value, str)}
    dims = {letter: item.dims[axis] for letter, axis in axes.items()}
    return decode_header(coordinates, texts, about, dims, shape, where)


def _coding(packing: Packing, bands: int, chosen: Sequence[int] | None) -> BandCoding:
    for values, what in ((packing.scale, "scale_factor"), (packing.offset, "add_offset")):
        if len(values) not in (1, bands):
            raise InputError(f"its attribute {what} has {len(values)} entries for {bands} bands; state scale=", "scale")
    scale, offset = (
        values if len(values) == 1 or chosen is None else tuple(values[band] for band in chosen)
        for values in (packing.scale, packing.offset)
    )
    unwritten = NEVER_WRITTEN.get(packing.dtype.name)
    more = packing.marks[1:] if packing.marks or unwritten is None else (unwritten,)
    return BandCoding(scale, offset, packing.marks[:1] or (None,), None, more, packing.valid_range)


def plain_attributes(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as text, int or float; arrays of one entry as that entry, longer ones as text."""
    return {str(key): plain(value) for key, value in attrs.items()}


def plain(value: Any) -> Any:
    """Return an attribute as text, int or float."""
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size == 1 else ", ".join(str(plain(entry)) for entry in value.ravel())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, int | float) else str(value)
