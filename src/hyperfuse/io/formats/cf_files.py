"""Reading of a cube from named variables with dimensions and attributes, as netCDF, HDF5 and Zarr hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cf import GRID_MAPPING, Variable, axes_of, decode_header
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader, Shape
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.coding import BandCoding, coded_header, decode_values
from hyperfuse.io.encoding.damage import named
from hyperfuse.io.encoding.options import ReadOptions, bands_first
from hyperfuse.io.encoding.variables import choose_variable

_LARGEST_COORDINATE = 1_000_000


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
            key: (item.shape, item.dtype) for key, item in stored.items() if item.dims != (key,) or key == variable
        }
        name = choose_variable(choice, variable)
        self._item = item = stored[name]
        self._axes = _axes(name, item, options)
        sizes = dict(zip(self._axes, item.shape, strict=True))
        self._bands = options.band_index(sizes.get("b", 1))
        header = _header(stored, attrs, name, self._axes, (sizes.get("b", 1), sizes["r"], sizes["c"]), where)
        header = header if self._bands is None else header.select_bands(self._bands)
        self._coding = _coding(item.attrs).with_options(options, header.bands, where)
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
            values = self._item.load(tuple(parts.get(letter, slice(None)) for letter in self._axes) if parts else ())
            stored = bands_first(values, self._axes)
            return Cube.from_header(header, *decode_values(stored if order is None else stored[order], self._coding))

    def may_hold_data(self, window: Window) -> bool:
        """Return True: what a window holds is not known without reading it."""
        return True

    def close(self) -> None:
        """Do nothing: who opened the file closes it."""


def _axes(name: str, item: Stored, options: ReadOptions) -> str:
    if len(item.shape) not in (2, 3) or 0 in item.shape:
        raise InputError(
            f"the variable {name} has the shape {item.shape}; a cube needs three axes, or two for one band"
        )
    axes = options.axes_or(axes_of(item.dims) or "brc"[3 - len(item.shape) :])
    axes = axes.replace("b", "") if len(item.shape) == 2 else axes
    if len(axes) != len(item.shape):
        raise InputError(f"the variable {name} has the shape {item.shape}, which axes={options.axes} does not fit")
    return axes


def _header(
    stored: Mapping[str, Stored], attrs: Mapping[str, Any], name: str, axes: str, shape: Shape, where: str
) -> CubeHeader:
    item = stored[name]
    coordinates = {
        key: Variable(other.dims, other.load(()), other.attrs)
        for key, other in stored.items()
        if len(other.shape) <= 1 and np.prod(other.shape, dtype=int) <= _LARGEST_COORDINATE
    }
    mapping = str(item.attrs.get("grid_mapping", GRID_MAPPING))
    in_group = f"{name.rpartition('/')[0]}/{mapping}".lstrip("/")
    about = {**item.attrs, "grid_mapping": in_group if in_group in coordinates else mapping}
    texts = {key: value for key, value in attrs.items() if isinstance(value, str)}
    return decode_header(coordinates, texts, about, dict(zip(axes, item.dims, strict=True)), shape, where)


def _coding(attrs: Mapping[str, Any]) -> BandCoding:
    marks = [float(attrs[key]) for key in ("_FillValue", "missing_value") if isinstance(attrs.get(key), int | float)]
    scale, offset = float(attrs.get("scale_factor", 1.0)), float(attrs.get("add_offset", 0.0))
    return BandCoding((scale,), (offset,), (marks[0] if marks else None,), more_nodata=marks[1:])


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
