"""Images read window by window, so that only a part of them is ever in memory."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hyperfuse.cube.cube import Cube, Transform
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.formats.registry import format_of, split_variable
from hyperfuse.io.products import find_product

_KINDS = "GeoTIFF, COG, ENVI and Zarr"


class Window(NamedTuple):
    """A part of an image: its first row and column, and how many there are."""

    row: int
    col: int
    rows: int
    cols: int


class WindowSource(ABC):
    """An image on disk of which windows are read.

    Attributes:
        path: the file.
        shape: (bands, rows, cols) of the whole image; only the bands that were asked for count.
        header: the metadata: a cube of all bands and a few pixels, with the transform of the whole image.
    """

    path: Path
    shape: tuple[int, int, int]
    header: Cube

    def read(self, window: Window) -> Cube:
        """Return a window as a cube, with the window's own transform.

        Raises:
            InputError: a window outside the image, damaged data, NaN that nothing declares.
        """
        _, rows, cols = self.shape
        inside = window.row >= 0 and window.col >= 0 and window.rows >= 1 and window.cols >= 1
        if not (inside and window.row + window.rows <= rows and window.col + window.cols <= cols):
            raise InputError(f"{self.path}: the window {tuple(window)} leaves the image of {rows}x{cols}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", HyperfuseWarning)  # told once, when the header was read
                cube = self._load(window)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error.__cause__
        return cube.replace(transform=shifted(self.header.transform, window.row, window.col))

    def may_hold_data(self, window: Window) -> bool:
        """Return False where it is known, without reading, that all of a window is a gap."""
        return True

    @abstractmethod
    def _load(self, window: Window) -> Cube:
        """Read a window; its transform does not matter."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file."""


def open_windows(
    path: str | Path,
    *,
    bands: str | Sequence[int] | None = None,
    nodata: float | None = None,
    scale: float | None = None,
    offset: float | None = None,
    axes: str | None = None,
    quality: str | None = None,
) -> WindowSource:
    """Open a file to read windows of it: GeoTIFF, COG, ENVI, other rasters that GDAL opens, and Zarr.

    Args:
        path: see :func:`hyperfuse.io.read`, as for the other options.
        bands: see there.
        nodata: see there.
        scale: see there.
        offset: see there.
        axes: see there.
        quality: see there; products are not read by windows.

    Raises:
        InputError: no such file, or one of a format that has to be read whole.

    Example:
        >>> import numpy, pathlib, tempfile
        >>> from hyperfuse.io import write
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = pathlib.Path(folder.name) / "cube.tif"
        >>> write(file, Cube(data=numpy.ones((2, 40, 50))))
        >>> open_windows(file).read(Window(8, 0, 10, 50)).data.shape
        (2, 10, 50)
    """
    file, variable = split_variable(path)
    options = ReadOptions(
        variable=variable, bands=bands, nodata=nodata, scale=scale, offset=offset, axes=axes, quality=quality
    )
    try:
        if not file.exists():
            raise InputError("does not exist")
        product = None if variable is not None else find_product(file)
        if product is not None:
            raise InputError(f"is {product[0].name}, which is read whole; windows are read of {_KINDS}: convert it")
        if quality is not None:
            raise InputError("quality is for products, which are not read by windows; leave it out")
        return _opened(file, options)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error.__cause__


def _opened(file: Path, options: ReadOptions) -> WindowSource:
    entry = format_of(file)
    name = "GeoTIFF" if entry is None and file.is_file() else entry.name if entry is not None else ""
    if name in ("GeoTIFF", "ENVI", "image"):
        from hyperfuse.io.windows.raster import RasterSource

        return RasterSource(file, options)
    if name == "Zarr":
        from hyperfuse.io.windows.zarr import ZarrSource

        return ZarrSource(file, options)
    what = f"is {name}" if name else "is a folder"
    raise InputError(f"{what}, which is read whole; windows are read of {_KINDS}: convert it to one of them")


def shifted(transform: Transform | None, row: float, col: float) -> Transform | None:
    """Return the transform of an image that starts at another pixel of the grid."""
    if transform is None:
        return None
    a, b, c, d, e, f = transform
    return (a, b, c + a * col + b * row, d, e, f + d * col + e * row)
