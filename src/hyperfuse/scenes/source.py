"""A pair of images read by windows: masked, on grids that fit, cut to their common extent."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io.windows.memory import MemorySource
from hyperfuse.io.windows.source import WindowSource
from hyperfuse.io.windows.warped import WarpedSource
from hyperfuse.scenes.matching.blind import Match
from hyperfuse.scenes.matching.grid import MatchedPair
from hyperfuse.scenes.matching.undeclared import undeclared_pixels, without_undeclared
from hyperfuse.scenes.matching.warp import WarpGrid
from hyperfuse.scenes.tiling.plan import Tile, TilePlan
from hyperfuse.sensor.sample_displacement import with_offsets

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PairSource:
    """Two images of which windows are read, as they are.

    Attributes:
        hsi: LR-HSI.
        msi: HR-MSI; where a mask excludes pixels they are gaps.
        offsets: how far the samples of the HSI lie from the centres of its pixels, see :func:`~.offsets_of`, or None.
    """

    hsi: WindowSource
    msi: WindowSource
    offsets: NDArray[np.float32] | None = None
    _warped: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of_cubes(
        cls,
        hsi: Cube,
        msi: Cube,
        mask: NDArray[np.bool_] | None = None,
        offsets: NDArray[np.float32] | None = None,
    ) -> PairSource:
        """Return two cubes as a source.

        Args:
            hsi: LR-HSI.
            msi: HR-MSI.
            mask: bool (H, W), True where the MSI is not to be used.
            offsets: of the samples of the HSI.

        Raises:
            InputError: a mask of another size, or one that leaves no pixel.
        """
        if mask is not None:
            msi = _masked(msi, np.asarray(mask, np.bool_))
        return cls(MemorySource(hsi), MemorySource(msi), offsets)

    def matched(self, match: Match) -> MatchedSource:
        """Return the pair on grids that fit, cut to the common extent."""
        header = match.msi_header(self.msi.header)
        match = self._with_offsets(match)
        return MatchedSource(self.hsi, self.msi if match.grid is None else self._on_grid(match.grid), header, match)

    def _with_offsets(self, match: Match) -> Match:
        """Return a match whose sensor knows where the samples of the HSI lie."""
        if self.offsets is None:
            return match
        sensor, (row, col) = match.sensor, match.hsi[:2]
        smooth = None if sensor.displacement is None else sensor.displacement.smooth
        values = self.offsets * np.reshape(sensor.ratio, (2, 1, 1))
        return replace(match, sensor=sensor.replace(displacement=with_offsets(smooth, values, (-row, -col))))

    def _on_grid(self, grid: WarpGrid) -> WindowSource:
        """Return the MSI on a grid: in memory where it is now, else resampled window by window."""
        if not isinstance(self.msi, MemorySource):
            return WarpedSource(self.msi, grid.grid)
        if self._warped.get("grid") != grid.grid:
            whole = WarpedSource(self.msi, grid.grid).read(Window(0, 0, grid.grid.rows, grid.grid.cols))
            self._warped.update(grid=grid.grid, source=MemorySource(whole))
        source: WindowSource = self._warped["source"]
        return source

    def close(self) -> None:
        """Close the files."""
        self.hsi.close()
        self.msi.close()


def _masked(msi: Cube, excluded: NDArray[np.bool_]) -> Cube:
    if excluded.shape != (msi.rows, msi.cols):
        size = " x ".join(map(str, excluded.shape))
        raise InputError(f"the mask has {size} pixels, the MSI {msi.rows} x {msi.cols}", parameter="mask")
    masked = mask_pixels(msi, excluded)
    if not masked.usable_bands.any():
        raise InputError("the mask leaves no pixel of the MSI", parameter="mask")
    return masked


def mask_pixels(cube: Cube, excluded: NDArray[np.bool_]) -> Cube:
    """Return a cube with the pixels that are True in ``excluded`` (rows, cols) as gaps."""
    if not excluded.any():
        return cube
    valid = np.ones(cube.data.shape, np.bool_) if cube.valid is None else cube.valid
    return cube.replace(valid=valid & ~excluded)


@dataclass(frozen=True, eq=False)
class MatchedSource:
    """A pair on grids that fit; windows count from the first pixel of the common extent.

    Attributes:
        hsi: LR-HSI, not cut.
        msi: HR-MSI on the matched grid, not cut.
        whole_msi_header: its header.
        match: how the two relate.
    """

    hsi: WindowSource
    msi: WindowSource
    whole_msi_header: CubeHeader
    match: Match

    @cached_property
    def hsi_header(self) -> CubeHeader:
        """Header of the LR-HSI, cut."""
        return self.hsi.header.crop(*self.match.hsi)

    @cached_property
    def msi_header(self) -> CubeHeader:
        """Header of the HR-MSI, cut."""
        return self.whole_msi_header.crop(*self.match.msi)

    def plan(self, tile: int, margin: int) -> TilePlan:
        """Return tiles of ``tile`` HR pixels per side and a margin of LR pixels."""
        match = self.match
        return TilePlan.of(match.hsi[2:], match.msi[2:], match.sensor, tile, margin)

    @cached_property
    def whole(self) -> TilePlan:
        """The scene as one tile."""
        return TilePlan.whole(self.match.hsi[2:], self.match.msi[2:], self.match.sensor)

    def may_hold_data(self, tile: Tile) -> bool:
        """Return False where it is known, without reading, that one of the images is a gap in all of a tile."""
        # The MSI first: it has fewer bands.
        return self.msi_may_hold_data(tile.hr) and self.hsi_may_hold_data(tile.lr)

    def hsi_may_hold_data(self, window: Window) -> bool:
        """Return False where it is known that all of a window of the LR-HSI is a gap."""
        return self.hsi.may_hold_data(self._in_hsi(window))

    def msi_may_hold_data(self, window: Window) -> bool:
        """Return False where it is known that all of a window of the HR-MSI is a gap."""
        return self.msi.may_hold_data(self._in_msi(window))

    def read_hsi(self, window: Window) -> Cube:
        """Return a window of the LR-HSI; what is taken for a gap is one."""
        return without_undeclared(*self.read_declared_hsi(window))

    def read_msi(self, window: Window) -> Cube:
        """Return a window of the HR-MSI; what is taken for a gap is one."""
        return without_undeclared(*self.read_declared_msi(window))

    def read_declared_hsi(self, window: Window) -> tuple[Cube, Bools | None]:
        """Return a window of the LR-HSI as it is, and the pixels (rows, cols) that are taken for gaps, if any."""
        cube = self.hsi.read(self._in_hsi(window))
        return self.scaled(cube), undeclared_pixels(cube, self.match.undeclared.hsi)

    def read_declared_msi(self, window: Window) -> tuple[Cube, Bools | None]:
        """Return a window of the HR-MSI as it is, and the pixels (rows, cols) that are taken for gaps, if any."""
        cube = self.msi.read(self._in_msi(window))
        found = undeclared_pixels(cube, self.match.undeclared.msi, warped=self.match.grid is not None)
        return self.scaled(cube), found

    def scaled(self, cube: Cube, *, back: bool = False) -> Cube:
        """Return a cube divided by 2 to the power of the match's exponent; ``back``: multiplied."""
        exponent = self.match.exponent
        if exponent == 0:
            return cube
        data = np.ldexp(cube.data.astype(np.float64), exponent if back else -exponent)
        return cube.replace(data=data.astype(cube.data.dtype))

    def read(self, tile: Tile) -> MatchedPair:
        """Return what a tile reads of both images."""
        origin = (float(tile.hr.row), float(tile.hr.col))
        sensor = tile.sensor(self.match.sensor)
        return MatchedPair(self.read_hsi(tile.lr), self.read_msi(tile.hr), sensor, origin=origin)

    def _in_hsi(self, window: Window) -> Window:
        return window.moved(self.match.hsi.row, self.match.hsi.col)

    def _in_msi(self, window: Window) -> Window:
        return window.moved(self.match.msi.row, self.match.msi.col)
