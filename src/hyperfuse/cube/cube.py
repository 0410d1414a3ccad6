"""Cube: an image of many bands with what is known about it, the type at every edge of the package."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperfuse.errors import InputError

if TYPE_CHECKING:
    import xarray

Transform = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, eq=False, kw_only=True)
class Cube:
    """An image of shape (bands, rows, cols) with its metadata. Immutable; use :meth:`replace` for a changed copy.

    Attributes:
        data: float32 (float64 is kept), shape (bands, rows, cols), in ``units``; (rows, cols) is one band. Gaps hold
            NaN. Of a numpy masked array, what is masked is a gap.
        wavelengths: band centres in nm, shape (bands,), any order; NaN where unknown. None if no band has one.
        fwhm: full widths at half maximum in nm, shape (bands,), or None.
        good_bands: bool, shape (bands,): the bad-band list (False = bad), or None where all are good.
        band_names: one name per band, or None.
        valid: bool, shape (bands, rows, cols), False in gaps; None where there is no gap.
        transform: (a, b, c, d, e, f) with x = a col + b row + c, y = d col + e row + f for the pixel corner, or None.
        crs: coordinate reference system as WKT or an authority code such as "EPSG:32633", or None.
        nodata: the value that marks gaps in a file, or None (NaN is then written).
        units: unit of the values as text, or None.
        scale, offset: the linear coding of the file the cube came from (value = scale * stored + offset); already
            applied to ``data``, kept so that integers can be written the same way.
        attributes: other text metadata, such as the acquisition time.
        history: what was done to the image, oldest first, one JSON-able mapping a step.

    Raises:
        InputError: shapes that do not agree, or a non-finite value that is not marked as a gap.

    Example:
        >>> import numpy as np
        >>> cube = Cube(data=np.zeros((3, 4, 5), np.float32), wavelengths=[450, 550, 650])
        >>> cube.bands, cube.rows, cube.cols
        (3, 4, 5)
    """

    data: NDArray[Any]
    wavelengths: NDArray[np.float64] | None = None
    fwhm: NDArray[np.float64] | None = None
    good_bands: NDArray[np.bool_] | None = None
    band_names: tuple[str, ...] | None = None
    valid: NDArray[np.bool_] | None = None
    transform: Transform | None = None
    crs: str | None = None
    nodata: float | None = None
    units: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    attributes: Mapping[str, str] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        put = object.__setattr__
        if isinstance(self.data, np.ma.MaskedArray):
            # Taken as a plain array, what the mask hides would silently become data.
            seen = ~np.ma.getmaskarray(self.data)
            put(self, "valid", seen if self.valid is None else seen & np.asarray(self.valid, np.bool_))
        data = np.asarray(self.data)
        if data.ndim == 2:
            data = data[None]
            put(self, "valid", None if self.valid is None else np.asarray(self.valid)[None])
        if data.ndim != 3 or 0 in data.shape:
            raise InputError(f"a cube needs (bands, rows, cols), none of them 0; got the shape {data.shape}")
        if data.dtype.kind not in "fiub":
            raise InputError(f"a cube needs real numbers, got {data.dtype}")
        kept = np.float64 if data.dtype.newbyteorder("=") == np.float64 else np.float32
        put(self, "data", data.astype(kept, copy=False))
        put(self, "wavelengths", self._per_band("wavelengths", np.float64))
        put(self, "fwhm", self._per_band("fwhm", np.float64))
        put(self, "good_bands", self._per_band("good_bands", np.bool_))
        if self.band_names is not None:
            put(self, "band_names", tuple(str(name) for name in self.band_names))
            if len(self.band_names) != self.bands:
                raise InputError(f"{len(self.band_names)} band names for {self.bands} bands")
        if self.transform is not None:
            if len(self.transform) != 6:
                raise InputError(f"a transform has six numbers (a, b, c, d, e, f), got {len(self.transform)}")
            put(self, "transform", tuple(float(value) for value in self.transform))
        put(self, "attributes", MappingProxyType(dict(self.attributes)))
        put(self, "history", tuple(self.history))
        self._check_gaps()

    def __reduce__(self) -> tuple[Any, ...]:
        # The read-only view of the attributes cannot be pickled; a cube must, to travel between processes.
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return _rebuild, (values | {"attributes": dict(self.attributes)},)

    def _per_band(self, name: str, dtype: type[np.generic]) -> NDArray[Any] | None:
        values: ArrayLike | None = getattr(self, name)
        if values is None:
            return None
        array = np.asarray(values, dtype=dtype).ravel()
        if array.size != self.bands:
            raise InputError(f"{name} holds {array.size} values for {self.bands} bands")
        return array

    def _check_gaps(self) -> None:
        finite = np.isfinite(self.data)
        if self.valid is None:
            if not finite.all():
                count = int(finite.size - np.count_nonzero(finite))
                raise InputError(
                    f"{count} values are NaN or infinite and not declared as gaps; declare them (nodata=nan)"
                )
            return
        valid = np.asarray(self.valid, dtype=np.bool_)
        if valid.shape != self.data.shape:
            raise InputError(f"valid has the shape {valid.shape}, the data {self.data.shape}")
        if not finite[valid].all():
            raise InputError("values marked as valid are NaN or infinite; declare them as gaps (nodata=nan)")
        if valid.all():
            object.__setattr__(self, "valid", None)
            return
        object.__setattr__(self, "valid", valid)
        if not np.isnan(self.data[~valid]).all():
            object.__setattr__(self, "data", np.where(valid, self.data, np.array(np.nan, self.data.dtype)))

    @property
    def bands(self) -> int:
        """Number of bands."""
        return int(self.data.shape[0])

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.data.shape[1])

    @property
    def cols(self) -> int:
        """Number of columns."""
        return int(self.data.shape[2])

    @property
    def empty_bands(self) -> NDArray[np.bool_]:
        """Bands without any valid value, shape (bands,)."""
        if self.valid is None:
            return np.zeros(self.bands, np.bool_)
        return np.asarray(~self.valid.any(axis=(1, 2)), np.bool_)

    @property
    def usable_bands(self) -> NDArray[np.bool_]:
        """Bands that are neither marked bad nor wholly empty, shape (bands,)."""
        good = np.ones(self.bands, np.bool_) if self.good_bands is None else self.good_bands
        return np.asarray(good & ~self.empty_bands, np.bool_)

    @property
    def valid_pixels(self) -> NDArray[np.bool_]:
        """Pixels with a value in every usable band, shape (rows, cols)."""
        if self.valid is None:
            return np.ones((self.rows, self.cols), np.bool_)
        return np.asarray(self.valid[self.usable_bands].all(axis=0), np.bool_)

    @property
    def empty_pixels(self) -> NDArray[np.bool_]:
        """Pixels without a value in any usable band, shape (rows, cols)."""
        if self.valid is None:
            return np.zeros((self.rows, self.cols), np.bool_)
        return np.asarray(~self.valid[self.usable_bands].any(axis=0), np.bool_)

    @property
    def resolution(self) -> tuple[float, float] | None:
        """Pixel size (along y, along x) in units of the CRS, positive, or None without a transform."""
        if self.transform is None:
            return None
        a, b, _, d, e, _ = self.transform
        return math.hypot(b, e), math.hypot(a, d)

    def replace(self, **changes: Any) -> Cube:
        """Return a copy with the given fields changed; see the attributes."""
        return dataclasses.replace(self, **changes)

    def select_bands(self, bands: Sequence[int] | NDArray[Any]) -> Cube:
        """Return the cube with the bands of the given indices (from 0) or boolean mask, in that order."""
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

        def pick(values: NDArray[Any] | None) -> NDArray[Any] | None:
            return None if values is None else values[index]

        names = None if self.band_names is None else tuple(self.band_names[i] for i in index)
        return self.replace(
            data=self.data[index],
            wavelengths=pick(self.wavelengths),
            fwhm=pick(self.fwhm),
            good_bands=pick(self.good_bands),
            valid=pick(self.valid),
            band_names=names,
        )

    def crop(self, row: int, col: int, rows: int, cols: int) -> Cube:
        """Return the window of ``rows`` x ``cols`` pixels from (``row``, ``col``); the transform moves along."""
        if row < 0 or col < 0 or rows < 1 or cols < 1 or row + rows > self.rows or col + cols > self.cols:
            raise InputError(f"the window {rows}x{cols} at ({row}, {col}) leaves the image of {self.rows}x{self.cols}")
        window = np.s_[:, row : row + rows, col : col + cols]
        transform = self.transform
        if transform is not None:
            a, b, c, d, e, f = transform
            transform = (a, b, c + a * col + b * row, d, e, f + d * col + e * row)
        valid = None if self.valid is None else self.valid[window]
        return self.replace(data=self.data[window], valid=valid, transform=transform)

    def to_xarray(self) -> xarray.DataArray:
        """Return an ``xarray.DataArray`` with dimensions (band, y, x); needs the extra ``xarray``."""
        from hyperfuse.cube.dataarray import cube_to_xarray

        return cube_to_xarray(self)

    @classmethod
    def from_xarray(cls, array: xarray.DataArray) -> Cube:
        """Build a cube from a ``DataArray`` with a band (or wavelength) dimension and two spatial ones."""
        from hyperfuse.cube.dataarray import cube_from_xarray

        return cube_from_xarray(array)


def _rebuild(values: dict[str, Any]) -> Cube:
    return Cube(**values)
