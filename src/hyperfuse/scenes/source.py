"""A pair on disk: matched by what its headers say, without its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io.windows.open import open_windows
from hyperfuse.io.windows.source import WindowSource
from hyperfuse.scenes.matching.grid import MatchedPair, match_pair
from hyperfuse.scenes.tiling.plan import Tile


class Outline(Cube):
    """A cube of full size that holds no values: one zero, seen from everywhere."""

    start = (0, 0)  # first row and column in the image that this is a part of

    def __post_init__(self) -> None:
        """Check nothing: the fields are those of a cube that has been checked."""

    def crop(self, row: int, col: int, rows: int, cols: int) -> Outline:
        """Return the outline of a window, which knows where it starts."""
        part = Outline.of(self.header.crop(row, col, rows, cols))
        object.__setattr__(part, "start", (self.start[0] + row, self.start[1] + col))
        return part

    @classmethod
    def of(cls, header: CubeHeader) -> Outline:
        """Return the outline of an image with a header."""
        return cls(data=np.broadcast_to(np.zeros((header.bands, 1, 1), np.float32), header.shape), **header.fields())


@dataclass(frozen=True)
class Scene:
    """Two images on disk, cut to their common extent.

    Attributes:
        hsi: the LR-HSI.
        msi: the HR-MSI.
        mask: on the grid of the MSI: not 0 where it must not be used; or None.
        pair: outlines of both, cut to the common extent, and the sensor.
        hsi_start: first row and column of the common extent in the HSI.
        msi_start: the same in the MSI.
    """

    hsi: WindowSource
    msi: WindowSource
    mask: WindowSource | None
    pair: MatchedPair
    hsi_start: tuple[int, int]
    msi_start: tuple[int, int]

    def hsi_window(self, window: Window) -> Window:
        """Return a window of the common extent as one of the HSI's file."""
        return _moved(window, self.hsi_start)

    def msi_window(self, window: Window) -> Window:
        """Return a window of the common extent as one of the MSI's file."""
        return _moved(window, self.msi_start)

    def may_hold_data(self, tile: Tile) -> bool:
        """Return False where it is known, without reading, that one of the images is a gap in all of a tile."""
        # The MSI first: it has fewer bands to ask for.
        return self.msi.may_hold_data(self.msi_window(tile.hr)) and self.hsi.may_hold_data(self.hsi_window(tile.lr))

    def distrusted(self, window: Window) -> NDArray[np.bool_]:
        """Return True where the mask forbids the MSI, for a window of the common extent."""
        if self.mask is None:
            return np.zeros((window.rows, window.cols), np.bool_)
        mask = self.mask.read(self.msi_window(window))
        return np.where(np.isnan(mask.data[0]), mask.nodata != 0, mask.data[0] != 0)

    def close(self) -> None:
        """Let go of the files."""
        for source in (self.hsi, self.msi, self.mask):
            if source is not None:
                source.close()


def _moved(window: Window, start: tuple[int, int]) -> Window:
    return window._replace(row=window.row + start[0], col=window.col + start[1])


def open_scene(
    hsi: str,
    msi: str,
    mask: str | None,
    reading: Mapping[str, Any],
    msi_reading: Mapping[str, Any],
    grid: Mapping[str, Any],
) -> Scene:
    """Open a pair and match it as :func:`~hyperfuse.scenes.matching.grid.match_pair` does.

    Args:
        hsi: file of the LR-HSI.
        msi: file of the HR-MSI.
        mask: file of a mask on the MSI's grid, or None.
        reading: options of :func:`~hyperfuse.io.windows.open.open_windows` for the HSI.
        msi_reading: the same for the MSI.
        grid: ``sensor``, ``srf``, ``psf``, ``ratio``, ``phase`` of :func:`~hyperfuse.scenes.matching.grid.match_pair`.

    Raises:
        InputError: files that cannot be read by windows, or that do not fit together.
    """
    coarse, fine = open_windows(hsi, **reading), open_windows(msi, **msi_reading)
    distrust = None if mask is None else open_windows(mask)
    if distrust is not None and (distrust.header.shape != (1, *fine.header.shape[1:])):
        size = "x".join(map(str, distrust.header.shape))
        raise InputError(f"{mask}: the mask has {size} values; it needs one band on the MSI's grid")
    outlines = [Outline.of(source.header) for source in (coarse, fine)]
    try:
        pair = match_pair(outlines[0], outlines[1], **grid)
    except InputError as error:
        raise InputError(f"{hsi}, {msi}: {error}") from error.__cause__
    assert isinstance(pair.hsi, Outline)
    assert isinstance(pair.msi, Outline)
    return Scene(coarse, fine, distrust, pair, pair.hsi.start, pair.msi.start)


def seen_bands(source: WindowSource, windows: Iterable[Window]) -> NDArray[np.bool_]:
    """Return which bands are neither bad nor empty; reading ends where all of them have been seen."""
    good = source.header.good_bands
    wanted = np.ones(source.header.bands, np.bool_) if good is None else good
    seen = np.zeros_like(wanted)
    for window in windows:
        seen |= source.read(window).usable_bands
        if seen[wanted].all():
            break
    return np.asarray(seen & wanted, np.bool_)
