"""Which pixels of a raster are data: alpha bands, and masks of the file or of single bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags

from hyperfuse.errors import warn
from hyperfuse.io.formats.gdal import Raster

_SAMPLED_BLOCKS = 64
# Of an alpha band most pixels that are not hidden are opaque; measured values spread.
_OPAQUE_FRACTION = 0.5


class Validity:
    """The bands of a raster that are values, and where those are gaps by what the file states besides nodata.

    Alpha bands are no values: a pixel is a gap where one of them is 0. One that is named in the requested bands is
    read as values, and so is one that holds measured values (GDAL calls the fourth band of many RGB + NIR files alpha,
    because their writer stated no interpretation), with a warning.

    Attributes:
        bands: indices (from 0) of the bands to read.
    """

    def __init__(self, source: Raster, requested: Sequence[int] | None, where: str) -> None:
        named = [band for band, colour in enumerate(source.colorinterp) if colour == ColorInterp.alpha]
        measured = [band for band in named if not _is_transparency(source, band)]
        alpha = [band for band in named if band not in measured]
        everything = range(source.count)
        kept = requested
        if requested is None:
            kept = [band for band in everything if band not in alpha] or everything
            for band in measured:
                warn(
                    f"{where}: band {band + 1} is marked as alpha (transparency), but few of its pixels are opaque, "
                    "so it is read as a band of values"
                )
        self.bands = list(kept or ())
        self._alpha = [band for band in alpha if band not in self.bands]
        flags = source.mask_flag_enums
        own = [at for at, band in enumerate(self.bands) if not flags[band]]
        common = [
            at for at, band in enumerate(self.bands)
            if MaskFlags.per_dataset in flags[band] and MaskFlags.alpha not in flags[band]
        ]  # fmt: skip
        self._own, self._common = own, common

    def gaps(self, source: Raster, window: Any) -> NDArray[np.bool_] | None:
        """Return True in gaps, shape (rows, cols) or (bands, rows, cols); None where the file states none."""
        hidden = [source.read(band + 1, window=window) == 0 for band in self._alpha]
        if len(self._common) == len(self.bands):
            hidden.append(self._mask(source, self._common[0], window))
        shared = np.logical_or.reduce(hidden) if hidden else None
        some = [] if len(self._common) == len(self.bands) else self._common
        if not (self._own or some):
            return None if shared is None else np.asarray(shared, np.bool_)
        first = self._mask(source, (self._own or some)[0], window)
        gaps = np.zeros((len(self.bands), *first.shape), np.bool_)
        for at in (*self._own, *some):
            gaps[at] = self._mask(source, at, window)
        return gaps if shared is None else gaps | shared

    def _mask(self, source: Raster, at: int, window: Any) -> NDArray[np.bool_]:
        return np.asarray(source.read_masks(self.bands[at] + 1, window=window) == 0)


def _is_transparency(source: Raster, band: int) -> bool:
    """Return whether a band holds what an alpha band does, judged by blocks all over the image."""
    height, width = source.block_shapes[band]
    down, across = -(-source.height // height), -(-source.width // width)
    shown = []
    for block in np.unique(np.linspace(0, down * across - 1, _SAMPLED_BLOCKS).astype(int)):
        top, left = int(block) // across * height, int(block) % across * width
        window = (
            (top, min(top + height, source.height)),
            (left, min(left + width, source.width)),
        )
        values = source.read(band + 1, window=window)
        shown.append(values[values != 0])
    values = np.concatenate(shown)
    return values.size == 0 or bool(np.mean(values == values.max()) >= _OPAQUE_FRACTION)
