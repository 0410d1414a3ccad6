"""Cube: an image of many bands with what is known about it, the type at every edge of the package."""

from __future__ import annotations

import base64
import dataclasses
import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.calls import checked, checked_fields
from hyperfuse.cube.display import Display, choose_display, png, render_rgb, stretch_limits
from hyperfuse.cube.header import Coding, CubeHeader, Shaped, read_only
from hyperfuse.errors import InputError
from hyperfuse.runtime.optional import require

if TYPE_CHECKING:
    import xarray

_THUMBNAIL = 240  # pixels along the longer side


@checked_fields()
@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Cube(Shaped):
    """An image of shape (bands, rows, cols) with its metadata. Immutable; use :meth:`replace` for a changed copy.

    Arrays are read-only: ``cube.data.copy()`` can be written to. Those that are passed are not copied.

    Attributes:
        data: float32 (float64 is kept), shape (bands, rows, cols), in ``units``; (rows, cols) is one band. Gaps hold
            NaN. Of a numpy masked array, what is masked is a gap.
        wavelengths: band centres in nm, shape (bands,), any order; NaN where unknown. None if no band has one.
        fwhm: full widths at half maximum in nm, shape (bands,), or None.
        good_bands: bool, shape (bands,): the bad-band list (False = bad), or None where all are good.
        band_names: one name per band, or None.
        valid: bool, shape (bands, rows, cols), False in gaps; None where there is no gap.
        transform: pixel corners (col, row) to coordinates (x, y); an ``Affine`` or its six numbers (a, b, c, d, e, f)
            with x = a col + b row + c, y = d col + e row + f; or None.
        crs: coordinate reference system as WKT or an authority code such as "EPSG:32633", or None.
        nodata: the value that marks gaps in a file, or None (NaN is then written).
        units: unit of the values as text, or None.
        scale, offset: the linear coding of the file the cube came from (value = scale * stored + offset); already
            applied to ``data``, kept so that integers can be written the same way.
        attributes: other text metadata, such as the acquisition time.
        history: what was done to the image, oldest first, one JSON-able mapping per step.

    Raises:
        InputError: shapes that do not agree, or a non-finite value that is not marked as a gap.

    Example:
        >>> import numpy as np
        >>> cube = Cube(data=np.zeros((3, 4, 5), np.float32), wavelengths=[450, 550, 650])
        >>> cube.bands, cube.rows, cube.cols
        (3, 4, 5)
    """

    data: NDArray[Any] = field(kw_only=False)
    wavelengths: NDArray[np.float64] | None = None
    fwhm: NDArray[np.float64] | None = None
    good_bands: NDArray[np.bool_] | None = None
    band_names: tuple[str, ...] | None = None
    valid: NDArray[np.bool_] | None = None
    transform: Affine | None = None
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
            unmasked = ~np.ma.getmaskarray(self.data)
            put(self, "valid", unmasked if self.valid is None else unmasked & np.asarray(self.valid, np.bool_))
        try:
            data = np.asarray(self.data)
        except ValueError as error:
            raise InputError(f"data is not an array: {error}", "data") from None
        if data.ndim == 2:
            data = data[None]
            put(self, "valid", None if self.valid is None else np.asarray(self.valid)[None])
        put(self, "data", data)
        put(self, "shape", data.shape)
        for name, value in self.header.fields().items():
            put(self, name, value)
        if data.dtype.kind not in "fiub":
            raise InputError(f"a cube needs real numbers, got {data.dtype}", "data")
        kept = np.float64 if data.dtype.newbyteorder("=") == np.float64 else np.float32
        put(self, "data", data.astype(kept, copy=False))
        self._check_gaps()
        put(self, "data", read_only(self.data))

    def __reduce__(self) -> tuple[Any, ...]:
        # The read-only view of the attributes cannot be pickled; a cube must, to travel between processes.
        return Cube.from_header, (self.header, self.data, self.valid)

    @cached_property
    def header(self) -> CubeHeader:
        """The metadata without the values."""
        coding = Coding(self.scale, self.offset, self.nodata, self.units)
        names = {item.name for item in dataclasses.fields(CubeHeader)} - {"shape", "coding"}
        return CubeHeader(shape=self.shape, coding=coding, **{name: getattr(self, name) for name in names})

    @classmethod
    def from_header(cls, header: CubeHeader, data: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> Cube:
        """Build a cube from its header and values; ``data`` and ``valid`` as in the constructor."""
        return cls(data=data, valid=valid, **header.fields())

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
            raise InputError(f"valid has the shape {valid.shape}, the data {self.data.shape}", "valid")
        if not finite[valid].all():
            raise InputError("values marked as valid are NaN or infinite; declare them as gaps (nodata=nan)")
        if valid.all():
            object.__setattr__(self, "valid", None)
            return
        object.__setattr__(self, "valid", read_only(valid))
        if not np.isnan(self.data[~valid]).all():
            object.__setattr__(self, "data", np.where(valid, self.data, np.array(np.nan, self.data.dtype)))

    def __repr__(self) -> str:
        return f"Cube({', '.join(self._facts())})"

    def _repr_html_(self) -> str:
        """Return facts and a thumbnail for notebooks."""
        display, image = self._picture(max(1, -(-max(self.rows, self.cols) // _THUMBNAIL)))
        source = base64.b64encode(png(image)).decode("ascii")
        facts = "<br>".join(html.escape(fact) for fact in ("Cube", *self._facts(), f"shown: {display.label}"))
        return f'<img src="data:image/png;base64,{source}" style="float:left;margin-right:1em"><div>{facts}</div>'

    def _facts(self) -> list[str]:
        facts = self.header.facts()
        if self.data.dtype != np.float32:
            facts.insert(2, str(self.data.dtype))
        if self.valid is not None:
            facts.append(f"{100 * float(np.mean(~self.valid)):.3g} % gaps")
        return facts

    def plot(self, axes: Any = None) -> Any:
        """Draw the cube in colour: the bands nearest to red, green and blue, or those that show it best.

        Args:
            axes: of matplotlib to draw on; default: those of a new figure.

        Returns:
            The axes.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        require("matplotlib", "Cube.plot")
        display, image = self._picture(1)
        if axes is None:
            from matplotlib import pyplot

            axes = pyplot.subplots()[1]
        axes.imshow(image, interpolation="nearest")
        axes.set(title=display.label, xlabel="column", ylabel="row")
        return axes

    @checked
    def spectrum(self, x: float, y: float) -> NDArray[Any]:
        """Return the values of the pixel at (x, y), shape (bands,), NaN in gaps.

        Args:
            x: coordinate in the CRS of the cube; of a cube without a transform the column, from 0.
            y: likewise; the row.

        Raises:
            InputError: a position outside the image.

        Example:
            >>> import numpy as np
            >>> cube = Cube(np.arange(24).reshape(2, 3, 4), transform=(30, 0, 600, 0, -30, 900))
            >>> cube.spectrum(650, 860).tolist()
            [5.0, 17.0]
        """
        if not (math.isfinite(x) and math.isfinite(y)):
            raise InputError(f"a position has finite coordinates, got ({x:g}, {y:g})")
        if self.transform is None:
            row, col = round(y), round(x)
        else:
            column, line = ~self.transform @ (x, y)
            row, col = math.floor(line), math.floor(column)
        if not (0 <= row < self.rows and 0 <= col < self.cols):
            raise InputError(f"({x:g}, {y:g}) is row {row}, column {col}, outside the {self.rows} x {self.cols} pixels")
        return self.data[:, row, col].copy()

    def _picture(self, step: int) -> tuple[Display, NDArray[np.float64]]:
        """Return how the cube is shown best, and every ``step``-th pixel so, (rows, cols, 3) in [0, 1]."""
        display = choose_display(self)
        small = Cube(
            data=self.data[list(display.bands), ::step, ::step],
            valid=None if self.valid is None else self.valid[list(display.bands), ::step, ::step],
        )
        drawn = Display((0, 1, 2), None, display.name)
        return display, render_rgb(small, drawn, stretch_limits(small, drawn))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the values (bands, rows, cols) for ``np.asarray``, NaN in gaps."""
        return np.array(self.data, dtype=dtype, copy=copy)

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
        return self.header.resolution

    def replace(self, **changes: Any) -> Cube:
        """Return a copy with the given fields changed; see the attributes."""
        return dataclasses.replace(self, **changes)

    def select_bands(self, bands: Sequence[int] | NDArray[Any]) -> Cube:
        """Return the cube with the bands of the given indices (from 0) or boolean mask, in that order."""
        index = self.header.band_index(bands)
        valid = None if self.valid is None else self.valid[index]
        return Cube.from_header(self.header.select_bands(index), self.data[index], valid)

    def crop(self, row: int, col: int, rows: int, cols: int) -> Cube:
        """Return the window of ``rows`` x ``cols`` pixels from (``row``, ``col``); the transform moves along."""
        header = self.header.crop(row, col, rows, cols)
        window = np.s_[:, row : row + rows, col : col + cols]
        return Cube.from_header(header, self.data[window], None if self.valid is None else self.valid[window])

    def to_xarray(self) -> xarray.DataArray:
        """Return an ``xarray.DataArray`` with dimensions (band, y, x), coordinates, and attributes rioxarray reads.

        Gaps are NaN, and the encoding names the value that marks them in files (``_FillValue``).

        Raises:
            MissingDependencyError: xarray is not installed.
        """
        from hyperfuse.cube.dataarray import encode_dataarray

        return encode_dataarray(self.header, self.data, has_gaps=self.valid is not None)

    @classmethod
    def from_xarray(cls, array: xarray.DataArray) -> Cube:
        """Build a cube from a ``DataArray`` with a band (or wavelength) dimension and two spatial ones, in any order.

        Dimensions are recognised by their names (band, wavelength; y, lat, row; x, lon, col, ...), else they are
        (bands, rows, cols). What the attributes state about stored numbers (``scale_factor``, ``add_offset``, also
        for each band, ``_FillValue``, ``valid_range``, ``_Unsigned``) is applied; what the encoding states has been.
        ``wavelength``, ``fwhm`` and ``bbl`` may be coordinates or attributes, as rioxarray gives them. NaN is a gap
        where the array declares it: ``_FillValue``, ``missing_value`` or ``nodata`` in its attributes or encoding.

        Raises:
            InputError: other than two or three dimensions, values that are no real numbers, or undeclared NaN.

        Example:
            >>> import numpy as np
            >>> cube = Cube(data=np.ones((3, 4, 5)), crs="EPSG:32633", transform=(30, 0, 0, 0, -30, 0))
            >>> Cube.from_xarray(cube.to_xarray()).crs
            'EPSG:32633'
        """
        from hyperfuse.cube.dataarray import decode_dataarray

        return cls.from_header(*decode_dataarray(array))
