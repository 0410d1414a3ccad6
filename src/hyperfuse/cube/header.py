"""CubeHeader: what is known about an image apart from its values; it travels alone where only metadata is needed."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from numbers import Integral
from types import MappingProxyType
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import ArrayLike, NDArray

from hyperfuse.errors import InputError
from hyperfuse.text import shortened, single_line

Shape = tuple[int, int, int]
_CRS_NAME = re.compile(r'[A-Z0-9_]+\["([^"]+)"')  # of WKT
_PER_BAND = {"wavelengths": np.float64, "fwhm": np.float64, "good_bands": np.bool_}
_CODING = ("scale", "offset", "nodata", "units")


@dataclass(frozen=True)
class Coding:
    """The coding of values in files: value = scale * stored + offset, where ``nodata`` marks gaps (None: NaN does).

    ``units`` is the unit of the values as text, or None.
    """

    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    units: str | None = None

    @property
    def is_identity(self) -> bool:
        """Whether stored numbers are the values."""
        return self.scale == 1.0 and self.offset == 0.0


class Shaped:
    """What has a ``shape`` (bands, rows, cols)."""

    shape: Shape

    @property
    def bands(self) -> int:
        """Number of bands."""
        return self.shape[0]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.shape[1]

    @property
    def cols(self) -> int:
        """Number of columns."""
        return self.shape[2]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class CubeHeader(Shaped):
    """The metadata of an image of shape (bands, rows, cols). Immutable; use :meth:`replace` for a changed copy.

    Fields are those of a :class:`~hyperfuse.cube.cube.Cube`; ``coding`` holds scale, offset, nodata and units. Those
    that do not agree with the shape raise an ``InputError``.

    Example:
        >>> header = CubeHeader(shape=(3, 40, 50), transform=(30, 0, 0, 0, -30, 0))
        >>> header.crop(10, 20, 5, 5).transform.c, header.select_bands([0]).shape
        (600.0, (1, 40, 50))
    """

    shape: Shape
    wavelengths: NDArray[np.float64] | None = None
    fwhm: NDArray[np.float64] | None = None
    good_bands: NDArray[np.bool_] | None = None
    band_names: tuple[str, ...] | None = None
    transform: Affine | None = None
    crs: str | None = None
    coding: Coding = field(default_factory=Coding)
    attributes: Mapping[str, str] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        put = object.__setattr__
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise InputError(f"a cube needs (bands, rows, cols), none of them 0; got the shape {tuple(self.shape)}")
        put(self, "shape", tuple(int(size) for size in self.shape))
        for name, dtype in _PER_BAND.items():
            values: ArrayLike | None = getattr(self, name)
            if values is not None:
                try:
                    array: NDArray[Any] = np.asarray(values, dtype=dtype).ravel()
                except (TypeError, ValueError):
                    raise InputError(
                        f"{name} needs a number per band, got {shortened(repr(values), 60)}", name
                    ) from None
                if array.size != self.bands:
                    raise InputError(f"{name} holds {array.size} values for {self.bands} bands", name)
                if array.dtype == np.float64 and not (np.isnan(array) | ((array > 0) & np.isfinite(array))).all():
                    wrong = array[~(array > 0) & ~np.isnan(array) | np.isinf(array)][0]
                    raise InputError(f"{name} are in nm, NaN where unknown; got {wrong:g}", name)
                put(self, name, read_only(array))
        if self.band_names is not None:
            put(self, "band_names", tuple(str(name) for name in self.band_names))
            if len(self.band_names) != self.bands:
                raise InputError(f"{len(self.band_names)} band names for {self.bands} bands", "band_names")
        if self.transform is not None:
            put(self, "transform", as_affine(self.transform))
        put(self, "attributes", MappingProxyType(dict(self.attributes)))
        put(self, "history", tuple(self.history))

    def __repr__(self) -> str:
        return f"CubeHeader({', '.join(self.facts())})"

    def facts(self) -> list[str]:
        """Return the main facts briefly: size, wavelengths, CRS, pixel and units, as far as known."""
        found = [f"{self.bands} {'band' if self.bands == 1 else 'bands'}", f"{self.rows} x {self.cols} pixels"]
        known = None if self.wavelengths is None else self.wavelengths[np.isfinite(self.wavelengths)]
        if known is not None and known.size:
            found.append(f"{known.min():.6g} to {known.max():.6g} nm")
        if self.crs is not None:
            named = _CRS_NAME.match(self.crs)
            found.append(single_line(shortened(self.crs if named is None else named[1], 40)))
        if self.resolution is not None:
            y, x = (f"{size:.6g}" for size in self.resolution)
            found.append(f"pixel {y}" if y == x else f"pixel {y} x {x} (y, x)")
        if self.coding.units:
            found.append(single_line(shortened(self.coding.units, 40)))
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        # The read-only view of the attributes cannot be pickled; a header must, to travel between processes.
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return partial(CubeHeader, **values | {"attributes": dict(self.attributes)}), ()

    @property
    def resolution(self) -> tuple[float, float] | None:
        """Pixel size (along y, along x) in units of the CRS, positive, or None without a transform."""
        if self.transform is None:
            return None
        a, b, _, d, e, _ = six_numbers(self.transform)
        return math.hypot(b, e), math.hypot(a, d)

    def fields(self) -> dict[str, Any]:
        """Return the keyword arguments of a :class:`~hyperfuse.cube.cube.Cube` other than its arrays."""
        names = [item.name for item in dataclasses.fields(self) if item.name not in ("shape", "coding")]
        return {name: getattr(self, name) for name in names} | dataclasses.asdict(self.coding)

    def replace(self, **changes: Any) -> CubeHeader:
        """Return a copy with the given fields changed, those of the coding (``nodata`` and others) included."""
        coding = {name: changes.pop(name) for name in _CODING if name in changes}
        if coding:
            changes["coding"] = dataclasses.replace(changes.get("coding", self.coding), **coding)
        return dataclasses.replace(self, **changes)

    def update(self, stated: Mapping[str, Any]) -> CubeHeader:
        """Return a copy with those of the given fields that are not None."""
        return self.replace(**{name: value for name, value in stated.items() if value is not None})

    def band_index(self, bands: Sequence[int] | NDArray[Any] | int) -> NDArray[np.intp]:
        """Return the indices (from 0) of bands given as indices or as a boolean mask; each has to exist."""
        index = np.atleast_1d(np.asarray(bands))
        if index.dtype == np.bool_:
            if index.shape != (self.bands,):
                raise InputError(f"a mask of the shape {index.shape} cannot select among {self.bands} bands")
            index = np.flatnonzero(index)
        if index.size == 0:
            raise InputError("no band is selected")
        if index.ndim != 1 or index.dtype.kind not in "iu":
            raise InputError(f"bands are selected by a list of indices or a mask, got {index.dtype} {index.shape}")
        if index.min() < 0 or index.max() >= self.bands:
            wrong = int(index.min() if index.min() < 0 else index.max())
            raise InputError(f"band {wrong} is not among 0 to {self.bands - 1}")
        return index.astype(np.intp)

    def select_bands(self, bands: Sequence[int] | NDArray[Any] | int) -> CubeHeader:
        """Return the header of the bands of the given indices (from 0) or boolean mask, in that order."""
        index = self.band_index(bands)
        picked = {name: getattr(self, name)[index] for name in _PER_BAND if getattr(self, name) is not None}
        names = None if self.band_names is None else tuple(self.band_names[i] for i in index)
        return self.replace(shape=(len(index), *self.shape[1:]), band_names=names, **picked)

    def crop(self, row: int, col: int, rows: int, cols: int) -> CubeHeader:
        """Return the header of the window of ``rows`` x ``cols`` pixels from (``row``, ``col``)."""
        if not all(isinstance(number, Integral) for number in (row, col, rows, cols)):
            raise InputError(f"a window needs four whole numbers, got {(row, col, rows, cols)}")
        if row < 0 or col < 0 or rows < 1 or cols < 1 or row + rows > self.rows or col + cols > self.cols:
            raise InputError(f"the window {rows}x{cols} at ({row}, {col}) leaves the image of {self.rows}x{self.cols}")
        return self.replace(shape=(self.bands, rows, cols), transform=shifted(self.transform, row, col))


@dataclass(frozen=True)
class Grid:
    """The pixels of an image and their position; transform and CRS as in a :class:`CubeHeader`."""

    rows: int
    cols: int
    transform: Affine | None
    crs: str | None


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view of an array that cannot be written to; the memory is shared."""
    view = array.view()
    view.flags.writeable = False
    return view


def as_affine(transform: Any) -> Affine:
    """Return a transform given as an ``Affine`` or as its six numbers; others raise an ``InputError``."""
    try:
        numbers = [float(value) for value in transform]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 6 and numbers[6:] != [0.0, 0.0, 1.0]:
        raise InputError(
            f"a transform has six numbers (a, b, c, d, e, f), got {shortened(repr(transform), 60)}", "transform"
        )
    a, b, _, d, e, _ = numbers[:6]
    if not all(map(math.isfinite, numbers)) or a * e - b * d == 0:
        raise InputError(f"a transform with pixels of no size, {tuple(numbers[:6])}", "transform")
    return Affine(*numbers[:6])


def six_numbers(transform: Affine) -> tuple[float, float, float, float, float, float]:
    """Return (a, b, c, d, e, f) of a transform: x = a col + b row + c, y = d col + e row + f."""
    return transform.a, transform.b, transform.c, transform.d, transform.e, transform.f


def shifted(transform: Affine | None, row: float, col: float) -> Affine | None:
    """Return the transform of an image that starts at another pixel of the grid."""
    if transform is None:
        return None
    a, b, c, d, e, f = six_numbers(transform)
    return Affine(a, b, c + a * col + b * row, d, e, f + d * col + e * row)
