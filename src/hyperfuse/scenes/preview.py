"""The pair and the result of a fusion, or a part of them, for a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.runtime.tensors import tensor_of
from hyperfuse.scenes.matching.blind import Match
from hyperfuse.scenes.samples import filled_tiles
from hyperfuse.scenes.source import PairSource
from hyperfuse.scenes.tiling.plan import Tile
from hyperfuse.sensor.model import Sensor

_CANDIDATES = 9  # parts nearest to the centre, of which the one with most data is chosen


@dataclass(frozen=True)
class Preview:
    """A pair and its result, or a part of them.

    Attributes:
        hsi: LR-HSI (bands, h, w).
        msi: HR-MSI (msi_bands, H, W), in the values of the HSI.
        fused: the result, (bands, H, W).
        uncertainty: of the result, or None.
        sensor: relates HSI and MSI.
        window: position in the result.
        shape: (rows, cols) of the result.
        whole_hsi: the HSI as it was read, or its header where this is a part.
        whole_msi: the MSI as it was read, or its header.
    """

    hsi: Cube
    msi: Cube
    fused: Cube
    uncertainty: Cube | None
    sensor: Sensor
    window: Window
    shape: tuple[int, int]
    whole_hsi: Cube | CubeHeader
    whole_msi: Cube | CubeHeader

    @property
    def note(self) -> str:
        """Where the part lies, as a sentence; empty where it is the whole."""
        row, col, rows, cols = self.window
        if (rows, cols) == self.shape:
            return ""
        return (
            f"the report shows a part of {rows} x {cols} pixels of the result, from row {row} and column {col} (from 0)"
            f" on; the whole has {self.shape[0]} x {self.shape[1]}"
        )


def read_preview(
    pair: PairSource, match: Match, side: int | None, result: Callable[[Window], tuple[Cube, Cube | None]]
) -> Preview:
    """Return the part with most data among those near the centre of what holds data.

    Args:
        pair: the scene.
        match: how its images relate.
        side: of the part in HR pixels, about; None for the whole.
        result: returns a window of the fused image and of its uncertainty.
    """
    source = pair.matched(match)
    plan = source.whole if side is None else source.plan(side, 0)
    tiles = _near_centre(filled_tiles(source, plan.tiles()))
    parts = [(source.read_hsi(tile.lr), tile) for tile in tiles]
    hsi, tile = max(parts, key=lambda part: int(part[0].valid_pixels.sum()))
    window = tile.core
    msi = source.read_msi(window)
    radiometry = match.radiometry
    if radiometry is not None:
        every = np.ones(msi.bands, np.bool_)
        msi = msi.replace(data=radiometry.normalise(tensor_of(msi.data), every).numpy())
    phase = (tile.y.phase + tile.y.hr[0] - window.row, tile.x.phase + tile.x.hr[0] - window.col)
    sensor = match.sensor.window((tile.lr.row, tile.lr.col), phase)
    hsi, msi = source.scaled(hsi, back=True), source.scaled(msi, back=True)
    whole = [
        one.header if side is not None else one.read(Window(0, 0, *one.header.shape[1:]))
        for one in (pair.hsi, pair.msi)
    ]
    return Preview(hsi, msi, *result(window), sensor, window, match.msi[2:], *whole)


def _near_centre(tiles: Sequence[Tile]) -> list[Tile]:
    positions = np.array([(tile.row, tile.col) for tile in tiles], np.float64)
    far = np.linalg.norm(positions - (positions.min(0) + positions.max(0)) / 2, axis=1)
    return [tiles[index] for index in np.argsort(far, kind="stable")[:_CANDIDATES]]
