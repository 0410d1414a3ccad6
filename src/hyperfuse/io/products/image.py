"""The image of a product, read whole or by windows: stored numbers and quality layers become values and gaps."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader, Grid
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io.encoding.coding import BandCoding, decode_values
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products.reflectance import (
    MAX_BANDS,
    check_size,
    decimated_index,
    decimated_size,
    decimation,
    double,
    reading_step,
    selected_bands,
)

_BLOCK = 16
# Pixels around a window of a band of larger pixels: bilinear interpolation reaches one.
_MARGIN = 1


class Part(NamedTuple):
    """Pixels of a grid that are read: a window, and of it every ``step``-th pixel along an axis."""

    window: Window
    step: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns that are read."""
        return decimated_size(self.window[2:], self.step)

    @property
    def rows(self) -> NDArray[np.intp]:
        """The rows that are read."""
        return self.window.row + decimated_index(self.window.rows, self.shape[0])

    @property
    def cols(self) -> NDArray[np.intp]:
        """The columns that are read."""
        return self.window.col + decimated_index(self.window.cols, self.shape[1])


@dataclass(frozen=True)
class ProductBand:
    """A band of a product.

    Attributes:
        name: as the product calls it.
        centre: in nm, NaN where unknown.
        width: full width at half maximum in nm, NaN where unknown.
        scale, offset: value = scale * stored + offset.
        nodata: stored values that mark gaps; the first is that of the header.
        good: False of a band that the product marks as bad.
        pixel: pixels of the image along a side of a pixel of the band: 1, or 2 of bands interpolated bilinearly.
        file: of a band in a raster, and ``number`` its number there, from 1.
    """

    name: str = ""
    centre: float = float("nan")
    width: float = float("nan")
    scale: float = 1.0
    offset: float = 0.0
    nodata: tuple[float, ...] = ()
    good: bool = True
    pixel: int = 1
    file: str = ""
    number: int = 1


class StoredBands(Protocol):
    """What reads the stored numbers of a product."""

    def read(self, bands: Sequence[int], part: Part) -> NDArray[Any]:
        """Return the numbers of bands (indices) of one pixel size, in a part of their grid, (bands, rows, cols)."""

    def gaps(self, bands: Sequence[int], part: Part) -> NDArray[np.bool_] | None:
        """Return where quality layers make gaps, (bands, rows, cols) or (1, rows, cols); None where there are none."""

    def close(self) -> None:
        """Close the files."""


@dataclass(frozen=True)
class About:
    """What is recorded of a product that was read.

    Attributes:
        product: its name.
        scene: the name of the scene.
        gaps: reasons for which pixels become gaps, such as ``saturated``.
        attributes: of the cube; those that are None or empty are left out.
        steps: what else reading did, by name.
        units: of the values.
    """

    product: str
    scene: str
    gaps: Sequence[str] = ("no data",)
    attributes: Mapping[str, str | None] = field(default_factory=dict)
    steps: Mapping[str, Any] = field(default_factory=dict)
    units: str = "reflectance"


class ProductImage:
    """The image of a product: a :class:`~hyperfuse.io.windows.source.WindowSource` over what ``stored`` reads.

    Args:
        grid: of the image.
        bands: all bands of the product, of which ``options`` select some.
        stored: reads their numbers and gaps; it is closed with the image.
        options: of the caller; scale, offset and nodata apply as for any other file.
        about: for the record.

    Raises:
        InputError: a scene larger than any product has.
    """

    def __init__(
        self, grid: Grid, bands: Sequence[ProductBand], stored: StoredBands, options: ReadOptions, about: About
    ) -> None:
        check_size(grid.rows, grid.cols)
        if len(bands) > MAX_BANDS:
            raise InputError(f"has {len(bands)} bands; no product has")
        self._stored = stored
        self._whole = Window(0, 0, grid.rows, grid.cols)
        self._step = decimation(options, grid.rows, grid.cols)
        self._index = selected_bands(options, len(bands))
        self._bands = [bands[index] for index in self._index]
        self._codings = _codings(self._bands, options, about.scene)
        header = _header(grid, self._bands, self._codings, options, about, self._step)
        if not all(band.good for band in bands):
            header = header.replace(good_bands=[band.good for band in self._bands])
        self.header: CubeHeader = header

    def read(self, window: Window | None = None) -> Cube:
        """Return a window, or all, as a cube; an overview is read whole."""
        header = self.header if window is None else self.header.crop(*window)
        if window is not None and self._step > 1:
            window = None if header.shape == self.header.shape else _refuse_windows()
        part = Part(self._whole if window is None else window, self._step)
        data = np.empty((len(self._bands), *part.shape), np.float32)
        valid: NDArray[np.bool_] | None = None
        for block in self._blocks():
            values, inside = self._values(block, part)
            to = slice(block[0], block[-1] + 1)
            data[to] = values
            if inside is not None:
                valid = np.ones(data.shape, np.bool_) if valid is None else valid
                valid[to] = inside
        return Cube.from_header(header, data, valid)

    def may_hold_data(self, window: Window) -> bool:
        """Return True: what a window holds is known when it is read."""
        return True

    def close(self) -> None:
        """Close the files."""
        self._stored.close()

    def _blocks(self) -> Iterator[list[int]]:
        """Give the bands that are read in blocks of neighbours with pixels of one size."""
        block: list[int] = []
        for number, band in enumerate(self._bands):
            if block and (len(block) == _BLOCK or self._bands[block[0]].pixel != band.pixel):
                yield block
                block = []
            block.append(number)
        yield block

    def _values(self, block: list[int], part: Part) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Return the values of a block of bands in a part of the image, and where they are no gaps."""
        pixel = self._bands[block[0]].pixel
        own = part if pixel == 1 else _coarse_part(part, pixel, self._whole)
        index = [self._index[number] for number in block]
        stored = self._stored.read(index, own)
        masked = self._stored.gaps(index, own)
        values, valid = np.empty(stored.shape, np.float32), None
        for at, number in enumerate(block):
            mask = None if masked is None else masked[min(at, len(masked) - 1)]
            coding = dataclasses.replace(self._codings[number], masked=None if mask is None else mask[None])
            values[at], inside = (one if one is None else one[0] for one in decode_values(stored[at : at + 1], coding))
            if inside is not None:
                valid = np.ones(stored.shape, np.bool_) if valid is None else valid
                valid[at] = inside
        if pixel == 1 or part.step > 1:
            return values, valid
        values, valid = double(values, valid)
        row, col = part.window.row - pixel * own.window.row, part.window.col - pixel * own.window.col
        cut = np.s_[:, row : row + part.window.rows, col : col + part.window.cols]
        return values[cut], None if valid is None else valid[cut]


def _refuse_windows() -> Window:
    raise InputError("overview is of a whole image, not of a window; leave it out", "overview")


def _coarse_part(part: Part, pixel: int, whole: Window) -> Part:
    """Return the part of the grid of a band with larger pixels that a part of the image is made of."""
    if part.step > 1:
        return Part(Window(0, 0, whole.rows // pixel, whole.cols // pixel), max(1, part.step // pixel))
    (row, col, rows, cols), height, width = part.window, whole.rows // pixel, whole.cols // pixel
    top, left = max(0, row // pixel - _MARGIN), max(0, col // pixel - _MARGIN)
    bottom = min(height, -(-(row + rows) // pixel) + _MARGIN)
    right = min(width, -(-(col + cols) // pixel) + _MARGIN)
    return Part(Window(top, left, bottom - top, right - left))


def _codings(bands: Sequence[ProductBand], options: ReadOptions, where: str) -> list[BandCoding]:
    codings: list[BandCoding] = []
    for band in bands:
        with warnings.catch_warnings():
            if codings:
                # That the caller's scale replaces the product's is reported once, not for every band.
                warnings.simplefilter("ignore", HyperfuseWarning)
            first, more = (band.nodata[0], band.nodata[1:]) if band.nodata else (None, ())
            coding = BandCoding((band.scale,), (band.offset,), (first,), None, more)
            codings.append(coding.with_options(options, 1, where))
    return codings


def _header(
    grid: Grid,
    bands: Sequence[ProductBand],
    codings: Sequence[BandCoding],
    options: ReadOptions,
    about: About,
    step: int,
) -> CubeHeader:
    common = [coding.common(options) for coding in codings]
    codes = {(one.scale, one.offset) for one in common}
    scale, offset = codes.pop() if len(codes) == 1 else (1.0, 0.0)
    rows, cols = decimated_size((grid.rows, grid.cols), step)
    transform = grid.transform
    if step > 1 and transform is not None:
        transform @= Affine.scale(grid.cols / cols, grid.rows / rows)
    centres, widths = (np.array([getattr(band, name) for band in bands]) for name in ("centre", "width"))
    recorded = reading_step(about.product, about.scene, options, about.gaps, about.steps)
    if step > 1:
        recorded = {**recorded, "overview": {"rows": grid.rows, "cols": grid.cols, "step": step}}
    return CubeHeader(
        shape=(len(bands), rows, cols),
        wavelengths=centres if np.isfinite(centres).any() else None,
        fwhm=widths if np.isfinite(widths).any() else None,
        band_names=tuple(band.name for band in bands) if all(band.name for band in bands) else None,
        transform=transform,
        crs=grid.crs,
        attributes={key: text for key, text in {"scene": about.scene, **about.attributes}.items() if text},
        history=(recorded,),
    ).replace(scale=scale, offset=offset, nodata=common[0].nodata, units=about.units)
